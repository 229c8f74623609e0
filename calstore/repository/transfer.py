"""Records and all that they lead to, from one store to another (docs/format.md, section 10).

Arrays and blobs first, then manifests, then the records, which are copied as they are. What is
there already is not sent again, so a transfer that was interrupted goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from calstore.errors import Conflict, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Reference
from calstore.model.records import INPUTS, RESULTS, Parent, Record
from calstore.repository.approvals import APPROVALS
from calstore.repository.contents import Item, Kind, folder_of, identity_of
from calstore.repository.damage import Reach, roots_of, walk
from calstore.repository.gap import Divergence, Gap, compare_logs
from calstore.store import copying, logs, objects
from calstore.store.backend import Backend
from calstore.store.budget import Budget
from calstore.store.overlap import overlapped

Progress: TypeAlias = Callable[[int, int], None]

_IN_HAND: Final = 256 * 2**20
_REFS: Final = "refs/"


def unseen(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a transfer did.

    Parameters
    ----------
    records
        Copied, of all logs.
    objects, size
        Copied, and their bytes as they are stored.
    skipped
        Objects that were there already.
    gaps
        What was missing of each ref.
    left
        Logs of approvals, inputs or results that went on in two ways, and were left as they are.
    """

    records: int
    objects: int
    size: int
    skipped: int
    gaps: tuple[Gap, ...]
    left: tuple[Divergence, ...]


@dataclass
class _Needed:
    """What is to be copied: entries by log, in order, and what they lead to."""

    entries: dict[str, list[logs.Entry]] = field(default_factory=dict)
    reach: Reach = field(default_factory=Reach)
    there: frozenset[str] = frozenset()

    def keys(self) -> list[str]:
        """Of the objects to look for."""
        return [key for key in self.reach.references if key not in self.there]


def carry(
    source: Backend,
    dest: Backend,
    gaps: Sequence[Gap],
    *,
    whole: bool = False,
    with_evidence: bool = True,
    progress: Progress = unseen,
) -> Carried:
    """Copy the records that are missing, and what they lead to.

    Parameters
    ----------
    gaps
        What is missing of each log; see `calstore.repository.gap.compare_log`.
    whole
        Whether the objects of records that are there already are looked for too.
    with_evidence
        Whether approvals, inputs and results that belong to them come along.
    progress
        Called with the bytes done and the bytes of all, as the references have them.

    Raises
    ------
    Corrupt
        When something to be copied is damaged; nothing of a ref was added.
    Conflict
        When somebody else added to one of the logs meanwhile, or when a record came from one
        that is another there.
    """
    needed = _needed(source, gaps, whole)
    _refuse_other_sources(dest, needed)
    return _carry(source, dest, gaps, needed, with_evidence, progress)


def carry_set(
    source: Backend, dest: Backend, manifest: Reference, *, progress: Progress = unseen
) -> Carried:
    """Copy a set and all that it leads to, with what vouches for it, and no record of a ref.

    Raises
    ------
    Corrupt
        When something of it is damaged.
    """
    needed = _Needed()
    walk(source, [(str(manifest.digest), Item(Kind.SET, manifest))], needed.reach)
    for damage in needed.reach.damages:
        raise damage
    return _carry(source, dest, (), needed, True, progress)


def _carry(
    source: Backend,
    dest: Backend,
    gaps: Sequence[Gap],
    needed: _Needed,
    with_evidence: bool,
    progress: Progress,
) -> Carried:
    sent = _send(source, dest, needed, progress)
    more: list[Gap | Divergence] = []
    if with_evidence:
        more = compare_logs(source, dest, _evidence(source, dest, gaps, needed))
        for gap in more:
            if isinstance(gap, Gap):
                needed.entries[gap.log] = _read(source, gap.log, gap.missing)
    dest.sync()
    for entries in needed.entries.values():
        for entry in entries:
            _add(dest, entry)
    dest.sync()
    return Carried(
        records=sum(map(len, needed.entries.values())),
        objects=sum(size > 0 for size in sent),
        size=sum(sent),
        skipped=sum(size == 0 for size in sent),
        gaps=tuple(gap for gap in gaps if gap.log.startswith(_REFS)),
        left=tuple(each for each in more if isinstance(each, Divergence)),
    )


