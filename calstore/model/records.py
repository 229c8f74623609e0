"""Records: what happened to a ref, when, by whom and why (docs/format.md, section 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from calstore.errors import Invalid
from calstore.model.canonical import Value, decode, encode
from calstore.model.digest import Digest, Reference, require_keys, sha256, xxh128

MAX_BYTES: Final = 64 * 1024
BRANCH: Final = "branch"
TAG: Final = "tag"
DELETE: Final = "delete"

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


@dataclass(frozen=True, slots=True)
class Who:
    """Who acted: the account, and the person that an operator account names."""

    user: str
    uid: int
    host: str
    claimed: str | None = None

    def __post_init__(self) -> None:
        _require_texts(self.user, self.host, *([] if self.claimed is None else [self.claimed]))
        if isinstance(self.uid, bool) or not isinstance(self.uid, int):
            raise Invalid(f"a uid is a number, not {self.uid!r}")

    def __str__(self) -> str:
        return self.user if self.claimed is None else f"{self.claimed} ({self.user})"

    def to_value(self) -> dict[str, Value]:
        """The person as a record holds them."""
        value: dict[str, Value] = {"host": self.host, "uid": self.uid, "user": self.user}
        if self.claimed is not None:
            value["claimed"] = self.claimed
        return value


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
        _require_texts(self.when, self.why)
        if not _WHEN.fullmatch(self.when):
            raise Invalid(f"a time is written as 2026-11-22T03:12:45.123456Z, not {self.when!r}")
        if not isinstance(self.writer, bytes) or len(self.writer) != 8:
            raise Invalid(f"a writer is eight bytes, not {self.writer!r}")
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
        _require_texts(fields["log"])
        return cls(
            fields["log"],  # type: ignore[arg-type]
            _natural(fields["number"]),
            Digest(fields["xxh128"]),  # type: ignore[arg-type]
            fields["sha256"],  # type: ignore[arg-type]
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One numbered entry of a log; the history of a version is its records."""

    log: str
    number: int
    operation: str
    what: str
    stamp: Stamp
    software: str
    parents: tuple[Parent, ...] = ()
    manifest: Reference | None = None
    kind: str | None = None

    def __post_init__(self) -> None:
        _require_texts(self.log, self.operation, self.what, self.software)
        if (self.kind is not None) != (self.number == 1) or self.kind not in (None, BRANCH, TAG):
            raise Invalid(f"record {self.number} of {self.log} has the kind {self.kind!r}")
        if (self.manifest is None) != (self.operation == DELETE):
            raise Invalid(f"a record of operation {self.operation!r} and manifest {self.manifest}")

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
        fields = require_keys(value, _REQUIRED, "record", optional=frozenset({"kind", "manifest"}))
        body = {key: item for key, item in fields.items() if key != "checksum"}
        if xxh128(encode(body)).value != fields["checksum"]:
            raise Invalid("a record whose checksum is wrong")
        if fields["log"] != log or fields["number"] != number:
            raise Invalid(f"record {fields['number']} of {fields['log']} in another one's place")
        return cls._from_fields(body)

    @classmethod
    def _from_fields(cls, fields: dict[str, Value]) -> Record:
        who = dict(
            require_keys(fields["who"], {"host", "uid", "user"}, "who", frozenset({"claimed"}))
        )
        parents = fields["parents"]
        if not isinstance(parents, list):
            raise Invalid("a record's parents are a list")
        manifest = fields.get("manifest")
        return cls(
            log=fields["log"],  # type: ignore[arg-type]
            number=_natural(fields["number"]),
            operation=fields["operation"],  # type: ignore[arg-type]
            what=fields["what"],  # type: ignore[arg-type]
            stamp=Stamp(
                Who(**who),  # type: ignore[arg-type]
                fields["when"],  # type: ignore[arg-type]
                fields["why"],  # type: ignore[arg-type]
                fields["writer"],  # type: ignore[arg-type]
            ),
            software=fields["software"],  # type: ignore[arg-type]
            parents=tuple(Parent.from_value(parent) for parent in parents),
            manifest=None if manifest is None else Reference.from_value(manifest),
            kind=fields.get("kind"),  # type: ignore[arg-type]
        )


def parent_of(record: Record, data: bytes) -> Parent:
    """The record as another one names it; ``data`` are its bytes."""
    return Parent(record.log, record.number, xxh128(data), sha256(data))


def _natural(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Invalid(f"a record's number is 1, 2, …, not {value!r}")
    return value


def _require_texts(*values: Value) -> None:
    for value in values:
        if not isinstance(value, str):
            raise Invalid(f"a record has text where it has {value!r}")
