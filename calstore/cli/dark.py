"""calstore dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import (
    JsonOption,
    MessageOption,
    emit_json,
    named,
    opened,
    printable,
    progress_of,
    table,
    warn,
)
from calstore.cli.raw import PsanaOption, patience_of, psana_of

if TYPE_CHECKING:
    from calstore.darks.recipe import DarkRecipe
    from calstore.repository.bad_pixels import BadPixels
    from calstore.repository.dark import DarkDetector, DarkMade
    from calstore.repository.store import Store


def dark(
    context: typer.Context,
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", envvar="EXPERIMENT", help="As xppn4116.")
    ],
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", min=0, envvar="RUN_NUM", help="The dark run.")
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="The newest run whose data are there.")
    ] = False,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="[MODE=]FILE",
            help="Its raw frames, if not where the experiment has its data (calstore config): xtc2 "
            "or xtc, which psana reads (all streams of the run, or its directory); .npy, "
            "FILE.h5:/dataset or .zarr of shape (frame, [segment,] row, column); or the number of "
            "a run. Where each gain mode has its own: --from G0=137 --from G1=138 …",
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            help="Wait so long for a run that is still being written.",
        ),
    ] = 0,
    detectors: Annotated[
        list[str] | None,
        typer.Option(
            "--detector",
            metavar="D",
            help="A source, as XppGon.0:Epix100a.1, or a name; if none is given, every cspad, epix "
            "and jungfrau that the data name.",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="The type, as epix100 or jungfrau, where the source does not tell."
        ),
    ] = "",
    serials: Annotated[
        list[str] | None,
        typer.Option("--serial", metavar="TEXT", help="Of a panel, in the order of segments."),
    ] = None,
    ref: Annotated[
        str, typer.Option("--ref", help="Where it goes; EXPERIMENT/main if not given.")
    ] = "",
    runs: Annotated[
        str,
        typer.Option(
            "--runs",
            metavar="RUNS",
            help="Give the constants to these runs, as 137-150, whatever they have; if not given, "
            "RUN-end is added below later darks.",
        ),
    ] = "",
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="psana, robust, or one of the store's (calstore config recipe/NAME); if not "
            "given, that of the dark before, with its parameters.",
        ),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", metavar="NAME=VALUE", help="Another value of the recipe."),
    ] = None,
    without: Annotated[
        str,
        typer.Option("--without", metavar="MODE,…", help="Gain modes to leave to psana's fill-in."),
    ] = "",
    codes: Annotated[
        str,
        typer.Option(
            "--codes",
            metavar="CODE,…",
            help="Only events with one of these event codes; of -40, those without code 40.",
        ),
    ] = "",
    again: Annotated[
        bool,
        typer.Option("--again", help="Read the frames even if these files were read before."),
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also a run that somebody flagged as flawed.")
    ] = False,
    require_check: Annotated[
        bool,
        typer.Option("--require-check", help="Change nothing when check finds something wrong."),
    ] = False,
    psana_python: PsanaOption = "",
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make pedestals, pixel_rms, pixel_status, pixel_max and pixel_min from a dark run.

    They are committed with the digest of the frames, the recipe and every parameter of it: the
    same frames and recipe give the same digests anywhere. A gain mode without frames is an error.
    Files that were read before and are unchanged since are not read again: the result is known.
    mpirun -n N calstore dark … shares the frames among N processes; the digests are the same.
    No directory is changed: calstore materialize makes the one that psana reads.

    Example: calstore dark xppn4116 137 --detector XppGon.0:Epix100a.1 --from r137.npy

    Example: calstore dark mfx101332224 7 --from mfx101332224-r0007-s000-c000.xtc2

    Exit codes: 3 no such file or no psana, 4 the ref moves too fast or the disk is full, 5 no raw
    frames, too few of them, a gain mode is missing, the run is flawed, or --require-check finds
    something wrong, 6 the same frames and recipe gave something else before.
    """
    from calstore.cli.crew import crew_of_environment
    from calstore.cli.identity import stamp
    from calstore.errors import Invalid
    from calstore.frames.stacks import Labels
    from calstore.model.runs import RunRange
    from calstore.repository.dark import DarkRequest
    from calstore.repository.dark import dark as make
    from calstore.repository.recipes import parameters as changed
    from calstore.repository.recipes import recipe_named
    from calstore.repository.run_data import data_of, newest_run
    from calstore.repository.settings import settings_of

    if latest == (run is not None):
        raise Invalid("name the dark run, or say --latest for the newest whose data are there")
    store = opened(context)
    request = DarkRequest(
        experiment,
        ref or f"{experiment}/main",
        recipes=recipe_named(settings_of(store), recipe, changed(parameters or [])),
        detectors=tuple(detectors or ()),
        valid=RunRange.parse(runs) if runs else None,
        without=frozenset(mode for mode in without.split(",") if mode),
        codes=_codes(codes),
        again=again,
        anyway=anyway,
        require_check=require_check,
    )
    with crew_of_environment() as crew:
        number = newest_run(store, experiment) if run is None else run
        named_one = detectors[0] if detectors and len(detectors) == 1 else ""
        labels = Labels(experiment, number, named_one, kind, serials=tuple(serials or ()))
        data = data_of(store, labels, files or [], psana_of(psana_python), patience_of(wait))
        progress = progress_of("dark", quiet=as_json or crew.rank != 0)
        made = make(store, request, data, stamp(message), progress, crew)
    if made is None:
        return
    if as_json:
        emit_json(_document(store, made))
    else:
        _print(store, made)


