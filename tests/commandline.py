"""The command, run as a shell runs it, and what a test writes and compares on disk."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from calstore.cli import app
from calstore.formats import psana_text_writer

OPAL = "Camera::CalibV1/XppEndstation.0:Opal1000.1"
EPIX = "Epix100a::CalibV1/XppGon.0:Epix100a.1"
EVERYBODYS_PYTHON = os.environ.get("CALSTORE_EVERYBODYS_PYTHON", sys.executable)
"""A Python with calstore that other accounts may run, for commands behind ``setpriv``."""

REAL_TREE = Path(__file__).resolve().parents[2] / "shared" / "data" / "calib-xpp"


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str
    raw: bytes


def run(*words: object, folder: Path) -> Outcome:
    """Run a command in this process; it sees only the arguments, the folder and the environment."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        argv = ["calstore", *map(str, words)]
        with patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
            try:
                app.run()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os.chdir(before)
    printed = out.buffer.getvalue()  # type: ignore[attr-defined]
    said = err.buffer.getvalue()  # type: ignore[attr-defined]
    return Outcome(code, printed.decode(errors="replace"), said.decode(errors="replace"), printed)


def spawn(
    *words: object,
    folder: Path,
    before: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a command in a process of its own, behind other words such as ``setpriv``."""
    python = EVERYBODYS_PYTHON if before else sys.executable
    done = subprocess.run(
        [*before, python, "-m", "calstore", *map(str, words)],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        check=False,
        timeout=60,
    )
    said = done.stderr.decode(errors="replace")
    return Outcome(done.returncode, done.stdout.decode(errors="replace"), said, done.stdout)


def pedestals_text(shift: float = 0.0, shape: tuple[int, ...] = (3, 4)) -> bytes:
    """A small psana file of pedestals, which every reader takes."""
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + np.float32(shift)
    return psana_text_writer.write(values, type_name="pedestals", comments=["small"])


def npy_bytes(array: np.ndarray, *, pickled: bool = False) -> bytes:
    """What ``numpy.save`` writes."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    """The files below a folder; it is made."""
    root.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return root


def snapshot(root: Path) -> dict[str, bytes | str]:
    """Everything below a folder: bytes of files, targets of links, and what else there is."""
    found: dict[str, bytes | str] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            key = str(path.relative_to(root))
            if path.is_symlink():
                found[key] = f"link to {path.readlink()}"
            elif path.is_dir():
                found[key] = "folder"
            else:
                found[key] = path.read_bytes() if path.is_file() else "special"
    return found


def regular_files(root: Path) -> dict[str, bytes]:
    """Path → bytes of each file below a folder, but for the receipt of a view."""
    return {
        path: data
        for path, data in snapshot(root).items()
        if isinstance(data, bytes) and not path.startswith(".calstore-view")
    }


@pytest.fixture(autouse=True)
def plain_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No store, no person, no width of a terminal and nothing kept of reads from outside."""
    monkeypatch.setenv("CALSTORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    for name in ("CALSTORE", "CALSTORE_USER", "COLUMNS", "_CALSTORE_COMPLETE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def camera_tree(tmp_path: Path) -> Path:
    """A calib directory with one small camera: two darks, a geometry, a HISTORY, a stranger."""
    return write_tree(
        tmp_path / "calib",
        {
            f"{OPAL}/pedestals/1-end.data": pedestals_text(100),
            f"{OPAL}/pedestals/10-20.data": pedestals_text(200),
            f"{OPAL}/pedestals/HISTORY": b"file:10-20.data  copy_of:x  exp:xpp  run:0010\n",
            f"{OPAL}/geometry/0-end.data": b"# a geometry\nIP 0 CAMERA 0  0 0 0  0 0 0  0 0 0\n",
            "notes.txt": b"by hand\n",
        },
    )


def store_of(folder: Path) -> str:
    """Where the store is that commands in a folder find."""
    return os.environ.get("CALSTORE") or str(folder / ".calstore")


@pytest.fixture
def calstore(tmp_path: Path, store_place: str) -> Callable[..., Outcome]:
    """The command, run in ``tmp_path``, with a store without refs."""
    assert run("init", store_place, folder=tmp_path).code == 0
    return lambda *words: run(*words, folder=tmp_path)
