"""A service is for those it is for, and stands whatever they send."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stamp
from commandline import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psana2_client import put_version
from service import Service

import calstore
from calstore.repository.store import Store, init_store
from calstore.repository.uses import uses_of
from calstore.serve import guard
from calstore.serve.access import Access, token_of
from calstore.serve.payloads import Payloads

EXPERIMENT = "mfx101332224"
REF = f"{EXPERIMENT}/main"
LONG = "epix100_1-2-3"
TOKEN = "a-token-of-this-test"
PEDESTALS = np.arange(12, dtype=np.float32).reshape(3, 4)


def make_store(folder: Path) -> Store:
    store = init_store(folder / ".calstore", "0" * 32)
    put_version(store, REF, {("epix100", "epix100", ("1-2-3",)): {"pedestals": PEDESTALS}})
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(make_store(tmp_path_factory.mktemp("safe")), REF) as found:
        yield found


@pytest.fixture(scope="module")
def writable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    store = make_store(tmp_path_factory.mktemp("writes"))
    sandbox = f"{EXPERIMENT}/users/weber/x"
    calstore.fork(store, REF, sandbox, stamp())
    access = Access(TOKEN)
    with Service(store, sandbox, follows=True, writes=True, access=access) as found:
        yield found


def talk(service: Service, data: bytes, pause_s: float = 0.0, timeout_s: float = 20.0) -> bytes:
    """What comes back for these bytes, sent one by one where there is a pause."""
    port = int(service.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as link:
        pieces = [data] if not pause_s else [data[n : n + 1] for n in range(len(data))]
        found = b""
        try:
            for piece in pieces:
                link.sendall(piece)
                time.sleep(pause_s)
            while more := link.recv(65536):
                found += more
        except (ConnectionError, BrokenPipeError):
            pass
        return found


SEGMENTS = st.one_of(
    st.sampled_from(
        [
            *("ws", "ws-jwt", "ws-kerb", "calib_ws", "gridfs", "cdb_detnames", "..", ".", ""),
            *(
                f"cdb_{EXPERIMENT}",
                "epix100",
                "epix100_000001",
                "0" * 24,
                "f" * 24,
                "%00",
                "%2e%2e",
            ),
            *("%ff%fe", "etc", "passwd", "a" * 3000, "cdb_", "None"),
        ]
    ),
    st.text(max_size=20).map(lambda text: urllib.parse.quote(text, safe="")),
)
QUERIES = st.one_of(
    st.none(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["run", "_id", "ctype", "long", "short", "$lte", "time_sec", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(json.dumps),
    st.text(max_size=50),
)
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    prefix=st.sampled_from(["ws/calib_ws", "ws-jwt/calib_ws", "ws-kerb/calib_ws", "", "ws"]),
    segments=st.lists(SEGMENTS, max_size=4),
    query=QUERIES,
    method=st.sampled_from(METHODS),
    body=st.binary(max_size=100) | QUERIES.map(lambda text: (text or "").encode(errors="replace")),
    token=st.sampled_from([TOKEN, "x", ""]),
    writes=st.booleans(),
)
def test_no_request_is_a_fault_of_the_service(
    service: Service,
    writable: Service,
    prefix: str,
    segments: list[str],
    query: str | None,
    method: str,
    body: bytes,
    token: str,
    writes: bool,
) -> None:
    path = "/" + "/".join([prefix, *segments])
    if query is not None:
        path += "?query_string=" + urllib.parse.quote(query, safe="", errors="replace")
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"

    answer = talk(writable if writes else service, head.encode() + body)

    status = re.match(rb"HTTP/1\.1 ([1-4]\d\d) ", answer)
    assert status is not None, answer[:200]
    assert b"root:" not in answer


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=300))
def test_noise_is_no_fault_either(service: Service, data: bytes) -> None:
    answer = talk(service, data + b"\r\n\r\n")

    assert re.match(rb"HTTP/1\.1 5", answer) is None
    assert service.raw("/ws/calib_ws/")[0] == 200


def test_who_sends_no_request_is_sent_away(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "REQUEST_S", 0.3)

    with Service(store, REF) as service, caplog.at_level(logging.INFO, "calstore.access"):
        silent = talk(service, b"", timeout_s=5)
        drip = talk(service, b"GET /ws/calib_ws/ HTTP/1.1\r\nHost: " + b"x" * 60, 0.01, 5)
        patient = service.raw("/ws/calib_ws/")

    assert silent == b""
    assert b" 200 " not in drip
    assert patient[0] == 200
    assert any("no request came" in record.getMessage() for record in caplog.records)


def test_a_body_that_does_not_come_is_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "REQUEST_S", 0.3)
    head = b"GET /ws-jwt/calib_ws/cdb_detnames/epix100 HTTP/1.1\r\nHost: x\r\n"

    with Service(store, REF) as service:
        answer = talk(service, head + b"Content-Length: 500\r\n\r\n{", timeout_s=5)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_who_takes_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = init_store(tmp_path / ".calstore", "0" * 32)
    large = {"pedestals": np.zeros((30, 512, 1024), np.float32)}
    put_version(store, REF, {("epix100", "epix100", ("1-2-3",)): large})
    constant = store[REF]["epix100"].at(5)["pedestals"]
    monkeypatch.setattr(guard, "REQUEST_S", 0.3)

    with Service(store, REF) as service, caplog.at_level(logging.INFO, "calstore.access"):
        port = int(service.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as link:
            path = f"/api/v1/arrays/{constant.digest.hex}"
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            for _ in range(100):
                time.sleep(0.05)
                if any("took nothing" in each.getMessage() for each in caplog.records):
                    break
        others = service.raw("/ws/calib_ws/")

    assert any("took nothing" in each.getMessage() for each in caplog.records)
    assert others[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /ws-jwt/calib_ws/cdb_x/gridfs/ HTTP/1.1", b"413"),
        (b"GET /ws-jwt/calib_ws/cdb_x/y HTTP/1.1", b"413"),
    ],
)
def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    head: bytes, status: bytes, writable: Service
) -> None:
    lines = [head, b"Host: x", b"Authorization: Bearer " + TOKEN.encode()]
    lines += [b"Content-Length: 99999999999", b"", b""]

    answer = talk(writable, b"\r\n".join(lines))

    assert answer.startswith(b"HTTP/1.1 " + status)


def test_a_body_without_a_length_ends_somewhere(
    writable: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_BODY", 1000)
    head = b"POST /ws-jwt/calib_ws/cdb_x/gridfs/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
    head += b"\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"

    answer = talk(writable, head + (b"200\r\n" + b"x" * 512 + b"\r\n") * 4)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_headers_without_end_are_refused(service: Service) -> None:
    answer = talk(service, b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def test_one_connection_too_many_is_closed_and_the_others_live(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_CONNECTIONS", 5)

    with Service(store, REF) as service:
        port = int(service.url.rsplit(":", 1)[1])
        links = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        time.sleep(0.2)
        refused = talk(service, b"GET /ws/calib_ws/ HTTP/1.1\r\nHost: x\r\n\r\n")
        for link in links:
            link.close()
        time.sleep(0.2)
        after = service.raw("/ws/calib_ws/")

    assert refused == b""
    assert after[0] == 200


@pytest.mark.parametrize("given", [None, "", "x", TOKEN[:-1], TOKEN + "x", "é"])
def test_with_a_token_nobody_reads_without_it(given: str | None, store: Store) -> None:
    with Service(store, REF, access=Access(TOKEN, anybody_reads=False)) as service:
        if given == "é":
            head = b"GET /ws/calib_ws/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            refused = talk(service, head + b"Authorization: Bearer \xc3\xa9\r\n\r\n")[9:12]
        else:
            refused = str(service.raw("/ws/calib_ws/", token=given)[0]).encode()
        api = service.raw("/api/v1/refs", token=None)
        admitted = service.raw("/ws/calib_ws/", token=TOKEN)

    assert refused == b"401"
    assert api[0] == 401
    assert admitted[0] == 200


def test_the_log_tells_who_got_what(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    digest = store[REF].digest

    with caplog.at_level(logging.INFO), Service(store, REF) as service:
        service.constants(LONG, 5)
        service.raw("/ws/calib_ws/cdb_x/y%0a%1b[31m")

    lines = [each.getMessage() for each in caplog.records if each.name == "calstore.access"]
    assert any(f"{REF}@1 {digest} run 5" in line for line in lines)
    assert any("pedestals 0-end" in line and " 200 48 B" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_use_is_kept_once_for_a_client_and_a_run(store: Store) -> None:
    with Service(store, REF) as service:
        service.constants(LONG, 5)
        service.constants(LONG, 5)
        service.constants("epix100_9-9-9", 5)
        service.constants(LONG, 6)

    (record,) = uses_of(store, EXPERIMENT, 5)
    assert record.use is not None
    assert record.use.client == "127.0.0.1"
    assert record.use.given == {"epix100": ("pedestals",)}
    assert len(uses_of(store, EXPERIMENT, 6)) == 1


def test_a_store_that_cannot_be_written_is_served_all_the_same(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".calstore" / "uses").write_text("in the way")

    with caplog.at_level(logging.WARNING), Service(store, REF) as service:
        found = service.constants(LONG, 5)

    assert np.array_equal(found["pedestals"], PEDESTALS)
    assert any("uses are not recorded" in record.getMessage() for record in caplog.records)


def test_what_is_damaged_is_not_sent(store: Store, tmp_path: Path) -> None:
    digest = store[REF]["epix100"].at(5)["pedestals"].digest.hex
    (shard,) = (tmp_path / ".calstore/objects/arrays").glob(f"*/{digest}/c.*")
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.chmod(0o600)
    shard.write_bytes(data)

    with Service(store, REF) as service:
        (name,) = service.find("cdb_detnames/epix100", {"long": LONG})
        (document,) = service.find(f"cdb_{EXPERIMENT}/{name['short']}", {"run": {"$lte": 5}})
        status, sent = service.raw(f"/ws/calib_ws/cdb_{EXPERIMENT}/gridfs/{document['id_data']}")

    assert status == 500
    assert len(sent) < 1000


def test_two_detectors_with_the_same_panels_give_nothing(store: Store) -> None:
    both: dict[Any, Any] = {
        ("epix100", name, ("1-2-3",)): {"pedestals": PEDESTALS + n}
        for n, name in enumerate(("epix100", "epix100_0"))
    }
    put_version(store, REF, both)

    with Service(store, REF) as service:
        assert service.constants(LONG, 5) == {}
        assert service.book.missed == (LONG,)


def test_payloads_are_made_once_and_the_oldest_forgotten() -> None:
    class Made:
        def __init__(self, name: str) -> None:
            self.id_data = name
            self.count = 0

        def payload(self) -> bytes:
            self.count += 1
            return b"x" * 40

    payloads = Payloads(kept_bytes=100)
    made: list[Any] = [Made(name) for name in "abc"]

    for each in (0, 0, 1, 0, 2, 0, 1):
        assert payloads.get(made[each]) == b"x" * 40

    assert [each.count for each in made] == [1, 2, 1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--host", "0.0.0.0"), "--allow-anonymous-read"),
        (("--host", "::"), "--allow-anonymous-read"),
        (("--token-file", "short"), "no token"),
        (("--token-file", "open"), "chmod 600"),
        (("--token-file", "."), "cannot"),
    ],
)
def test_a_service_for_others_is_not_begun_by_mistake(
    words: tuple[str, ...], reason: str, store: Store, tmp_path: Path
) -> None:
    del store
    for name, mode, text in (("short", 0o600, "abc\n"), ("open", 0o644, "x" * 40)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)

    outcome = run("serve", REF, "--port", 0, *words, folder=tmp_path)

    assert outcome.code == 5
    assert reason in outcome.err


def test_a_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"

    first, second = token_of(path), token_of(path)

    assert first == second
    assert len(first) > 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert first not in repr(Access(first))


def test_it_ends_at_a_signal_with_its_uses_kept(store: Store, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "calstore", "serve", REF, "--port", "0"]
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(2)]
        port = int(told[1].rsplit(":", 1)[1].split("/")[0])
        client = Service.__new__(Service)
        client.url, client.experiment = f"http://127.0.0.1:{port}", EXPERIMENT
        found = client.constants(LONG, 5)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)

    assert told[0].split() == [EXPERIMENT, f"{REF}@1", str(store[REF].digest)]
    assert np.array_equal(found["pedestals"], PEDESTALS)
    assert process.returncode == 0
    assert "run 5" in said
    assert len(uses_of(store, EXPERIMENT, 5)) == 1
    assert os.access(tmp_path, os.R_OK)


def test_a_text_for_panels_in_another_order_is_not_given_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = init_store(tmp_path / ".calstore", "0" * 32)
    both = {"pedestals": np.zeros((2, 4, 4), np.float32), "geometry": "# 1, then 2\n"}
    put_version(store, REF, {("jungfrau", "jungfrau", ("1", "2")): both})

    with Service(store, REF) as service, caplog.at_level(logging.WARNING, "calstore.serve"):
        turned = service.constants("jungfrau_2_1", 5)
        as_it_is = service.constants("jungfrau_1_2", 5)

    assert list(turned) == ["pedestals"]
    assert sorted(as_it_is) == ["geometry", "pedestals"]
    assert any("geometry not given" in record.getMessage() for record in caplog.records)
