"""Documents of psana 2's service in a store: their constants in sets, and they in records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calstore.errors import Invalid
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Reference
from calstore.model.documents import Document, identity_of
from calstore.model.manifests import Constant, Detector, DetectorManifest, SetManifest
from calstore.model.names import check_component
from calstore.model.records import Record
from calstore.model.runs import RunRange
from calstore.repository.ancestry import ancestry_of
from calstore.repository.change import put_set
from calstore.repository.store import Store
from calstore.repository.version import CalibrationConstant, Version, load_detector
from calstore.store import objects


@dataclass(frozen=True, slots=True)
class Deposit:
    """A document, where it was, and what it is about, which is stored already.

    Parameters
    ----------
    database
        As ``cdb_mfx101332224``, or ``cdb_epix100_000001`` for a fall-back of the detector.
    """

    database: str
    document: Document
    content: ArrayReference | Reference


def put_content(store: Store, document: Document, payload: bytes) -> ArrayReference | Reference:
    """Store what a document is about; `Invalid` when the payload is not what it says."""
    from calstore.store import arrays

    content = document.decoded(payload)
    if isinstance(content, bytes):
        return objects.put(store.backend, objects.BLOBS, content)
    return arrays.put(store.backend, content)


def put_documents(store: Store, deposits: Sequence[Deposit]) -> Reference:
    """The documents, as they came, in a blob."""
    lines = (
        json.dumps(
            {
                "database": each.database,
                "document": dict(each.document.fields),
                "longname": each.document.long,
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        for each in deposits
    )
    text = "".join(f"{line}\n" for line in lines)
    return objects.put(store.backend, objects.BLOBS, text.encode())


def deposited(
    version: Version | None,
    store: Store,
    deposits: Sequence[Deposit],
    instead_of: Sequence[tuple[Detector, str, RunRange]] = (),
) -> Reference:
    """A set with these constants in it, stored; each replaces one of the same type and runs."""
    manifests = {} if version is None else dict(version.manifest.detectors)
    loaded = {} if version is None else _without(version, instead_of)

    def manifest_of(key: Detector) -> DetectorManifest:
        if key not in loaded:
            known = key in manifests
            loaded[key] = load_detector(store, manifests[key]) if known else DetectorManifest()
        return loaded[key]

    for each in deposits:
        kind, serials = each.document.panels
        keys = [key for key in (*manifests, *loaded) if key[0] == kind]
        key = _detector(each.document, {other: manifest_of(other) for other in keys})
        manifest = manifest_of(key)
        constant = Constant(each.content, serials=serials)
        there = manifest.constants.get(each.document.type_name, {})
        loaded[key] = manifest.replaced(
            each.document.type_name, {**there, each.document.runs: constant}
        )
    files: Mapping[str, Reference] = {} if version is None else version.manifest.files
    return _put_changed(store, manifests, loaded, files)


def without(version: Version, places: Sequence[tuple[Detector, str, RunRange]]) -> Reference:
    """The version's set without some constants, stored; those that it has not are no matter."""
    changed = _without(version, places)
    manifests = dict(version.manifest.detectors)
    return _put_changed(version.store, manifests, changed, version.manifest.files)


def _without(
    version: Version, places: Sequence[tuple[Detector, str, RunRange]]
) -> dict[Detector, DetectorManifest]:
    """The detectors that have any of the places, without them."""
    changed: dict[Detector, DetectorManifest] = {}
    for key, type_name, runs in places:
        if key not in version.manifest.detectors:
            continue
        before = changed.get(key) or version.detector(key).manifest
        there = before.constants.get(type_name, {})
        left = {each: constant for each, constant in there.items() if each != runs}
        changed[key] = before.replaced(type_name, left)
    return changed


def _put_changed(
    store: Store,
    manifests: dict[Detector, Reference],
    changed: Mapping[Detector, DetectorManifest],
    files: Mapping[str, Reference],
) -> Reference:
    for key, manifest in changed.items():
        manifests.pop(key, None)
        if manifest.constants:
            manifests[key] = objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
    return put_set(store, SetManifest(manifests, files))


def _detector(document: Document, there: Mapping[Detector, DetectorManifest]) -> Detector:
    """The detector with these panels: one that is there, or a new one, by a name that is free.

    The name is what the data call the detector; its short name where another one has that.
    """
    kind, serials = document.panels
    for key, manifest in there.items():
        if serials in _panels(manifest):
            return key
    names = [document.told("detname"), document.told("shortname"), document.told("detector")]
    for name in (*(name for name in names if _is_component(name)), document.long[:250]):
        if (kind, name) not in there:
            return kind, name
    raise Invalid(f"every name of {document.long} is another detector's")


def _panels(manifest: DetectorManifest) -> Iterator[tuple[str, ...]]:
    return (
        constant.serials
        for by_range in manifest.constants.values()
        for constant in by_range.values()
    )


def _is_component(name: str) -> bool:
    try:
        check_component(name)
    except Invalid:
        return False
    return name not in ("undefined", "None")


def known_ids(store: Store, record: Record | None) -> frozenset[str]:
    """The ids of all documents that a version, or one that it came from, was made from."""
    if record is None:
        return frozenset()
    records = ancestry_of(store, record).records.values()
    return frozenset(
        identity_of(told["document"]) for each in records for told in _documents_in(store, each)
    )


def deposited_dtypes(version: Version) -> frozenset[tuple[str, str, str]]:
    """Unique id, type and dtype of all arrays that psana 2's tools deposited on the way here."""
    if version.record is None:
        return frozenset()
    found = set()
    for record in ancestry_of(version.store, version.record).records.values():
        for told in _documents_in(version.store, record):
            fields = told["document"]
            if fields.get("data_type") == "ndarray":
                dtype = str(np.dtype(fields["data_dtype"]).name)
                found.add((str(told["longname"]), str(fields["ctype"]), dtype))
    return frozenset(found)


def document_of(constant: CalibrationConstant) -> tuple[str, Document] | None:
    """The database and the document that a constant came from; ``None`` where it is from none."""
    provenance = constant.provenance
    if provenance is None:
        return None
    long = "_".join((constant.detector.group, *constant.constant.serials))
    for told in _documents_in(constant.detector.version.store, provenance.record):
        if (told["longname"], told["document"].get("ctype")) == (long, constant.type_name):
            return str(told["database"]), Document.fall_back(told["document"], long)
    return None


def _documents_in(store: Store, record: Record) -> Iterator[dict[str, Any]]:
    if record.documents is None:
        return
    data = objects.get(store.backend, objects.BLOBS, record.documents)
    yield from (json.loads(line) for line in data.splitlines())
