"""HISTORY: the lines that deployment tools append beside the constants.

Four writers in three formats (lcls-psana/CalibManager ``src/FileDeployer.py``, lcls-psana/PSCalib
``src/GlobalUtils.py`` and ``src/CalibFileFinder.py``) write ``key:value`` fields between blanks;
values may be padded, and may hold blanks and colons. What a line says is evidence, never truth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_KEYS = (
    *("file", "cmd", "copy_of", "ctype", "exp", "run", "app", "comment"),
    *("user", "host", "cptime", "zone", "cwd", "cmt"),
)

# A word with a colon that no writer uses as a key belongs to the value before it.
_KEY = re.compile(rf"(?<!\S)({'|'.join(_KEYS)}):")


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One line of a HISTORY file.

    Parameters
    ----------
    file
        The name of the deployed file, ``137-end.data``; None when the line names none.
    fields
        Keys and values in the order of the line, ``file`` included, values without padding.
    text
        The line as it stands, without its end. Bytes that are not UTF-8 are surrogates, so that
        ``text.encode(errors="surrogateescape")`` gives them back.
    """

    file: str | None
    fields: tuple[tuple[str, str], ...]
    text: str


def parse(data: bytes) -> tuple[HistoryLine, ...]:
    """The lines of a HISTORY file, whatever they are; empty lines are left out.

    A line that is not understood has no fields. A key counts once per line: when it comes again it
    is part of a value, such as a comment.
    """
    lines = data.decode(errors="surrogateescape").split("\n")
    return tuple(_line(text.removesuffix("\r")) for text in lines if text.strip())


def render(
    *,
    file: str,
    copy_of: str,
    experiment: str,
    run: str,
    comment: str,
    user: str,
    host: str,
    time: str,
    zone: str,
) -> str:
    """One line, with its end, in the form of lcls-psana/CalibManager ``src/FileDeployer.py``.

    Every value becomes one line without a key in it, ``-`` if nothing is left: a comment
    cannot forge a field or a further line.

    Parameters
    ----------
    file
        ``137-end.data``.
    run
        As existing tools write it, ``0137``.
    time
        Local time, ``2024-05-31T10:03:41``, of the time zone ``zone``, ``PDT``.
    """
    values = (
        ("file", _one_line(file).ljust(14)),
        ("copy_of", _one_line(copy_of)),
        ("exp", _one_line(experiment).ljust(8)),
        ("run", _one_line(run).ljust(4)),
        ("comment", _one_line(comment)),
        ("user", _one_line(user)),
        ("host", _one_line(host)),
        ("cptime", _one_line(time)),
        ("zone", _one_line(zone)),
    )
    return "  ".join(f"{key}:{value}" for key, value in values) + "\n"


def _line(text: str) -> HistoryLine:
    first: dict[str, re.Match[str]] = {}
    for match in _KEY.finditer(text):
        first.setdefault(match[1], match)
    matches = list(first.values())
    ends = [*(match.start() for match in matches[1:]), len(text)]
    fields = tuple(
        (match[1], text[match.end() : end].strip())
        for match, end in zip(matches, ends[: len(matches)], strict=True)
    )
    return HistoryLine(dict(fields).get("file"), fields, text)


def _one_line(value: str) -> str:
    return _KEY.sub(r"\1=", " ".join(value.split())) or "-"
