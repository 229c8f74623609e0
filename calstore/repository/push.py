"""push and pull: a ref with its history, or one version, from one store to another."""

from __future__ import annotations

from calstore.errors import Conflict
from calstore.model.names import RefName
from calstore.model.records import Parent, Record, Stamp
from calstore.repository.commit import commit, refuse_look_alike
from calstore.repository.gap import Divergence, Gap, compare_log
from calstore.repository.store import Store, ref_name
from calstore.repository.transfer import Carried, Progress, carry, carry_set, unseen
from calstore.repository.version import locate
from calstore.store import logs
from calstore.store.backend import Backend


def push(store: Store, ref: str, to: Store, *, progress: Progress = unseen) -> Carried:
    """Copy a ref to another store: its records as they are, and the objects missing there.

    Raises
    ------
    NotFound
        When there is no such ref.
    Conflict
        When the ref went on in two ways; nothing was copied.
    Corrupt
        When something of it is damaged; nothing of it was added.
    Invalid
        When the other store only reads that ref from a third one.
    """
    name = ref_name(ref)
    gap = _gap(store.backend, to.backend, name)
    _refuse_other_name(to, name, gap)
    return carry(store.backend, to.backend, [gap], progress=progress)


def pull(
    store: Store, ref: str, source: Store | None = None, *, progress: Progress = unseen
) -> Carried:
    """Copy a ref from another store, or what it needs from those that this one reads from.

    Afterwards nothing of it is read from another store.

    Parameters
    ----------
    source
        The other store; if not given, this one and all that it reads from.

    Raises
    ------
    NotFound
        When there is no such ref.
    Conflict
        When the ref went on in two ways; nothing was copied.
    Corrupt
        When something of it is damaged; nothing of it was added.
    """
    name = ref_name(ref)
    there = store.backend if source is None else source.backend
    gap = _gap(there, store.own, name)
    _refuse_other_name(store, name, gap)
    return carry(there, store.own, [gap], whole=bool(store.others), progress=progress)


def copy_version(
    source: Store, version: str, to: Store, new: str, stamp: Stamp, *, progress: Progress = unseen
) -> tuple[Record, Carried]:
    """Fork a version of one store in another: its constants and no history but that name.

    Of a ref that both have, the fork comes from the newest record that is in both, so that it
    can be promoted into the ref of the other store.

    Parameters
    ----------
    version
        A ref, a record of it, or a digest.
    to
        The objects are copied to this store itself.

    Raises
    ------
    NotFound
        When there is no such version.
    Conflict
        When the name is taken.
    """
    name = ref_name(new)
    base = logs.head(to.own, name.log)
    if base is not None:
        raise Conflict(f"there is a ref {name} in {to.backend.describe('')}; choose another name")
    manifest, entry = locate(source, version)
    carried = carry_set(source.backend, to.own, manifest, progress=progress)
    record = commit(
        to,
        name,
        manifest,
        base=None,
        stamp=stamp,
        operation="fork",
        what=f"fork {version} of {source.backend.describe('')}",
        sources=() if entry is None else _last_common(source.backend, to.own, entry),
    )
    return record, carried


def _last_common(source: Backend, dest: Backend, entry: logs.Entry) -> tuple[Parent, ...]:
    """The newest record up to some one that is in both stores, if any is."""
    log, number = entry.record.log, entry.record.number
    if logs.head(dest, log) is None:
        return ()
    found = compare_log(source, dest, log)
    both = found.number - 1 if isinstance(found, Divergence) else found.common
    if not both:
        return ()
    return (logs.read(source, log, min(both, number)).parent,)


def diverged(divergence: Divergence, source: Backend, dest: Backend) -> Conflict:
    """The error for a log that went on in two ways, with a way out."""
    name = divergence.log.removeprefix("refs/")
    message = (
        f"{name} went on in two ways from @{divergence.number} on: {_told(divergence.ours)} in "
        f"{source.describe('')}, {_told(divergence.theirs)} in {dest.describe('')}; nothing was "
        "copied"
    )
    if name == divergence.log:
        return Conflict(message)
    sandbox = f"{name.partition('/')[0]}/users/<you>/{name.rpartition('/')[2]}"
    return Conflict(
        f"{message}: copy the first under another name (the same command with --as {sandbox}), "
        f"then calstore promote {sandbox} {name} there"
    )


def _gap(source: Backend, dest: Backend, name: RefName) -> Gap:
    found = compare_log(source, dest, name.log)
    if isinstance(found, Divergence):
        raise diverged(found, source, dest)
    return found


def _refuse_other_name(to: Store, name: RefName, gap: Gap) -> None:
    if not gap.common:
        refuse_look_alike(to, name)


def _told(record: Record) -> str:
    return f"a {record.operation} by {record.stamp.who}"
