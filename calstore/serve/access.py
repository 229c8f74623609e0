"""Who may ask: everybody on this host, or those who have a token."""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from calstore.errors import Invalid, NotFound

READING: Final = frozenset({"GET", "HEAD"})
LEAST_TOKEN: Final = 16


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what.

    Parameters
    ----------
    token
        What a request must carry as ``Authorization: Bearer``; ``None`` for nothing.
    anybody_reads
        Whether reading goes without it.
    """

    token: str | None = field(default=None, repr=False)
    anybody_reads: bool = True

    def admits(self, method: str, authorization: str) -> bool:
        """Whether a request of this method with this header may go on."""
        if self.token is None:
            return method in READING
        if self.anybody_reads and method in READING:
            return True
        given = authorization.encode(errors="replace")
        return hmac.compare_digest(given, f"Bearer {self.token}".encode())


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


def token_of(path: Path) -> str:
    """The token in a file of one's own; made of 32 random bytes where there is no file.

    Raises
    ------
    Invalid
        When others can read the file, or it holds no token.
    NotFound
        When there is no such folder.
    """
    try:
        with open(path, "x", opener=_private) as file:
            file.write(new_token() + "\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise NotFound(f"cannot make {path} ({error.strerror}); name another file") from error
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"cannot read a token from {path} ({error}); remove it for a new one"
        ) from error
    if mode & 0o077:
        raise Invalid(f"others can read {path}; run: chmod 600 {path}")
    if len(text) < LEAST_TOKEN or not text.isprintable() or " " in text:
        raise Invalid(
            f"{path} holds no token of at least {LEAST_TOKEN} characters in one word; "
            "remove it for a new one"
        )
    return text


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
