"""calstore demo."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def demo(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A new directory to work in.")
    ] = Path("calstore-demo"),
) -> None:
    """Try the main job on a sample: import, fork, change a constant, materialize both.

    Everything happens below DIR, which must not exist; remove it when you have seen enough.

    Example: calstore demo

    Exit codes: 4 DIR is there already.
    """
    from calstore.formats import npy
    from calstore.repository.files import write_file
    from calstore.repository.sample import sample_mask, write_sample

    store, calib = directory / "store", directory / "calib"
    sandbox = "demo/users/you/beamstop"
    _say("A calib directory, such as an experiment has: an Epix100a and a Jungfrau.")
    write_sample(calib)
    typer.echo(f"  {calib}")

    _say("A store, and the directory as its first version. The directory is only read.")
    _run("init", store)
    _run("--store", store, "import", calib, "demo/main", "-m", "as found")

    _say("A tool that knows nothing of calstore changes a file; import again is the history.")
    changed = calib / "Epix100a::CalibV1/XppGon.0:Epix100a.1/geometry/0-end.data"
    changed.write_text(changed.read_text().replace("-100000", " -99000"))
    _run("--store", store, "import", calib, "demo/main", "-m", "moved the detector by 1 mm")
    _run("--store", store, "import", calib, "demo/main")
    _run("--store", store, "log", "demo/main")

    _say("A sandbox: a fork costs one small file. In it, runs 5 to 20 get a mask.")
    _run("--store", store, "fork", "demo/main", sandbox, "-m", "hide the beam stop")
    mask = directory / "mask.npy"
    write_file(mask, *npy.render(sample_mask()))
    _run("--store", store, "set", sandbox, "Epix100a.1", "pixel_mask", "5-20", mask)

    _say("Both versions as directories that psana reads.")
    _run("--store", store, "materialize", "demo/main", directory / "main")
    _run("--store", store, "materialize", sandbox, directory / "sandbox")

    _say("What run 15 gets in each. Where there is nothing, psana would use a default in silence.")
    _run("--store", store, "show", "demo/main", "Epix100a.1", "--run", "15")
    _run("--store", store, "show", sandbox, "Epix100a.1", "--run", "15")

    _say("Nothing was lost on the way:")
    _run("--store", store, "verify")

    _say("Try next:")
    name = shlex.quote(str(store))
    for command in (
        f"calstore --store {name} show {sandbox} Epix100a.1 pixel_mask",
        f"calstore --store {name} get demo/main Epix100a.1 pedestals --run 137 -o pedestals.npy",
        f"calstore --store {name} materialize demo/main@1 {shlex.quote(str(directory / 'before'))}",
        f"diff -r {shlex.quote(str(calib))} {shlex.quote(str(directory / 'main'))}",
    ):
        typer.echo(f"  {command}")


def _say(text: str) -> None:
    typer.echo(f"\n{text}")


def _run(*arguments: object) -> None:
    """Show a command and run it as if it had been typed."""
    from calstore.cli.app import app

    words = [str(argument) for argument in arguments]
    typer.echo(f"  $ calstore {shlex.join(words)}")
    app(words, standalone_mode=False)
