"""undo: a ref gets a set again that it had before, by a new record."""

from __future__ import annotations

from calstore.errors import Invalid
from calstore.model.records import TAG, Stamp
from calstore.repository.change import Moved
from calstore.repository.commit import commit, kind_of
from calstore.repository.store import Store, head_of, ref_name
from calstore.repository.version import locate
from calstore.store import objects


def undo(store: Store, name: str, stamp: Stamp, *, to: int | None = None) -> Moved:
    """Give a ref the set of the record before its newest one, or of another one, again.

    Nothing is lost: what is undone stays in its record. So to undo twice is to redo. A branch
    that was deleted is back as it was.

    Parameters
    ----------
    to
        The number of a record, ``None`` for the one before the newest.

    Raises
    ------
    NotFound
        When there is no such ref or record, or the record deletes the ref.
    Invalid
        When there is none before the newest one, or the ref is a tag.
    Conflict
        When the ref moves meanwhile: what is newest then is not what was to be undone.
    """
    ref = ref_name(name)
    base = store.head(ref.log) or head_of(store, ref)
    if kind_of(store, ref) == TAG:
        raise Invalid(f"{ref} is a tag, which never moves; fork it: calstore fork {ref}@1 NEW")
    number = base.record.number - 1 if to is None else to
    if number == 0:
        raise Invalid(
            f"{ref}@1 is the first record, so there is nothing to go back to; to be rid of the "
            f"ref: calstore delete-ref {ref}"
        )
    manifest, entry = locate(store, f"{ref}@{number}")
    assert entry is not None
    if base.record.manifest == manifest:
        return Moved(base.record, False)
    objects.exists(store.backend, objects.MANIFESTS, manifest)
    record = commit(
        store,
        ref,
        manifest,
        base=base,
        stamp=stamp,
        operation="undo",
        what=f"undo to {entry.record.name}",
        sources=(entry.parent,),
    )
    return Moved(record, True)