def _codes(text: str) -> tuple[int, ...]:
    from calstore.errors import Invalid

    try:
        return tuple(int(code) for code in text.split(",") if code)
    except ValueError:
        raise Invalid(f"{text!r} are no event codes; write them as 162,-40") from None


def _print(store: Store, made: DarkMade) -> None:
    from calstore.model.detectors import MASKED
    from calstore.repository.bad_pixels import bad_pixels

    ref = made.record.log.removeprefix("refs/")
    for each in made.detectors:
        frames = ", ".join(f"{mode} {n}".strip() for mode, n in each.frames.items())
        frames += " (read before)" if each.is_remembered else ""
        typer.echo(f"{printable(each.source)}  {_recipe(each)}  frames {frames}")
        if each.is_short:
            gate_frames = each.recipe.gate_frames
            typer.echo(
                f"  fewer than {gate_frames} frames: the gates are made from those there are"
            )
        if each.inherited.constants:
            types = ", ".join(each.inherited.constants)
            typer.echo(f"  {types} of the same panels taken over from {each.inherited.source}")
        for mode, origin in each.derived.manifest.modes.items():
            if origin != "measured":
                typer.echo(f"  {printable(mode)} is {origin}, not measured")
        lines = bad_pixels(store, each.derived.results["pixel_status"], each.status_before)
        typer.echo(_table(lines))
        if any(line.bit == MASKED and line.before and not line.pixels for line in lines):
            warn(f"the mask in the status before is not in this one: calstore mask {ref} …")
        for finding in made.findings[each.source]:
            typer.echo(f"  {finding.severity}: {finding.type_name}, {printable(finding.what)}")
        if each.source in made.shadows:
            warn(f"{each.source} pedestals {made.shadows[each.source]}")
    if not any(made.findings.values()):
        typer.echo("check: nothing wrong or suspicious")
    typer.echo(named(made.record) if made.changed else f"{named(made.record)}  unchanged")
    typer.echo(f"next: calstore materialize {ref} DEST, then re-configure AMI", err=True)


def _recipe(each: DarkDetector) -> str:
    now, before = _spelled(each.recipe), each.recipe_before
    if before is None or before == each.recipe:
        return f"recipe {now}"
    return f"recipe {now}, CHANGED: the dark before has {_spelled(before)}"


def _spelled(recipe: DarkRecipe) -> str:
    from calstore.darks.recipe import recipe_text

    return recipe_text(recipe)


def _table(lines: tuple[BadPixels, ...]) -> str:
    rows = [("", "pixels", "before")]
    for line in lines:
        before = "-" if line.before is None else str(line.before)
        rows.append((f"  {line.meaning}", str(line.pixels), before))
    return table(rows)


def _document(store: Store, made: DarkMade) -> dict[str, Any]:
    from calstore.report.records import record_json

    return {
        "changed": made.changed,
        "detectors": [_detector_json(store, made, each) for each in made.detectors],
        "record": record_json(made.record),
        "runs": str(made.runs),
    }


def _detector_json(store: Store, made: DarkMade, each: DarkDetector) -> dict[str, Any]:
    from calstore.repository.bad_pixels import bad_pixels

    lines = bad_pixels(store, each.derived.results["pixel_status"], each.status_before)
    manifest, before = each.derived.manifest, each.recipe_before
    return {
        "arrays": {name: str(array.digest) for name, array in each.derived.results.items()},
        "bad_pixels": [
            {"before": line.before, "bit": line.bit, "meaning": line.meaning, "pixels": line.pixels}
            for line in lines
        ],
        "derivation": str(each.derived.reference.digest),
        "findings": [
            {"severity": finding.severity, "type": finding.type_name, "what": finding.what}
            for finding in made.findings[each.source]
        ],
        "frames": dict(each.frames),
        "inherited": dict.fromkeys(each.inherited.constants, each.inherited.source),
        "modes": dict(manifest.modes),
        "parameters": dict(manifest.parameters),
        "recipe": f"{manifest.recipe} {manifest.version}",
        "recipe_changed": before is not None and before != each.recipe,
        "remembered": each.is_remembered,
        "short": each.is_short,
        "source": each.source,
    }
