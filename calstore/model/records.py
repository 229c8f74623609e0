"""Records: what happened to a ref, when, by whom and why (docs/format.md, section 7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from calstore.errors import Invalid
from calstore.model.arrays import ArrayReference
from calstore.model.canonical import Value, decode, encode
from calstore.model.digest import Digest, Reference, sha256, xxh128
from calstore.model.fields import items, mapping, natural, octets, require_keys, text
from calstore.model.inputs import Evidence
from calstore.model.marks import RunMark
from calstore.model.uses import Use

MAX_BYTES: Final = 64 * 1024
BRANCH: Final = "branch"
TAG: Final = "tag"
DELETE: Final = "delete"
GOOD: Final = "good"
STATUSES: Final = (GOOD, "rejected", "superseded")
SETTINGS: Final = "settings"
"""The log of a store's settings."""
INPUTS: Final = "inputs"
RESULTS: Final = "results"
RUNS: Final = "runs"
USES: Final = "uses"
"""Logs below these are of one input manifest, of one derivation, of one run, and of its uses."""

_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_REQUIRED = {
    "checksum",
    "log",
    "number",
    "operation",
    "parents",
    "software",
    "what",
    "when",
    "who",
    "why",
    "writer",
}
_OPTIONAL = frozenset(
    {"documents", "evidence", "kind", "manifest", "mark", "results", "settings", "status", "use"}
)


