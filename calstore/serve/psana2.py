"""psana2's calibration service, as psana 4.3.4 asks for it; read-only.

The forms are those of psana/pscalib/calib/MDBWebUtils.py. What is not known is answered with an
empty list: an error would make the client drop what it has.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from calstore.errors import CalstoreError, Corrupt
from calstore.model.psana2 import MAX_RUN
from calstore.repository.psana2 import run_of_query

if TYPE_CHECKING:
    from starlette.requests import Request

    from calstore.serve.catalogue import Catalogue

PREFIXES: Final = ("/ws/calib_ws", "/ws-jwt/calib_ws", "/ws-kerb/calib_ws")
MAX_QUERY: Final = 64 * 1024

_NAMES: Final = "cdb_detnames"
_log = logging.getLogger("calstore.serve")


class Psana2:
    """The routes of the protocol over a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def routes(self) -> list[Route]:
        """All of them, under each of the prefixes that clients use."""
        found = []
        for prefix in PREFIXES:
            found += [
                Route(prefix + "/", self.databases),
                Route(prefix + "/{database}", self.collections),
                Route(prefix + "/{database}/gridfs/{identity}", self.payload),
                Route(prefix + "/{database}/{collection}", self.documents),
                Route(prefix + "/{database}/{collection}/{identity}", self.document),
            ]
        return found

    async def databases(self, request: Request) -> Response:
        """The names of all databases."""
        del request
        return JSONResponse([_NAMES, *(f"cdb_{name}" for name in self.catalogue.experiments)])

    async def collections(self, request: Request) -> Response:
        """The short names of the detectors of an experiment."""
        name = request.path_params["database"].removeprefix("cdb_")
        if name not in self.catalogue.experiments:
            return JSONResponse([])
        from calstore.repository.psana2 import long_names

        longs = await run_in_threadpool(long_names, self.catalogue.experiments[name])
        return JSONResponse([self.catalogue.short_name(long) for long in longs])

    async def documents(self, request: Request) -> Response:
        """What a query finds in a collection: a detector's names, or its constants of a run."""
        database, collection = (request.path_params[key] for key in ("database", "collection"))
        query = await _query(request)
        if query is None:
            return JSONResponse([])
        client = request.client.host if request.client else ""
        found = await run_in_threadpool(self._find, database, collection, query, client)
        return JSONResponse(found)

    async def document(self, request: Request) -> Response:
        """One document by its id; clients that take the newest of a list ask for it."""
        served = self.catalogue.document(request.path_params["identity"])
        if served is None:
            return JSONResponse([])
        return JSONResponse(served.document(request.path_params["collection"]))

    async def payload(self, request: Request) -> Response:
        """The bytes of an array or a text."""
        served = self.catalogue.payload(request.path_params["identity"])
        if served is None:
            return Response(b"", status_code=404)
        try:
            data = await run_in_threadpool(served.payload)
        except Corrupt as error:
            _log.error("%s", error)
            return Response(str(error), status_code=500)
        headers = {"ETag": f'"{served.constant.digest.hex}"'}
        return Response(data, media_type="application/octet-stream", headers=headers)

    def _find(
        self, database: str, collection: str, query: dict[str, Any], client: str
    ) -> list[dict[str, Any]]:
        try:
            if database == _NAMES:
                return self._names(query)
            return self._constants(database.removeprefix("cdb_"), collection, query, client)
        except CalstoreError as error:
            _log.warning("%s/%s: %s", database, collection, error)
            return []

    def _names(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Exactly one document for a long or short name; none for a query for all.

        The client would look for parts of the name in a list of all, and take another's panels.
        """
        long, short = query.get("long"), query.get("short")
        if isinstance(short, str):
            long = self.catalogue.long_name(short)
        if not isinstance(long, str):
            return []
        if not self.catalogue.knows(long):
            _log.warning("no version has constants for the panels of %s", long)
            return []
        return [{"long": long, "short": self.catalogue.short_name(long)}]

    def _constants(
        self, experiment: str, short: str, query: dict[str, Any], client: str
    ) -> list[dict[str, Any]]:
        run = run_of_query(query)
        if run is None or run > MAX_RUN or experiment not in self.catalogue.experiments:
            return []  # the detector's own database is empty, so that nothing falls back to it
        wanted = query.get("ctype")
        documents = []
        # Run 0 is asked for as all runs up to 9999, and then chosen as 0.
        for each in (0, run) if run == MAX_RUN else (run,):
            version, found = self.catalogue.constants(experiment, short, each, client)
            documents += [
                served.document(short)
                for served in found
                if wanted in (None, served.constant.type_name)
            ]
            told = [served.constant.type_name for served in found]
            _log.info("%s %s run %d of %s: %s", client, short, each, version.name, " ".join(told))
        return documents


async def _query(request: Request) -> dict[str, Any] | None:
    """The query of a request, as a parameter or as its body; ``None`` for what is none."""
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
        query = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return query if isinstance(query, dict) else None
