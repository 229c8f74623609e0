"""Uses: what a run of somebody's analysis was given of a version (docs/format.md, 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from calstore.errors import Invalid
from calstore.model.canonical import Value
from calstore.model.fields import items, mapping, require_keys, text

_KEYS: Final = frozenset({"client", "command", "given", "missing"})
_MOST_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Use:
    """What was given to a client for one run.

    Parameters
    ----------
    client
        The host that asked, or ``file:`` and the path that was written for it.
    command
        The program that the constants were for; ``""`` where nobody said.
    given
        Detector (its source) → calibration types.
    missing
        Unique ids of detectors with pixels that were asked for, and of which there was nothing.
    """

    client: str
    command: str
    given: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for told in (self.client, self.command):
            if not told.isprintable() or len(told) > _MOST_CHARACTERS:
                raise Invalid(
                    f"{told[:60]!r} is no line of at most {_MOST_CHARACTERS} printable characters"
                )
        if not self.client:
            raise Invalid("a use says which client it was of")
        if not self.given and not self.missing:
            raise Invalid(f"a use by {self.client} in which no detector was asked for")
        for names in (*self.given.values(), self.missing):
            if list(names) != sorted(set(names)):
                raise Invalid(f"names of a use are sorted, each once: {', '.join(names):.200}")

    def to_value(self) -> dict[str, Value]:
        """The use as a record holds it."""
        return {
            "client": self.client,
            "command": self.command,
            "given": {source: list(names) for source, names in self.given.items()},
            "missing": list(self.missing),
        }

    @classmethod
    def from_value(cls, value: Value) -> Use:
        """The use that a record holds; `Invalid` for anything else."""
        fields = require_keys(value, set(_KEYS), "use")
        given = mapping(fields["given"], "what was given")
        return cls(
            text(fields["client"], "client"),
            text(fields["command"], "command"),
            {source: _names(names, "types") for source, names in given.items()},
            _names(fields["missing"], "missing detectors"),
        )


def _names(value: Value, what: str) -> tuple[str, ...]:
    return tuple(text(each, what) for each in items(value, what))
