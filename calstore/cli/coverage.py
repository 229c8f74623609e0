"""calstore coverage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import (
    JsonOption,
    VersionArgument,
    approval_text,
    emit_json,
    opened,
    printable,
    table,
)

if TYPE_CHECKING:
    from calstore.repository.coverage import Answer
    from calstore.repository.version import Version
    from calstore.views.coverage import DetectorCoverage, TypeCoverage


def coverage(
    context: typer.Context,
    ref: VersionArgument,
    run: Annotated[
        int | None, typer.Option("--run", min=0, help="What this run gets, and why.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option("--detector", metavar="D", help="One detector: its source or a part of it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which constant each run gets, and where psana goes on with a default in silence.

    Also what no run gets because other ranges shadow it, what live AMI gets, and where the
    pedestals and another constant of one run are of different panels. No value is read; calstore
    check judges them.

    Example: calstore coverage xppn4116/main --run 137

    Exit codes: 3 no such version or detector, 6 a manifest is damaged.
    """
    from calstore.repository.approvals import approval_of
    from calstore.repository.coverage import answers
    from calstore.repository.coverage import coverage as cover

    store = opened(context)
    version = store[ref]
    approval = approval_of(store, version.digest)
    found = cover(version, detector)
    told = {} if run is None else {one.detector: list(answers(version, one, run)) for one in found}
    if as_json:
        from calstore.report.coverage import coverage_json

        emit_json(coverage_json(version, approval, run, found, told))
        return
    typer.echo(f"{version.name}  {version.digest}")
    if approval is not None:
        typer.echo(approval_text(approval))
    for one in found:
        typer.echo("\n" + printable("/".join(one.detector)))
        if run is None:
            rows = [row for covered in one.types for row in _rows(version, one, covered)]
        else:
            defaults = {covered.name: covered.default for covered in one.types}
            rows = [
                _answer_row(answer, defaults[answer.type_name]) for answer in told[one.detector]
            ]
        typer.echo("\n".join(f"  {line}" for line in table(rows).splitlines()))
        for line in _remarks(one, run):
            typer.echo(f"  {printable(line)}")


def _rows(
    version: Version, one: DetectorCoverage, covered: TypeCoverage
) -> Iterator[tuple[str, ...]]:
    by_range = version.detector(one.detector).manifest.constants[covered.name]
    name = covered.name
    for piece in covered.stretches:
        if piece.winner is None:
            yield name, piece.runs, "nothing", "", f"psana goes on with {covered.default}"
        else:
            is_live = covered.is_read_by_ami and piece.winner == covered.live
            digest = by_range[piece.winner].content.digest.short
            live = "live AMI too" if is_live and piece == covered.stretches[-1] else ""
            yield name, piece.runs, str(piece.winner), digest, live
        name = ""


def _answer_row(answer: Answer, default: str) -> tuple[str, ...]:
    if answer.constant is None:
        return answer.type_name, "nothing", "", f"psana goes on with {default}"
    constant, record = answer.constant, answer.record
    why = []
    if record is not None:
        when = record.stamp.when[:10]
        why.append(f"since {record.name}, {when} by {record.stamp.who}: {record.what}")
    if answer.beaten:
        why.append(f"goes before {', '.join(map(str, answer.beaten))}")
    return answer.type_name, str(constant.runs), constant.digest.short, "; ".join(why)


def _remarks(one: DetectorCoverage, run: int | None) -> Iterator[str]:
    for default in dict.fromkeys(one.absent.values()):
        names = ", ".join(name for name, text in one.absent.items() if text == default)
        yield f"no {names}: psana goes on with {default}"
    for mismatch in one.mismatches:
        if run is None or mismatch.first <= run <= mismatch.last:
            yield str(mismatch)
    if run is None:
        for covered in one.types:
            if covered.shadowed:
                yield f"{covered.name} {', '.join(map(str, covered.shadowed))}: no run gets it"
            if covered.is_read_by_ami and covered.live is None:
                yield f"live AMI finds no {covered.name}: no range goes to the end"
    yield from one.problems
