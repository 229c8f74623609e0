"""approve: a person vouches for a set of constants, or warns of it."""

from __future__ import annotations

from calstore.errors import Invalid
from calstore.model.records import STATUSES, Record, Stamp
from calstore.repository.approvals import approvals_log
from calstore.repository.commit import append_record, refuse_nameless
from calstore.repository.store import Store
from calstore.repository.version import locate
from calstore.store import objects


def approve(store: Store, name: str, status: str, stamp: Stamp) -> Record:
    """Say of a set that it is good, rejected or superseded; the newest word counts.

    Parameters
    ----------
    name
        A ref, a record of it or a digest. The word is about the set that it names now, under
        whatever other names that is known.
    stamp
        Who says so, and why: a reason is needed.

    Raises
    ------
    NotFound
        When there is no such version.
    Invalid
        For another status, without a reason, or for a shared account that names no person.
    """
    if status not in STATUSES:
        raise Invalid(f"there is no status {status!r}; choose one of {', '.join(STATUSES)}")
    if not stamp.why.strip():
        raise Invalid("an approval needs a reason, which others will read; add --reason WHY")
    refuse_nameless(stamp)
    manifest, entry = locate(store, name)
    objects.exists(store.backend, objects.MANIFESTS, manifest)
    about = () if entry is None else (entry.parent,)
    named = str(manifest.digest) if entry is None else entry.record.name
    log = approvals_log(manifest.digest)
    while True:
        before = store.head(log)
        record = append_record(
            store,
            log,
            before,
            stamp=stamp,
            operation="approve",
            what=f"{status}: {named}",
            manifest=manifest,
            status=status,
            sources=about,
        )
        if record is not None:
            return record
