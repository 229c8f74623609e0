"""Records, refs and their histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from calstore.model.digest import Digest
from calstore.model.records import Record
from calstore.repository.refs import Ref
from calstore.repository.uses import version_of


def record_json(record: Record) -> dict[str, Any]:
    """A record as ``schemas/record.json`` describes it."""
    return {
        "kind": record.kind,
        "manifest": None
        if record.manifest is None
        else {
            "sha256": record.manifest.sha256.hex(),
            "size": record.manifest.size,
            "xxh128": record.manifest.digest.hex,
        },
        "name": record.name,
        "number": record.number,
        "operation": record.operation,
        "parents": [
            f"{parent.log.removeprefix('refs/')}@{parent.number}" for parent in record.parents
        ],
        "ref": record.log.removeprefix("refs/"),
        "software": record.software,
        "what": record.what,
        "when": record.stamp.when,
        "who": who_json(record),
        "why": record.stamp.why,
    }


def approval_json(approval: Record | None) -> dict[str, Any] | None:
    """An approval as ``schemas/definitions.json`` describes it."""
    if approval is None:
        return None
    return {
        "name": approval.name,
        "reason": approval.stamp.why,
        "status": approval.status,
        "verified": False,
        "when": approval.stamp.when,
        "who": who_json(approval),
    }


def who_json(record: Record) -> dict[str, Any]:
    """Who acted, as ``schemas/definitions.json`` describes it."""
    who = record.stamp.who
    return {"claimed": who.claimed, "host": who.host, "uid": who.uid, "user": who.user}


def refs_json(found: Sequence[tuple[Ref, Record | None]]) -> dict[str, Any]:
    """Refs with their approvals, as ``schemas/refs.json`` describes them."""
    return {
        "refs": [
            {
                "approval": approval_json(approved),
                "head": record_json(ref.head),
                "kind": ref.kind,
                "name": ref.name.text,
            }
            for ref, approved in found
        ]
    }


def log_json(found: Sequence[tuple[Record, Record | None]]) -> dict[str, Any]:
    """Records with their approvals, as ``schemas/log.json`` describes them."""
    approvals = {record.name: approval_json(approved) for record, approved in found if approved}
    return {"approvals": approvals, "records": [record_json(record) for record, _ in found]}


def approvals_json(digest: Digest, records: Sequence[Record]) -> dict[str, Any]:
    """All words about a set, as ``schemas/approvals.json`` describes them."""
    return {"approvals": [approval_json(record) for record in records], "manifest": str(digest)}


def uses_json(experiment: str, run: int, records: Sequence[Record]) -> dict[str, Any]:
    """What was given for a run, as ``schemas/used.json`` describes it."""
    uses = [_use_json(record) for record in records]
    return {"experiment": experiment, "run": run, "uses": uses}


def _use_json(record: Record) -> dict[str, Any]:
    assert record.use is not None
    assert record.manifest is not None
    return {
        "client": record.use.client,
        "command": record.use.command,
        "digest": str(record.manifest.digest),
        "given": {source: list(names) for source, names in record.use.given.items()},
        "missing": list(record.use.missing),
        "number": record.number,
        "version": version_of(record),
        "when": record.stamp.when,
        "who": who_json(record),
    }
