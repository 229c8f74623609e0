"""calstore show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from calstore.cli.context import (
    AnyDetectorArgument,
    AnyRunOption,
    AnyTypeArgument,
    JsonOption,
    VersionArgument,
    approval_json,
    approval_text,
    emit_json,
    opened,
    printable,
    size_text,
    table,
)

if TYPE_CHECKING:
    from calstore.model.records import Record
    from calstore.repository.version import CalibrationConstant, DetectorConstants, Version


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
    from calstore.errors import NotFound
    from calstore.repository.approvals import approval_of

    store = opened(context)
    version = store[ref]
    approval = approval_of(store, version.digest)
    keys = version.detectors if detector is None else (version.find(detector),)
    found = [
        constant for key in keys for constant in _constants(version.detector(key), type_name, run)
    ]
    if not found and (type_name is not None or run is not None):
        at = "" if run is None else f" at run {run}"
        what = f"{type_name or 'constants'} for {detector or 'any detector'}"
        raise NotFound(f"no {what} in {version.name}{at}; calstore show {ref} lists all")
    if as_json:
        document = _document(version, found, detector is None)
        emit_json({**document, "approval": approval_json(approval)})
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


def _constants(
    detector: DetectorConstants, type_name: str | None, run: int | None
) -> Iterator[CalibrationConstant]:
    from calstore.repository.version import CalibrationConstant

    for name, by_range in detector.manifest.constants.items():
        if type_name not in (None, name):
            continue
        winner = None if run is None else detector.timeline(name).at(run)
        for runs, constant in by_range.items():
            if run is None or runs == winner:
                yield CalibrationConstant(detector, name, runs, constant)


def _row(constant: CalibrationConstant) -> tuple[str, ...]:
    from calstore.model.arrays import ArrayReference

    content = constant.constant.content
    detector = constant.detector
    if isinstance(content, ArrayReference):
        what = f"{content.dtype} {'×'.join(map(str, content.shape)) or 'scalar'}"
    else:
        what = f"file, {size_text(content.size)}"
    remark = "" if _is_used(constant) else "no run gets it"
    row = (detector.source, constant.type_name, str(constant.runs), what, constant.digest.short)
    return (*row, remark)


def _is_used(constant: CalibrationConstant) -> bool:
    return constant.runs in constant.detector.timeline(constant.type_name).winners


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


def _document(
    version: Version, constants: list[CalibrationConstant], whole: bool
) -> dict[str, Any]:
    files = version.manifest.files if whole else {}
    return {
        "constants": [_constant_json(constant) for constant in constants],
        "files": [
            {"path": path, "size": blob.size, "xxh128": blob.digest.hex}
            for path, blob in files.items()
        ],
        "manifest": {
            "sha256": version.reference.sha256.hex(),
            "size": version.reference.size,
            "xxh128": version.digest.hex,
        },
        "version": version.name,
    }


def _constant_json(constant: CalibrationConstant) -> dict[str, Any]:
    from calstore.model.arrays import ArrayReference

    content, source = constant.constant.content, constant.constant.source
    derivation = constant.constant.derivation
    is_array = isinstance(content, ArrayReference)
    reference = content.content if isinstance(content, ArrayReference) else content
    return {
        "derivation": None if derivation is None else derivation.digest.hex,
        "dtype": content.dtype if isinstance(content, ArrayReference) else None,
        "group": constant.detector.group,
        "kind": "array" if is_array else "blob",
        "name": constant.constant.name or f"{constant.runs}.data",
        "runs": str(constant.runs),
        "sha256": reference.sha256.hex(),
        "shape": list(content.shape) if isinstance(content, ArrayReference) else None,
        "size": reference.size,
        "source": constant.detector.source,
        "type": constant.type_name,
        "used": _is_used(constant),
        "verbatim": None if source is None else source.digest.hex,
        "xxh128": reference.digest.hex,
    }
