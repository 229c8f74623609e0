"""What LCLS-I AMI makes of a ``.data`` text, and why it would drop one in silence.

AMI takes lines of numbers (lcls-daq/ami ``event/Calib.cc`` CalibIO, ``event/GainSwitchCalib.cc``,
``event/FrameCalib.cc``): it skips a line whose first character is ``#`` or the line's end, reads as
many numbers from every other line as the last axis is long, by ``strtod``, or by ``strtoul`` for
``pixel_status``, and tries once more, which must fail. Where a number or a line is missing or too
many, the whole array gives way to a default; where it reads another number, nobody notices.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Final

from calstore.model.ami import GAIN_MODES

_BLANKS: Final = rb"[ \t\n\v\f\r]*"  # isspace of C, and what bytes.split() cuts at
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_STRTOD: Final = re.compile(
    _BLANKS
    + rb"[+-]?(?:0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?"
    + rb"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"
    + rb"|inf(?:inity)?|nan(?:\([0-9a-z_]*\))?)",
    re.IGNORECASE,
)
_STRTOUL: Final = re.compile(_BLANKS + rb"[+-]?(?:0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)", re.IGNORECASE)

_PLAIN_NUMBER: Final = re.compile(rb"[+-]?(?:(?:9+\.?9*|\.9+)(?:[eE][+-]?9+)?|nan|inf)")
_PLAIN_INTEGER: Final = re.compile(rb"0|[1-9][0-9]{0,8}")
_DIGITS_AS_9: Final = bytes.maketrans(b"012345678", b"999999999")
_MOST_KNOWN: Final = 1 << 17  # words that are remembered; status words are far fewer

_UNSIGNED: Final = 2**32
_LONGEST: Final = 100  # letters of an integer


def ami_refusal(data: bytes, type_name: str, shape: Sequence[int]) -> str | None:
    """Why AMI would not take these numbers from this text; ``None`` where it takes all of them.

    Parameters
    ----------
    data
        The content of the file.
    type_name
        ``pixel_status`` is read as integers, everything else as floats.
    shape
        Of the array: the last axis is a line, all others are lines below each other.

    Notes
    -----
    A line that holds nothing unusual is judged by the forms of its words, of which a file has few,
    so that a file of 16 million numbers takes about a second. Any other line is read as ``strtod``
    or ``strtoul`` would read it.
    """
    *leading, columns = shape or (1,)
    table = _Integers(columns) if type_name == "pixel_status" else _Floats(columns)
    count = 0
    for number, line in enumerate(io.BytesIO(data), 1):
        if line[0] in b"#\n":
            continue
        count += 1
        problem = table.problem(line)
        if problem is not None:
            return f"line {number} {problem}"
    if not count:
        return "it holds no number, of which AMI makes its default or never stops reading"
    if count != math.prod(leading):
        return f"it has {count} lines of numbers, not {math.prod(leading)}"
    if isinstance(table, _Integers) and len(shape) > 2 and shape[0] == GAIN_MODES:
        return table.sum_problem(data)
    return None


def geometry_refusal(data: bytes) -> str | None:
    """Why AMI would misread a geometry; ``None`` where every line has its 13 fields.

    A line that is short leaves what it does not say undefined (``event/Alignment.cc``).
    """
    for number, line in enumerate(io.BytesIO(data), 1):
        fields = line.split()
        if not fields or line.startswith(b"#"):
            continue
        if len(fields) != 13:
            return f"line {number} has {len(fields)} fields, not 13"
        numbers = (fields[1], *fields[3:])
        if not all(_is_number(field) for field in numbers):
            return f"line {number} has no number where one belongs"
    return None


def _is_number(word: bytes) -> bool:
    return _PLAIN_NUMBER.fullmatch(word.translate(_DIGITS_AS_9)) is not None


class _Floats:
    """Lines of floats, and the forms of words (``-999.99``) that were found to be whole numbers."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._known: set[bytes] = set()

    def problem(self, line: bytes) -> str | None:
        words = line.translate(_DIGITS_AS_9).split()
        if len(words) == self._columns:
            if self._known.issuperset(words):
                return None
            new = set(words) - self._known
            if all(map(_PLAIN_NUMBER.fullmatch, new)):
                self._known |= new
                return None
        line = line.partition(b"\0")[0]
        return _count_problem(line, _count(_STRTOD, line, self._columns), self._columns)


class _Integers:
    """Lines of integers, and the words that were found to be what AMI takes them for."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._known: set[bytes] = set()
        self._largest = 0

    def problem(self, line: bytes) -> str | None:
        words = line.split()
        if len(words) == self._columns:
            if self._known.issuperset(words):
                return None
            new = set(words) - self._known
            if all(map(_PLAIN_INTEGER.fullmatch, new)):
                self._largest = max(self._largest, *map(int, new))
                if len(self._known) < _MOST_KNOWN:
                    self._known |= new
                return None
        line = line.partition(b"\0")[0]
        found = _count(_STRTOUL, line, self._columns)
        return self._misread(line) or _count_problem(line, found, self._columns)

    def _misread(self, line: bytes) -> str | None:
        """What AMI takes for another integer than the one that is written."""
        for word in line.split()[: self._columns]:
            match = _STRTOUL.match(word)
            if match is None:
                return None
            if match.end() < len(word) or b"x" in word.lower() or len(word) > _LONGEST:
                return f"has {_shown(word)}, and AMI wants bare decimal integers"
            taken = _as_unsigned(word)
            if taken != int(word):
                return f"has {_shown(word)}, which AMI takes for {taken}"
            self._largest = max(self._largest, taken)
        return None

    def sum_problem(self, data: bytes) -> str | None:
        """Whether the words of all gain modes of a pixel, which AMI adds up, are too many."""
        if self._largest * GAIN_MODES < _UNSIGNED:
            return None
        rows = [
            list(map(int, line.partition(b"\0")[0].split()[: self._columns]))
            for line in io.BytesIO(data)
            if line[0] not in b"#\n"
        ]
        lines = len(rows) // GAIN_MODES
        for line in range(lines):
            for words in zip(*rows[line::lines], strict=True):
                if sum(words) >= _UNSIGNED:
                    return f"the words of one pixel add up to {sum(words)}, beyond 32 bits"
        return None


def _as_unsigned(word: bytes) -> int:
    """What ``strtoul`` with base 0 makes of digits that it reads to their end, in 32 bits."""
    digits = word.lstrip(b"+-")
    value = int(digits, 8 if digits.startswith(b"0") else 10)
    if value >= 2**64:
        return _UNSIGNED - 1
    return (-value if word.startswith(b"-") else value) % _UNSIGNED


def _count(number: re.Pattern[bytes], line: bytes, columns: int) -> int:
    """How many numbers AMI reads from the line, one more than it wants at most."""
    found = position = 0
    while found <= columns:
        match = number.match(line, position)
        if match is None:
            return found
        found, position = found + 1, match.end()
    return found


def _count_problem(line: bytes, found: int, columns: int) -> str | None:
    if found == columns:
        return None
    if found > columns:
        return f"holds more than {columns} numbers"
    if line.startswith(_BYTE_ORDER_MARK):
        return "begins with a byte order mark"
    if not line.strip():
        return "is of blanks only"
    if line.lstrip().startswith(b"#"):
        return "has a blank before '#', so that AMI takes it for numbers"
    if b"," in line:
        return "holds commas"
    return f"holds {found} numbers, not {columns}"


def _shown(word: bytes) -> str:
    return ascii(word[:20].decode(errors="replace"))
