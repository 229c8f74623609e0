"""What is odd about a file that can be read all the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remark:
    """One oddity of a file, and what it leads to.

    Parameters
    ----------
    what
        What was found, with the values: ``nan or inf in 3 of 540672 values``.
    consequence
        What which reader does with it: ``psana's C++ reader throws``.
    """

    what: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.what}: {self.consequence}"
