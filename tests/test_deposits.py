"""What psana 2's deploying tools send becomes versions of a sandbox; nothing else does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stamp
from commandline import run, spawn
from psana2_client import ONE_PROCESS, PSANA, put_version, with_psana, with_tools, write_runs
from service import Service

import calstore
from calstore.repository.documents import document_of
from calstore.repository.store import Store, init_store
from calstore.repository.verify import verify
from calstore.serve.access import Access

EXPERIMENT = "mfx101332224"
REF = f"{EXPERIMENT}/main"
SANDBOX = f"{EXPERIMENT}/users/weber/deploys"
LONG = "epix100_1-2-3"
TOKEN = "a-token-of-this-test"


def values(number: float, dtype: str = "float32") -> np.ndarray:
    return np.full((3, 4), number, dtype)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = init_store(tmp_path / ".calstore", "0" * 32)
    constants = {"pedestals": values(1), "pixel_gain": values(2)}
    put_version(store, REF, {("epix100", "epix100", ("1-2-3",)): constants})
    calstore.fork(store, REF, SANDBOX, stamp())
    return store


@pytest.fixture
def service(store: Store) -> Iterator[Service]:
    how: dict[str, Any] = {"follows": True, "writes": True}
    with Service(store, SANDBOX, access=Access(TOKEN), **how) as found:
        yield found


class Tool:
    """A deploying tool: what psana's MDBWebUtils sends."""

    def __init__(self, service: Service, token: str | None = TOKEN) -> None:
        self.service = service
        self.token = token
        (name,) = service.find("cdb_detnames/epix100", {"long": LONG})
        self.short = name["short"]

    def send(self, method: str, place: str, body: bytes = b"") -> tuple[int, Any]:
        path = f"/ws-jwt/calib_ws/{place}"
        status, data = self.service.raw(path, body, method, self.token)
        return status, json.loads(data)

    def document(self, value: np.ndarray | str, **fields: Any) -> dict[str, Any]:
        """What `MDBUtils.docdic` makes."""
        document: dict[str, Any] = {
            "experiment": EXPERIMENT,
            "detector": self.short,
            "longname": LONG,
            "detname": "epix100",
            "run": 5,
            "run_end": "end",
            "uid": "weber",
            "host": "psana0107",
            "comment": "flat",
            "extpars": json.dumps({"content": "x", "command": "cdb add -x"}),
            "data_type": "str",
            "id_doc_exp": 0,
        }
        if not isinstance(value, str):
            document |= {
                "data_type": "ndarray",
                "data_dtype": str(value.dtype),
                "data_shape": str(value.shape),
            }
        return {**document, **fields}

    def add(
        self, value: np.ndarray | str, database: str = f"cdb_{EXPERIMENT}", **fields: Any
    ) -> Any:
        """A payload and its document: the status and the answer."""
        data = value.encode() if isinstance(value, str) else value.tobytes()
        _, told = self.send("POST", f"{database}/gridfs/", data)
        document = {**self.document(value), "id_data": told["_id"], **fields}
        return self.send("POST", f"{database}/{self.short}/", json.dumps(document).encode())

    def listed(self) -> list[dict[str, Any]]:
        found = self.service.find(f"cdb_{EXPERIMENT}/{self.short}", {})
        assert isinstance(found, list)
        return found


def records(store: Store) -> int:
    record = store[SANDBOX].record
    assert record is not None
    return record.number


def test_a_deposit_is_a_version_with_its_document_and_read_back_at_once(
    store: Store, service: Service
) -> None:
    tool = Tool(service)
    before = service.constants(LONG, 7)

    status, told = tool.add(values(9, "float64"), ctype="pedestals")

    assert (status, len(told["_id"])) == (200, 24)
    assert np.array_equal(before["pedestals"], values(1))
    after = service.constants(LONG, 7)["pedestals"]
    assert (after.dtype, after.tobytes()) == (np.float64, values(9, "float64").tobytes())
    assert np.array_equal(service.constants(LONG, 4)["pedestals"], values(1))
    constant = store[SANDBOX]["epix100"].at(7)["pedestals"]
    found = document_of(constant)
    assert found is not None
    assert (found[1].told("uid"), found[1].command) == ("weber", "cdb add -x")
    assert store[SANDBOX].record.stamp.why == "flat"  # type: ignore[union-attr]
    assert np.array_equal(store[REF]["epix100"].at(7)["pedestals"].array, values(1))
    assert verify(store).damages == ()


def test_the_copy_for_the_detectors_own_database_is_no_second_version(
    store: Store, service: Service
) -> None:
    tool = Tool(service)
    _, told = tool.add(values(9), ctype="pedestals")
    now = records(store)

    copied = tool.add(values(9), f"cdb_{tool.short}", ctype="pedestals", id_doc_exp=told["_id"])
    alone = tool.add(values(8), f"cdb_{tool.short}_mine", ctype="pedestals", id_doc_exp="N/A")

    assert copied[0] == 200
    assert alone[0] == 400
    assert records(store) == now


