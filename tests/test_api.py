"""The JSON API: what the commands tell, and the constants bit for bit."""

from __future__ import annotations

import io
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_client import EXPERIMENT, GEOMETRY, PEDESTALS, REF, ask, digest_of, make_store, serving
from builders import stamp
from commandline import run
from service import Service

from calstore.model.arrays import panels_of
from calstore.model.digest import Digest, xxh128
from calstore.repository.approve import approve
from calstore.repository.branch import fork
from calstore.repository.store import Store
from calstore.serve.shared import SharedArrays
from calstore.store import arrays

JUNGFRAU: dict[str, Any] = {"detector": "jungfrau", "type": "pedestals", "run": 7}
FOR_EVER = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return make_store(folder)


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with serving(store) as found:
        yield found


@pytest.mark.parametrize(
    ("place", "query", "words", "code"),
    [
        ("refs", {}, ("refs",), 0),
        ("refs", {"pattern": "*/main"}, ("refs", "*/main"), 0),
        ("refs", {"deleted": "true"}, ("refs", "--deleted"), 0),
        ("log", {"ref": REF}, ("log", REF), 0),
        ("log", {"ref": REF, "limit": 1}, ("log", REF, "-n", 1), 0),
        ("show", {"version": REF}, ("show", REF), 0),
        ("show", {"version": f"{REF}@approved"}, ("show", f"{REF}@approved"), 0),
        (
            "show",
            {"version": f"{REF}@1", "detector": "jung", "type": "pedestals", "run": 7},
            ("show", f"{REF}@1", "jung", "pedestals", "--run", 7),
            0,
        ),
        ("coverage", {"version": REF, "run": 7}, ("coverage", REF, "--run", 7), 0),
        (
            "coverage",
            {"version": REF, "detector": "epix"},
            ("coverage", REF, "--detector", "epix"),
            0,
        ),
        ("diff", {"before": f"{REF}@1", "after": REF}, ("diff", f"{REF}@1", REF), 1),
        (
            "diff",
            {"before": f"{REF}@1", "after": REF, "detector": "jungfrau", "run": 7},
            ("diff", f"{REF}@1", REF, "jungfrau", "--run", 7),
            1,
        ),
        ("uses", {"experiment": EXPERIMENT, "run": 7}, ("used", EXPERIMENT, 7), 0),
        ("runs", {"experiment": EXPERIMENT}, ("runs", "list", EXPERIMENT), 0),
        (
            "runs",
            {"experiment": EXPERIMENT, "dark": "true", "runs": "8-9"},
            ("runs", "list", EXPERIMENT, "--dark", "--runs", "8-9"),
            0,
        ),
        (
            "runs",
            {"experiment": EXPERIMENT, "history": 7},
            ("runs", "list", EXPERIMENT, "--history", 7),
            0,
        ),
    ],
)
def test_it_tells_what_the_command_tells(
    place: str,
    query: dict[str, Any],
    words: tuple[Any, ...],
    code: int,
    url: str,
    folder: Path,
    store: Store,
) -> None:
    printed = run(*words, "--json", folder=folder)

    answer = ask(url, place, **query)

    assert printed.code == code
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == json.loads(printed.out)


def test_approvals_are_all_words_about_a_set(url: str) -> None:
    answer = ask(url, "approvals", version=REF)

    (told,) = answer.json["approvals"]
    assert (told["status"], told["reason"]) == ("good", "flat")


def test_a_version_may_be_named_by_its_digest(url: str) -> None:
    named = ask(url, "show", version=REF).json
    digest = f"xxh128:{named['manifest']['xxh128']}"

    whole = ask(url, "show", version=digest)
    cut_short = ask(url, "show", version=digest[:17])

    assert whole.json == cut_short.json == {**named, "version": digest}


