"""What manifests lead to: each object with its kind, so that a walk knows how to go on."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from calstore.model.arrays import ArrayReference
from calstore.model.derivations import FRAMES, DerivationManifest
from calstore.model.digest import Reference
from calstore.model.manifests import DetectorManifest, SetManifest
from calstore.store import objects


class Kind(enum.Enum):
    """What an object is."""

    SET = "set"
    DETECTOR = "detector"
    DERIVATION = "derivation"
    INPUT = "input"
    ARRAY = "array"
    BLOB = "blob"

    @property
    def is_manifest(self) -> bool:
        """Whether it is stored as canonical msgpack."""
        return self not in (Kind.ARRAY, Kind.BLOB)

    @property
    def leads_on(self) -> bool:
        """Whether it may lead to other objects."""
        return self in (Kind.SET, Kind.DETECTOR, Kind.DERIVATION)

    @property
    def folder(self) -> str:
        """Where such objects lie."""
        if self.is_manifest:
            return objects.MANIFESTS
        return objects.ARRAYS if self is Kind.ARRAY else objects.BLOBS


@dataclass(frozen=True, slots=True)
class Item:
    """An object, as what leads to it says."""

    kind: Kind
    content: Reference | ArrayReference

    @property
    def key(self) -> str:
        """The file of it; of an array, the folder."""
        return objects.key_of(self.kind.folder, self.content.digest)

    @property
    def identity(self) -> Reference:
        """Its digests and size, without what an array's dtype and shape are."""
        return identity_of(self.content)


def identity_of(content: Reference | ArrayReference) -> Reference:
    """The digests and the size of an object, without what an array's dtype and shape are."""
    return content.content if isinstance(content, ArrayReference) else content


_OF_INPUTS: Final = {"array": Kind.ARRAY, "blob": Kind.BLOB, FRAMES: Kind.INPUT}


def folder_of(key: str) -> str:
    """Where an object of this key lies: the folder of its kind."""
    folders = (objects.ARRAYS, objects.BLOBS, objects.MANIFESTS)
    return next(folder for folder in folders if key.startswith(folder))


def children(kind: Kind, data: bytes) -> list[Item]:
    """What a manifest leads to directly.

    Raises
    ------
    Invalid
        When the bytes are no manifest of that kind.
    """
    match kind:
        case Kind.SET:
            whole = SetManifest.decoded(data)
            blobs = [Item(Kind.BLOB, blob) for blob in whole.files.values()]
            return blobs + [Item(Kind.DETECTOR, each) for each in whole.detectors.values()]
        case Kind.DETECTOR:
            return _of_detector(DetectorManifest.decoded(data))
        case Kind.DERIVATION:
            inputs = DerivationManifest.decoded(data).inputs.values()
            return [Item(_OF_INPUTS[each.kind], each.content) for each in inputs]
        case _:
            return []


def _of_detector(manifest: DetectorManifest) -> list[Item]:
    found = []
    for by_range in manifest.constants.values():
        for constant in by_range.values():
            is_array = isinstance(constant.content, ArrayReference)
            found.append(Item(Kind.ARRAY if is_array else Kind.BLOB, constant.content))
            if constant.source is not None:
                found.append(Item(Kind.BLOB, constant.source))
            if constant.derivation is not None:
                found.append(Item(Kind.DERIVATION, constant.derivation))
    return found
