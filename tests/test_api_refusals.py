"""What the JSON API does not answer: it says so in JSON, and it is never a fault of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import EXPERIMENT, GEOMETRY, REF, Answer, ask, ask_path, make_store, serving
from backends import FailingBackend

from calstore.errors import Conflict, Corrupt
from calstore.model.digest import xxh128
from calstore.repository.store import Store
from calstore.serve.operations import OPERATIONS, Operation, Parameter

WORDS = {400: "Invalid", 404: "NotFound", 405: "Invalid", 409: "Conflict", 500: "Corrupt"}
ZEROS = "0" * 32
OF = {"detector": "jungfrau", "type": "pedestals", "run": 7}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with serving(store) as found:
        yield found


def is_refusal(answer: Answer, *statuses: int) -> bool:
    """Whether it is one of these, as the description says that it is told."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    told = answer.json
    assert told.keys() == {"error", "message"}
    assert told["error"] == WORDS[answer.status], told
    assert told["message"]
    return answer.status in statuses


@pytest.mark.parametrize(
    ("place", "query", "status"),
    [
        ("show", {"version": f"{EXPERIMENT}/none"}, 404),
        ("show", {"version": f"{REF}@99"}, 404),
        ("show", {"version": f"xxh128:{ZEROS}"}, 404),
        ("show", {"version": REF, "detector": "rayonix"}, 404),
        ("show", {"version": REF, "detector": "jungfrau", "type": "gain"}, 404),
        ("show", {"version": f"{EXPERIMENT}/users/wilson/mine"}, 404),
        ("show", {}, 400),
        ("show", {"version": ""}, 400),
        ("show", {"version": REF, "colour": "red"}, 400),
        ("show", {"version": REF, "detector": "/"}, 400),
        ("show", {"version": REF, "run": "-1"}, 400),
        ("show", {"version": REF, "run": "1e3"}, 400),
        ("show", {"version": REF, "run": "٣"}, 400),
        ("show", {"version": REF, "run": "9" * 30}, 400),
        ("show", {"version": f"{REF}@0"}, 400),
        ("show", {"version": f"{REF}@{'9' * 900}"}, 400),
        ("show", {"version": "xxh128:zz"}, 400),
        ("log", {"ref": f"{REF}@1"}, 400),
        ("log", {"ref": REF, "limit": 0}, 400),
        ("uses", {"experiment": EXPERIMENT, "run": 8}, 404),
        ("uses", {"experiment": "../x", "run": 1}, 400),
        ("runs", {"experiment": EXPERIMENT, "history": 999_999_999}, 404),
        ("runs", {"experiment": EXPERIMENT, "runs": "9-1"}, 400),
        ("runs", {"experiment": EXPERIMENT, "dark": "yes"}, 400),
        ("constant", {"version": REF, **OF, "run": 4}, 404),
        ("constant", {"version": REF, **OF, "type": "dark"}, 404),
        ("constant", {"version": REF, "detector": "jungfrau"}, 400),
        ("openapi.json", {"colour": "red"}, 400),
        ("arrays/" + ZEROS, {}, 404),
        ("arrays/" + ZEROS, {"digest": ZEROS}, 400),
        ("arrays/" + ZEROS[1:], {}, 400),
        ("arrays/" + "A" * 32, {}, 400),
        ("arrays/" + ZEROS + "/panels/0", {}, 404),
        ("arrays/" + ZEROS + "/panels/-1", {}, 400),
        ("arrays/" + ZEROS + "/panels/" + "9" * 5000, {}, 400),
        ("blobs/" + "f" * 32, {}, 404),
        ("nothing", {}, 404),
        ("refs/", {}, 404),
        ("", {}, 404),
    ],
)
def test_what_is_not_there_or_wrong_is_said(
    place: str, query: dict[str, Any], status: int, url: str
) -> None:
    answer = ask(url, place, **query)

    assert is_refusal(answer, status), (answer.status, answer.data)


def test_a_parameter_that_is_given_twice_is_refused(url: str) -> None:
    answer = ask_path(url, f"/api/v1/show?version={REF}&version={REF}@1")

    assert is_refusal(answer, 400)


