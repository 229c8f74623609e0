"""The JSON API: what the commands tell, the constants bit for bit, and never a fault of its own."""

from __future__ import annotations

import http.client
import io
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import schemathesis
from builders import stamp
from commandline import run
from hypothesis import HealthCheck, given, settings
from psana2_client import put_version
from schemathesis.checks import CHECKS, load_all_checks
from service import Service

from calstore.model.digest import xxh128
from calstore.model.uses import Use
from calstore.repository.approve import approve
from calstore.repository.store import Store, init_store
from calstore.repository.uses import record_use
from calstore.serve.operations import OPERATIONS, Operation

REF = "mfx101332224/main"
OF_JUNGFRAU = "jungfrau", "jungfrau", ("8-1", "8-2")
PEDESTALS = np.random.default_rng(1).normal(2000, 5, (3, 2, 64, 96)).astype(np.float32)


def make_store(folder: Path) -> Store:
    store = init_store(folder / ".calstore", "0" * 32)
    constants = {"pedestals": PEDESTALS, "geometry": "# a geometry\n"}
    put_version(store, REF, {OF_JUNGFRAU: constants})
    put_version(store, REF, {OF_JUNGFRAU: {**constants, "pedestals": PEDESTALS + 1}}, "5-end")
    approve(store, REF, "good", stamp("flat"))
    use = Use("node7", "python x.py", {"jungfrau": ("pedestals",)})
    record_use(store[REF], "mfx101332224", 7, use, stamp())
    return store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with Service(make_store(folder), REF) as found:
        yield found