def test_it_is_a_part_of_the_service(store: Store) -> None:
    with Service(store, REF) as service:
        answer = ask(service.url, "log", ref=REF)
        refused = ask(service.url, "refs", "POST")

    assert [record["number"] for record in answer.json["records"]] == [2, 1]
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_constant_is_an_npy_file_bit_for_bit(url: str) -> None:
    named = ask(url, "constant", version=REF, **JUNGFRAU)
    by_digest = ask(url, f"arrays/xxh128:{named.digest}")
    geometry = ask(url, "constant", version=REF, **{**JUNGFRAU, "type": "geometry"})

    assert named.headers["content-type"] == "application/x-npy"
    assert np.load(io.BytesIO(named.data)).tobytes() == (PEDESTALS + 1).tobytes()
    assert by_digest.data == named.data
    assert geometry.data == GEOMETRY.encode()
    assert ask(url, f"blobs/{geometry.digest}").data == geometry.data
    assert geometry.digest == xxh128(geometry.data).hex


def _odd_floats(dtype: str) -> np.ndarray:
    """−0.0, infinities, a subnormal, and NaNs of two payloads."""
    bits = {"float16": 0x7E01, "float32": 0x7FC00001, "float64": 0x7FF8000000000001}[dtype]
    values = np.array([-0.0, np.inf, -np.inf, np.finfo(dtype).smallest_subnormal, np.nan, 0], dtype)
    values[-1:].view(f"u{values.itemsize}")[0] = bits
    return values


ARRAYS = [
    np.array(3.5, np.float64),
    np.zeros((0, 5), np.int16),
    np.zeros((4, 0, 3), np.float32),
    np.array([True, False, True]),
    np.array([[-(2**63), 2**63 - 1]], np.int64),
    np.array([2**64 - 1, 0], np.uint64),
    np.arange(10, dtype=">u2").reshape(2, 5),
    np.asfortranarray(np.arange(12, dtype=np.int32).reshape(3, 4)),
    *(_odd_floats(name) for name in ("float16", "float32", "float64")),
    np.random.default_rng(2).integers(0, 255, (3, 5, 7, 100, 60), np.uint8),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda each: f"{each.dtype.str} {each.shape}")
def test_any_array_comes_whole_and_by_panels_bit_for_bit(
    array: np.ndarray, url: str, store: Store
) -> None:
    digest = arrays.put(store.backend, array).digest
    plain = array.astype(array.dtype.newbyteorder("<"), order="C")

    whole = ask(url, f"arrays/{digest}")
    count = panels_of(str(plain.dtype), plain.shape).count
    panels = [ask(url, f"arrays/{digest}/panels/{number}").data for number in range(count)]

    loaded = np.load(io.BytesIO(whole.data))
    assert (loaded.dtype, loaded.shape) == (plain.dtype, plain.shape)
    assert loaded.tobytes() == b"".join(panels) == plain.tobytes()
    assert ask(url, f"arrays/{digest}/panels/{count}").status == 404