def test_the_api_itself_answers_no_other_method(url: str) -> None:
    for place in ("refs", f"arrays/{ZEROS}", "nothing"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
            answer = ask(url, place, method)
            assert is_refusal(answer, 405)
            assert answer.headers["allow"] == "GET, HEAD"


TEXTS = [
    "%00",
    "a%00b",
    "%0a",
    "%0d%0aSet-Cookie:%20a=b",
    "%7f",
    "..",
    "../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "..%252f..%252fetc%252fpasswd",
    "%2e%2e/%2e%2e/calstore.json",
    "%2fetc%2fpasswd",
    "..%5c..%5cboot.ini",
    "refs/../../calstore.json",
    "%ff%fe",
    "%ed%a0%80",
    "%F0%9F%94%AC",
    "x" * 1001,
    "x" * 20000,
    "9" * 400,
    "-1",
    "1e400",
    "NaN",
    "{digest}",
    "%7B%22$gt%22:%22%22%7D",
    "*",
    "[",
]
QUERIED = [
    (operation, parameter)
    for operation in OPERATIONS
    for parameter in operation.parameters
    if parameter.name not in operation.in_path
]
GOOD = {
    "version": REF,
    "before": REF,
    "after": REF,
    "ref": REF,
    "experiment": EXPERIMENT,
    "detector": "jungfrau",
    "type": "pedestals",
    "run": "7",
    "digest": ZEROS,
    "number": "0",
}


def is_told_without_fault(answer: Answer) -> bool:
    """Answered as if the text was a name, of nothing or of none that may be; with no file in it."""
    if answer.status == 404 and answer.data == b"Not Found":
        return True  # of a path with a line's end, which no route of starlette's takes
    assert b"root:" not in answer.data
    assert b'"format"' not in answer.data
    assert "set-cookie" not in answer.headers
    return answer.status == 200 or is_refusal(answer, 400, 404)


@pytest.mark.parametrize(
    ("operation", "parameter"), QUERIED, ids=lambda each: getattr(each, "name", "")
)
def test_no_text_in_a_query_is_a_fault_of_the_service(
    operation: Operation, parameter: Parameter, url: str
) -> None:
    others = {each.name: GOOD[each.name] for each in operation.parameters if each.required}

    for text in TEXTS:
        asked = {**others, parameter.name: text}
        words = "&".join(f"{name}={value}" for name, value in asked.items())
        answer = ask_path(url, f"/api/v1{operation.path}?{words}")
        assert is_told_without_fault(answer), text
        if re.search(r"%00|%0[ad]|%7f|^x{1001}", text):
            assert answer.status == 400


@pytest.mark.parametrize(
    "path",
    ["arrays/{}", "arrays/{}/panels/0", f"arrays/{ZEROS}/panels/{{}}", "blobs/{}", "{}", "{}/refs"],
)
def test_no_path_leads_out_of_the_store_or_is_a_fault(path: str, url: str) -> None:
    for text in TEXTS:
        answer = ask(url, path.format(text))
        assert answer.status in (400, 404)
        assert is_told_without_fault(answer), text


def test_no_header_is_a_fault(url: str) -> None:
    digest = ask(url, "constant", "HEAD", version=REF, **OF).digest
    values = (
        "",
        ",,,",
        '"',
        "bytes=" + "9" * 5000 + "-",
        "\xff\xfe",
        "bytes=--1",
        "W/",
        "*" * 9000,
    )

    for name in ("Range", "If-Range", "If-None-Match", "Accept", "Authorization"):
        for value in values:
            answer = ask(url, f"arrays/{digest}/panels/0", headers={name: value})
            assert answer.status in (200, 304), (name, value)


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("refs", {}),
    ("log", {"ref": REF}),
    ("show", {"version": REF}),
    ("coverage", {"version": REF, "run": 7}),
    ("diff", {"before": f"{REF}@1", "after": REF}),
    ("approvals", {"version": REF}),
    ("uses", {"experiment": EXPERIMENT, "run": 7}),
    ("runs", {"experiment": EXPERIMENT}),
    ("constant", {"version": REF, **OF}),
    ("arrays/{array}", {}),
    ("arrays/{array}/panels/1", {}),
    ("blobs/{blob}", {}),
]


class Changed:
    """A real backend in whose place another may be put."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize(("place", "query"), ASKED, ids=[place for place, _ in ASKED])
def test_whatever_read_fails_is_told_and_the_next_is_answered(
    place: str, query: dict[str, Any], store: Store
) -> None:
    array = store[REF]["jungfrau"].at(7)["pedestals"].digest.hex
    place = place.format(array=array, blob=xxh128(GEOMETRY.encode()).hex)
    changed: Any = Changed(store.backend)
    errors = (Conflict("it moved"), 409), (Corrupt("it is damaged"), 500)
    failed = 0

    with serving(Store(changed, store.id)) as url:
        for nth in range(1, 100):
            for error, status in errors:
                failing = FailingBackend(store.backend, nth, before=True, error=error)
                changed.inner = failing
                answer = ask(url, place, **query)
                if failing.failed is None:
                    break
                failed += 1
                assert is_refusal(answer, status), (nth, answer.data)
                assert str(error) in answer.json["message"]
            if failing.failed is None:
                break
            changed.inner = store.backend
            assert ask(url, place, **query).status == 200

    assert failing.failed is None
    assert answer.status == 200
    assert failed > 0


def _files(folder: Path, pattern: str) -> list[Path]:
    found = sorted((folder / ".calstore").glob(pattern))
    assert found
    return found


def _flip(path: Path, at: int) -> bytes:
    """Damage one byte; gives all of them as they are then."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    return bytes(data)


