"""Answers with a strong ETag: JSON, or bytes of which a part may be asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from calstore.model.digest import xxh128
from calstore.serve.payloads import BytesResponse

if TYPE_CHECKING:
    from starlette.requests import Request

FOR_EVER: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"

_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


def json_answer(request: Request, document: Any, *, cache: str = ASK_AGAIN) -> Response:
    """A document; its ETag is the XXH3-128 of its bytes."""
    data = json.dumps(document, separators=(",", ":")).encode()
    headers = _headers(xxh128(data).hex, cache)
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return BytesResponse([data], headers, "application/json")


def etag_of(digest: str) -> str:
    """The ETag of content with this digest in hex."""
    return f'"{digest}"'


def not_modified(digest: str, cache: str) -> Response:
    """Nothing, since the client has it."""
    return Response(status_code=304, headers=_headers(digest, cache))


def bytes_answer(
    request: Request,
    parts: Sequence[bytes | memoryview],
    digest: str,
    cache: str,
    media_type: str = "application/octet-stream",
) -> Response:
    """Bytes, or the one range of them that is asked for."""
    headers = {**_headers(digest, cache), "Accept-Ranges": "bytes"}
    size = sum(memoryview(part).nbytes for part in parts)
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        return BytesResponse(parts, headers, media_type)
    match = _RANGE.fullmatch(asked.strip())
    if match is None:
        return BytesResponse(parts, headers, media_type)  # as if none was asked for (RFC 9110)
    begin, end = _bounds(match, size)
    if begin >= end:
        headers["Content-Range"] = f"bytes */{size}"
        return Response(status_code=416, headers=headers)
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    return BytesResponse(_between(parts, begin, end), headers, media_type, 206)


def is_known(request: Request, etag: str) -> bool:
    """Whether the client has what it asks for."""
    known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
    return "*" in known or etag in (each.removeprefix("W/") for each in known)


def _headers(digest: str, cache: str) -> dict[str, str]:
    return {"Cache-Control": cache, "ETag": etag_of(digest)}


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
