"""calstore delete-ref."""

from __future__ import annotations

import typer

from calstore.cli.context import MessageOption, RefArgument, opened


def delete_ref(context: typer.Context, ref: RefArgument, message: MessageOption = "") -> None:
    """Delete a ref. Its records and constants stay, and can be named by number.

    Example: calstore delete-ref xppn4116/users/wilson/mask -m "merged"

    Exit codes: 3 no such ref, 4 it moved meanwhile.
    """
    from calstore.cli.identity import stamp
    from calstore.repository.branch import delete_ref as delete

    record = delete(opened(context), ref, stamp(message))
    name = record.log.removeprefix("refs/")
    typer.echo(f"{record.name}  deleted; {name}@{record.number - 1} is what it was")
