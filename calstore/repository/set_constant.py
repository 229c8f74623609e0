"""set: some runs get another constant, and every other run keeps what it got."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from calstore.errors import Invalid, NotFound
from calstore.formats import npy
from calstore.formats.calib_tree import Place
from calstore.model.conventions import UNDEFINED, group_of
from calstore.model.manifests import Constant, Detector
from calstore.model.names import check_component
from calstore.model.records import Record, Stamp
from calstore.model.runs import RunRange
from calstore.repository.change import Move, move, type_of, with_type
from calstore.repository.files import read_file
from calstore.repository.ingest import Known, ingest, interpret, put_array
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version
from calstore.views.resolve import override

if TYPE_CHECKING:
    import numpy as np

    Values: TypeAlias = "Path | bytes | np.ndarray[Any, np.dtype[Any]]"


def set_constant(
    store: Store,
    name: str,
    detector: str,
    type_name: str,
    runs: RunRange,
    values: Values,
    stamp: Stamp,
    *,
    underlay: bool = False,
) -> Record:
    """Give runs a constant: afterwards they get it, and all other runs what they got before.

    Parameters
    ----------
    name
        The ref; a tag is refused.
    detector
        The source, or a unique part of it. ``<group>/<source>`` may name a new detector.
    type_name
        The calibration type, as psana spells it.
    values
        An array, a file (``.npy``, psana's text, or an opaque one), or the bytes of one.
        An array or ``.npy`` is stored as the dtype that psana gives to the type.
    underlay
        Add the range and let psana's rule speak: what begins later keeps its runs.

    Raises
    ------
    NotFound
        When there is no such ref or detector.
    Invalid
        When psana or AMI could not read the constant.
    Conflict
        When others move the ref faster than this can follow.

    Notes
    -----
    When another writer is faster, the change is made again upon what that one left.
    """
    ref = ref_name(name)
    check_component(type_name)
    constant: Constant | None = None

    def decide(version: Version | None) -> Move:
        nonlocal constant
        assert version is not None
        key = _detector_key(version, detector)
        if constant is None:
            constant = _constant(store, key, type_name, runs, values)
        before = type_of(version, key, type_name)
        after = {**before, runs: constant} if underlay else overridden(before, runs, constant)
        return Move(
            with_type(version, key, type_name, after),
            f"set {key[1]} {type_name} {runs}{' as an underlay' if underlay else ''}"
            f"{_from(values)}",
        )

    return move(store, ref, decide, stamp, "set").record


def overridden(
    before: Mapping[RunRange, Constant], runs: RunRange, constant: Constant
) -> dict[RunRange, Constant]:
    """The constants of a type after some runs got another one; see `override`."""
    after = {
        name: before[old] if name == old else before[old].renamed()
        for name, old in override(before, runs).items()
    }
    after[runs] = constant
    return after


def _detector_key(version: Version, text: str) -> Detector:
    group, slash, source = text.partition("/")
    if slash and (group, source) not in version.manifest.detectors and "::" in group:
        check_component(group)
        check_component(source)
        return group, source
    try:
        return version.find(text)
    except NotFound as error:
        if group_of(text) == UNDEFINED:
            raise
        raise NotFound(f"{error}; to add it, write {group_of(text)}/{text}") from None


def _constant(
    store: Store, key: Detector, type_name: str, runs: RunRange, values: Values
) -> Constant:
    """The constant, stored, if every reader would load it; else `Invalid` with all reasons."""
    if isinstance(values, Path):
        data = read_file(values)
        if values.suffix == ".npy":
            return put_array(store.backend, npy.read(data), key, type_name)
    elif isinstance(values, bytes):
        data = values
    else:
        return put_array(store.backend, values, key, type_name)
    if not data:
        raise Invalid(f"an empty file for {type_name}: psana would take it for loaded; mend it")
    place = Place(*key, type_name, runs, f"{runs}.data")
    interpreted = interpret(data, place)
    if interpreted.refused is not None:
        raise Invalid(f"psana could not load this {type_name}: {interpreted.refused}")
    if interpreted.remarks:
        reasons = "; ".join(str(remark) for remark in interpreted.remarks)
        raise Invalid(f"not every reader would load this {type_name}: {reasons}; mend the file")
    return ingest(store.backend, data, place, interpreted, Known())


def _from(values: Values) -> str:
    return f" from {values}" if isinstance(values, Path) else ""
