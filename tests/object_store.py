"""A real S3 server on loopback (moto, conditional writes on), and places for stores on it."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from calstore.repository.store import open_store

BUCKET = "calibrations"
SERVER = Path(__file__).with_name("s3_server.py")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, timeout_s: float = 60) -> None:
    """Return when somebody listens at a port of this host."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def environment(port: int) -> dict[str, str]:
    """What S3's clients read: where the server is, and who asks."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def server(**variables: str) -> Iterator[int]:
    """The port of a server that holds nothing yet, in a process of its own."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(SERVER), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )
    try:
        wait_for(port)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of a bucket; the environment says where it is."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'calstore[s3]'")
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    import s3fs

    with server() as port, patch.dict(os.environ, environment(port)):
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["directory", "s3"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Gives a place at which there is no store yet, each time another one."""
    if request.param == "directory":
        return lambda: str(tmp_path / f"far-{secrets.token_hex(4)}")
    bucket: str = request.getfixturevalue("s3")
    return lambda: f"{bucket}/{secrets.token_hex(8)}"


@pytest.fixture(params=["directory", "s3"])
def store_place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Where a test's store shall be: every verb does the same in a directory and on S3.

    Commands that run in ``tmp_path`` find it.
    """
    if request.param == "directory":
        return str(tmp_path / ".calstore")
    place = f"{request.getfixturevalue('s3')}/{secrets.token_hex(8)}"
    monkeypatch.setenv("CALSTORE", place)
    _trust(monkeypatch)
    return place


@pytest.fixture(params=["memory", "s3"])
def kept_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a store shall be that no command asks: every verb does the same there."""
    if request.param == "memory":
        return "memory:"
    _trust(monkeypatch)
    return f"{request.getfixturevalue('s3')}/{secrets.token_hex(8)}"


def _trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the proof of a new place, forty requests that have tests of their own."""
    monkeypatch.setattr("calstore.store.probe.prove", lambda backend, name: None)


def shorten(place: str, pattern: str) -> str:
    """Take the last byte of a file of a store, wherever that is; what people are told it is."""
    files = open_store(place).own
    key = next(key for key in files.list("") if fnmatch.fnmatchcase(key, pattern))
    data = files.get(key)
    files.delete(key)
    files.create(key, data[:-1])
    return files.describe(key)
