"""copy: runs get the constants that another version gives them, by reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Final, TypeAlias

from calstore.errors import Invalid, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import UNDEFINED, fixed_shape, group_of, is_source
from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest, SetManifest
from calstore.model.names import check_component
from calstore.model.records import Stamp
from calstore.model.runs import END, RunRange
from calstore.repository.ancestry import place_of
from calstore.repository.branch import source_of
from calstore.repository.change import Move, Moved, move, put_set
from calstore.repository.set_constant import overridden
from calstore.repository.store import Store, ref_name
from calstore.repository.version import DetectorConstants, Version, load_detector
from calstore.store import objects
from calstore.views.course import ByRange, Course, is_same
from calstore.views.resolve import Timeline

ALL_RUNS: Final = RunRange(0, END)


Chosen: TypeAlias = Mapping[str, Sequence[tuple[RunRange, Constant]]]
"""By type, which runs get which constant; where they overlap, the later one counts."""


def copy_constants(
    store: Store,
    source: str,
    detector: str,
    types: Sequence[str] | None,
    target: str,
    stamp: Stamp,
    *,
    runs: RunRange = ALL_RUNS,
    from_run: int | None = None,
    as_source: str | None = None,
) -> Moved:
    """Give runs of a ref what another version gives them; every other run keeps what it got.

    Nothing is read or stored but manifests. Runs to which the other version gives nothing keep
    theirs too. Loose files are not copied, nor is HISTORY: the records tell where a constant
    comes from.

    Parameters
    ----------
    source
        A ref, a record or a digest; ``target`` itself or an older record of it is fine.
    detector
        The source of the detector there, or a unique part of it.
    types
        ``None`` for all that it has.
    target
        A branch; a name that is not there yet becomes one.
    from_run
        All the runs get what this one gets there: run numbers of two experiments do not
        correspond.
    as_source
        The detector's source in the target, where it differs, or a unique part of one that is
        there; ``<group>/<source>`` where psana does not know the source.

    Raises
    ------
    NotFound
        When there is no such version or detector, or nothing of a type in these runs.
    Invalid
        When the target is a tag, or psana would drop an array for another detector's.
    Conflict
        When others move the ref faster than this can follow.
    """
    ref = ref_name(target)
    version = store[source]
    its = version[detector]
    chosen = _chosen(its, types, runs, from_run)
    _, sources = source_of(store, version.name)
    what = _told(its, types, runs, from_run)

    def decide(there: Version | None) -> Move:
        key = _target_key(there, (its.group, its.source), as_source)
        if key != (its.group, its.source):
            _refuse_misfits(key, chosen)
        known = None if there is None or there.record is None else place_of(there.record)
        return Move(
            _with(store, SetManifest() if there is None else there.manifest, key, chosen),
            what if key[1] == its.source else f"{what} as {key[1]}",
            tuple(each for each in sources if (each.log, each.number) != known),
        )

    return move(store, ref, decide, stamp, "copy", may_be_new=True)


def _chosen(
    its: DetectorConstants, types: Sequence[str] | None, runs: RunRange, from_run: int | None
) -> Chosen:
    where = f"in runs {runs}" if from_run is None else f"at run {from_run}"
    chosen = {}
    for type_name in its.types if types is None else types:
        if not type_name:
            raise Invalid("an empty text names no type; leave it out for all")
        by_range = its.manifest.constants.get(type_name, {})
        if pieces := _pieces(by_range, runs, from_run):
            chosen[type_name] = [(new, _under(new, old, by_range[old])) for new, old in pieces]
        elif types is not None:
            there = ", ".join(map(str, by_range)) or "none at all"
            raise NotFound(
                f"no {type_name} for {its.source} {where} of {its.version.name}; it has {there}"
            )
    if not chosen:
        raise NotFound(f"nothing for {its.source} {where} of {its.version.name}")
    return chosen


def _pieces(
    ranges: Iterable[RunRange], runs: RunRange, from_run: int | None
) -> list[tuple[RunRange, RunRange]]:
    """Which runs get the constant of which range; the later one counts."""
    timeline = Timeline(ranges)
    if from_run is not None:
        winner = timeline.at(from_run)
        return [] if winner is None else [(runs, winner)]
    # In the order of psana's rule the one that wins in a run comes last.
    used = sorted(timeline.winners, key=lambda each: (each.first, -each.last))
    return [(part, name) for name in used if (part := _common(name, runs)) is not None]


def _common(name: RunRange, runs: RunRange) -> RunRange | None:
    first, last = max(name.first, runs.first), min(name.last, runs.last)
    return RunRange(first, last) if first <= last else None


def _under(new: RunRange, old: RunRange, constant: Constant) -> Constant:
    return constant if new == old else constant.renamed()


def _told(
    its: DetectorConstants, types: Sequence[str] | None, runs: RunRange, from_run: int | None
) -> str:
    words = ["copy", its.version.name, its.source, *(types or ())]
    if from_run is not None:
        words.append(f"of run {from_run} to runs {runs}")
    elif runs != ALL_RUNS:
        words.append(f"runs {runs}")
    return " ".join(words)


def _is_there(by_range: ByRange, runs: RunRange, constant: Constant) -> bool:
    """Whether all these runs get the constant already."""
    return all(
        is_same(each.winner, (runs, constant))
        for each in Course.of(by_range).segments
        if each.first <= runs.last and runs.first <= each.last
    )


def _target_key(version: Version | None, key: Detector, text: str | None) -> Detector:
    """Group and source of the detector in the target, which may be new there."""
    if text is None:
        return key
    group, slash, source = text.rpartition("/")
    if version is not None:
        exact = [each for each in version.detectors if text in (each[1], "/".join(each))]
        # A whole source is never taken for a part of another one.
        if exact or not (slash or is_source(text)):
            return version.find(text)
    if slash and "::" in group:
        return check_component(group), check_component(source)
    if slash or group_of(text) == UNDEFINED or not is_source(text):
        raise Invalid(
            f"{text!r} names no detector that psana knows; write it whole, as XppGon.0:Epix100a.1, "
            "or <group>/<source>"
        )
    return group_of(text), text


def _refuse_misfits(key: Detector, chosen: Chosen) -> None:
    """Raise `Invalid` for an array of a size that psana drops in silence for this detector."""
    for type_name, pieces in chosen.items():
        shape = fixed_shape(key[0], type_name)
        for _, constant in pieces if shape is not None else ():
            content = constant.content
            if isinstance(content, ArrayReference) and prod(content.shape) != prod(shape or ()):
                raise Invalid(
                    f"{type_name} of shape {content.shape} is none of {key[1]}, which has {shape}; "
                    "psana would use its default in silence"
                )


def _with(store: Store, manifest: SetManifest, key: Detector, chosen: Chosen) -> Reference:
    """The set, stored, with the constants in it."""
    before = manifest.detectors.get(key)
    detector = DetectorManifest() if before is None else load_detector(store, before)
    for type_name, pieces in chosen.items():
        folder = f"{'/'.join(key)}/{type_name}"
        by_range: ByRange = detector.constants.get(type_name, {})
        for runs, constant in pieces:
            if _is_there(by_range, runs, constant):
                continue
            # A loose file of the target can have the name that the constant's had.
            is_taken = f"{folder}/{constant.name}" in manifest.files
            by_range = overridden(by_range, runs, constant.renamed() if is_taken else constant)
        detector = detector.replaced(type_name, by_range)
    reference = objects.put(store.backend, objects.MANIFESTS, detector.encoded())
    return put_set(store, manifest.replaced(key, reference))
