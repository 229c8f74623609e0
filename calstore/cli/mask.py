"""calstore mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import (
    DetectorArgument,
    JsonOption,
    MessageOption,
    RefArgument,
    emit_json,
    named,
    opened,
    printable,
    table,
    warn,
)

if TYPE_CHECKING:
    from calstore.repository.mask import Made, Masking


def mask(
    context: typer.Context,
    ref: RefArgument,
    detector: DetectorArgument,
    status_bits: Annotated[
        str,
        typer.Option(
            metavar="BITS",
            help="A pixel with one of these bits of pixel_status is bad; 0 for none of them.",
        ),
    ] = "0xffff",
    edges: Annotated[
        int, typer.Option(min=0, metavar="N", help="Mask N rows and columns at the panels' edges.")
    ] = 0,
    centre: Annotated[
        int, typer.Option(min=0, metavar="N", help="And N on either side where two chips meet.")
    ] = 0,
    neighbours: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Mask N pixels around those bad by status, diagonals too."
        ),
    ] = 0,
    user: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A mask of your own, .npy or text: 1 good, 0 bad."),
    ] = None,
    drawn: Annotated[
        bool,
        typer.Option(
            "--drawn", help="FILE is of the assembled image, even if it has the shape of panels."
        ),
    ] = False,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Fold it into pixel_status, which clients obey unasked."),
    ] = False,
    apply_to: Annotated[
        str | None,
        typer.Option(metavar="T", help="Fold it into pixel_status or status_extra instead."),
    ] = None,
    runs: Annotated[
        str | None,
        typer.Option(metavar="RUNS", help="As 5-20; else the newest runs that get one status."),
    ] = None,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a pixel_mask from status, edges, neighbours and a mask of your own.

    FILE has the shape of the panels, of the panels stacked into one plane, or of the assembled
    image. A pixel that is bad in any measured gain mode is masked in all. No client uses a
    pixel_mask by itself: with --apply, masked pixels get a bit of their own in pixel_status (16384)
    in place of an earlier mask's. A dark that is taken later knows nothing of it.

    Example: calstore mask xppn4116/main Epix100a.1 --edges 2 --neighbours 1 --apply -m "r137"

    Exit codes: 3 no such ref, detector or constant, 5 a mask that fits no shape, or leaves nothing.
    """
    from calstore.cli.identity import stamp
    from calstore.model.runs import RunRange
    from calstore.repository.derive_mask import STATUS, MaskRequest
    from calstore.repository.mask import make_mask, read_users_mask

    wanted = None if runs is None else RunRange.parse(runs)
    target = apply_to or (STATUS if apply else "")
    own = None if user is None else read_users_mask(user)
    request = MaskRequest(_bits(status_bits), edges, centre, neighbours, own, drawn, target)
    made = make_mask(opened(context), ref, detector, request, stamp(message), runs=wanted)
    if as_json:
        emit_json(_document(made, target))
        return
    for masking in made.maskings:
        typer.echo(printable(f"{made.detector[1]} {masking.runs}, {masking.pixels:,} pixels"))
        typer.echo(table(_rows(masking)))
        if masking.keeps_older:
            warn(
                f"pixel_status of runs {masking.runs} keeps the bit of an earlier mask; to put "
                "this one in its place: --apply"
            )
    typer.echo(named(made.record) + ("" if made.changed else "  unchanged"))
    typer.echo(_next_step(made, ref, target))


def _bits(text: str) -> int:
    from calstore.errors import Invalid

    try:
        return int(text, 0)
    except ValueError:
        raise Invalid(f"status bits {text!r}; write a number, as 0xffff, 7 or 0b111") from None


def _rows(masking: Masking) -> list[tuple[str, str, str]]:
    counts = {**masking.causes, "masked": masking.masked}
    return [
        (f"    {cause}", f"{count:,}".rjust(12), f"{count / masking.pixels:9.3%}")
        for cause, count in counts.items()
    ]


def _next_step(made: Made, ref: str, target: str) -> str:
    if target:
        from calstore.model.detectors import MASKED

        ami = "" if target == "pixel_status" else ", AMI not"
        said = f"{target} has bit {MASKED} where the mask is 0: psana obeys it{ami}"
    else:
        said = (
            "psana uses a pixel_mask only where calib=True is asked of its mask, AMI never; "
            "for all of them add --apply"
        )
    return f"{said}\nnext: calstore materialize {ref} DEST"


def _document(made: Made, target: str) -> dict[str, Any]:
    from calstore.darks.masks import CAUSES
    from calstore.report.records import record_json

    return {
        "applied_to": target or None,
        "changed": made.changed,
        "detector": made.detector[1],
        "group": made.detector[0],
        "masks": [
            {
                "causes": {cause: masking.causes.get(cause) for cause in CAUSES},
                "derivation": str(masking.derivation.digest),
                "digest": str(masking.mask.digest),
                "keeps_older": masking.keeps_older,
                "masked": masking.masked,
                "pixels": masking.pixels,
                "runs": str(masking.runs),
                "shape": list(masking.mask.shape),
            }
            for masking in made.maskings
        ],
        "record": record_json(made.record),
    }
