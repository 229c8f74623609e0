"""Marks of runs: what people say of a run, before or after it is taken (docs/format.md, 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from calstore.errors import Invalid
from calstore.model.canonical import Value
from calstore.model.fields import items, require_keys, text
from calstore.model.runs import RunRange

REASONS: Final = ("power-cycled", "temperature", "opportunistic", "image-looks-wrong")
"""Why a dark is taken, as far as there are words for it; another reason is free text."""

_KEYS: Final = frozenset({"comment", "dark", "detectors", "flawed", "reason", "valid"})
_MOST_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class RunMark:
    """All that is said of one run, as it is from some record on.

    Parameters
    ----------
    reason
        Why the dark was taken, one of `REASONS` or free text; ``""`` for a run that is no dark.
    detectors
        Those that it is a dark of; none for all that it has.
    valid
        The runs that its constants are meant for; ``None`` for from this run on.
    flawed
        What is wrong with the run; ``""`` for nothing.
    """

    is_dark: bool = False
    reason: str = ""
    detectors: tuple[str, ...] = ()
    valid: RunRange | None = None
    flawed: str = ""
    comment: str = ""

    def __post_init__(self) -> None:
        if self.is_dark != bool(self.reason):
            raise Invalid(
                "a dark run has a reason, and no other run: "
                f"{', '.join(REASONS)}, or your own words"
            )
        for told in (self.reason, self.flawed, self.comment, *self.detectors):
            if not told.isprintable() or len(told) > _MOST_CHARACTERS:
                raise Invalid(
                    f"{told[:60]!r} is no line of at most {_MOST_CHARACTERS} printable characters"
                )
        if "" in self.detectors or len(set(self.detectors)) != len(self.detectors):
            raise Invalid(f"the detectors {', '.join(self.detectors)!r}: each once, and not empty")

    def to_value(self) -> dict[str, Value]:
        """The mark as a record holds it."""
        return {
            "comment": self.comment,
            "dark": self.is_dark,
            "detectors": list(self.detectors),
            "flawed": self.flawed,
            "reason": self.reason,
            "valid": "" if self.valid is None else str(self.valid),
        }

    @classmethod
    def from_value(cls, value: Value) -> RunMark:
        """The mark that a record holds; `Invalid` for anything else."""
        fields = require_keys(value, set(_KEYS), "mark of a run")
        if not isinstance(fields["dark"], bool):
            raise Invalid(f"a run is dark or not, and not {fields['dark']!r:.60}")
        valid = text(fields["valid"], "range of a mark")
        return cls(
            fields["dark"],
            text(fields["reason"], "reason"),
            tuple(text(each, "detector") for each in items(fields["detectors"], "detectors")),
            RunRange.parse(valid) if valid else None,
            text(fields["flawed"], "flaw"),
            text(fields["comment"], "comment"),
        )
