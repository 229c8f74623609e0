"""Files that a person asked for by name."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from calstore.errors import NO_ROOM, Conflict, Invalid
from calstore.model.digest import Buffer

MAX_FILE_BYTES: Final = 8 * 2**30


def read_file(path: Path) -> bytes:
    """What is in a file; `Invalid` for a folder or a device, and when it cannot be read."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            raise Invalid(f"{path} is no file of at most {MAX_FILE_BYTES} bytes; name another")
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot read {path} ({error.strerror}); name another file") from error


def write_file(path: Path, *parts: Buffer) -> None:
    """Write a file at once: nobody sees a part of it, a failure leaves what was there.

    Raises
    ------
    Invalid
        When the place cannot be written.
    Conflict
        When there is no room.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if error.errno in NO_ROOM:
            raise Conflict(f"no room to write {path} ({error.strerror}); make room") from error
        raise Invalid(f"cannot write {path} ({error.strerror}); name another file") from error
