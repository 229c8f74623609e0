"""calstore promote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from calstore.cli.context import (
    JsonOption,
    MessageOption,
    complete_ref,
    emit_json,
    named,
    opened,
    printable,
    table,
    warn,
)

if TYPE_CHECKING:
    from calstore.repository.promote import Promoted
    from calstore.views.difference import FileDifference, RunDifference


def promote(
    context: typer.Context,
    sandbox: Annotated[
        str,
        typer.Argument(
            metavar="SANDBOX",
            help="A ref, or a record of it (xppn4116/users/wilson/mask@3).",
            autocompletion=complete_ref,
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="The ref that takes it in.", autocompletion=complete_ref
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what TARGET would get.")
    ] = False,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Give TARGET what was changed in a sandbox since it was forked from it.

    What others changed in TARGET meanwhile stays, run by run; where both changed what the same
    run gets, all such runs are listed and nothing is moved. The sandbox stays, and can be worked
    in and promoted again. What TARGET has undone since stays undone.

    Example: calstore promote xppn4116/users/wilson/mask xppn4116/main --dry-run

    Exit codes: 3 no such ref, 4 both changed the same runs, 5 a tag, or no common history.
    """
    from calstore.cli.identity import stamp
    from calstore.errors import Conflict
    from calstore.repository.promote import conflict_text
    from calstore.repository.promote import promote as take_in

    done = take_in(opened(context), sandbox, target, stamp(message), dry_run=dry_run)
    if as_json:
        emit_json(_document(done, dry_run))
    if done.conflicts:
        if as_json:
            raise typer.Exit(4)
        raise Conflict(conflict_text(done))
    if not as_json:
        _tell(done, dry_run)


def _tell(done: Promoted, dry_run: bool) -> None:
    rows = [_row(change) for change in done.changes]
    if rows:
        typer.echo("\n".join(f"    {line}" for line in table(rows).splitlines()))
    for dropped in done.dropped:
        warn(f"{dropped} is left out: no run got it, and it could not stay unused")
    if done.how == "contained":
        undone = ""
        if done.undone is not None:
            ref, _, number = done.undone.name.partition("@")
            again = f"calstore undo {ref} --to {int(number) - 1}"
            undone = f", and {done.undone.name} took it back; again: {again}"
        said = printable(f"unchanged: it has all of {done.source.name} already{undone}")
    else:
        verb = "would take in" if dry_run else "takes in"
        said = f"{verb} {done.source.name}, {done.how}"
    typer.echo(f"{named(done.record)}  {said}")


def _row(change: RunDifference | FileDifference) -> tuple[str, ...]:
    from calstore.views.difference import FileDifference

    if isinstance(change, FileDifference):
        return change.path, "", "", change.kind
    kind = "no run gets it" if change.kind == "unused" else change.kind
    return change.detector[1], change.type_name, change.runs, kind


def _document(done: Promoted, dry_run: bool) -> dict[str, Any]:
    from calstore.report.records import record_json
    from calstore.views.difference import FileDifference
    from calstore.views.merge import FileConflict

    return {
        "bases": [base.name for base in done.bases],
        "changed": done.changed,
        "conflicts": {
            "files": [
                {"path": each.path, "why": each.why}
                for each in done.conflicts
                if isinstance(each, FileConflict)
            ],
            "runs": [
                {**_place(each.detector, each.type_name, each.runs), "why": each.why}
                for each in done.conflicts
                if not isinstance(each, FileConflict)
            ],
        },
        "differences": {
            "files": [
                {"kind": each.kind, "path": each.path}
                for each in done.changes
                if isinstance(each, FileDifference)
            ],
            "runs": [
                {**_place(each.detector, each.type_name, each.runs), "kind": each.kind}
                for each in done.changes
                if not isinstance(each, FileDifference)
            ],
        },
        "dropped": [
            {
                **_place(each.detector, each.type_name, str(each.runs)),
                "xxh128": each.constant.content.digest.hex,
            }
            for each in done.dropped
        ],
        "dry_run": dry_run,
        "how": done.how,
        "record": record_json(done.record),
        "source": done.source.name,
    }


def _place(detector: tuple[str, str], type_name: str, runs: str) -> dict[str, str]:
    group, source = detector
    return {"group": group, "runs": runs, "source": source, "type": type_name}
