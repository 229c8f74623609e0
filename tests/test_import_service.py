"""What an experiment has in psana 2's service comes into a ref, and resolves as there."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import stamp
from cdb_service import CdbService
from commandline import Outcome, run
from hypothesis import given, settings
from hypothesis import strategies as st
from psana2_client import (
    ONE_PROCESS,
    PSANA,
    constants_read,
    reader_words,
    with_tools,
    write_runs,
)
from service import Service

import calstore
from calstore.errors import Invalid, NotFound
from calstore.formats.calib_service import CalibService
from calstore.repository.documents import document_of
from calstore.repository.import_service import ImportedDocuments, import_service
from calstore.repository.psana2 import served
from calstore.repository.store import Store, init_store
from calstore.repository.verify import verify

EXPERIMENT = "mfx101332224"
REF = f"{EXPERIMENT}/main"
LONG, SHORT = "epix100_1-2-3", "epix100_000001"
OTHER, OTHER_SHORT = "epix100_7-8-9", "epix100_000002"


@pytest.fixture
def service() -> Iterator[CdbService]:
    with CdbService() as found:
        found.name(LONG, SHORT)
        found.name(OTHER, OTHER_SHORT)
        yield found


@pytest.fixture
def store(store_place: str) -> Store:
    return init_store(store_place, "0" * 32)


def values(number: float, dtype: type = np.float32) -> np.ndarray:
    return np.full((3, 4), number, dtype)


def imported(store: Store, service: CdbService, **how: Any) -> ImportedDocuments:
    return import_service(store, CalibService(service.url), EXPERIMENT, REF, stamp, **how)


def resolved(store: Store, long: str, run: int) -> dict[str, bytes]:
    """What calstore gives psana 2, by type."""
    return {each.constant.type_name: each.payload() for each in served(store[REF], long, run)}


def psanas(service: CdbService, short: str, run: int) -> dict[str, bytes]:
    """What psana 2 takes from the service (CalibDoc.py, MDBWebUtils.py), by type."""
    own = service.documents.get(f"cdb_{EXPERIMENT}", {}).get(short, [])
    found: dict[str, dict[str, Any]] = {}
    for type_name in {each["ctype"] for each in own}:
        fitting = [
            (each["run"], -min(_last(each), 9999), int(each["_id"][:8], 16), place, each)
            for place, each in enumerate(own)
            if each["ctype"] == type_name
            and each["run"] <= 9999
            and _last(each) <= 9999
            and each["run"] <= run <= _last(each)
        ]
        if fitting:
            found[type_name] = max(fitting, key=lambda item: item[:4])[-1]
    fall_backs = service.documents.get(f"cdb_{short}", {}).get(short, [])
    asked = [each for each in fall_backs if each["run"] <= 9999]
    for type_name in {each["ctype"] for each in asked} - found.keys():
        of_type = [each for each in asked if each["ctype"] == type_name]
        latest = max(int(each["_id"][:8], 16) for each in of_type)
        found[type_name] = next(e for e in of_type if int(e["_id"][:8], 16) == latest)
    return {name: service.payloads[each["id_data"]] for name, each in found.items()}


def _last(document: dict[str, Any]) -> int:
    return 9999 if document["run_end"] == "end" else int(document["run_end"])


def test_each_act_of_depositing_is_a_record_in_their_order(
    store: Store, service: CdbService
) -> None:
    dark = {"comment": "after the power cut", "uid": "wilson", "run": 5}
    service.deposit(EXPERIMENT, LONG, SHORT, values(1), ctype="pedestals", **dark)
    service.deposit(EXPERIMENT, LONG, SHORT, values(2), ctype="pixel_rms", **dark)
    service.deposit(EXPERIMENT, LONG, SHORT, values(3), ctype="pedestals", run=5, uid="weber")
    service.deposit(EXPERIMENT, LONG, SHORT, "# here\n", ctype="geometry", uid="weber")

    done = imported(store, service)

    assert [record.name for record in done.records] == [f"{REF}@{n}" for n in (1, 2, 3)]
    assert done.records[0].stamp.why == "after the power cut"
    assert "pedestals, pixel_rms 5-end, deposited by wilson" in done.records[0].what
    first, last = store[f"{REF}@1"]["epix100"].at(7), store[REF]["epix100"].at(7)
    assert np.array_equal(first["pedestals"].array, values(1))
    assert np.array_equal(last["pedestals"].array, values(3))
    assert last["geometry"].data == b"# here\n"
    assert last["pedestals"].constant.serials == ("1-2-3",)
    assert verify(store).damages == ()


def test_again_adds_what_is_new_and_nothing_else(store: Store, service: CdbService) -> None:
    service.deposit(EXPERIMENT, LONG, SHORT, values(1), ctype="pedestals")
    imported(store, service)

    same = imported(store, service)
    service.deposit(EXPERIMENT, LONG, SHORT, values(2), ctype="pedestals", run=9)
    more = imported(store, service)

    assert (same.records, same.known) == ((), 1)
    assert [record.name for record in more.records] == [f"{REF}@2"]
    assert (more.documents, more.known) == (1, 1)


def test_a_fork_knows_the_documents_that_it_came_with(store: Store, service: CdbService) -> None:
    service.deposit(EXPERIMENT, LONG, SHORT, values(1), ctype="pedestals")
    imported(store, service)
    mine = f"{EXPERIMENT}/users/wilson/mine"
    calstore.fork(store, REF, mine, stamp())

    done = import_service(store, CalibService(service.url), EXPERIMENT, mine, stamp)

    assert (done.records, done.known) == ((), 1)


def test_ids_as_mongodb_writes_them_in_json_are_known_again(
    store: Store, service: CdbService
) -> None:
    service.deposit(EXPERIMENT, LONG, SHORT, values(1), ctype="pedestals")
    (document,) = service.documents[f"cdb_{EXPERIMENT}"][SHORT]
    document["_id"] = {"$oid": document["_id"]}

    first, again = imported(store, service), imported(store, service)

    assert len(first.records) == 1
    assert (again.records, again.known) == ((), 1)


def test_what_was_deleted_there_stays_here(store: Store, service: CdbService) -> None:
    service.deposit(EXPERIMENT, LONG, SHORT, values(1), ctype="pedestals")
    imported(store, service)
    service.documents[f"cdb_{EXPERIMENT}"][SHORT].clear()

    imported(store, service)

    assert np.array_equal(store[REF]["epix100"].at(7)["pedestals"].array, values(1))


def test_fall_backs_are_for_what_the_experiment_lacks_and_say_so(
    store: Store, service: CdbService
) -> None:
    service.deposit(EXPERIMENT, LONG, SHORT, values(1), ctype="pedestals", run=5)
    service.deposit(SHORT, LONG, SHORT, values(2), ctype="pedestals", run=50, run_end=60)
    service.deposit(SHORT, LONG, SHORT, values(3), ctype="pixel_gain", run=1, run_end=1)

    done = imported(store, service)
    again = imported(store, service)
    service.deposit(SHORT, LONG, SHORT, values(4), ctype="pixel_gain", experiment="xppl1000")
    newer = imported(store, service)

    assert done.fall_backs == 2
    assert again.records == ()
    assert [record.name for record in newer.records] == [f"{REF}@3"]
    early, late = store[REF]["epix100"].at(3), store[REF]["epix100"].at(7)
    assert np.array_equal(early["pedestals"].array, values(2))
    assert np.array_equal(late["pedestals"].array, values(1))
    told = document_of(late["pixel_gain"])
    assert told is not None
    assert (told[0], told[1].told("experiment")) == (f"cdb_{SHORT}", "xppl1000")
    own = document_of(late["pedestals"])
    assert own is not None
    assert own[0] == f"cdb_{EXPERIMENT}"


def test_detectors_that_have_fall_backs_alone_are_asked_for_by_name(
    store: Store, service: CdbService
) -> None:
    service.deposit(OTHER_SHORT, OTHER, OTHER_SHORT, values(2), ctype="pedestals")

    with pytest.raises(NotFound, match="knows nothing"):
        imported(store, service)
    done = imported(store, service, detectors=(OTHER,))

    assert done.fall_backs == 1
    assert resolved(store, OTHER, 7) == {"pedestals": values(2).tobytes()}


def test_two_detectors_of_one_name_stay_two(store: Store, service: CdbService) -> None:
    for number, (long, short) in enumerate(((LONG, SHORT), (OTHER, OTHER_SHORT))):
        service.deposit(EXPERIMENT, long, short, values(number), ctype="pedestals", detname="epix")

    imported(store, service)

    assert sorted(store[REF].detectors) == [("epix100", "epix"), ("epix100", OTHER_SHORT)]
    assert resolved(store, LONG, 5) == {"pedestals": values(0).tobytes()}
    assert resolved(store, OTHER, 5) == {"pedestals": values(1).tobytes()}


def test_float64_is_kept_to_the_last_bit(store: Store, service: CdbService) -> None:
    data = np.random.default_rng(1).normal(2000, 5, (3, 4))
    service.deposit(EXPERIMENT, LONG, SHORT, data, ctype="pedestals")

    imported(store, service)

    (found,) = served(store[REF], LONG, 5)
    assert (found.dtype, found.payload()) == ("float64", data.tobytes())


DEPOSITS = st.lists(
    st.tuples(
        st.sampled_from([EXPERIMENT, SHORT]),
        st.sampled_from(["pedestals", "pixel_gain"]),
        st.integers(0, 12) | st.sampled_from([9998, 9999, 10000]),
        st.integers(0, 14) | st.sampled_from(["end", 9998, 9999, 10001]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(deposits=DEPOSITS)
def test_every_run_resolves_as_psana_2_does_there(
    memory_path: Path, deposits: list[tuple[Any, ...]]
) -> None:
    store = init_store(memory_path / uuid.uuid4().hex, "0" * 32)
    with CdbService() as service:
        service.name(LONG, SHORT)
        for number, (database, type_name, first, last, is_later) in enumerate(deposits):
            service.steps = is_later
            how = {"ctype": type_name, "run": first, "run_end": last}
            service.deposit(database, LONG, SHORT, values(number), **how)
        if not any(database == EXPERIMENT for database, *_ in deposits):
            return

        imported(store, service)

        runs = {0, 5, 9997, 9998, 9999, *(run for _, _, run, *_ in deposits if run <= 9999)}
        for run_number in runs:
            expected = psanas(service, SHORT, run_number)
            found = resolved(store, LONG, run_number) if REF in list(store) else {}
            assert found == expected, run_number


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"data_shape": "__import__('os').system('true')"}, "data_shape"),
        ({"data_shape": "(3, 4, )" + "(" * 50}, "data_shape"),
        ({"data_shape": "(4294967296, 4294967296)"}, "data_shape"),
        ({"data_shape": "(99999, 99999, 9)"}, "too large"),
        ({"data_shape": "(3, 5)"}, "bytes"),
        ({"data_dtype": "O"}, "dtype"),
        ({"data_dtype": "float32,float32"}, "dtype"),
        ({"data_type": "any"}, "not opened"),
        ({"run": "x"}, "runs"),
        ({"run": 10000}, "runs"),
        ({"run": 7, "run_end": 3}, "runs"),
        ({"run_end": None}, "runs"),
        ({"ctype": "../../x"}, "component"),
        ({"ctype": None}, "ctype"),
        ({"detector": LONG}, "never finds"),
        ({"id_data": "x/../y"}, "id_data"),
        ({"id_data": "0" * 24}, "404"),
    ],
)
def test_a_document_that_cannot_be_taken_is_left_out_and_said(
    fields: dict[str, Any], reason: str, store: Store, service: CdbService
) -> None:
    service.deposit(EXPERIMENT, LONG, SHORT, values(1), ctype="pixel_gain")
    service.deposit(EXPERIMENT, LONG, SHORT, values(2), **{"ctype": "pedestals", **fields})

    done = imported(store, service)

    assert len(done.problems) == 1
    assert reason in done.problems[0]
    assert resolved(store, LONG, 5) == {"pixel_gain": values(1).tobytes()}


def _dropped(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"[1, 2")
    handler.close_connection = True


def _elsewhere(handler: Any) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((500, b"oops"), Invalid),
        ((200, b"<html>login</html>"), Invalid),
        ((200, b"{}"), Invalid),
        ((200, b"[" * 100_000), Invalid),
        ((200, b"\xff\xfe"), Invalid),
        (_dropped, NotFound),
        (_elsewhere, Invalid),
    ],
)
def test_a_service_that_is_none_changes_nothing(
    answer: Any, error: type[Exception], store: Store, service: CdbService
) -> None:
    service.answers[f"cdb_{EXPERIMENT}"] = answer

    with pytest.raises(error, match=r"127\.0\.0\.1"):
        imported(store, service)

    assert list(store) == []


def test_the_command_says_what_came_and_repeats_quietly(
    store: Store, service: CdbService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("LCLS_CALIB_HTTP", raising=False)
    service.deposit(EXPERIMENT, LONG, SHORT, values(1), ctype="pedestals", comment="first light")

    def again(*words: object) -> Outcome:
        return run("import", f"cdb:{EXPERIMENT}", "--url", service.url, *words, folder=tmp_path)

    nowhere = run("import", f"cdb:{EXPERIMENT}", folder=tmp_path)
    first, second, third = again(), again("--json"), again("-q")
    unknown = run("import", "cdb:xppl9999", "--url", service.url, folder=tmp_path)
    shown = run("show", REF, "epix100", "pedestals", folder=tmp_path)

    assert nowhere.code == 5
    assert "LCLS_CALIB_HTTP" in nowhere.err
    assert first.code == 0, first.err
    assert "1 new documents in 1 records" in first.out
    assert json.loads(second.out)["known"] == 1
    assert (third.code, third.out) == (0, "")
    assert unknown.code == 3
    assert "deposited by wilson" in shown.out
    assert "first light" in shown.out
    assert "cdb add -x" in shown.out


DEPLOY = """
import sys
import numpy as np
from psana.pscalib.calib.MDBWebUtils import deploy_constants, pro_detector_name
experiment, long, ctype, run, what = sys.argv[1:]
data = np.load(what) if what.endswith(".npy") else what
short = pro_detector_name(long, add_shortname=True)
deploy_constants(
    data, experiment, long, experiment=experiment, detector=short, ctype=ctype, run=int(run),
    run_end="end", detname="atmopal", dettype="opal", comment="by hand",
)
"""
"""As the tools of each detector call it; `cdb add` deposits what psana does not find."""


@with_tools
def test_psana_2_reads_the_same_bytes_from_calstore_as_from_the_service(
    service: CdbService, store: Store, tmp_path: Path, memory_path: Path
) -> None:
    assert PSANA is not None
    detectors = {
        "epix100": {"kind": "epix100", "serials": ["1-2-3"]},
        "atmopal": {"kind": "opal", "serials": ["77"]},
    }
    random = np.random.default_rng(2)
    for name, shape in (("epix100", (704, 768)), ("atmopal", (64, 96))):
        raw = random.normal(2100, 3, (60, *shape)).round().astype(np.uint16)
        np.save(memory_path / f"{name}.npy", raw)
    frames = {name: str(memory_path / f"{name}.npy") for name in detectors}
    np.save(memory_path / "other.npy", np.load(frames["epix100"]) + 50)
    of_run = {3: {**frames, "epix100": str(memory_path / "other.npy")}, 12: frames}
    runs = {
        number: memory_path / f"{EXPERIMENT}-r{number:04d}-s000-c000.xtc2" for number in (3, 12)
    }
    write_runs(
        *(
            {
                "out": str(path),
                "experiment": EXPERIMENT,
                "run": number,
                "detectors": detectors,
                "steps": [{"frames": of_run[number], "doc": {}}],
            }
            for number, path in runs.items()
        )
    )
    environment = {**os.environ, **ONE_PROCESS, "no_proxy": "*", "CALIB_JWT": "any"}

    def psana(url: str, *words: object) -> None:
        there = {**environment, "LCLS_CALIB_HTTP": f"{url}"}
        done = subprocess.run(
            [*map(str, words)], env=there, cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def read(url: str, number: int, out: str) -> dict[str, dict[str, np.ndarray]]:
        psana(url, *reader_words(tmp_path, out, ",".join(detectors), runs[number]))
        return constants_read(tmp_path / out)

    dark = Path(PSANA).parent / "det_dark_proc"
    np.save(tmp_path / "mask.npy", np.ones((64, 96), np.uint8))
    (tmp_path / "deploy.py").write_text(DEPLOY)
    work = ("-o", tmp_path / "work", "-D")
    psana(service.url, dark, "-k", runs[3], "-d", "epix100", *work)
    psana(service.url, dark, "-k", runs[12], "-d", "atmopal", *work)
    psana(service.url, PSANA, "deploy.py", EXPERIMENT, "opal_77", "pixel_mask", 5, "mask.npy")
    psana(service.url, PSANA, "deploy.py", EXPERIMENT, "opal_77", "geometry", 0, "# GEO of opal")
    psana(service.url, dark, "-k", runs[12], "-d", "epix100", *work)
    before = {number: read(service.url, number, f"{number}.npz") for number in runs}

    done = imported(store, service)

    assert done.problems == ()
    with Service(store, REF) as served_again:
        after = {
            number: read(f"{served_again.url}/ws", number, f"again{number}.npz") for number in runs
        }
    for number in runs:
        assert after[number].keys() == before[number].keys()
        for name, constants in before[number].items():
            assert after[number][name].keys() == constants.keys()
            for type_name, value in constants.items():
                again = after[number][name][type_name]
                assert (again.dtype, again.tobytes()) == (value.dtype, value.tobytes()), type_name
    early, late = before[3]["epix100"], before[12]["epix100"]
    assert not np.array_equal(early["pedestals"], late["pedestals"])
    assert (late["pedestals"].dtype, late["pixel_max"].dtype) == (np.float64, np.uint16)
    assert {"geometry", "pixel_mask", "pedestals"} <= before[12]["atmopal"].keys()
