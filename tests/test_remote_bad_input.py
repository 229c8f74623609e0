"""Stores behind URLs and wrong input: one clear line, an exit code, nothing half done."""

from __future__ import annotations

import json
import secrets
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from builders import small_files, write_files
from commandline import Outcome, run, spawn
from object_store import environment, server

MAIN = "cxis0113/main"
_READ_ONLY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    ],
}


def refused(outcome: Outcome, code: int, *said: str) -> str:
    """Check that a command was refused in one line; that line."""
    lines = outcome.err.splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("calstore: ")
    for text in said:
        assert text in lines[0]
    assert outcome.code == code, lines[0]
    assert outcome.out == ""
    return lines[0]


@pytest.fixture
def place(s3: str, small_tree: Path, tmp_path: Path) -> str:
    """A store on S3 with a version."""
    place = f"{s3}/{secrets.token_hex(8)}"
    assert run("init", place, folder=tmp_path).code == 0
    done = run("--store", place, "import", small_tree, MAIN, "-m", "as found", folder=tmp_path)
    assert done.code == 0, done.err
    return place


def raw(place: str) -> Mapping[str, bytes]:
    from s3fs import S3FileSystem

    files = S3FileSystem(use_listings_cache=False)
    return {path: files.cat_file(path) for path in files.find(place)}


# --- places ------------------------------------------------------------------------------------


def test_a_name_that_no_bucket_has_is_said_at_once(s3: str, tmp_path: Path) -> None:
    for words in (["init", "s3://No!Bucket/x"], ["--store", "s3://No!Bucket/x", "refs"]):
        refused(
            run(*words, folder=tmp_path), 5, "cannot be asked", 'Invalid bucket name "No!Bucket"'
        )


def test_no_such_bucket_is_said(s3: str, tmp_path: Path) -> None:
    for words in (["init", "s3://no-such-bucket/x"], ["--store", "s3://no-such-bucket/x", "refs"]):
        refused(run(*words, folder=tmp_path), 3, "no bucket", "s3://no-such-bucket/x")


def test_a_url_that_is_no_store_is_said(s3: str, tmp_path: Path) -> None:
    place = f"{s3}/{secrets.token_hex(8)}"

    for words in (
        ["--store", place, "refs"],
        ["--store", place, "import", tmp_path, MAIN],
        ["clone", place, "new"],
        ["init", "new", "--reads-from", place],
    ):
        refused(run(*words, folder=tmp_path), 3, place, "is no calstore store")

    assert list(tmp_path.iterdir()) == []
    assert raw(place) == {}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gopher://a/b", "Protocol not known"),
        ("s3://", "names no place"),
    ],
)
def test_a_url_that_makes_no_sense_is_said(s3: str, tmp_path: Path, url: str, said: str) -> None:
    refused(run("--store", url, "refs", folder=tmp_path), 5, said)
    refused(run("init", url, folder=tmp_path), 5, said)


def test_a_prefix_that_holds_something_else_is_refused(s3: str, tmp_path: Path) -> None:
    from s3fs import S3FileSystem

    place = f"{s3}/{secrets.token_hex(8)}"
    S3FileSystem().pipe_file(f"{place}/notes.txt", b"by hand")

    refused(run("init", place, folder=tmp_path), 5, "is not empty (notes.txt)")

    assert list(raw(place).values()) == [b"by hand"]


def test_a_store_of_an_unknown_version_is_refused(place: str, tmp_path: Path) -> None:
    from s3fs import S3FileSystem

    from calstore.store import marker

    S3FileSystem().pipe_file(f"{place}/calstore.json", marker._rendered("0" * 32, 2))

    for words in (["refs"], ["fork", MAIN, "cxis0113/new"], ["push", MAIN, str(tmp_path)]):
        refused(run("--store", place, *words, folder=tmp_path), 5, "format 2", "use a newer one")


def test_a_damaged_object_is_named_and_reading_ends(place: str, tmp_path: Path) -> None:
    from s3fs import S3FileSystem

    files = S3FileSystem(use_listings_cache=False)
    path = next(iter(files.find(f"{place}/objects/blobs")))
    data = bytearray(files.cat_file(path))
    data[5] ^= 1
    files.pipe_file(path, bytes(data))

    words = ["--store", place, "materialize", MAIN, "view"]
    line = refused(run(*words, folder=tmp_path), 6, "is damaged", f"it hurts {MAIN}@1")

    assert f"s3://{path}" in line
    assert not (tmp_path / "view").exists()


