"""calstore sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import JsonOption, emit_json, printable, table
from calstore.cli.raw import PsanaOption, contents_of

if TYPE_CHECKING:
    from calstore.frames.source import Contents, DetectorData

_SHOWN_SERIALS = 2


def sources(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(metavar="FILE…|EXPERIMENT RUN", help="Files of one run, or a run."),
    ],
    psana_python: PsanaOption = "",
    as_json: JsonOption = False,
) -> None:
    """List what raw data hold: detectors with type, panels, shape, events and steps.

    FILE is what calstore dark --from takes; the files of psana are streams of one run. With
    EXPERIMENT RUN the files are those where the store says that the experiment has its data.
    Frames are not read, apart from what psana needs to tell their shape.

    Example: calstore sources mfx101332224-r0007-s000-c000.xtc2

    Exit codes: 3 no such file or run, or no psana, 5 no raw frames.
    """
    contents = contents_of(context, what, psana_python)
    if as_json:
        emit_json(_document(contents))
        return
    run = "" if contents.run is None else f"run {contents.run}"
    typer.echo(" ".join(part for part in (printable(contents.experiment), run) if part) or "no run")
    rows: list[tuple[str, ...]] = [("name", "type", "frame", "events", "steps", "panels")]
    rows += [_row(each) for each in contents.detectors]
    typer.echo(table(rows))


def _row(detector: DetectorData) -> tuple[str, ...]:
    counts = [step.events for step in detector.steps]
    known = [count for count in counts if count is not None]
    events = str(sum(known)) if len(known) == len(counts) else "?"
    modes = [step.mode or str(step.number) for step in detector.steps]
    shape = "×".join(map(str, detector.shape))
    serials = list(detector.serials[:_SHOWN_SERIALS])
    if len(detector.serials) > _SHOWN_SERIALS:
        serials.append(f"and {len(detector.serials) - _SHOWN_SERIALS} more")
    frame = f"{detector.dtype} {shape}"
    return detector.name, detector.kind, frame, events, ", ".join(modes), " ".join(serials)


def _document(contents: Contents) -> dict[str, Any]:
    return {
        "detectors": [
            {
                "dtype": each.dtype,
                "kind": each.kind,
                "name": each.name,
                "serials": list(each.serials),
                "shape": list(each.shape),
                "steps": [
                    {"events": step.events, "mode": step.mode, "number": step.number}
                    for step in each.steps
                ],
            }
            for each in contents.detectors
        ],
        "experiment": contents.experiment,
        "run": contents.run,
    }
