"""approve: a person vouches for a set of constants, or warns of it."""

from __future__ import annotations

from calstore._version import __version__
from calstore.errors import Invalid
from calstore.model.records import STATUSES, Record, Stamp
from calstore.repository.approvals import approvals_log
from calstore.repository.store import Store
from calstore.repository.version import locate
from calstore.store import logs, objects

_OPERATORS = "opr"  # xppopr, cxiopr, …: accounts that a hutch's operators share


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
    if stamp.who.user.endswith(_OPERATORS) and stamp.who.claimed is None:
        raise Invalid(
            f"{stamp.who.user} is an account that several share; say who you are: "
            "export CALSTORE_USER=<your name>"
        )
    manifest, entry = locate(store, name)
    objects.exists(store.backend, objects.MANIFESTS, manifest)
    about = () if entry is None else (entry.parent,)
    named = str(manifest.digest) if entry is None else entry.record.name
    log = approvals_log(manifest.digest)
    while True:
        before = logs.head(store.backend, log)
        record = Record(
            log=log,
            number=1 if before is None else before.record.number + 1,
            operation="approve",
            what=f"{status}: {named}",
            stamp=stamp,
            software=f"calstore {__version__}",
            parents=(() if before is None else (before.parent,)) + about,
            manifest=manifest,
            status=status,
        )
        if logs.append(store.backend, record):
            return record
