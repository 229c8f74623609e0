"""What can go wrong, grouped by what the caller does next.

::

    CalstoreError
    ├── NotFound   ask for something else   exit code 3   (also a KeyError)
    ├── Conflict   reload and retry         exit code 4
    ├── Invalid    fix the request          exit code 5   (also a ValueError)
    └── Corrupt    stop and restore         exit code 6

A message says what, with the values, and then the next step.
"""

from __future__ import annotations

import errno
from typing import Final

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What an OSError says when there is no room: a `Conflict`, because the same again may work."""


class CalstoreError(Exception):
    """Any error that calstore raises on purpose."""

    def __str__(self) -> str:
        # KeyError would print the repr of its message.
        return str(self.args[0]) if self.args else ""


class NotFound(CalstoreError, KeyError):
    """There is no such store, ref, object, detector, constant or file."""


class Conflict(CalstoreError):
    """Somebody else was there first; look at what is there now, then retry."""


class Invalid(CalstoreError, ValueError):
    """The request, or a file that it names, cannot be accepted as it is."""


class Corrupt(CalstoreError):
    """Stored bytes are not what was stored; nothing was returned from them.

    Parameters
    ----------
    message
        What is wrong, with the file's name.
    key
        The store's name of the damaged file, where one file is to blame.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key