def _needed(source: Backend, gaps: Sequence[Gap], whole: bool) -> _Needed:
    needed = _Needed()
    roots, old = [], []
    for gap in gaps:
        entries = _read(source, gap.log, range(1, gap.newest + 1) if whole else gap.missing)
        roots += [root for entry in entries for root in roots_of(entry.record)]
        needed.entries[gap.log] = [each for each in entries if each.record.number > gap.common]
        if gap.common and gap.missing and not whole:
            # What the last common record leads to is there, or it would not be.
            common = logs.read(source, gap.log, gap.common).record
            old += roots_of(common)
    walk(source, roots, needed.reach)
    for damage in needed.reach.damages:
        raise damage
    before = Reach()
    walk(source, old, before)
    needed.there = frozenset(before.references)
    return needed


def _read(backend: Backend, log: str, numbers: Iterable[int]) -> list[logs.Entry]:
    def read(number: int) -> logs.Entry:
        try:
            return logs.read(backend, log, number)
        except NotFound:
            raise logs.gone(backend, log, number) from None

    return list(overlapped(backend, read, numbers))


def _refuse_other_sources(dest: Backend, needed: _Needed) -> None:
    """Raise `Conflict` where a record came from one that is another record at the destination."""
    came_from = [
        (entry.record, parent)
        for entries in needed.entries.values()
        for entry in entries
        for parent in entry.record.parents
        if parent.log not in needed.entries
    ]

    def read(each: tuple[Record, Parent]) -> Parent | None:
        try:
            return logs.read(dest, each[1].log, each[1].number).parent
        except NotFound:
            return None

    found = overlapped(dest, read, came_from)
    for (record, parent), there in zip(came_from, found, strict=True):
        if there not in (None, parent):
            raise Conflict(
                f"{record.name} came from {parent.log.removeprefix(_REFS)}@{parent.number}, which "
                f"is another record in {dest.describe('')}; copy its constants alone: --as and a "
                "name for them there"
            )


def _send(source: Backend, dest: Backend, needed: _Needed, progress: Progress) -> list[int]:
    """The bytes that each object took, 0 for one that was there; manifests come last."""
    keys = sorted(needed.keys(), key=lambda key: key.startswith(objects.MANIFESTS))
    first = [key for key in keys if not key.startswith(objects.MANIFESTS)]
    references = needed.reach.references
    total = sum(identity_of(references[key]).size for key in keys)
    budget = Budget(_IN_HAND)
    sent: list[int] = []
    done = 0

    def one(key: str) -> int:
        with budget.of(identity_of(references[key]).size):
            return _copy(source, dest, key, references[key])

    pool = ThreadPoolExecutor(max(os.cpu_count() or 1, source.width, dest.width))
    try:
        for part in (first, keys[len(first) :]):
            for key, size in zip(part, pool.map(one, part), strict=True):
                sent.append(size)
                done += identity_of(references[key]).size
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    return sent


def _copy(source: Backend, dest: Backend, key: str, content: Reference | ArrayReference) -> int:
    folder = folder_of(key)
    if copying.is_stored(dest, folder, content):
        return 0
    return copying.copy(source, dest, folder, content)


def _evidence(source: Backend, dest: Backend, gaps: Sequence[Gap], needed: _Needed) -> list[str]:
    """The logs of what is copied that say who vouches for it and where it came from."""
    manifests = {
        key.rpartition("/")[2]
        for key in needed.reach.references
        if key.startswith(objects.MANIFESTS)
    }
    # A version that was copied before may have been approved since.
    near = dest if dest.width == 1 else source
    for gap in gaps:
        for entry in _read(near, gap.log, range(1, gap.common + 1)):
            if entry.record.manifest is not None:
                manifests.add(entry.record.manifest.digest.hex)
    return [
        log
        for family in (APPROVALS, f"{INPUTS}/", f"{RESULTS}/")
        for log in logs.names(source, family)
        if log.removeprefix(family) in manifests
    ]


def _add(dest: Backend, entry: logs.Entry) -> None:
    if not logs.copy(dest, entry.record):
        record = entry.record
        there = logs.read(dest, record.log, record.number).record
        raise Conflict(
            f"{there.name} in {dest.describe('')} is a {there.operation} by {there.stamp.who} now, "
            "made meanwhile; run again"
        )