def test_no_server_is_said_in_bounded_time(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    started = time.monotonic()

    outcome = spawn("--store", "s3://b/x", "refs", folder=tmp_path, environment=environment(1))

    refused(outcome, 4, "did not answer in 12 attempts", "run again later")
    assert time.monotonic() - started < 50


def test_the_library_that_a_url_needs_is_named(tmp_path: Path) -> None:
    write_files(tmp_path / "without", {"s3fs.py": b"raise ImportError('no s3fs')\n"})
    outside = {"PYTHONPATH": str(tmp_path / "without")}

    outcome = spawn("--store", "s3://b/x", "refs", folder=tmp_path, environment=outside)

    refused(outcome, 5, "pip install 'calstore[s3]'")


# --- who asks ----------------------------------------------------------------------------------


class Guarded:
    """A server that lets in two people: one may write, the other may read."""

    def __init__(self, port: int) -> None:
        import boto3

        owner = environment(port)
        client = {
            "endpoint_url": owner["AWS_ENDPOINT_URL"],
            "region_name": "us-east-1",
            "aws_access_key_id": "x",
            "aws_secret_access_key": "x",
        }
        boto3.client("s3", **client).create_bucket(Bucket="guarded")
        iam = boto3.client("iam", **client)
        everything = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }
        self.writer = self._person(iam, owner, "writer", everything)
        self.reader = self._person(iam, owner, "reader", _READ_ONLY)
        self.stranger = {**owner, "AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "n"}
        self.nobody = {name: text for name, text in owner.items() if "_KEY" not in name}
        self.forger = {**self.writer, "AWS_SECRET_ACCESS_KEY": "guessed"}
        url = f"{owner['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
        header = {"Content-Type": "text/plain"}
        request = urllib.request.Request(url, data=b"0", headers=header, method="POST")
        urllib.request.urlopen(request).close()

    @staticmethod
    def _person(
        iam: object, owner: Mapping[str, str], name: str, policy: Mapping[str, object]
    ) -> dict[str, str]:
        iam.create_user(UserName=name)  # type: ignore[attr-defined]
        iam.put_user_policy(  # type: ignore[attr-defined]
            UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy)
        )
        key = iam.create_access_key(UserName=name)["AccessKey"]  # type: ignore[attr-defined]
        return {
            **owner,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    pytest.importorskip("s3fs")
    pytest.importorskip("boto3")
    pytest.importorskip("moto.server")
    with server() as port:
        yield Guarded(port)


def test_only_who_may_write_writes_and_who_may_read_reads(guarded: Guarded, tmp_path: Path) -> None:
    tree = write_files(tmp_path / "calib", small_files())
    place = f"s3://guarded/{secrets.token_hex(8)}"

    def told(who: Mapping[str, str], *words: object) -> Outcome:
        more = {**who, "CALSTORE_CACHE": ""}
        return spawn("--store", place, *words, folder=tmp_path, environment=more)

    refused(told(guarded.reader, "init", place), 5, "not permitted to write", place)
    assert told(guarded.writer, "init", place).code == 0
    assert told(guarded.writer, "import", tree, MAIN, "-m", "as found").code == 0
    assert told(guarded.reader, "log", MAIN).code == 0
    assert told(guarded.reader, "materialize", MAIN, "view").code == 0
    for words in (["fork", MAIN, "cxis0113/new"], ["import", tree, "cxis0113/new", "-m", "x"]):
        refused(told(guarded.reader, *words), 5, "not permitted to write", "your credentials")
    for who in (guarded.stranger, guarded.forger, guarded.nobody):
        refused(told(who, "refs"), 5, "not permitted to read", "your credentials")
    listed = told(guarded.writer, "refs").out.split()
    assert [word for word in listed if word.startswith("cxis0113/")] == [f"{MAIN}@1"]


# --- what is kept of reads ---------------------------------------------------------------------


def test_a_cache_that_cannot_be_written_is_a_warning_and_no_failure(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"")
    monkeypatch.setenv("CALSTORE_CACHE", str(blocked))

    outcome = run("--store", place, "materialize", MAIN, "view", folder=tmp_path)

    assert outcome.code == 0
    assert outcome.err.splitlines() == [outcome.err.strip()]
    assert "warning: nothing can be kept in" in outcome.err
    assert (tmp_path / "view/README").exists()


@pytest.mark.parametrize("size", ["much", "-1", "0", "nan", ""])
def test_a_size_of_the_cache_that_is_none_is_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    monkeypatch.setenv("CALSTORE_CACHE_GB", size)

    refused(run("--store", place, "refs", folder=tmp_path), 5, "CALSTORE_CACHE_GB")


def test_an_empty_cache_variable_keeps_nothing(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.delenv("CALSTORE_CACHE")
    assert run("--store", place, "log", MAIN, folder=tmp_path).code == 0
    assert [path.name for path in home.iterdir()] == ["calstore"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("CALSTORE_CACHE", "")

    assert run("--store", place, "log", MAIN, folder=tmp_path).code == 0

    assert not (tmp_path / "other").exists()
