"""Files of constants become arrays or blobs in the store."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from calstore.errors import Invalid
from calstore.formats import npy, psana_text, psana_text_writer
from calstore.formats.calib_tree import Place
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import calibration_type, fixed_shape, gain_shape
from calstore.model.digest import Digest, Reference, reference_to, xxh128
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.remarks import Remark
from calstore.store import arrays, objects
from calstore.store.arrays import Array
from calstore.store.backend import Backend

HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


@dataclass
class Known:
    """References to contents that were hashed before: their SHA-256 need not be computed."""

    blobs: dict[Digest, Reference] = field(default_factory=dict)
    arrays: dict[Digest, ArrayReference] = field(default_factory=dict)
    _in_hand: set[Digest] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put_array(self, backend: Backend, array: Array) -> ArrayReference:
        """Store an array, unless another thread is storing the same one: then wait for that.

        Copies lie side by side in real trees, so they come up together.
        """
        asked: list[Digest] = []

        def known(digest: Digest) -> ArrayReference | None:
            with self._changed:
                self._changed.wait_for(lambda: digest not in self._in_hand)
                if digest not in self.arrays:
                    asked.append(digest)
                    self._in_hand.add(digest)
                return self.arrays.get(digest)

        try:
            reference = arrays.put(backend, array, known)
            self.arrays[reference.digest] = reference
        finally:
            with self._changed:
                self._in_hand.difference_update(asked)
                self._changed.notify_all()
        return reference

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
class Interpreted:
    """What a file of constants is, before anything is stored.

    Parameters
    ----------
    array
        As psana's Python reader returns it; ``None`` for an opaque file.
    refused
        Why a file is opaque that should be an array.
    remarks
        What readers would stumble over in an array.
    """

    array: Array | None = None
    refused: str | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def problems(self) -> tuple[Remark, ...]:
        """All that a person should hear of an import."""
        if self.refused is None:
            return self.remarks
        return (Remark(self.refused, "kept as an opaque file"),)


def interpret(data: bytes, place: Place) -> Interpreted:
    """What a file of constants is: an array, or an opaque file.

    Geometry, HDF5 and unknown types are opaque, and nothing is wrong with that.
    """
    try:
        if place.name.endswith(".npy"):
            array = npy.read(data)
            return Interpreted(array, remarks=_npy_remarks(array, place.type_name))
        kind = calibration_type(place.type_name)
        if kind is None or not kind.is_array or data.startswith(HDF5_SIGNATURE):
            return Interpreted()
        reading = psana_text.read(data, group=place.group, type_name=place.type_name)
        problem = _gain_problem(reading.array, place.source, place.type_name)
        return Interpreted(reading.array, remarks=(*reading.remarks, *problem))
    except Invalid as error:
        return Interpreted(refused=str(error))


def ingest(
    backend: Backend, data: bytes, place: Place, interpreted: Interpreted, known: Known
) -> Constant:
    """Store a file of constants: its array if it has one, and so that it can be given back."""
    name = None if place.name == f"{place.runs}.data" else place.name
    array = interpreted.array
    if array is None:
        return Constant(put_blob(backend, data, known), name)
    reference = known.put_array(backend, array)
    is_reproduced = place.name.endswith(".npy") and npy.is_canonical(data, array)
    source = None if is_reproduced else put_blob(backend, data, known)
    return Constant(reference, name, source)


def put_array(backend: Backend, array: Array, detector: Detector, type_name: str) -> Constant:
    """Store an array as psana would have it: in its type's dtype, in its group's shape.

    float64 is rounded to float32. Leading axes may be cut otherwise: (4, 8, 185, 388) becomes
    (32, 185, 388).

    Raises
    ------
    Invalid
        When psana's text could not hold it (a NaN, a status over 65535, an empty array), or
        when psana would drop or scramble it for its shape.
    """
    group, source = detector
    for problem in _gain_problem(array, source, type_name):
        raise Invalid(f"{type_name}: {problem}")
    if type_name == "common_mode" and array.size == 1:
        raise Invalid(
            "a single number for common_mode, of which psana's Python reader makes an array that "
            "cannot be indexed; to switch the correction off, write two: 0 0"
        )
    rounded = _rounded(_shaped(array, group, type_name), type_name)
    return Constant(arrays.put(backend, psana_text_writer.checked(rounded, type_name)))


def put_blob(backend: Backend, data: bytes, known: Known) -> Reference:
    """Store opaque bytes."""
    reference = known.blobs.get(xxh128(data)) or reference_to(data)
    objects.put(backend, objects.BLOBS, data, reference)
    known.blobs[reference.digest] = reference
    return reference


def _shaped(array: Array, group: str, type_name: str) -> Array:
    shape = fixed_shape(group, type_name)
    if shape is None or array.shape == shape:
        return array
    if array.size != math.prod(shape):
        raise Invalid(
            f"{type_name} of shape {array.shape}, where {group} has {shape}: psana would use its "
            "default in silence"
        )
    if array.shape[-1] != shape[-1]:
        raise Invalid(
            f"{type_name} of shape {array.shape}, where {group} has {shape}: psana would take the "
            "values in another order; bring them into this shape"
        )
    return array.reshape(shape)


def _gain_problem(array: Array, source: str, type_name: str) -> tuple[Remark, ...]:
    """What is wrong with the shape of an array that needs values for each gain mode."""
    wanted = gain_shape(source, type_name)
    if wanted is None:
        return ()
    forms = (wanted, tuple(length for length in wanted if length not in (None, 1)))
    if any(
        len(form) == array.ndim
        and all(known in (None, length) for known, length in zip(form, array.shape, strict=True))
        for form in forms
    ):
        return ()
    spelled = ", ".join("panels" if length is None else str(length) for length in wanted)
    return (
        Remark(
            f"the shape {array.shape}, where {source} has ({spelled}), gain modes first",
            "psana does not check it, and takes other values than were meant, or fails later",
        ),
    )


def _rounded(array: Array, type_name: str) -> Array:
    """The array as float32 where psana would make it that."""
    kind = calibration_type(type_name)
    if kind is None or kind.dtype != "float32" or array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        return array.astype(np.float32, copy=False)


def _npy_remarks(array: Array, type_name: str) -> tuple[Remark, ...]:
    remarks = []
    kind = calibration_type(type_name)
    if kind is not None and kind.is_array:
        if kind.dtype != array.dtype.name:
            what = f"dtype {array.dtype.name} for {type_name}"
            remarks.append(Remark(what, f"psana takes {kind.dtype}; a psana view has that"))
        try:
            psana_text_writer.checked(_rounded(array, type_name), type_name)
        except Invalid as error:
            remarks.append(Remark(str(error), "a view in the layout psana cannot be made"))
    return tuple(remarks)
