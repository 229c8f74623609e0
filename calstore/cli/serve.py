"""calstore serve."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import complete_ref, opened, printable

if TYPE_CHECKING:
    from calstore.repository.store import Store
    from calstore.serve.catalogue import Catalogue


def serve(
    context: typer.Context,
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="REF…",
            help="A ref or a record for each experiment, as mfx101332224/main@7.",
            autocompletion=complete_ref,
        ),
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 is any free one.")
    ] = 8642,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Go with the refs when they move, for runs that begin then."),
    ] = False,
) -> None:
    """Serve constants to psana 2, in the place of its calibration service.

    Each version is pinned when the service starts. A run gets exactly one constant of each type,
    for its own panels by serial; panels that the version does not know get none. Nothing can be
    written, and only this host can read.

    Example: calstore serve mfx101332224/main

    Exit codes: 3 no such version, 4 the port is taken, 5 two versions of one experiment.
    """
    from calstore.serve.app import bound, server_of

    catalogue = catalogue_of(opened(context), refs, follow=follow)
    with bound("127.0.0.1", port) as listening:
        for experiment, version in catalogue.experiments.items():
            typer.echo(f"{printable(experiment)}  {version.name}  {version.digest}")
        number = listening.getsockname()[1]
        typer.echo(f"export LCLS_CALIB_HTTP=http://127.0.0.1:{number}/ws")
        server_of(catalogue).run(sockets=[listening])


def catalogue_of(store: Store, refs: list[str], *, follow: bool) -> Catalogue:
    """The catalogue of some versions, one for each experiment; `Invalid` for two of one."""
    from calstore.errors import Invalid
    from calstore.serve.catalogue import Catalogue, Shown

    shown: dict[str, Shown] = {}
    for text in refs:
        record = store[text].record
        if record is None:
            raise Invalid(f"{text} does not say of which experiment it is; name a ref, or REF@N")
        experiment = record.log.split("/")[1]
        if experiment in shown:
            raise Invalid(f"{text} and {shown[experiment].name} are both of {experiment}; name one")
        shown[experiment] = Shown(experiment, text)
    return Catalogue(store, tuple(shown.values()), follow, time.monotonic)
