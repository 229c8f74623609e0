"""calstore check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import (
    AnyDetectorArgument,
    AnyRunOption,
    AnyTypeArgument,
    JsonOption,
    VersionArgument,
    emit_json,
    opened,
    printable,
    progress_of,
    size_text,
)

if TYPE_CHECKING:
    from calstore.checks.finding import Finding
    from calstore.repository.check import Checked
    from calstore.repository.version import Version

_SHOWN_RUNS = 4


def check(
    context: typer.Context,
    ref: VersionArgument,
    detector: AnyDetectorArgument = None,
    type_name: AnyTypeArgument = None,
    run: AnyRunOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 also where something is suspicious.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge the constants: shapes, dead panels, bad pixels, gains the wrong way round.

    Wrong is what no reader can make good data of; what is suspicious a person should look at.
    Constants that no run gets are not judged, nor are files of other programs.
    Whether the constants are right for the data only a person can say: calstore approve.

    Example: calstore check xppn4116/main --run 137

    Exit codes: 0 nothing is wrong, 1 something is, 3 no such version, detector or constant,
    5 a type that has no rules, 6 an array is damaged.
    """
    from calstore.repository.check import check as judge

    version = opened(context)[ref]
    checked = judge(
        version, detector, type_name, run=run, progress=progress_of("check", quiet=as_json)
    )
    if as_json:
        emit_json(_document(version, run, checked))
    else:
        _print(version, checked)
    if not checked.is_good or (strict and checked.findings):
        raise typer.Exit(1)


def _print(version: Version, checked: Checked) -> None:
    from calstore.checks.finding import panels_text

    typer.echo(f"{version.name}  {version.digest}")
    for one in checked.detectors:
        typer.echo("\n" + printable("/".join(one.detector)))
        for finding in one.findings:
            where = [f"{finding.type_name} {_runs_text(finding)}"]
            where += [panels_text(finding.panels)] if finding.panels else []
            typer.echo(f"  {finding.severity}: {printable(', '.join(where))}")
            typer.echo(f"    {printable(finding.what)}")
            typer.echo(f"    {printable(finding.leads_to)}")
        if not one.findings:
            typer.echo("  nothing found" if one.constants else "  nothing that could be judged")
    typer.echo(f"\n{_verdict(checked)}")


def _verdict(checked: Checked) -> str:
    judged = (
        f"judged {_counted(checked.constants, 'constant')}, "
        f"read {_counted(checked.arrays, 'array')} ({size_text(checked.size)})"
    )
    if not checked.constants:
        return "nothing could be judged: there is no constant of a type that has rules"
    if not checked.findings:
        return f"{judged}: nothing wrong or suspicious"
    return f"{judged}: {checked.wrong or 'nothing'} wrong, {checked.suspicious} suspicious"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _runs_text(finding: Finding) -> str:
    more = len(finding.runs) - _SHOWN_RUNS
    return ", ".join(finding.runs[:_SHOWN_RUNS]) + (f" and {more} more" if more > 0 else "")


def _document(version: Version, run: int | None, checked: Checked) -> dict[str, Any]:
    return {
        "arrays": checked.arrays,
        "bytes": checked.size,
        "constants": checked.constants,
        "detectors": [
            {
                "constants": one.constants,
                "findings": [_finding_json(finding) for finding in one.findings],
                "group": one.detector[0],
                "source": one.detector[1],
            }
            for one in checked.detectors
        ],
        "good": checked.is_good,
        "manifest": str(version.digest),
        "run": run,
        "suspicious": checked.suspicious,
        "version": version.name,
        "wrong": checked.wrong,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "leads_to": finding.leads_to,
        "panels": [{"mode": panel.mode, "number": panel.number} for panel in finding.panels],
        "runs": list(finding.runs),
        "severity": finding.severity,
        "type": finding.type_name,
        "what": finding.what,
    }