class Answer:
    """An answer with its headers."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.data = answer.read()

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def ask(
    service: Service,
    place: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    **query: Any,
) -> Answer:
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=20)
    try:
        words = f"?{urllib.parse.urlencode(query)}" if query else ""
        connection.request(method, f"/api/v1/{place}{words}", headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("place", "query", "words", "code"),
    [
        ("refs", {}, ("refs",), 0),
        ("log", {"ref": REF}, ("log", REF), 0),
        ("show", {"version": REF}, ("show", REF), 0),
        (
            "show",
            {"version": f"{REF}@1", "detector": "jung", "type": "pedestals", "run": 7},
            ("show", f"{REF}@1", "jung", "pedestals", "--run", 7),
            0,
        ),
        ("coverage", {"version": REF, "run": 7}, ("coverage", REF, "--run", 7), 0),
        ("coverage", {"version": REF}, ("coverage", REF), 0),
        ("diff", {"before": f"{REF}@1", "after": REF}, ("diff", f"{REF}@1", REF), 1),
        ("uses", {"experiment": "mfx101332224", "run": 7}, ("used", "mfx101332224", 7), 0),
    ],
)
def test_it_tells_what_the_command_tells(
    place: str,
    query: dict[str, Any],
    words: tuple[Any, ...],
    code: int,
    service: Service,
    folder: Path,
) -> None:
    printed = run(*words, "--json", folder=folder)

    answer = ask(service, place, **query)

    assert printed.code == code
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == json.loads(printed.out)


def test_approvals_are_all_words_about_a_set(service: Service) -> None:
    answer = ask(service, "approvals", version=REF)

    (told,) = answer.json["approvals"]
    assert (told["status"], told["reason"]) == ("good", "flat")


def test_a_constant_is_an_npy_file_bit_for_bit(service: Service) -> None:
    of = {"detector": "jungfrau", "type": "pedestals", "run": 7}

    named = ask(service, "constant", version=REF, **of)
    digest = named.headers["etag"].strip('"')
    by_digest = ask(service, f"arrays/xxh128:{digest}")
    geometry = ask(service, "constant", version=REF, **{**of, "type": "geometry"})

    assert named.headers["content-type"] == "application/x-npy"
    assert np.array_equal(np.load(io.BytesIO(named.data)), PEDESTALS + 1)
    assert by_digest.data == named.data
    assert geometry.data == b"# a geometry\n"
    assert ask(service, f"blobs/{xxh128(geometry.data).hex}").data == geometry.data
    assert "immutable" in by_digest.headers["cache-control"]
    assert named.headers["cache-control"] == "no-cache"


def test_a_panel_is_read_alone_and_in_parts(service: Service) -> None:
    digest = (
        ask(service, "constant", version=f"{REF}@1", detector="jungfrau", type="pedestals", run=7)
        .headers["etag"]
        .strip('"')
    )
    place = f"arrays/{digest}/panels/3"
    expected = PEDESTALS.reshape(6, 64, 96)[3].tobytes()

    whole = ask(service, place)
    part = ask(service, place, headers={"Range": "bytes=100-199"})
    tail = ask(service, place, headers={"Range": "bytes=-50"})
    rest = ask(service, place, headers={"Range": f"bytes={len(expected) - 7}-"})
    beyond = ask(service, place, headers={"Range": f"bytes={len(expected)}-"})
    nonsense = ask(service, place, headers={"Range": "bytes=9-1,3-4"})
    other = ask(service, place, headers={"Range": "bytes=0-1", "If-Range": '"another"'})
    same = ask(service, place, headers={"Range": "bytes=0-1", "If-Range": whole.headers["etag"]})

    assert whole.data == nonsense.data == other.data == expected
    assert (part.status, part.data) == (206, expected[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(expected)}"
    assert (tail.data, rest.data, same.data) == (expected[-50:], expected[-7:], expected[:2])
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(expected)}")
    assert ask(service, f"arrays/{digest}/panels/6").status == 404


@pytest.mark.parametrize("place", ["refs", "log", "constant", "openapi.json"])
def test_what_the_client_has_is_not_sent_again(place: str, service: Service) -> None:
    query: dict[str, Any] = {"log": {"ref": REF}, "constant": {"version": REF}}.get(place, {})
    if place == "constant":
        query |= {"detector": "jungfrau", "type": "pedestals", "run": 7}
    first = ask(service, place, **query)

    again = ask(service, place, headers={"If-None-Match": first.headers["etag"]}, **query)
    weak = ask(
        service, place, headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'}, **query
    )
    other = ask(service, place, headers={"If-None-Match": '"x"'}, **query)
    head = ask(service, place, method="HEAD", **query)

    assert (again.status, again.data) == (304, b"")
    assert weak.status == 304
    assert (other.status, other.data) == (200, first.data)
    assert (head.status, head.data) == (200, b"")
    assert head.headers["content-length"] == str(len(first.data))


@pytest.mark.parametrize(
    ("place", "query", "status"),
    [
        ("show", {"version": "mfx101332224/none"}, 404),
        ("show", {"version": REF, "detector": "epix"}, 404),
        ("show", {}, 400),
        ("show", {"version": REF, "colour": "red"}, 400),
        ("show", {"version": REF, "run": "-1"}, 400),
        ("show", {"version": REF, "run": "9" * 30}, 400),
        ("show", {"version": "../../etc/passwd"}, 400),
        ("show", {"version": "a\0b/c"}, 400),
        ("show", {"version": "xxh128:zz"}, 400),
        ("log", {"ref": "../../../etc"}, 400),
        ("uses", {"experiment": "../x", "run": 1}, 400),
        ("diff", {"before": "/etc", "after": "./x"}, 400),
        ("arrays/..%2f..%2fetc%2fpasswd", {}, 404),
        ("arrays/" + "0" * 32, {}, 404),
        ("arrays/" + "0" * 31, {}, 400),
        ("arrays/" + "0" * 32 + "/panels/-1", {}, 400),
        ("arrays/" + "0" * 32 + "/panels/" + "9" * 50, {}, 400),
        ("blobs/%00", {}, 400),
        ("blobs/" + "f" * 32, {}, 404),
        ("nothing", {}, 404),
    ],
)
def test_what_is_not_there_or_wrong_is_said(
    place: str, query: dict[str, Any], status: int, service: Service
) -> None:
    answer = ask(service, place, **query)

    assert answer.status == status, answer.data
    if answer.headers["content-type"] == "application/json":
        assert answer.json["message"]


def test_nothing_can_be_changed(service: Service) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(service, "refs", method=method).status == 405


def test_damage_is_told_and_none_of_it_sent(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    constant = store[REF]["jungfrau"].at(7)["pedestals"]
    (shard,) = (tmp_path / ".calstore/objects/arrays").glob(f"*/{constant.digest.hex}/c.*")
    data = bytearray(shard.read_bytes())
    data[50] ^= 1
    shard.chmod(0o600)
    shard.write_bytes(data)

    with Service(store, REF) as service:
        whole = ask(service, f"arrays/{constant.digest.hex}")
        first = ask(service, f"arrays/{constant.digest.hex}/panels/0")
        second = ask(service, f"arrays/{constant.digest.hex}/panels/1")

    assert (whole.status, first.status, second.status) == (500, 500, 200)
    assert whole.json["error"] == "Corrupt"
    assert len(whole.data) < 1000


@pytest.fixture(scope="module")
def described(service: Service) -> Any:
    return schemathesis.openapi.from_url(f"{service.url}/api/v1/openapi.json")


load_all_checks()
LEFT_OUT = {
    # A version that is not there is a 404, whatever else is asked.
    *("positive_data_acceptance", "negative_data_rejection"),
    # Nothing can be made or removed, and nobody is asked who he is.
    *("use_after_free", "ensure_resource_availability", "ignored_auth"),
}
CHECKED = [CHECKS.get_one(name) for name in CHECKS.get_all_names() if name not in LEFT_OUT]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_every_answer_is_as_it_is_described(operation: Operation, described: Any) -> None:
    of_path = described[f"/api/v1{operation.path}"]["GET"]

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=of_path.as_strategy())
    def always(case: Any) -> None:
        case.call_and_validate(checks=CHECKED)

    always()


def test_the_description_is_of_all_there_is_and_a_valid_one(service: Service) -> None:
    document = ask(service, "openapi.json").json

    assert len(document["paths"]) == len(OPERATIONS)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert "$id" not in json.dumps(document)
