"""Files of constants become arrays or blobs in the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from calstore.errors import Invalid
from calstore.formats import npy, psana_text, psana_text_writer
from calstore.formats.calib_tree import Place
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import calibration_type
from calstore.model.digest import Digest, Reference, reference_to, xxh128
from calstore.model.manifests import Constant, DetectorManifest
from calstore.model.remarks import Remark
from calstore.store import arrays, objects
from calstore.store.backend import Backend

HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


@dataclass
class Known:
    """References to contents that were hashed before: their SHA-256 need not be computed."""

    blobs: dict[Digest, Reference] = field(default_factory=dict)
    arrays: dict[Digest, ArrayReference] = field(default_factory=dict)

    def add_detector(self, manifest: DetectorManifest) -> None:
        """Know what a detector's constants refer to."""
        for by_range in manifest.constants.values():
            for constant in by_range.values():
                self.add_constant(constant)

    def add_constant(self, constant: Constant) -> None:
        """Know what a constant refers to."""
        if isinstance(constant.content, ArrayReference):
            self.arrays[constant.content.digest] = constant.content
        else:
            self.blobs[constant.content.digest] = constant.content
        if constant.source is not None:
            self.blobs[constant.source.digest] = constant.source

    def add_blobs(self, blobs: Iterable[Reference]) -> None:
        """Know some blobs."""
        self.blobs.update((blob.digest, blob) for blob in blobs)


@dataclass(frozen=True, slots=True)
class Ingested:
    """A constant whose contents were put, and what its readers would stumble over."""

    constant: Constant
    remarks: tuple[Remark, ...] = ()


def ingest(backend: Backend, data: bytes, place: Place, known: Known) -> Ingested:
    """Store a file of constants: as an array if it is one, and so that it can be given back.

    A file that psana's Python reader could not load as an array is kept as a blob, and
    remarked upon; an opaque one (geometry, HDF5, an unknown type) is a blob without remark.
    """
    name = None if place.name == f"{place.runs}.data" else place.name
    if place.name.endswith(".npy"):
        return _ingest_npy(backend, data, place, name, known)
    kind = calibration_type(place.type_name)
    if kind is None or not kind.is_array or data.startswith(HDF5_SIGNATURE):
        return Ingested(Constant(put_blob(backend, data, known), name))
    try:
        reading = psana_text.read(data, group=place.group, type_name=place.type_name)
    except Invalid as error:
        blob = put_blob(backend, data, known)
        remark = Remark(str(error), "kept as an opaque file")
        return Ingested(Constant(blob, name), (remark,))
    reference = arrays.put(backend, reading.array, known.arrays.get)
    source = put_blob(backend, data, known)
    constant = Constant(reference, name, source)
    known.add_constant(constant)
    return Ingested(constant, reading.remarks)


def put_array(backend: Backend, array: arrays.Array, type_name: str) -> Constant:
    """Store an array as the dtype that psana gives to its type; float64 is rounded to it.

    Raises
    ------
    Invalid
        When psana's text could not hold it: a NaN, a status over 65535, an empty array.
    """
    kind = calibration_type(type_name)
    if kind is not None and kind.dtype == "float32" and array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            array = array.astype(np.float32)
    return Constant(arrays.put(backend, psana_text_writer.checked(array, type_name)))


def put_blob(backend: Backend, data: bytes, known: Known) -> Reference:
    """Store opaque bytes."""
    reference = known.blobs.get(xxh128(data)) or reference_to(data)
    objects.put(backend, objects.BLOBS, data, reference)
    known.blobs[reference.digest] = reference
    return reference


def _ingest_npy(
    backend: Backend, data: bytes, place: Place, name: str | None, known: Known
) -> Ingested:
    try:
        array = npy.read(data)
        reference = arrays.put(backend, array, known.arrays.get)
    except Invalid as error:
        blob = put_blob(backend, data, known)
        return Ingested(Constant(blob, name), (Remark(str(error), "kept as an opaque file"),))
    source = None
    if not npy.is_canonical(data, array):
        source = put_blob(backend, data, known)
    constant = Constant(reference, name, source)
    known.add_constant(constant)
    return Ingested(constant, _npy_remarks(reference, place))


def _npy_remarks(reference: ArrayReference, place: Place) -> tuple[Remark, ...]:
    expected = calibration_type(place.type_name)
    if expected is None or expected.dtype == reference.dtype:
        return ()
    what = f"dtype {reference.dtype} for {place.type_name}"
    return (Remark(what, f"psana takes {expected.dtype}; a psana view is written as that"),)