def test_a_delete_is_a_version_and_no_loss(store: Store, service: Service) -> None:
    tool = Tool(service)
    _, told = tool.add(values(9), ctype="pedestals")
    named = {each["ctype"]: each["_id"] for each in tool.listed()}

    own = tool.send("DELETE", f"cdb_{EXPERIMENT}/{tool.short}/{told['_id']}")
    listed = tool.send("DELETE", f"cdb_{EXPERIMENT}/{tool.short}/{named['pixel_gain']}")
    payload = tool.send("DELETE", f"cdb_{EXPERIMENT}/gridfs/{'0' * 24}")
    left = service.constants(LONG, 7)
    everything = tool.send("DELETE", f"cdb_{EXPERIMENT}/{tool.short}")

    assert [own[0], listed[0], payload[0], everything[0]] == [200] * 4
    assert list(left) == ["pedestals"]
    assert np.array_equal(left["pedestals"], values(1))
    assert service.constants(LONG, 7) == {}
    assert records(store) == 5
    assert np.array_equal(store[f"{SANDBOX}@2"]["epix100"].at(7)["pedestals"].array, values(9))


def test_a_replaced_document_moves_its_constant(store: Store, service: Service) -> None:
    tool = Tool(service)
    _, told = tool.add(values(9), ctype="pedestals")
    place = f"cdb_{EXPERIMENT}/{tool.short}/{told['_id']}"
    (document,) = [each for each in tool.listed() if each["ctype"] == "pedestals" and each["run"]]
    changed = {**document, "run": 8, "comment": "from run 8 on"}

    status, _ = tool.send("PUT", place, json.dumps(changed).encode())

    assert status == 200
    assert np.array_equal(service.constants(LONG, 7)["pedestals"], values(1))
    assert np.array_equal(service.constants(LONG, 8)["pedestals"], values(9))
    assert np.array_equal(store[f"{SANDBOX}@2"]["epix100"].at(7)["pedestals"].array, values(9))


def test_a_new_detector_gets_its_name_and_its_constants(store: Store, service: Service) -> None:
    tool = Tool(service)
    known = service.find("cdb_detnames/jungfrau", {})
    name = {"long": "jungfrau_8-1", "short": "jungfrau_000001", "seqnumber": 1}

    registered = tool.send("POST", "cdb_detnames/jungfrau/", json.dumps(name).encode())
    tool.short = "jungfrau_000001"
    told = tool.add(
        values(5), ctype="pedestals", longname="jungfrau_8-1", detname="jungfrau", run=0
    )
    taken = tool.send(
        "POST", "cdb_detnames/jungfrau/", json.dumps({**name, "long": "jungfrau_9-9"}).encode()
    )

    odd = [
        tool.send("POST", "cdb_detnames/jungfrau/", json.dumps({**name, "short": short}).encode())[
            0
        ]
        for short in ("jungfrau_x", "epix_000001", "jungfrau_", "jungfrau_" + "9" * 40, "")
    ]

    assert odd == [400] * 5
    assert known == []
    assert (registered[0], told[0], taken[0]) == (200, 200, 400)
    assert np.array_equal(service.constants("jungfrau_8-1", 7)["pedestals"], values(5))
    assert store[SANDBOX]["jungfrau"].at(7)["pedestals"].constant.serials == ("8-1",)


def test_the_list_of_names_leads_nobody_to_anothers_panels(service: Service) -> None:
    found = service.find("cdb_detnames/epix100", {})

    assert [sorted(each) for each in found] == [["seqnumber", "short"]]


@pytest.mark.parametrize("token", [None, "another-token-of-somebody"])
def test_without_the_token_nothing_is_written(
    token: str | None, store: Store, service: Service
) -> None:
    tool = Tool(service, token)

    answers = [
        tool.send("POST", f"cdb_{EXPERIMENT}/gridfs/", b"x"),
        tool.send("POST", f"cdb_{EXPERIMENT}/{tool.short}/", b"{}"),
        tool.send("PUT", f"cdb_{EXPERIMENT}/{tool.short}/{'0' * 24}", b"{}"),
        tool.send("DELETE", f"cdb_{EXPERIMENT}"),
    ]

    assert [status for status, _ in answers] == [401] * 4
    assert records(store) == 1


