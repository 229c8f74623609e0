"""The application: its commands, and how an error becomes an exit code."""

from __future__ import annotations

import signal
import sys
from typing import Annotated, Final

import typer
from click.utils import PacifyFlushWrapper

from calstore._version import __version__
from calstore.cli import (
    adopt,
    approve,
    check,
    clone,
    compare_runs,
    config,
    copy,
    coverage,
    dark,
    delete_ref,
    demo,
    diff,
    drift,
    fork,
    get,
    image,
    import_,
    init,
    log,
    mask,
    materialize,
    mirror,
    prefetch,
    promote,
    pull,
    push,
    refs,
    repair,
    reproduce,
    run_,
    runs,
    serve,
    set_,
    show,
    sources,
    status,
    tag,
    undo,
    unset,
    used,
    verify,
)
from calstore.cli.exit_codes import exit_code
from calstore.errors import CalstoreError

_BROKEN_PIPE: Final = 128 + signal.SIGPIPE
"""What a shell sees of other programs whose reader went away."""

app = typer.Typer(
    name="calstore",
    no_args_is_help=True,
    # rich takes longer to import than most commands run
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

app.command("init")(init.init)
app.command("import")(import_.import_)
app.command("refs")(refs.refs)
app.command("log")(log.log)
app.command("show")(show.show)
app.command("coverage")(coverage.coverage)
app.command("diff")(diff.diff)
app.command("drift")(drift.drift)
app.command("compare-runs")(compare_runs.compare_runs)
app.command("get")(get.get)
app.command("image")(image.image)
app.command("fork")(fork.fork)
app.command("tag")(tag.tag)
app.add_typer(runs.app, name="runs")
app.command("sources")(sources.sources)
app.command("dark")(dark.dark)
app.command("mask")(mask.mask)
app.command("reproduce")(reproduce.reproduce)
app.command("set")(set_.set_)
app.command("unset")(unset.unset)
app.command("copy")(copy.copy)
app.command("promote")(promote.promote)
app.command("undo")(undo.undo)
app.command("delete-ref")(delete_ref.delete_ref)
app.command("materialize")(materialize.materialize)
app.command("deploy", hidden=True)(materialize.materialize)
app.command("status")(status.status)
app.command("adopt")(adopt.adopt)
app.command("approve")(approve.approve)
app.command("serve")(serve.serve)
app.command("run", context_settings={"ignore_unknown_options": True})(run_.run_)
app.command("prefetch")(prefetch.prefetch)
app.command("used")(used.used)
app.command("check")(check.check)
app.command("config")(config.config)
app.command("push")(push.push)
app.command("pull")(pull.pull)
app.command("clone")(clone.clone)
app.command("mirror")(mirror.mirror)
app.command("verify")(verify.verify)
app.command("repair")(repair.repair)
app.command("demo")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"calstore {__version__}, store format 1")
        raise typer.Exit


@app.callback()
def root(
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|URL",
            help="The store; else $CALSTORE, else the nearest .calstore upwards.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Keep calibration constants: every version, where it came from, and a directory for psana.

    Example: calstore init; calstore import /sdf/data/lcls/ds/xpp/xppn4116/calib xppn4116/main

    Exit codes: 0 done, 1 a check failed, 2 usage, 3 not found, 4 conflict, 5 invalid, 6 corrupt.
    """


def run() -> None:
    """Run the command line, and exit."""
    try:
        app()
    except SystemExit:
        if isinstance(sys.stdout, PacifyFlushWrapper):
            # Nobody reads any more, which click ends with 1: that would be a finding of check.
            sys.exit(_BROKEN_PIPE)
        raise
    except CalstoreError as error:
        typer.echo(f"calstore: {error}", err=True)
        sys.exit(exit_code(error))
