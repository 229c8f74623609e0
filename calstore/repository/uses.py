"""uses: which constants programs were given for a run, kept with the store."""

from __future__ import annotations

from calstore.errors import NotFound
from calstore.model.records import USES, Record, Stamp, parent_of
from calstore.model.uses import Use
from calstore.repository.commit import append_record
from calstore.repository.runs import log_of
from calstore.repository.store import Store
from calstore.repository.version import Version
from calstore.store import logs


def record_use(version: Version, experiment: str, run: int, use: Use, stamp: Stamp) -> Record:
    """Keep what somebody was given of a version for a run.

    Raises
    ------
    Invalid
        For what is no name of an experiment, or no run.
    Conflict
        When nothing can be written there.
    """
    store, log = version.store, log_of(USES, experiment, run)
    named = version.record
    sources = () if named is None else (parent_of(named, named.encoded()),)
    what = f"gave {', '.join(use.given) or 'nothing'} to {use.client}"
    while True:
        record = append_record(
            store,
            log,
            store.head(log),
            stamp=stamp,
            operation="use",
            what=what,
            manifest=version.reference,
            use=use,
            sources=sources,
        )
        if record is not None:
            return record


def version_of(record: Record) -> str:
    """The version that a use was of: its name where it had one, else its digest."""
    assert record.manifest is not None
    named = (each for each in record.parents if each.log.startswith("refs/"))
    return next(
        (f"{each.log.removeprefix('refs/')}@{each.number}" for each in named),
        str(record.manifest.digest),
    )


def uses_of(store: Store, experiment: str, run: int) -> tuple[Record, ...]:
    """What was given for a run, the oldest first.

    Raises
    ------
    NotFound
        When nothing was.
    """
    log = log_of(USES, experiment, run)
    found = tuple(entry.record for entry in logs.history(store.backend, log))
    if not found:
        raise NotFound(
            f"nothing was given for run {run} of {experiment}, as far as this store knows; "
            "views and copies are not counted"
        )
    return found[::-1]
