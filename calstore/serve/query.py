"""What a client of psana2's service asks for: its query in JSON, as a parameter or as a body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_QUERY: Final = 64 * 1024

_IDENTITY: Final = re.compile(r"(?:ObjectId\()?([0-9a-f]{24})\)?")


@dataclass(frozen=True, slots=True)
class Query:
    """What documents have to be.

    Parameters
    ----------
    run
        The run that constants are for; ``None`` for all that there are.
    identity
        The document's ``_id``; ``None`` for any.
    fields
        What others hold: a value, or bounds as ``{"$lte": 5}``.
    """

    run: int | None = None
    identity: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def parsed(cls, asked: Mapping[str, Any]) -> Query | None:
        """The query; ``None`` for one that no document of a version can answer.

        All constants of a version are of one time, so by time alone it would be chance which of
        several ranges of runs a client takes.
        """
        run = identity = None
        fields = {}
        for name, wanted in asked.items():
            if name == "run":
                run = wanted.get("$lte") if isinstance(wanted, dict) else wanted
                if isinstance(run, bool) or not isinstance(run, int) or run < 0:
                    return None
            elif name == "_id":
                match = _IDENTITY.fullmatch(_plain_id(wanted))
                if match is None:
                    return None
                identity = match[1]
            else:
                fields[name] = wanted
        if run is None and "time_sec" in fields:
            return None
        return cls(run, identity, fields)

    def holds(self, document: Mapping[str, Any]) -> bool:
        """Whether a document is one of those, whatever its run."""
        if self.identity not in (None, document["_id"]):
            return False
        return all(_fits(document.get(name), wanted) for name, wanted in self.fields.items())


def _fits(found: object, wanted: object) -> bool:
    if not isinstance(wanted, dict):
        return found == wanted
    if not isinstance(found, int) or not wanted.keys() <= {"$lte", "$gte"}:
        return False
    low, high = wanted.get("$gte", found), wanted.get("$lte", found)
    return isinstance(low, int) and isinstance(high, int) and low <= found <= high


async def asked_of(request: Request) -> dict[str, Any] | None:
    """The JSON that a request asks with; ``None`` for what is none, or too much."""
    text = request.query_params.get("query_string")
    if text is None:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_QUERY:
                return None
        text = body.decode(errors="replace") or "{}"
    if len(text) > MAX_QUERY:
        return None
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None


def _plain_id(wanted: object) -> str:
    """An id as it is written alone, or as MongoDB writes one in JSON."""
    if isinstance(wanted, dict):
        wanted = wanted.get("$oid")
    return wanted if isinstance(wanted, str) else ""
