"""Merging sets of a store: their detectors at hand, and HISTORY line by line."""

from __future__ import annotations

from calstore.model.digest import Reference
from calstore.model.manifests import SetManifest
from calstore.repository.change import put_set
from calstore.repository.store import Store
from calstore.repository.version import load_detector
from calstore.store import objects
from calstore.views.merge import Merged, SetContents, merge_sets
from calstore.views.plan import HISTORY


def load_contents(store: Store, manifest: SetManifest) -> SetContents:
    """The set with its detector manifests, verified."""
    detectors = {
        key: load_detector(store, reference) for key, reference in manifest.detectors.items()
    }
    return SetContents(detectors, manifest.files)


def put_contents(store: Store, contents: SetContents) -> Reference:
    """Store the manifests of a set whose arrays and blobs are stored."""
    detectors = {
        key: objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
        for key, manifest in contents.detectors.items()
    }
    return put_set(store, SetManifest(detectors, contents.files))


def merged(store: Store, base: SetContents, ours: SetContents, theirs: SetContents) -> Merged:
    """What either side changed since ``base``; of a HISTORY, the lines of both."""

    def merge_file(
        path: str, one: Reference | None, two: Reference | None, three: Reference | None
    ) -> Reference | None:
        if path.rpartition("/")[2] != HISTORY or two is None or three is None:
            return None
        mine, other = _read(store, two), _read(store, three)
        known = set(mine.splitlines())
        missing = [line for line in other.splitlines() if line not in known]
        if mine and not mine.endswith(b"\n"):
            mine += b"\n"
        data = mine + b"".join(line + b"\n" for line in missing)
        return objects.put(store.backend, objects.BLOBS, data)

    return merge_sets(base, ours, theirs, merge_file)


def _read(store: Store, blob: Reference) -> bytes:
    return objects.get(store.backend, objects.BLOBS, blob)
