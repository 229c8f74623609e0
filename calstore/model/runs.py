"""Run ranges, as the names of calibration files spell them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from calstore.errors import Invalid

MAX_RUN: Final = 9999
"""The largest run that a file's name can hold: psana reads at most four digits."""

END: Final = 2**32 - 1
"""What ``end`` stands for: the largest unsigned integer, as in psana's C++ reader and AMI.

Live AMI asks for run 0x7fffffff, so ``0-9999`` does not serve it and ``0-end`` does.
"""

_TEXT = re.compile(r"([0-9]{1,10})-([0-9]{1,10}|end)")


@dataclass(frozen=True, slots=True, order=True)
class RunRange:
    """Runs from ``first`` to ``last``, both included; ``last`` may be `END`."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= MAX_RUN:
            raise Invalid(f"a run range begins at 0 to {MAX_RUN}, not at {self.first}")
        if self.last != END and not self.first <= self.last <= MAX_RUN:
            raise Invalid(
                f"a run range that begins at {self.first} ends at {self.first} to {MAX_RUN} "
                f"or at 'end', not at {self.last}"
            )

    def __str__(self) -> str:
        return f"{self.first}-{'end' if self.last == END else self.last}"

    def holds(self, run: int) -> bool:
        """Whether the run lies in the range."""
        return self.first <= run <= self.last

    @classmethod
    def parse(cls, text: str) -> RunRange:
        """The range that a person or a file's name spells; leading zeros are read.

        Raises
        ------
        Invalid
            For anything but ``<first>-<last>`` or ``<first>-end`` with runs up to 9999.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise Invalid(_advice(text))
        last = END if match[2] == "end" else int(match[2])
        if last != END and last < int(match[1]):
            raise Invalid(f"the run range {text} is reversed; did you mean {last}-{int(match[1])}?")
        if last == END and match[2] != "end":
            raise Invalid(f"run {last} is over {MAX_RUN}; write 'end' for an open range")
        return cls(int(match[1]), last)


def _advice(text: str) -> str:
    if text.isascii() and text.isdecimal():
        return (
            f"{text!r} is no run range; write {text}-{text} for one run, {text}-end for all from it"
        )
    return f"{text[:40]!r} is no run range; write <first>-<last> or <first>-end, as in 5-20"