def test_a_panel_is_read_alone_and_in_parts(url: str) -> None:
    place = f"arrays/{digest_of(url, version=f'{REF}@1')}/panels/3"
    expected = PEDESTALS.reshape(6, 64, 96)[3].tobytes()
    size = len(expected)

    def part(asked: str, **conditions: str) -> tuple[int, str | None, bytes]:
        headers = {"Range": asked, **{k.replace("_", "-"): v for k, v in conditions.items()}}
        answer = ask(url, place, headers=headers)
        assert answer.headers["accept-ranges"] == "bytes"
        return answer.status, answer.headers.get("content-range"), answer.data

    whole = ask(url, place)

    assert whole.data == expected
    assert part("bytes=100-199") == (206, f"bytes 100-199/{size}", expected[100:200])
    assert part("Bytes=0-0") == (206, f"bytes 0-0/{size}", expected[:1])
    assert part("bytes=-50") == (206, f"bytes {size - 50}-{size - 1}/{size}", expected[-50:])
    assert part(f"bytes={size - 7}-") == (206, f"bytes {size - 7}-{size - 1}/{size}", expected[-7:])
    assert part(f"bytes=5-{10**17}") == (206, f"bytes 5-{size - 1}/{size}", expected[5:])
    assert part(f"bytes=-{10**17}") == (206, f"bytes 0-{size - 1}/{size}", expected)
    for nowhere in (f"bytes={size}-", "bytes=-0", "bytes=9-1", f"bytes={10**17}-"):
        assert part(nowhere) == (416, f"bytes */{size}", b"")
    for nothing in ("bytes=9-1,3-4", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=-", "²"):
        assert part(nothing) == (200, None, expected)
    etag = whole.headers["etag"]
    assert part("bytes=0-1", If_Range=etag)[0] == 206
    for other in ('"another"', f"W/{etag}", "Wed, 25 Nov 2026 11:00:00 GMT"):
        assert part("bytes=0-1", If_Range=other) == (200, None, expected)


def test_a_range_of_an_array_may_span_its_header_and_its_values(url: str) -> None:
    place = f"arrays/{digest_of(url)}"
    whole = ask(url, place).data
    begin = len(whole) - PEDESTALS.nbytes

    part = ask(url, place, headers={"Range": f"bytes={begin - 10}-{begin + 9}"})

    assert (part.status, part.data) == (206, whole[begin - 10 : begin + 10])


def _places(url: str) -> list[tuple[str, dict[str, Any]]]:
    digest = digest_of(url)
    return [
        ("openapi.json", {}),
        ("refs", {}),
        ("log", {"ref": REF}),
        ("show", {"version": REF}),
        ("coverage", {"version": REF, "run": 7}),
        ("diff", {"before": f"{REF}@1", "after": REF}),
        ("approvals", {"version": REF}),
        ("uses", {"experiment": EXPERIMENT, "run": 7}),
        ("runs", {"experiment": EXPERIMENT}),
        ("constant", {"version": REF, **JUNGFRAU}),
        (f"arrays/{digest}", {}),
        (f"arrays/{digest}/panels/1", {}),
        (f"blobs/{digest_of(url, 'geometry')}", {}),
    ]


@pytest.mark.parametrize("number", range(13))
def test_what_the_client_has_is_not_sent_again(number: int, url: str) -> None:
    place, query = _places(url)[number]
    first = ask(url, place, **query)

    def asked(known: str) -> tuple[int, bytes, str]:
        answer = ask(url, place, headers={"If-None-Match": known}, **query)
        assert answer.headers["cache-control"] == first.headers["cache-control"]
        return answer.status, answer.data, answer.headers["etag"]

    etag = first.headers["etag"]
    assert first.status == 200
    assert asked(etag) == asked("*") == (304, b"", etag)
    assert asked(f'"x", W/{etag}') == (304, b"", etag)
    assert asked('"x"') == asked(etag.strip('"')) == (200, first.data, etag)


@pytest.mark.parametrize("number", range(13))
def test_a_head_has_the_headers_and_nothing_else(number: int, url: str) -> None:
    place, query = _places(url)[number]
    first = ask(url, place, **query)

    head = ask(url, place, "HEAD", {"Range": "bytes=0-1"}, **query)

    changing = {"date"}
    assert (head.status, head.data) == (200, b"")
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in first.headers.items() if k not in changing
    }
    assert head.headers["content-length"] == str(len(first.data))


def test_what_never_changes_is_kept_for_ever_and_nothing_else(url: str) -> None:
    manifest = ask(url, "approvals", version=REF).json["manifest"]
    pinned, moving = (f"{REF}@2", manifest), (REF, f"{REF}@approved", manifest[:20])

    def cache(place: str, **query: Any) -> str:
        return ask(url, place, "HEAD", **query).headers["cache-control"]

    for version in pinned:
        assert cache("constant", version=version, **JUNGFRAU) == FOR_EVER
        assert cache("diff", before=f"{REF}@1", after=version) == FOR_EVER
        assert cache("show", version=version) == "no-cache"  # somebody may approve it
        assert cache("coverage", version=version) == "no-cache"
    for version in moving:
        assert cache("constant", version=version, **JUNGFRAU) == "no-cache"
        assert cache("diff", before=f"{REF}@1", after=version) == "no-cache"
        assert cache("diff", before=version, after=f"{REF}@1") == "no-cache"
    of_blob = f"blobs/{digest_of(url, 'geometry')}"
    for place in (f"arrays/{digest_of(url)}", f"arrays/{digest_of(url)}/panels/0", of_blob):
        assert cache(place) == FOR_EVER


