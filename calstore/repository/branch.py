"""fork, tag and delete-ref: names for versions; each costs one small file."""

from __future__ import annotations

from calstore.errors import Conflict, Invalid
from calstore.model.digest import Reference
from calstore.model.names import RefName
from calstore.model.records import BRANCH, DELETE, TAG, Parent, Record, Stamp
from calstore.repository.commit import commit, kind_of
from calstore.repository.store import Store, head_of, ref_name
from calstore.repository.version import locate
from calstore.store import logs, objects


def fork(store: Store, source: str, new: str, stamp: Stamp) -> Record:
    """A new branch with the same constants as ``source`` (a ref, a record or a digest).

    A deleted branch can be made again: its history goes on.

    Raises
    ------
    NotFound
        When there is no such source.
    Conflict
        When the name is taken.
    """
    return _name(store, source, new, stamp, BRANCH)


def tag(store: Store, source: str, new: str, stamp: Stamp) -> Record:
    """A name that never moves for the constants of ``source``; see `fork`."""
    return _name(store, source, new, stamp, TAG)


def delete_ref(store: Store, name: str, stamp: Stamp) -> Record:
    """Delete a ref by a record that says so; every version that it had stays readable.

    Raises
    ------
    NotFound
        When there is no such ref, or it is deleted already.
    """
    ref = ref_name(name)
    base = head_of(store, ref)
    return commit(store, ref, None, base=base, stamp=stamp, operation=DELETE, what=f"delete {ref}")


def source_of(store: Store, text: str) -> tuple[Reference, tuple[Parent, ...]]:
    """The set that a ref, a record or a digest names, and the record it was named by."""
    reference, entry = locate(store, text)
    return reference, () if entry is None else (entry.parent,)


def _name(store: Store, source: str, new: str, stamp: Stamp, kind: str) -> Record:
    ref = ref_name(new)
    manifest, sources = source_of(store, source)
    base = store.head(ref.log)
    if base is not None:
        _refuse_taken(store, ref, base, kind)
    objects.exists(store.backend, objects.MANIFESTS, manifest)
    operation = "tag" if kind == TAG else "fork"
    return commit(
        store,
        ref,
        manifest,
        base=base,
        stamp=stamp,
        operation=operation,
        what=f"{operation} {source}",
        sources=sources,
        kind=kind,
    )


def _refuse_taken(store: Store, ref: RefName, base: logs.Entry, kind: str) -> None:
    if base.record.manifest is not None:
        raise Conflict(f"there is a ref {ref} already ({base.record.name}); choose another name")
    if kind == TAG or kind_of(store, ref) == TAG:
        raise Invalid(f"{ref} was deleted ({base.record.name}); a tag's name is not used again")
