"""What psana2 gets of a version: one document and one payload per type, for the asked panels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from calstore.errors import Conflict
from calstore.model.arrays import ArrayReference
from calstore.model.canonical import Value, encode
from calstore.model.digest import xxh128
from calstore.model.psana2 import NOMINAL_DTYPES, TEXT, long_name, parse_long_name
from calstore.model.runs import END, RunRange
from calstore.repository.version import CalibrationConstant, DetectorConstants, Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Served:
    """One constant as psana2 asks for it.

    Parameters
    ----------
    order
        Of the panels that are asked for, their places in the stored array; ``None`` for as it is.
    runs
        The runs that it is said to be for.
    dtype
        Of the array that is served; see `_dtype`.
    """

    constant: CalibrationConstant
    long: str
    order: tuple[int, ...] | None
    runs: RunRange
    dtype: str

    @property
    def id_data(self) -> str:
        """The payload's id: 24 hex digits, which differ where a byte does."""
        order: list[Value] = list(self.order or ())
        return self._id([self.constant.digest.value, self.constant.type_name, order])

    @property
    def id(self) -> str:
        """The document's id, whose first eight digits are the time of the version's record."""
        return self._id([self.id_data, self.long, str(self.runs)])

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of the array that is served; ``None`` for a text."""
        content = self.constant.constant.content
        if not isinstance(content, ArrayReference):
            return None
        shape = list(content.shape)
        if self.order is not None:
            shape[-3] = len(self.order)
        return tuple(shape)

    def payload(self) -> bytes:
        """The bytes that psana2 makes an array or a text of; verified.

        Raises
        ------
        Corrupt
            When what is stored is not what was.
        """
        array = self.array()
        return self.constant.data if array is None else array.tobytes()

    def array(self) -> Array | None:
        """The array in psana2's dtype, of the panels that are asked for; ``None`` for a text."""
        if not isinstance(self.constant.constant.content, ArrayReference):
            return None
        array = self.constant.array
        if self.order is not None:
            array = np.take(array, self.order, axis=-3)
        return np.ascontiguousarray(array, np.dtype(self.dtype).newbyteorder("<"))

    def document(self, short: str) -> dict[str, Any]:
        """The document that psana2 finds; ``short`` is the detector's short name there."""
        version = self.constant.detector.version
        detector = self.constant.detector
        record = version.record
        shape = self.shape
        document: dict[str, Any] = {
            "_id": self.id,
            "comment": "" if record is None else record.stamp.why,
            "ctype": self.constant.type_name,
            "data_type": TEXT if shape is None else "ndarray",
            "detector": short,
            "detname": detector.source,
            "dettype": detector.group,
            "dtype": TEXT if shape is None else "ndarray",
            "experiment": "" if record is None else record.log.split("/")[1],
            "id_data": self.id_data,
            "longname": self.long,
            "run": self.runs.first,
            "run_end": "end" if self.runs.last == END else self.runs.last,
            "shortname": short,
            "time_sec": _seconds(self.constant),
            "time_stamp": "" if record is None else record.stamp.when,
            "uid": "" if record is None else record.stamp.who.user,
            "version": str(version.digest),
        }
        if shape is not None:
            document |= {
                "data_dtype": self.dtype,
                "data_ndim": str(len(shape)),
                "data_shape": str(shape),
                "data_size": str(math.prod(shape)),
            }
        return document

    def _id(self, parts: list[Value]) -> str:
        return f"{_seconds(self.constant):08x}{xxh128(encode(parts)).hex[:16]}"


def long_names(version: Version) -> tuple[str, ...]:
    """The unique ids of the detectors of LCLS-II that a version has constants of."""
    found = set()
    for detector in _detectors(version):
        found |= {
            long_name(detector.group, constant.serials)
            for by_range in detector.manifest.constants.values()
            for constant in by_range.values()
            if constant.serials
        }
    return tuple(sorted(found))


