"""calstore image."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import DetectorArgument, VersionArgument, opened, printable, warn
from calstore.cli.raw import PsanaOption, psana_of

if TYPE_CHECKING:
    from calstore.frames.source import FrameSource
    from calstore.repository.picture import Picture
    from calstore.repository.version import RunConstants

_KINDS = (".png", ".npy", ".h5")


def image(
    context: typer.Context,
    ref: VersionArgument,
    detector: DetectorArgument,
    run: Annotated[int, typer.Option("--run", min=0, help="The run that asks.")],
    type_name: Annotated[
        str, typer.Option("--type", metavar="T", help="The constant to show.")
    ] = "pedestals",
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="Its gain mode, as G0 or FH.")
    ] = "",
    frames: Annotated[
        list[str] | None,
        typer.Option(
            "--frames", metavar="FILE", help="Show a frame of these data instead; see dark --from."
        ),
    ] = None,
    event: Annotated[int, typer.Option("--event", min=0, help="Which, from 0.")] = 0,
    mean: Annotated[
        bool, typer.Option("--mean", help="The mean of up to 100 from there on.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Correct nothing.")] = False,
    no_pedestals: Annotated[bool, typer.Option("--no-pedestals")] = False,
    no_offset: Annotated[bool, typer.Option("--no-offset")] = False,
    no_common_mode: Annotated[bool, typer.Option("--no-common-mode")] = False,
    no_gain: Annotated[bool, typer.Option("--no-gain")] = False,
    no_mask: Annotated[bool, typer.Option("--no-mask")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="FILE.png, .npy or .h5."),
    ] = None,
    psana_python: PsanaOption = "",
) -> None:
    """Show a constant or a corrected frame of a detector as an image.

    The geometry of the run places the panels; without one they are above each other. A frame is
    corrected with all constants that the run gets, but for those that are switched off. Without -o
    a terminal shows a small picture, and a pipe gets its figures.

    Example: calstore image xppn4116/main Epix100a.1 --run 137 --type pixel_rms -o rms.png

    Example: calstore image mfx101332224/main jungfrau --run 7 --frames r0007.xtc2 --mean

    Exit codes: 3 nothing for this run, no such event or mode, or no package for PNG, 5 what does
    not fit, or has no value for each pixel.
    """
    from calstore.correct.corrections import Corrections
    from calstore.errors import Invalid
    from calstore.repository.picture import (
        MOST_OF_A_MEAN,
        picture_of_constant,
        picture_of_frames,
    )

    if output is not None and output.suffix not in _KINDS:
        raise Invalid(f"{output} is no image that is written here: {', '.join(_KINDS)}")
    there = opened(context)[ref][detector].at(run)
    if frames is None:
        picture = picture_of_constant(there, type_name, mode)
    else:
        source = source_of(frames, there.detector.source, psana_python)
        off = (no_offset, no_gain, no_mask)
        offset, gain, mask = (False if is_off else None for is_off in off)
        picture = picture_of_frames(
            there,
            source,
            name_in(source, there),
            first=event,
            count=MOST_OF_A_MEAN if mean else 1,
            wanted=Corrections(
                not no_pedestals,
                offset=offset,
                common_mode=not no_common_mode,
                gain=gain,
                mask=mask,
            ),
            raw=raw,
        )
    if not picture.is_assembled:
        warn("the run gets no geometry of these pixels, so the panels are above each other")
    _put(picture, output)


def source_of(frames: list[str], detector: str, psana_python: str) -> FrameSource:
    """The frames of a file, or of the streams of a run."""
    from calstore.errors import Invalid
    from calstore.frames.open_frames import is_of_psana, open_frames, open_streams
    from calstore.frames.stacks import Labels

    if all(is_of_psana(text) for text in frames):
        return open_streams(frames, Labels(), psana_of(psana_python))
    if len(frames) > 1:
        raise Invalid("several files are one run only for psana; name one")
    return open_frames(frames[0], Labels(detector=detector))


def name_in(source: FrameSource, there: RunConstants) -> str:
    """What the data call the detector: as the version does, or the only one with its panels."""
    from calstore.errors import NotFound

    detectors = source.contents().detectors
    serials = there["pedestals"].constant.serials if "pedestals" in there else ()
    for each in detectors:
        if each.name == there.detector.source or (serials and each.serials == serials):
            return each.name
    names = ", ".join(each.name for each in detectors) or "none"
    raise NotFound(f"{there.detector.source} is not in the data; they have {names}")


def _put(picture: Picture, output: Path | None) -> None:
    from calstore.report.pictures import coloured, png_of, preview, robust_limits, shrunk
    from calstore.repository.files import write_file

    limits = robust_limits(picture.image)
    if output is None:
        if sys.stdout.isatty():
            columns, lines = shutil.get_terminal_size()
            small = shrunk(picture.image, 2 * (lines - 4), columns)
            typer.echo(preview(coloured(small, limits)))
        _echo(picture)
    elif output.suffix == ".png":
        write_file(output, png_of(picture.image, limits))
    elif output.suffix == ".npy":
        from calstore.formats import npy

        write_file(output, *npy.render(picture.image))
    else:
        write_file(output, _hdf5(picture))


def _echo(picture: Picture) -> None:
    import numpy as np

    there = picture.image[np.isfinite(picture.image)]
    typer.echo(printable(picture.title))
    if not there.size:
        typer.echo("no pixel with a value")
        return
    low, middle, high = np.percentile(there, (1, 50, 99))
    rows, columns = picture.image.shape
    typer.echo(
        f"{rows} × {columns}, {there.size} pixels; median {middle:.6g}, 1 to 99 %: {low:.6g} to "
        f"{high:.6g}, all: {there.min():.6g} to {there.max():.6g} {picture.unit}".rstrip()
    )


def _hdf5(picture: Picture) -> bytes:
    import io

    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        dataset = file.create_dataset("image", data=picture.image)
        dataset.attrs["title"], dataset.attrs["unit"] = picture.title, picture.unit
    return stream.getvalue()
