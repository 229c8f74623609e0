"""calstore show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from calstore.cli.context import (
    AnyDetectorArgument,
    AnyRunOption,
    AnyTypeArgument,
    JsonOption,
    VersionArgument,
    approval_text,
    emit_json,
    opened,
    printable,
    size_text,
    table,
)

if TYPE_CHECKING:
    from calstore.model.records import Record
    from calstore.repository.version import CalibrationConstant, Version


def show(
    context: typer.Context,
    ref: VersionArgument,
    detector: AnyDetectorArgument = None,
    type_name: AnyTypeArgument = None,
    run: AnyRunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a version holds: its constants by detector, type and run range.

    With D and T it also says where each constant comes from. Values are not read; calstore get
    gives them.

    Example: calstore show xppn4116/main Epix100a.1 --run 137

    Exit codes: 3 no such version, detector or type, 6 a manifest is damaged.
    """
    from calstore.report.show import constants_of, show_json
    from calstore.repository.approvals import approval_of

    store = opened(context)
    version = store[ref]
    approval = approval_of(store, version.digest)
    found = constants_of(version, detector, type_name, run)
    if as_json:
        emit_json(show_json(version, found, approval, whole=detector is None))
        return
    typer.echo(f"{version.name}  {version.digest}")
    if approval is not None:
        typer.echo(approval_text(approval))
    typer.echo(table([_row(constant) for constant in found]))
    if type_name is not None:
        _show_provenances(version, found)
        for constant in found:
            _show_document(constant)
            _show_derivation(constant)
    elif detector is None and version.manifest.files:
        typer.echo(f"and {len(version.manifest.files)} other files")


def _row(constant: CalibrationConstant) -> tuple[str, ...]:
    from calstore.model.arrays import ArrayReference
    from calstore.report.show import is_used

    content = constant.constant.content
    detector = constant.detector
    if isinstance(content, ArrayReference):
        what = f"{content.dtype} {'×'.join(map(str, content.shape)) or 'scalar'}"
    else:
        what = f"file, {size_text(content.size)}"
    remark = "" if is_used(constant) else "no run gets it"
    row = (detector.source, constant.type_name, str(constant.runs), what, constant.digest.short)
    return (*row, remark)


def _show_provenances(version: Version, constants: list[CalibrationConstant]) -> None:
    from calstore.repository.provenance import provenances

    ref = version.name.partition("@")[0]
    found = provenances(version, constants)
    for constant, its in zip(constants, found, strict=bool(found)):
        typer.echo(f"{constant.runs} since {_told(its.record)}")
        for line in its.record.stamp.why.splitlines():
            typer.echo(f"    {printable(line)}")
        if its.arrived != its.record:
            typer.echo(f"    in {ref} since {_told(its.arrived)}")
        for said in its.history:
            typer.echo(f"    HISTORY says: {printable(said.text)}")


def _show_document(constant: CalibrationConstant) -> None:
    from datetime import UTC, datetime

    from calstore.repository.documents import document_of

    told = document_of(constant)
    if told is None:
        return
    database, document = told
    when = datetime.fromtimestamp(document.seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    by = f"{document.told('uid') or 'somebody'} on {document.told('host') or 'some host'}"
    typer.echo(printable(f"{constant.runs} was deposited in {database}, {when} UTC by {by}"))
    if database != f"cdb_{document.told('experiment')}":
        runs = f"{document.told('run')} to {document.told('run_end')}"
        whose = document.told("experiment") or "some experiment"
        typer.echo(printable(f"    a fall-back of the detector: made for runs {runs} of {whose}"))
    told_before = constant.provenance.record.stamp.why if constant.provenance else ""
    for line in (document.told("comment"), document.command):
        if line not in ("", told_before):
            typer.echo(f"    {printable(line)}")


def _show_derivation(constant: CalibrationConstant) -> None:
    from calstore.model.derivations import FRAMES
    from calstore.model.digest import Reference
    from calstore.repository.results import input_of

    derivation = constant.derivation
    if derivation is None:
        return
    typer.echo(
        f"{constant.runs} derived by {printable(derivation.recipe)} {derivation.version}, "
        f"{derivation.reference.digest}"
    )
    for role, item in derivation.inputs.items():
        told = item.content.digest.short
        if item.kind == FRAMES and isinstance(item.content, Reference):
            read = input_of(constant.detector.version.store, item.content)
            told = (
                f"{read.frames.count} of run {read.run} of {read.experiment}, step {read.step}, "
                f"{read.frames.digest.short}"
            )
        typer.echo(f"    {printable(role)}: {printable(told)}")
    for mode, origin in derivation.modes.items():
        typer.echo(f"    {printable(mode)}: {origin}")
    values = " ".join(f"{name}={value}" for name, value in derivation.parameters.items())
    typer.echo(f"    {printable(values)}")


def _told(record: Record) -> str:
    when = record.stamp.when[:19].replace("T", " ")
    return printable(f"{record.name}, {when} by {record.stamp.who}: {record.what}")