def served(version: Version, long: str, run: int) -> tuple[Served, ...]:
    """What a run gets of a detector with these panels, one of each type; none for strangers.

    Panels are matched by serial: another order gives re-ordered arrays, some of the panels give
    theirs. A constant that says no panels is for those of the detector's pedestals.

    Raises
    ------
    Invalid
        For a text that is no unique id.
    Conflict
        When several detectors have these panels: none is better than the other.
    """
    kind, serials = parse_long_name(long)
    found = {}
    for detector in _detectors(version):
        there = detector.at(run)
        own = _own_serials(there) if detector.group == kind else None
        if own is not None and set(serials) <= set(own):
            found[detector.source] = (there, own)
    exact = {source: each for source, each in found.items() if set(each[1]) == set(serials)}
    candidates = exact or found
    if len(candidates) > 1:
        raise Conflict(
            f"{version.name} has constants for the panels of {long} at run {run} under several "
            f"names, {', '.join(candidates)}, so none is given; unset all but one"
        )
    for there, own in candidates.values():
        return tuple(_of_panels(there, own, serials, long, RunRange(run, run)))
    return ()


def withheld(found: Sequence[Served], run: int) -> tuple[str, ...]:
    """The types that the detector has at the run, and that are of no use for the asked panels.

    They are of other panels, or of all of them in one piece: a text such as a geometry cannot be
    re-ordered.
    """
    if not found:
        return ()
    there = found[0].constant.detector.at(run)
    return tuple(sorted(set(there) - {each.constant.type_name for each in found}))


def listed(version: Version, long: str) -> Iterator[Served]:
    """All that a version has for exactly these panels, each with its whole range of runs.

    Raises
    ------
    Invalid
        For a text that is no unique id.
    """
    kind, serials = parse_long_name(long)
    for detector in _detectors(version):
        if detector.group != kind:
            continue
        for type_name, by_range in detector.manifest.constants.items():
            for runs, constant in by_range.items():
                own = constant.serials or _own_serials(detector.at(runs.first))
                if own == serials:
                    found = CalibrationConstant(detector, type_name, runs, constant)
                    yield Served(found, long, None, runs, _dtype(found))


def _detectors(version: Version) -> Iterator[DetectorConstants]:
    """Those of LCLS-II: their group is a type, not one of psana's of LCLS-I."""
    return (version.detector(key) for key in version.detectors if "::" not in key[0])


def _own_serials(there: Mapping[str, CalibrationConstant]) -> tuple[str, ...] | None:
    """The panels of the detector at a run: those of its pedestals, or of any that says."""
    names = sorted(there, key=lambda name: (name != "pedestals", name))
    return next((each for name in names if (each := there[name].constant.serials)), None)


def _of_panels(
    there: Mapping[str, CalibrationConstant],
    own: Sequence[str],
    serials: tuple[str, ...],
    long: str,
    runs: RunRange,
) -> Iterator[Served]:
    for name in sorted(there):
        constant = there[name]
        mine = constant.constant.serials or tuple(own)
        if not set(serials) <= set(mine):
            continue  # of other panels than the pedestals: nobody's numbers for these
        if serials == mine:
            yield Served(constant, long, None, runs, _dtype(constant))
        elif _has_panels(constant, len(mine)):
            order = tuple(mine.index(each) for each in serials)
            yield Served(constant, long, order, runs, _dtype(constant))


def _dtype(constant: CalibrationConstant) -> str:
    """psana2's for the type; but what its own tools deposited, as they did.

    psana's tools deposit float64 where it takes float32 for granted, and maxima in uint16; who
    reads that back gets the same bytes.
    """
    content = constant.constant.content
    if not isinstance(content, ArrayReference):
        return TEXT
    nominal = NOMINAL_DTYPES.get(constant.type_name, content.dtype)
    if content.dtype == nominal:
        return nominal
    detector = constant.detector
    long = long_name(detector.group, constant.constant.serials)
    deposited = detector.version.deposited_dtypes
    is_theirs = nominal == TEXT or (long, constant.type_name, content.dtype) in deposited
    return content.dtype if is_theirs else nominal


def _has_panels(constant: CalibrationConstant, count: int) -> bool:
    """Whether an array has the panels as its third axis from the end, so that it can be cut."""
    content = constant.constant.content
    if not isinstance(content, ArrayReference):
        return False
    return len(content.shape) >= 3 and content.shape[-3] == count


def _seconds(constant: CalibrationConstant) -> int:
    """When the version was made, in seconds since 1970; 1 for one that was opened by digest."""
    record = constant.detector.version.record
    if record is None:
        return 1
    return int(datetime.fromisoformat(record.stamp.when).timestamp())