def test_of_a_damaged_array_nothing_is_sent_but_its_whole_panels(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    digest = store[REF]["jungfrau"].at(7)["pedestals"].digest
    with serving(store) as url:
        sound = ask(url, f"arrays/{digest}/panels/1")
        _flip(_files(tmp_path, f"objects/arrays/*/{digest.hex}/c.*")[0], 50)

        whole = ask(url, f"arrays/{digest}")
        part = ask(url, f"arrays/{digest}", headers={"Range": "bytes=0-9"})
        named = ask(url, "constant", version=REF, **OF)
        head = ask(url, f"arrays/{digest}", "HEAD")
        first = ask(url, f"arrays/{digest}/panels/0", headers={"Range": "bytes=-1"})
        second = ask(url, f"arrays/{digest}/panels/1")

    for answer in (whole, part, named, first):
        assert is_refusal(answer, 500)
        assert len(answer.data) < 1000
    assert head.status == 500
    assert (second.status, second.data) == (200, sound.data)


@pytest.mark.parametrize(
    ("pattern", "at"), [("c.*", -1), ("c.*", -30), ("zarr.json", 30), ("zarr.json", 0)]
)
def test_a_damaged_index_or_header_is_told(pattern: str, at: int, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    digest = store[REF]["jungfrau"].at(7)["pedestals"].digest
    _flip(_files(tmp_path, f"objects/arrays/*/{digest.hex}/{pattern}")[0], at)

    with serving(store) as url:
        answers = [ask(url, f"arrays/{digest}{place}") for place in ("", "/panels/0", "/panels/5")]

    assert all(is_refusal(answer, 500) for answer in answers)


def test_values_of_another_array_are_not_sent_though_they_are_whole(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    older, newer = (store[f"{REF}@{n}"]["jungfrau"].at(7)["pedestals"].digest for n in (1, 2))
    (source,) = _files(tmp_path, f"objects/arrays/*/{older.hex}/c.*")
    (shard,) = _files(tmp_path, f"objects/arrays/*/{newer.hex}/c.*")
    shard.chmod(0o600)
    shard.write_bytes(source.read_bytes())

    with serving(store) as url:
        answers = [ask(url, f"arrays/{newer}{place}") for place in ("", "/panels/0", "/panels/5")]
        sound = ask(url, f"arrays/{older}/panels/5")

    assert all(is_refusal(answer, 500) for answer in answers)
    assert sound.status == 200


def test_what_is_gone_is_told_as_damage_where_something_names_it(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    digest = store[REF]["jungfrau"].at(7)["pedestals"].digest
    (shard,) = _files(tmp_path, f"objects/arrays/*/{digest.hex}/c.*")
    shard.unlink()

    with serving(store) as url:
        answers = [ask(url, f"arrays/{digest}{place}") for place in ("", "/panels/0")]

    assert all(is_refusal(answer, 500) for answer in answers)


def test_none_of_a_damaged_blob_manifest_or_record_is_sent(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    blob = xxh128(GEOMETRY.encode())
    damaged = _flip(_files(tmp_path, f"objects/blobs/*/{blob.hex}")[0], 3)
    manifest = store[f"{REF}@1"].digest
    _flip(_files(tmp_path, f"objects/manifests/*/{manifest.hex}")[0], 20)

    with serving(store) as url:
        of_blob = ask(url, f"blobs/{blob}")
        named = ask(url, "constant", version=REF, **{**OF, "type": "geometry"})
        of_manifest = [
            ask(url, "show", version=f"{REF}@1"),
            ask(url, "coverage", version=str(manifest)),
            ask(url, "diff", before=f"{REF}@1", after=REF),
        ]
        _flip(_files(tmp_path, f"refs/{REF}/00000002")[0], 40)
        of_record = [
            ask(url, "log", ref=REF),
            ask(url, "refs"),
            ask(url, "show", version=REF),
        ]

    for answer in (of_blob, named, *of_manifest, *of_record):
        assert is_refusal(answer, 500)
        assert damaged not in answer.data
