"""Merging sets of a store: their detectors at hand, and HISTORY line by line."""

from __future__ import annotations

from calstore.model.digest import Reference, reference_to
from calstore.model.manifests import DetectorManifest, SetManifest
from calstore.repository.change import put_set
from calstore.repository.store import Store
from calstore.repository.version import load_detector
from calstore.store import objects
from calstore.views.merge import Merged, SetContents, merge_lines, merge_sets
from calstore.views.plan import HISTORY


def load_contents(store: Store, manifest: SetManifest) -> SetContents:
    """The set with its detector manifests, verified."""
    return load_several(store, manifest)[0]


def load_several(store: Store, *manifests: SetManifest) -> list[SetContents]:
    """Sets with their detector manifests, verified; what they share is read once."""
    known: dict[Reference, DetectorManifest] = {}
    contents = []
    for manifest in manifests:
        detectors = {}
        for key, reference in manifest.detectors.items():
            if reference not in known:
                known[reference] = load_detector(store, reference)
            detectors[key] = known[reference]
        contents.append(SetContents(detectors, manifest.files))
    return contents


def put_contents(store: Store, contents: SetContents) -> Reference:
    """Store the manifests of a set whose arrays and blobs are stored."""
    detectors = {
        key: objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
        for key, manifest in contents.detectors.items()
    }
    return put_set(store, SetManifest(detectors, contents.files))


def merged(
    store: Store,
    base: SetContents,
    ours: SetContents,
    theirs: SetContents,
    *,
    keep: bool = True,
) -> Merged:
    """What either side changed since ``base``; of a HISTORY, the lines of both.

    Parameters
    ----------
    keep
        Whether to store a HISTORY that was merged; else the result can be looked at, no more.
    """

    def merge_file(
        path: str, one: Reference | None, two: Reference | None, three: Reference | None
    ) -> Reference | None:
        if path.rpartition("/")[2] != HISTORY or two is None or three is None:
            return None
        data = merge_lines(_read(store, two), _read(store, three))
        return objects.put(store.backend, objects.BLOBS, data) if keep else reference_to(data)

    return merge_sets(base, ours, theirs, merge_file)


def _read(store: Store, blob: Reference) -> bytes:
    return objects.get(store.backend, objects.BLOBS, blob)
