"""What a shell is told of an error: by what the caller does next."""

from __future__ import annotations

from typing import Final

from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound

EXIT_CODES: Final = {NotFound: 3, Conflict: 4, Invalid: 5, Corrupt: 6}


def exit_code(error: CalstoreError) -> int:
    """The code of an error."""
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