def test_a_service_that_nobody_may_write_to_refuses_all(store: Store) -> None:
    with Service(store, REF) as service:
        tool = Tool(service)
        statuses = [tool.send(method, "cdb_x/y/")[0] for method in ("POST", "PUT", "DELETE")]

    assert statuses == [405] * 3


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"data_shape": "__import__('os')"}, 400),
        ({"data_shape": "(3, 5)"}, 400),
        ({"data_type": "any"}, 400),
        ({"run": 10000}, 400),
        ({"ctype": "../x"}, 400),
        ({"id_data": "0" * 24}, 404),
        ({"id_data": None}, 400),
    ],
)
def test_a_bad_deposit_changes_nothing(
    fields: dict[str, Any], status: int, store: Store, service: Service
) -> None:
    answer = Tool(service).add(values(9), **{"ctype": "pedestals", **fields})

    assert answer[0] == status
    assert answer[1]["error"]
    assert records(store) == 1


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"null", b"[" * 100_000])
def test_what_is_no_document_is_refused(body: bytes, store: Store, service: Service) -> None:
    tool = Tool(service)

    document = tool.send("POST", f"cdb_{EXPERIMENT}/{tool.short}/", body)
    name = tool.send("POST", "cdb_detnames/epix100/", body)
    other = tool.send("POST", "cdb_xppl1000/epix100_000001/", body)

    assert {document[0], name[0], other[0]} == {400}
    assert records(store) == 1


def test_a_sandbox_is_named_with_a_token_and_of_an_experiment_that_is_served(
    store: Store, tmp_path: Path
) -> None:
    words = ("serve", REF, "--writes-to")

    nobody = run(*words, SANDBOX, folder=tmp_path)
    other = run(*words, "xppl1000/deploys", "--token-file", "token", folder=tmp_path)
    calstore.tag(store, REF, f"{EXPERIMENT}/published", stamp())
    tag = run(*words, f"{EXPERIMENT}/published", "--token-file", "token", folder=tmp_path)

    assert [outcome.code for outcome in (nobody, other, tag)] == [5, 5, 5]
    assert "--token-file" in nobody.err
    assert "not served" in other.err
    assert "tag" in tag.err
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


@with_tools
def test_psanas_own_tools_deposit_and_read_back(tmp_path: Path, memory_path: Path) -> None:
    assert PSANA is not None
    tools = Path(PSANA).parent
    shape = (704, 768)
    raw = np.random.default_rng(1).normal(2100, 3, (60, *shape)).round().astype(np.uint16)
    np.save(memory_path / "raw.npy", raw)
    dark = memory_path / f"{EXPERIMENT}-r0012-s000-c000.xtc2"
    write_runs(
        {
            "out": str(dark),
            "experiment": EXPERIMENT,
            "run": 12,
            "detectors": {"epix100": {"kind": "epix100", "serials": ["1-2-3"]}},
            "steps": [{"frames": {"epix100": str(memory_path / "raw.npy")}, "doc": {}}],
        }
    )
    store = init_store(tmp_path / ".calstore", "0" * 32)
    gain = np.ones(shape, np.float32)
    put_version(store, REF, {("epix100", "epix100", ("1-2-3",)): {"pixel_gain": gain}})
    np.save(tmp_path / "gain.npy", gain * 3)
    of_gain = ("-e", EXPERIMENT, "-d", LONG, "-c", "pixel_gain")

    def tool(*words: object) -> str:
        before = ("run", REF, "--writes-to", SANDBOX, "--", tools / str(words[0]))
        done = spawn(*before, *words[1:], folder=tmp_path, environment=ONE_PROCESS)
        assert done.code == 0, done.err
        return done.out + done.err

    tool("cdb", "add", *of_gain, "-r", 12, "-f", "gain.npy", "-m", "a new gain")
    tool("cdb", "get", *of_gain, "-r", 13, "-f", "got")
    printed = tool("cdb", "print")
    # psana's tool begins with the constants that are there, and leaves its work in a folder.
    tool("det_dark_proc", "-k", dark, "-d", "epix100", "-o", tmp_path / "work", "-D")

    assert np.array_equal(np.load(tmp_path / "got.npy"), gain * 3)
    assert f"cdb_{EXPERIMENT}" in printed
    found = store[SANDBOX]["epix100"].at(12)
    assert {"pedestals", "pixel_rms", "pixel_status", "pixel_gain"} <= set(found)
    assert abs(float(found["pedestals"].array.mean()) - 2100) < 1
    told = document_of(found["pedestals"])
    assert told is not None
    assert "det_dark_proc" in told[1].command
    assert list(store[REF]["epix100"].at(12)) == ["pixel_gain"]


@with_psana
def test_a_read_only_service_answers_a_tool_with_no(tmp_path: Path, store: Store) -> None:
    assert PSANA is not None
    np.save(tmp_path / "gain.npy", values(3))
    words = ["cdb", "add", "-e", EXPERIMENT, "-d", LONG, "-c", "pixel_gain", "-f", "gain.npy"]
    with Service(store, REF) as service:
        done = subprocess.run(
            [Path(PSANA).parent / words[0], *words[1:]],
            env={
                **os.environ,
                **ONE_PROCESS,
                "LCLS_CALIB_HTTP": f"{service.url}/ws",
                "CALIB_JWT": "any",
            },
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )

    if b"getgrnam" in done.stderr:
        pytest.skip("psana's tools need the group ps-users")
    assert records_of(store, REF) == 1


def records_of(store: Store, ref: str) -> int:
    record = store[ref].record
    assert record is not None
    return record.number
