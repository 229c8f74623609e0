"""calstore serve."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calstore.cli.context import complete_ref, opened, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calstore.repository.store import Store
    from calstore.serve.access import Access
    from calstore.serve.catalogue import Catalogue

LOOPBACK = "127.0.0.1"

WritesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--writes-to",
        metavar="REF",
        help="Let psana 2's tools deposit, into this ref; forked from the version if it is new.",
    ),
]


def serve(
    context: typer.Context,
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="REF…",
            help="A version for each experiment, as mfx101332224/main@7 or mfx101332224=xxh128:…",
            autocompletion=complete_ref,
        ),
    ],
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")
    ] = LOOPBACK,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 is any free one.")
    ] = 8642,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Go with the refs when they move, for runs that begin then."),
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Only for those who have its text; made if it is not there."
        ),
    ] = None,
    allow_anonymous_read: Annotated[
        bool, typer.Option("--allow-anonymous-read", help="Who only reads needs no token.")
    ] = False,
    writes_to: WritesOption = None,
) -> None:
    """Serve constants to psana 2, in the place of its calibration service.

    Each version is pinned when the service starts. A run gets exactly one constant of each type,
    for its own panels by serial; panels that the version does not know get none. Nothing can be
    written, unless a ref for that is named; then a token is needed. Only this host can read, unless
    another address is given. A line for each request goes to stderr, and who was given what into
    the store (see: calstore used).

    Example: calstore serve mfx101332224/main

    Example: calstore serve mfx101332224/main --writes-to mfx101332224/deploys --token-file token

    Exit codes: 3 no such version, 4 the port is taken, 5 two versions of one experiment, or an
    address for everybody or writing without a token.
    """
    from calstore.cli.identity import stamp
    from calstore.errors import Invalid

    require_extra()
    from calstore.serve.api import Api
    from calstore.serve.app import application, bound, running
    from calstore.serve.deposits import Deposits
    from calstore.serve.use_book import UseBook

    if writes_to and token_file is None:
        raise Invalid("who may write needs a token: --token-file FILE, which is made if need be")
    store = opened(context)
    access = access_of(host, token_file, allow_anonymous_read=allow_anonymous_read)
    catalogue = catalogue_of(store, refs, follow=follow, sandboxes=writes_to or ())
    sandboxes = sandboxes_of(writes_to or ())
    deposits = Deposits(catalogue, sandboxes, stamp) if sandboxes else None
    log_to_stderr(logging.INFO)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with bound(host, port) as listening, UseBook(stamp) as book:
        app = application(catalogue, book, access, deposits=deposits, more=Api(store).routes())
        for experiment, version in catalogue.experiments.items():
            typer.echo(f"{printable(experiment)}  {version.name}  {version.digest}")
        typer.echo(f"export LCLS_CALIB_HTTP={url_of(host, listening.getsockname()[1])}")
        if token_file is not None:
            typer.echo(f"export CALIB_JWT=$(cat {printable(str(token_file))})")
        with running(app, listening):
            ended.wait()


def require_extra() -> None:
    """Raise `NotFound` where what the service is built upon is not installed."""
    from importlib.util import find_spec

    from calstore.errors import NotFound

    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise NotFound("the service needs more packages: pip install 'calstore[serve]'")


def url_of(host: str, port: int) -> str:
    """What psana2 is told, for a service at an address of this host."""
    import socket

    name = socket.gethostname() if host in ("", "0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/ws"


def access_of(host: str, token_file: Path | None, *, allow_anonymous_read: bool) -> Access:
    """Who may ask; `Invalid` for an address that others reach, and no word about them."""
    from calstore.errors import Invalid
    from calstore.serve.access import Access, token_of

    token = None if token_file is None else token_of(token_file)
    if token is None and not allow_anonymous_read and not _is_loopback(host):
        raise Invalid(
            f"others reach {host}; say who may read: --token-file FILE, or --allow-anonymous-read"
        )
    return Access(token, anybody_reads=token is None or allow_anonymous_read)


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def catalogue_of(
    store: Store, refs: list[str], *, follow: bool = False, sandboxes: Sequence[str] = ()
) -> Catalogue:
    """The catalogue of some versions, one for each experiment.

    Parameters
    ----------
    sandboxes
        Refs that are served in the place of their experiments' versions, and move; made from
        these where they are not there.

    Raises
    ------
    Invalid
        For two versions of an experiment, or a sandbox of one that is not served.
    """
    from calstore.errors import Invalid
    from calstore.serve.catalogue import Catalogue, Shown

    shown: dict[str, Shown] = {}
    for text in refs:
        experiment, name = shown_of(store, text)
        if experiment in shown:
            raise Invalid(f"{text} and {shown[experiment].name} are both of {experiment}; name one")
        shown[experiment] = Shown(experiment, name, follow)
    for experiment, ref in sandboxes_of(sandboxes).items():
        if experiment not in shown:
            raise Invalid(f"{ref} is of {experiment}, which is not served; name its version too")
        _fork_if_new(store, shown[experiment].name, ref)
        shown[experiment] = Shown(experiment, ref, follows=True)
    return Catalogue(store, tuple(shown.values()), time.monotonic)


def sandboxes_of(refs: Sequence[str]) -> dict[str, str]:
    """Experiment → the ref that deposits go to; `Invalid` for two of one experiment."""
    from calstore.errors import Invalid
    from calstore.model.names import RefName

    found: dict[str, str] = {}
    for text in refs:
        experiment = RefName(text).experiment
        if experiment in found:
            raise Invalid(f"{text} and {found[experiment]} are both of {experiment}; name one")
        found[experiment] = text
    return found


def _fork_if_new(store: Store, version: str, ref: str) -> None:
    from calstore.cli.identity import stamp
    from calstore.model.names import RefName
    from calstore.repository.branch import fork
    from calstore.repository.commit import refuse_tag

    name = RefName(ref)
    head = store.head(name.log)
    if head is None:
        fork(store, version, ref, stamp("for what psana 2's tools deposit"))
    else:
        refuse_tag(store, name)


def shown_of(store: Store, text: str) -> tuple[str, str]:
    """The experiment and the version of ``REF`` or ``EXPERIMENT=REF``; `Invalid` without one."""
    from calstore.errors import Invalid
    from calstore.repository.settings import is_experiment

    experiment, equals, name = text.partition("=")
    if equals:
        if not is_experiment(experiment):
            raise Invalid(f"{experiment!r} is no name of an experiment; write mfx101332224={name}")
        return experiment, name
    record = store[text].record
    if record is None:
        raise Invalid(f"{text} does not say for which experiment; write mfx101332224={text}")
    return record.log.split("/")[1], text


def log_to_stderr(level: int) -> None:
    """Let the service say what it does, or only what is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name in ("calstore.serve", "calstore.access"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)
        logger.propagate = False