def test_what_needed_a_token_is_kept_by_no_cache_that_others_share(url: str) -> None:
    place = f"arrays/{digest_of(url)}"

    answer = ask(url, place, headers={"Authorization": "Bearer abc"})

    assert answer.headers["cache-control"] == FOR_EVER.replace("public", "private")


def test_an_etag_changes_with_what_is_told(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    places = ("show", {"version": f"{REF}@1"}), ("refs", {}), ("log", {"ref": REF})

    with serving(store) as url:
        before = [ask(url, place, **query).headers["etag"] for place, query in places]
        approve(store, f"{REF}@1", "rejected", stamp("noisy"))
        known = zip(places, before, strict=True)
        after = [
            ask(url, place, headers={"If-None-Match": etag}, **query)
            for (place, query), etag in known
        ]

    # The head of the ref is another set; the tag that refs lists is of the rejected one.
    assert [answer.status for answer in after] == [200, 200, 200]
    assert after[0].json["approval"]["status"] == "rejected"


class Gated:
    """A real backend that waits in one place until it is let go."""

    def __init__(self, inner: Any, part: str) -> None:
        self.inner, self.part = inner, part
        self.reached, self.goes_on = threading.Event(), threading.Event()
        self.reads: list[str] = []

    def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        if self.part in key:
            self.reads.append(key)
            self.reached.set()
            assert self.goes_on.wait(20)
        return self.inner.get(key, start, stop)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self.inner, name)


def test_a_slow_disk_holds_up_nobody_else(store: Store) -> None:
    backend: Any = Gated(store.backend, "/c.")
    digest = store[REF]["jungfrau"].at(7)["pedestals"].digest

    with serving(Store(backend, store.id)) as url, ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, url, f"arrays/{digest}")
        assert backend.reached.wait(20)
        other = ask(url, "log", ref=REF)
        was_done = slow.done()
        backend.goes_on.set()
        answer = slow.result()

    assert (other.status, was_done, answer.status) == (200, False, 200)


def test_who_asks_for_one_array_at_once_shares_it_and_it_is_read_once() -> None:
    shared, digest, goes_on = SharedArrays(), Digest(bytes(16)), threading.Event()
    reads: list[int] = []

    def read() -> np.ndarray:
        reads.append(1)
        assert goes_on.wait(20)
        return np.zeros(5)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(shared.get, digest, read) for _ in range(8)]
        goes_on.set()
        found = [each.result() for each in asked]

    assert all(each is found[0] for each in found)
    assert len(reads) == 1


def test_an_array_is_shared_while_somebody_has_it_and_then_forgotten() -> None:
    shared, digest = SharedArrays(), Digest(bytes(16))
    made: list[weakref.ref[np.ndarray]] = []

    def read() -> np.ndarray:
        array = np.zeros(5)
        made.append(weakref.ref(array))
        return array

    first = shared.get(digest, read)
    # What is sent is a view of the bytes; it keeps the array.
    view = first.reshape(-1).view(np.uint8).data
    del first
    second = shared.get(digest, read)
    assert (len(made), second is made[0]()) == (1, True)
    del second, view
    assert made[0]() is None
    assert shared.get(digest, read) is not None
    assert len(made) == 2


def test_an_array_that_cannot_be_read_is_no_trouble_for_the_next() -> None:
    shared, digest = SharedArrays(), Digest(bytes(16))

    def fails() -> np.ndarray:
        raise OSError("a test says so")

    with pytest.raises(OSError, match="says so"):
        shared.get(digest, fails)

    assert shared.get(digest, lambda: np.ones(3)).sum() == 3


def test_a_ref_that_is_made_meanwhile_is_told(tmp_path: Path) -> None:
    store = make_store(tmp_path)

    with serving(store) as url:
        before = ask(url, "refs", pattern="*/new")
        fork(store, REF, f"{EXPERIMENT}/new", stamp())
        after = ask(url, "refs", pattern="*/new")

    assert before.json["refs"] == []
    assert [each["name"] for each in after.json["refs"]] == [f"{EXPERIMENT}/new"]
