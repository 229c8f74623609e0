"""Answers with a strong ETag: JSON, or bytes of which a part may be asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response

from calstore.model.digest import xxh128
from calstore.serve.operations import BYTES, JSON
from calstore.serve.payloads import BytesResponse

if TYPE_CHECKING:
    from starlette.requests import Request

_FOR_EVER: Final = "max-age=31536000, immutable"
_RANGE: Final = re.compile(
    r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.IGNORECASE | re.ASCII
)
_PINNED: Final = re.compile(r"[^@]+@[0-9]+|xxh128:[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Identity:
    """What an answer is the same by.

    Parameters
    ----------
    digest
        Of the content, in hex.
    for_ever
        Whether the same question always has this answer.
    """

    digest: str
    for_ever: bool

    @property
    def etag(self) -> str:
        """The digest as HTTP writes it."""
        return f'"{self.digest}"'

    def headers(self, request: Request) -> dict[str, str]:
        """What a client, and caches on the way, are told of it.

        A cache that many share must not give to others what one needed a token for.
        """
        whose = "private" if "authorization" in request.headers else "public"
        cache = f"{whose}, {_FOR_EVER}" if self.for_ever else "no-cache"
        return {"Cache-Control": cache, "ETag": self.etag}


def is_pinned(*versions: str) -> bool:
    """Whether these texts mean the same versions for ever: records, or whole digests.

    A ref moves, ``@approved`` too, and the beginning of a digest may become that of two.
    """
    return all(_PINNED.fullmatch(each) for each in versions)


def json_answer(request: Request, document: Any, *, for_ever: bool = False) -> Response:
    """A document; its ETag is the XXH3-128 of its bytes."""
    data = json.dumps(document, separators=(",", ":")).encode()
    identity = Identity(xxh128(data).hex, for_ever)
    known = not_modified(request, identity)
    return known or BytesResponse([data], identity.headers(request), JSON)


def not_modified(request: Request, identity: Identity) -> Response | None:
    """The answer to a client that has it already; ``None`` for any other."""
    known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
    if "*" in known or identity.etag in (each.removeprefix("W/") for each in known):
        return Response(status_code=304, headers=identity.headers(request))
    return None


def bytes_answer(
    request: Request,
    parts: Sequence[bytes | memoryview],
    identity: Identity,
    media_type: str = BYTES,
) -> Response:
    """Bytes, or the one range of them that is asked for."""
    headers = {**identity.headers(request), "Accept-Ranges": "bytes"}
    asked = _asked_range(request, identity)
    if asked is None:
        return BytesResponse(parts, headers, media_type)
    size = sum(memoryview(part).nbytes for part in parts)
    begin, end = _bounds(asked, size)
    if begin >= end:
        headers["Content-Range"] = f"bytes */{size}"
        return Response(status_code=416, headers=headers)
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    return BytesResponse(_between(parts, begin, end), headers, media_type, 206)


def problem(status: int, error: str, message: str) -> Response:
    """What is wrong; no cache keeps it, since what is missing or damaged may be put right."""
    told = {"error": error, "message": message}
    return JSONResponse(told, status, headers={"Cache-Control": "no-store"})


def _asked_range(request: Request, identity: Identity) -> re.Match[str] | None:
    """The range that is to be sent; ``None`` for all.

    By RFC 9110, section 14.2, HEAD has none, and what is no range of bytes is as if not asked for.
    """
    if request.method != "GET" or request.headers.get("if-range", identity.etag) != identity.etag:
        return None
    return _RANGE.fullmatch(request.headers.get("range", "").strip())


def _bounds(match: re.Match[str], size: int) -> tuple[int, int]:
    first, last, tail = match.groups()
    if tail is not None:
        return max(size - int(tail), 0), size
    return int(first), min(int(last) + 1, size) if last else size


def _between(parts: Sequence[bytes | memoryview], begin: int, end: int) -> list[bytes | memoryview]:
    found: list[bytes | memoryview] = []
    at = 0
    for part in parts:
        view = memoryview(part).cast("B")
        low, high = max(begin - at, 0), min(end - at, view.nbytes)
        if low < high:
            found.append(view[low:high])
        at += view.nbytes
    return found
