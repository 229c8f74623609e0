"""promote: what was changed in a sandbox comes to the ref that it was forked from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from calstore.errors import Conflict, Invalid
from calstore.model.names import RefName
from calstore.model.records import Parent, Record, Stamp
from calstore.repository.ancestry import Ancestry, ancestry_of, place_of
from calstore.repository.branch import source_of
from calstore.repository.change import Move, move
from calstore.repository.merge import load_several, merged, put_contents
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version, load_set
from calstore.store import logs
from calstore.views.difference import (
    FileDifference,
    RunDifference,
    differing_files,
    differing_runs,
)
from calstore.views.merge import Dropped, MergeConflict, Merged, SetContents

How: TypeAlias = Literal["contained", "fast-forward", "merge"]
"""The target has all of the sandbox already, or the other way round; or each has its own."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a promote did, or would do.

    Parameters
    ----------
    record
        The target's newest record: the new one, if there is one.
    changed
        Whether a record was added.
    source
        The record that was promoted.
    bases
        The newest records that both descend from; several where each took in the other at the
        same time.
    changes
        What the target has otherwise than before.
    conflicts
        Of a dry run alone: what both changed in different ways.
    dropped
        Constants that no run got on the side that has them, and that could not stay unused.
    undone
        Where the target has all of the sandbox, the record that took it back since, if any.
    """

    record: Record
    changed: bool
    how: How
    source: Record
    bases: tuple[Record, ...]
    changes: tuple[RunDifference | FileDifference, ...]
    conflicts: tuple[MergeConflict, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    undone: Record | None = None


def promote(
    store: Store, sandbox: str, target: str, stamp: Stamp, *, dry_run: bool = False
) -> Promoted:
    """Make a ref have what was changed in a sandbox since it was forked.

    If the target did not change since, it gets the sandbox's set. Else each run of a detector's
    type gets what the side gives it that changed it.

    Parameters
    ----------
    sandbox
        A ref or a record of one.
    target
        The ref that changes, often the one that the sandbox was forked from.
    dry_run
        Whether only to tell what would come of it; nothing is stored.

    Raises
    ------
    NotFound
        When there is no such ref.
    Invalid
        When the target is a tag or the sandbox itself, or when the two share no history.
    Conflict
        When both changed the same runs in different ways, each listed; nothing is moved. Or
        when others move the target faster than this can follow.

    Notes
    -----
    When another writer is faster, it is decided again upon what that one left.
    """
    ref = ref_name(target)
    source, sources = _source(store, sandbox, ref)
    found: Promoted | None = None

    def decide(version: Version | None) -> Move:
        nonlocal found
        assert version is not None
        found, result = _decide(store, source, version, keep=not dry_run)
        if found.conflicts and not dry_run:
            raise Conflict(conflict_text(found))
        if found.how == "contained" or dry_run:
            return Move(version.reference, "")
        manifest = source.manifest if found.how == "fast-forward" else put_contents(store, result)
        assert manifest is not None
        return Move(manifest, f"promote {source.name}", sources, always=True)

    moved = move(store, ref, decide, stamp, "promote")
    assert found is not None
    return replace(found, record=moved.record, changed=moved.changed)


def conflict_text(found: Promoted) -> str:
    """What both sides changed, a line each, after what to do about it."""
    target, source = found.record.log.removeprefix("refs/"), found.source.name
    since = " and ".join(base.name for base in found.bases)
    listed = "\n  ".join(map(str, found.conflicts))
    return (
        f"{target} and {source} both changed the following since {since}, so nothing is moved; "
        f"give them the same on both sides, as with: calstore copy {source} D T {target} --runs R, "
        f"then promote again:\n  {listed}"
    )


def _source(store: Store, sandbox: str, ref: RefName) -> tuple[Record, tuple[Parent, ...]]:
    version = store[sandbox]
    source = version.record
    if source is None:
        raise Invalid(f"{sandbox} is a digest, which has no history; name a ref or a record")
    if source.log == ref.log:
        raise Invalid(
            f"{source.name} is of {ref} itself; to go back to it: "
            f"calstore undo {ref} --to {source.number}"
        )
    return source, source_of(store, source.name)[1]


def _decide(
    store: Store, source: Record, version: Version, *, keep: bool
) -> tuple[Promoted, SetContents]:
    """What comes of the sandbox and the target as they are, and the target's set then."""
    head = version.record
    assert head is not None
    assert source.manifest is not None
    ancestry = ancestry_of(store, head, source)
    bases = ancestry.common([head], source)
    target = head.log.removeprefix("refs/")
    if not bases:
        raise Invalid(
            f"{source.name} and {head.name} share no history, so it cannot be told what was "
            f"changed; take constants over with: calstore copy {source.name} D {target}"
        )
    start = {base.manifest for base in bases}
    if place_of(source) in map(place_of, bases) or start == {source.manifest}:
        undone = _undo_since(store, head, source)
        return Promoted(head, False, "contained", source, bases, (), undone=undone), SetContents()
    ours, theirs = load_several(store, version.manifest, load_set(store, source.manifest))
    if start == {head.manifest}:
        how: How = "fast-forward"
        outcome = Merged(theirs, ())
    else:
        how = "merge"
        outcome = merged(store, _base(store, ancestry, bases), ours, theirs, keep=keep)
    changed = () if outcome.conflicts else _changes(ours, outcome.result)
    told = Promoted(head, False, how, source, bases, changed, outcome.conflicts, outcome.dropped)
    return told, outcome.result


def _changes(before: SetContents, after: SetContents) -> tuple[RunDifference | FileDifference, ...]:
    return (*differing_runs(before, after), *differing_files(before.files, after.files))


def _base(store: Store, ancestry: Ancestry, bases: Sequence[Record]) -> SetContents:
    """The set that both sides started from.

    Where each took the other in at the same time there are several: then what their merge is,
    as either side made it.
    """
    sets = [load_set(store, base.manifest) for base in bases if base.manifest is not None]
    first, *others = load_several(store, *sets)
    for number, other in enumerate(others, start=1):
        older = ancestry.common(bases[:number], bases[number])
        start = _base(store, ancestry, older) if older else SetContents()
        outcome = merged(store, start, first, other, keep=False)
        if outcome.conflicts:
            listed = "\n  ".join(map(str, outcome.conflicts))
            raise Conflict(
                f"{' and '.join(base.name for base in bases)} were merged by different choices; "
                f"make both sides have the same of the following, then promote again:\n  {listed}"
            )
        first = outcome.result
    return first


def _undo_since(store: Store, head: Record, source: Record) -> Record | None:
    """The newest undo of the target since it took the sandbox in."""
    undone = None
    for entry in logs.history(store.backend, head.log):
        record = entry.record
        if any(each.log == source.log and each.number >= source.number for each in record.parents):
            return undone
        if undone is None and record.operation == "undo":
            undone = record
    return None
