"""calstore approve."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import VersionArgument, approval_text, opened


def approve(
    context: typer.Context,
    ref: VersionArgument,
    status: Annotated[
        str, typer.Option("--status", metavar="STATUS", help="good, rejected or superseded.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", "-m", metavar="WHY", help="Why; others will read it.")
    ],
) -> None:
    """Vouch for the constants that REF names now, or warn of them; the newest word counts.

    The word is about the set of constants, under whatever names it is known: REF may move on, and
    calstore materialize --approved still takes this one. Nothing is signed: others see your name
    as claimed. A shared operator account must say who you are in $CALSTORE_USER.

    Example: calstore approve xppn4116/main --status good --reason "flat in the dark of run 137"

    Exit codes: 3 no such version, 5 no reason, or a shared account that names nobody.
    """
    from calstore.cli.identity import stamp
    from calstore.repository.approve import approve as vouch

    record = vouch(opened(context), ref, status, stamp(reason))
    _, _, named = record.what.partition(": ")
    typer.echo(f"{named}  {approval_text(record)}")
