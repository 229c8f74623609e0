"""What is known of derivations: what each gave, and where its frames were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from calstore.errors import CalstoreError, Corrupt
from calstore.model.arrays import ArrayReference
from calstore.model.derivations import DerivationManifest
from calstore.model.digest import Digest, Reference
from calstore.model.inputs import Evidence, InputManifest
from calstore.model.records import INPUTS, RESULTS, Stamp
from calstore.repository.commit import append_record
from calstore.repository.store import Store
from calstore.store import logs, objects

if TYPE_CHECKING:
    from collections.abc import Iterator


def put_derivation(store: Store, derivation: DerivationManifest) -> Reference:
    """Store a derivation; its inputs must have been put."""
    return objects.put(store.backend, objects.MANIFESTS, derivation.encoded())


def put_input(store: Store, manifest: InputManifest) -> Reference:
    """Store an input manifest."""
    return objects.put(store.backend, objects.MANIFESTS, manifest.encoded())


def derivation_of(store: Store, reference: Reference) -> DerivationManifest:
    """The derivation of a reference; `Corrupt` when it is not what was stored."""
    return DerivationManifest.decoded(objects.get(store.backend, objects.MANIFESTS, reference))


def input_of(store: Store, reference: Reference) -> InputManifest:
    """The input manifest of a reference; `Corrupt` when it is not what was stored."""
    return InputManifest.decoded(objects.get(store.backend, objects.MANIFESTS, reference))


def recall(store: Store, derivation: Digest) -> Mapping[str, ArrayReference] | None:
    """What a derivation gave, by role, if that is known and all of it is still stored."""
    from calstore.store import arrays

    entry = store.head(f"{RESULTS}/{derivation.hex}")
    if entry is None or entry.record.results is None:
        return None
    try:
        for array in entry.record.results.values():
            arrays.panel_digests(store.backend, array)
    except CalstoreError:
        return None  # pruned: to be computed again
    return entry.record.results


def remember(
    store: Store,
    derivation: Reference,
    results: Mapping[str, ArrayReference],
    stamp: Stamp,
    software: str,
) -> None:
    """Keep what a derivation gave; nothing when that is known already.

    Parameters
    ----------
    derivation, results
        Stored, the arrays too.
    software
        What computed it, with versions.

    Raises
    ------
    Corrupt
        When it gave something else before. One of the two machines is wrong.
    """
    log = f"{RESULTS}/{derivation.digest.hex}"
    while True:
        before = store.head(log)
        if before is not None:
            _refuse_other(store, before, results)
            return
        made = append_record(
            store,
            log,
            before,
            stamp=stamp,
            operation="derive",
            what=f"gave {', '.join(sorted(results))}",
            software=software,
            manifest=derivation,
            results=results,
        )
        if made is not None:
            return


def witness(
    store: Store, manifest: Reference, evidence: Sequence[Evidence], stamp: Stamp, what: str
) -> None:
    """Keep where the frames of an input were found; nothing when that is known already."""
    log = f"{INPUTS}/{manifest.digest.hex}"
    while True:
        before = store.head(log)
        if before is not None and before.record.evidence == tuple(evidence):
            return
        made = append_record(
            store,
            log,
            before,
            stamp=stamp,
            operation="read",
            what=what,
            manifest=manifest,
            evidence=tuple(evidence),
        )
        if made is not None:
            return


def evidences(store: Store, manifest: Digest) -> Iterator[tuple[Evidence, ...]]:
    """Where the frames of an input were found, the newest first."""
    for entry in logs.history(store.backend, f"{INPUTS}/{manifest.hex}"):
        yield entry.record.evidence or ()


def seen_in(store: Store, evidence: Sequence[Evidence]) -> Iterator[InputManifest]:
    """The inputs that were read from these files, as they are now: same size, same time."""
    wanted = tuple(evidence)
    for log in logs.names(store.backend, f"{INPUTS}/"):
        entry = store.head(log)
        if entry is None or entry.record.evidence != wanted or entry.record.manifest is None:
            continue
        yield input_of(store, entry.record.manifest)


def _refuse_other(store: Store, before: logs.Entry, results: Mapping[str, ArrayReference]) -> None:
    known = before.record.results or {}
    for role in sorted({*known, *results}):
        one, other = known.get(role), results.get(role)
        if one != other:
            there = "nothing" if one is None else one.digest.short
            here = "nothing" if other is None else other.digest.short
            raise Corrupt(
                f"the same derivation gave another {role}: {there} on "
                f"{before.record.stamp.who.host} with {before.record.software}, {here} now; one of "
                f"the two machines is wrong: calstore reproduce xxh128:{before.record.log[-32:]}"
            )
