"""At every moment of an update psana gives each run what it had, or what it shall have."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from builders import stamp
from hypothesis import given
from hypothesis import strategies as st
from ranges import RUNS, run_ranges

from calstore.formats.calib_tree import name_remark
from calstore.model.digest import reference_to
from calstore.model.manifests import Constant, DetectorManifest
from calstore.model.names import RefName
from calstore.model.runs import RunRange
from calstore.repository.change import Move, move
from calstore.repository.materialize import materialize
from calstore.repository.merge import put_contents
from calstore.repository.store import Store
from calstore.store import marker, objects
from calstore.store.memory import MemoryBackend
from calstore.views.merge import SetContents
from calstore.views.resolve import Timeline
from calstore.views.state import status

REF = "xpp/main"
KEY = ("Camera::CalibV1", "XppEndstation.0:Opal1000.1")
TYPES = ("geometry", "tilt")

Version = Mapping[str, Mapping[RunRange, int]]
"""Type → range → which content."""


def stored(versions: list[Version]) -> Store:
    """A store whose ref has these versions, one after the other."""
    backend = MemoryBackend()
    marker.create(backend, "0" * 32)
    store = Store(backend, "0" * 32)
    for number, version in enumerate(versions):
        note = reference_to(b"%d\n" % number)  # so that each is another one
        objects.put(backend, objects.BLOBS, b"%d\n" % number, note)
        types = {
            name: {runs: Constant(put(store, content)) for runs, content in by_range.items()}
            for name, by_range in version.items()
            if by_range
        }
        contents = SetContents({KEY: DetectorManifest(types)} if types else {}, {"note": note})
        to = Move(put_contents(store, contents), "")
        move(store, RefName(REF), partial(_always, to), stamp(), "set", may_be_new=True)
    return store


def _always(to: Move, version: object) -> Move:
    return to


def put(store: Store, content: int) -> Any:
    data = b"# content %d\n" % content
    return objects.put(store.backend, objects.BLOBS, data, reference_to(data))


def given_by(view: Path) -> dict[tuple[str, int], bytes | None]:
    """What psana finds for each run of each type, by looking."""
    found = {}
    for name in TYPES:
        folder = view.joinpath(*KEY, name)
        contents = {}
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix == ".data":
                assert name_remark(path.name) is None, f"psana chokes on {path.name}"
                contents[RunRange.parse(path.stem)] = path.read_bytes()
        timeline = Timeline(contents)
        for run in RUNS:
            winner = timeline.at(run)
            found[name, run] = None if winner is None else contents[winner]
    return found


class Moments:
    """Looks at a view after each call that changes a directory, or a file by its name."""

    def __init__(self, view: Path) -> None:
        self.calls = 0
        self.wrong: list[str] = []
        self._view = view
        self._lock = threading.RLock()

    def watch(self, patch: pytest.MonkeyPatch, fresh: Path, dies_at: int = 0) -> None:
        """From now on each run may get what it gets now, or what it gets in a fresh view."""
        allowed = given_by(self._view), given_by(fresh)
        for verb in ("rename", "link", "symlink", "unlink", "rmdir", "mkdir", "write"):
            patch.setattr(os, verb, self._looking(getattr(os, verb), allowed, dies_at))

    def _looking(
        self, real: Callable[..., Any], allowed: tuple[Any, Any], dies_at: int
    ) -> Callable[..., Any]:
        def call(*arguments: Any, **how: Any) -> Any:
            with self._lock:
                result = real(*arguments, **how)
                for place, data in given_by(self._view).items():
                    if data not in (allowed[0][place], allowed[1][place]):
                        self.wrong.append(f"{place} gets {data!r} after {real.__name__}")
                self.calls += 1
                if self.calls == dies_at:
                    raise Died
                return result

        return call


class Died(BaseException):
    """As a kill, but that it can be gone on from here."""


VERSIONS = st.fixed_dictionaries(
    {name: st.dictionaries(run_ranges(), st.integers(0, 3), max_size=5) for name in TYPES}
)


@given(VERSIONS, VERSIONS)
def test_each_run_goes_straight_from_the_old_to_the_new(
    memory_path: Path, old: Version, new: Version
) -> None:
    store = stored([old, new])
    with tempfile.TemporaryDirectory(dir=memory_path) as name:
        view, fresh = Path(name) / "calib", Path(name) / "fresh"
        materialize(store, store[f"{REF}@1"], view)
        materialize(store, store[f"{REF}@2"], fresh)
        moments = Moments(view)

        with pytest.MonkeyPatch.context() as patch:
            moments.watch(patch, fresh)
            materialize(store, store[f"{REF}@2"], view)

        assert moments.wrong == []
        assert moments.calls > 3
        assert given_by(view) == given_by(fresh)


@given(VERSIONS, VERSIONS, VERSIONS, st.integers(1, 40))
def test_so_does_it_after_an_update_that_died_on_the_way_elsewhere(
    memory_path: Path, old: Version, other: Version, new: Version, nth: int
) -> None:
    store = stored([old, other, new])
    with tempfile.TemporaryDirectory(dir=memory_path) as name:
        view, fresh = Path(name) / "calib", [Path(name) / "2", Path(name) / "3"]
        materialize(store, store[f"{REF}@1"], view)
        for number, each in enumerate(fresh):
            materialize(store, store[f"{REF}@{number + 2}"], each)
        moments = Moments(view)

        with pytest.MonkeyPatch.context() as patch:
            moments.watch(patch, fresh[0], dies_at=nth)
            with contextlib.suppress(Died):
                materialize(store, store[f"{REF}@2"], view)
        with pytest.MonkeyPatch.context() as patch:
            moments.watch(patch, fresh[1])
            materialize(store, store[f"{REF}@3"], view)

        assert moments.wrong == []
        assert given_by(view) == given_by(fresh[1])
        assert status(view).is_clean