@dataclass(frozen=True, slots=True)
class Who:
    """Who acted: the account, and the person that an operator account names."""

    user: str
    uid: int
    host: str
    claimed: str | None = None

    def __post_init__(self) -> None:
        natural(self.uid, "uid")

    def __str__(self) -> str:
        return self.user if self.claimed is None else f"{self.claimed} ({self.user})"

    def to_value(self) -> dict[str, Value]:
        """The person as a record holds them."""
        value: dict[str, Value] = {"host": self.host, "uid": self.uid, "user": self.user}
        if self.claimed is not None:
            value["claimed"] = self.claimed
        return value

    @classmethod
    def from_value(cls, value: Value) -> Who:
        """The person that a record holds; `Invalid` for anything else."""
        fields = require_keys(value, {"host", "uid", "user"}, "who", frozenset({"claimed"}))
        return cls(
            text(fields["user"], "user"),
            natural(fields["uid"], "uid"),
            text(fields["host"], "host"),
            text(fields["claimed"], "claimed name") if "claimed" in fields else None,
        )


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who acts, when and why; made once by whoever calls a verb.

    Parameters
    ----------
    when
        UTC, as ``2026-11-22T03:12:45.123456Z``.
    why
        The person's message; may be empty.
    writer
        Eight random bytes, by which a writer knows its own record after a lost reply.
    """

    who: Who
    when: str
    why: str
    writer: bytes

    def __post_init__(self) -> None:
        if not _WHEN.fullmatch(self.when):
            raise Invalid(f"a time is written as 2026-11-22T03:12:45.123456Z, not {self.when!r}")
        octets(self.writer, "writer", 8)
        if len(self.why.encode(errors="replace")) > 16 * 1024:
            raise Invalid("the message has more than 16 KiB; put the story beside the data")


@dataclass(frozen=True, slots=True)
class Parent:
    """The record that another one builds upon, with the hashes of its bytes."""

    log: str
    number: int
    digest: Digest
    sha256: bytes

    def to_value(self) -> dict[str, Value]:
        """The parent as a record holds it."""
        return {
            "log": self.log,
            "number": self.number,
            "sha256": self.sha256,
            "xxh128": self.digest.value,
        }

    @classmethod
    def from_value(cls, value: Value) -> Parent:
        """The parent that a record holds; `Invalid` for anything else."""
        fields = require_keys(value, {"log", "number", "sha256", "xxh128"}, "parent")
        return cls(
            text(fields["log"], "parent's log"),
            natural(fields["number"], "record's number", least=1),
            Digest(octets(fields["xxh128"], "xxh128", 16)),
            octets(fields["sha256"], "sha256", 32),
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One numbered entry of a log; the history of a version is its records.

    Parameters
    ----------
    manifest
        The set that a ref has from now on, or that is approved; ``None`` where the ref ends.
    kind
        Of a ref, in its first record alone: branch or tag.
    status
        Of an approval alone: one of `STATUSES`.
    settings
        Of the log `SETTINGS` alone: all of them, as they are from now on.
    evidence
        Of an input alone: the files that its frames were read from this time.
    results
        Of a derivation alone: role → the array that came out.
    mark
        Of a run alone: all that is said of it from now on.
    use
        Of the uses of a run alone: what somebody was given of the set.
    documents
        Of a ref alone, and there of an import from psana 2's service or a deposit by its tools:
        the documents as they came, in a blob.
    """

    log: str
    number: int
    operation: str
    what: str
    stamp: Stamp
    software: str
    parents: tuple[Parent, ...] = ()
    manifest: Reference | None = None
    kind: str | None = None
    status: str | None = None
    settings: Mapping[str, str] | None = None
    evidence: tuple[Evidence, ...] | None = None
    results: Mapping[str, ArrayReference] | None = None
    mark: RunMark | None = None
    use: Use | None = None
    documents: Reference | None = None

    def __post_init__(self) -> None:
        family = self.log.partition("/")[0]
        has_kind = family == "refs" and self.number == 1
        if (self.kind is not None) != has_kind or self.kind not in (None, BRANCH, TAG):
            raise Invalid(f"record {self.number} of {self.log} has the kind {self.kind!r}")
        if (self.manifest is None) != (self.operation == DELETE or family in (SETTINGS, RUNS)):
            raise Invalid(f"a record of operation {self.operation!r} and manifest {self.manifest}")
        is_approval = family == "approvals"
        if (self.status is not None) != is_approval or self.status not in (None, *STATUSES):
            raise Invalid(f"a record of {self.log} with the status {self.status!r}")
        if (self.settings is not None) != (family == SETTINGS):
            raise Invalid(f"a record of {self.log} with the settings {self.settings!r}")
        if (self.mark is not None) != (family == RUNS):
            raise Invalid(f"a record of {self.log} with the mark {self.mark!r}")
        if (self.use is not None) != (family == USES):
            raise Invalid(f"a record of {self.log} with the use {self.use!r}")
        if self.documents is not None and family != "refs":
            raise Invalid(f"a record of {self.log} with the documents {self.documents!r}")
        if (self.evidence is not None) != (family == INPUTS):
            raise Invalid(f"a record of {self.log} with the evidence {self.evidence!r}")
        if (self.results is not None) != (family == RESULTS):
            raise Invalid(f"a record of {self.log} with the results {self.results!r}")

    @property
    def name(self) -> str:
        """What people type: ``xppn4116/main@7``."""
        return f"{self.log.removeprefix('refs/')}@{self.number}"

    def encoded(self) -> bytes:
        """The canonical bytes, with the checksum."""
        value = self._value()
        value["checksum"] = xxh128(encode(value)).value
        return encode(value)

    def _value(self) -> dict[str, Value]:
        value: dict[str, Value] = {
            "log": self.log,
            "number": self.number,
            "operation": self.operation,
            "parents": [parent.to_value() for parent in self.parents],
            "software": self.software,
            "what": self.what,
            "when": self.stamp.when,
            "who": self.stamp.who.to_value(),
            "why": self.stamp.why,
            "writer": self.stamp.writer,
        }
        if self.manifest is not None:
            value["manifest"] = self.manifest.to_value()
        if self.kind is not None:
            value["kind"] = self.kind
        if self.status is not None:
            value["status"] = self.status
        if self.settings is not None:
            value["settings"] = dict(self.settings)
        if self.mark is not None:
            value["mark"] = self.mark.to_value()
        if self.use is not None:
            value["use"] = self.use.to_value()
        if self.documents is not None:
            value["documents"] = self.documents.to_value()
        if self.evidence is not None:
            value["evidence"] = [file.to_value() for file in self.evidence]
        if self.results is not None:
            value["results"] = {role: array.to_value() for role, array in self.results.items()}
        return value

    @classmethod
    def decoded(cls, data: bytes, *, log: str, number: int) -> Record:
        """The record of these bytes, if it belongs at this place.

        Raises
        ------
        Invalid
            When the bytes are torn, or belong to another log or number.
        """
        value = decode(data, limit=MAX_BYTES)
        fields = require_keys(value, _REQUIRED, "record", optional=_OPTIONAL)
        body = {key: item for key, item in fields.items() if key != "checksum"}
        if xxh128(encode(body)).value != fields["checksum"]:
            raise Invalid("a record whose checksum is wrong")
        if fields["log"] != log or fields["number"] != number:
            place = f"{fields['number']!r} of {fields['log']!r}"
            raise Invalid(f"record {place} in another one's place")
        return cls._from_fields(body)

    @classmethod
    def _from_fields(cls, fields: dict[str, Value]) -> Record:
        manifest = fields.get("manifest")
        kind, status, settings = (fields.get(key) for key in ("kind", "status", "settings"))
        return cls(
            log=text(fields["log"], "record's log"),
            number=natural(fields["number"], "record's number", least=1),
            operation=text(fields["operation"], "record's operation"),
            what=text(fields["what"], "record's what"),
            stamp=Stamp(
                Who.from_value(fields["who"]),
                text(fields["when"], "record's when"),
                text(fields["why"], "record's why"),
                octets(fields["writer"], "writer", 8),
            ),
            software=text(fields["software"], "record's software"),
            parents=tuple(Parent.from_value(item) for item in items(fields["parents"], "parents")),
            manifest=None if manifest is None else Reference.from_value(manifest),
            kind=None if kind is None else text(kind, "record's kind"),
            status=None if status is None else text(status, "record's status"),
            settings=None if settings is None else _settings(settings),
            mark=RunMark.from_value(fields["mark"]) if "mark" in fields else None,
            use=Use.from_value(fields["use"]) if "use" in fields else None,
            documents=Reference.from_value(fields["documents"]) if "documents" in fields else None,
            evidence=_evidence(fields["evidence"]) if "evidence" in fields else None,
            results=_results(fields["results"]) if "results" in fields else None,
        )


def _settings(value: Value) -> dict[str, str]:
    return {key: text(item, "setting") for key, item in mapping(value, "settings").items()}


def _evidence(value: Value) -> tuple[Evidence, ...]:
    return tuple(Evidence.from_value(item) for item in items(value, "evidence"))


def _results(value: Value) -> dict[str, ArrayReference]:
    return {key: ArrayReference.from_value(item) for key, item in mapping(value, "results").items()}


def parent_of(record: Record, data: bytes) -> Parent:
    """The record as another one names it; ``data`` are its bytes."""
    return Parent(record.log, record.number, xxh128(data), sha256(data))
