"""What a calibration service of psana 2 says over HTTP: read, bounded, and never believed.

The requests are those of psana/pscalib/calib/MDBWebUtils.py (psana 4.3.4).
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

from calstore.errors import Invalid, NotFound

TIMEOUT_S: Final = 60.0
MAX_ANSWER: Final = 256 * 1024 * 1024
"""Of JSON: an experiment with 100,000 documents."""

NAMES: Final = "cdb_detnames"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,255}")


@dataclass(frozen=True, slots=True)
class CalibService:
    """A service at an address such as ``http://host:port/ws``."""

    url: str
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise Invalid(f"{self.url!r} is no address of a service, such as http://host:8642/ws")

    def collections(self, database: str) -> list[str]:
        """The collections of a database; none for one that is not there."""
        return [name for name in self._list(database) if _is_name(name)]

    def documents(self, database: str, collection: str) -> list[Any]:
        """All documents of a collection, in the service's order."""
        query = urllib.parse.urlencode({"query_string": "{}"})
        return self._list(f"{database}/{collection}?{query}")

    def payload(self, database: str, identity: str, size: int) -> bytes:
        """The bytes of a payload that has ``size`` of them at most."""
        return self._get(f"{database}/gridfs/{identity}", size)

    def _list(self, place: str) -> list[Any]:
        data = self._get(place, MAX_ANSWER)
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            raise Invalid(f"{self._at(place)} answers no JSON: {data[:60]!r}") from None
        if not isinstance(found, list):
            raise Invalid(f"{self._at(place)} answers no list: {data[:60]!r}")
        return found

    def _get(self, place: str, most: int) -> bytes:
        url = self._at(place)
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPErrorProcessor,
            urllib.request.HTTPDefaultErrorHandler,
        ):
            opener.add_handler(handler())
        try:
            with opener.open(url, timeout=self.timeout_s) as answer:
                # With a length, read() alone tells that the answer was cut short.
                length = answer.headers.get("Content-Length", "")
                is_known = length.isdecimal() and int(length) <= most
                data = bytes(answer.read() if is_known else answer.read(most + 1))
        except urllib.error.HTTPError as error:
            with error:
                raise Invalid(f"{url} answers {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise NotFound(
                f"{url} cannot be read ({reason}); name the service: --url, or LCLS_CALIB_HTTP"
            ) from None
        if len(data) > most:
            raise Invalid(f"{url} answers more than the {most} bytes that it should")
        return data

    def _at(self, place: str) -> str:
        return f"{self.url.rstrip('/')}/calib_ws/{place}"


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
