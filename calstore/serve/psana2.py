"""psana2's calibration service, as psana 4.3.4 asks for it: what it reads.

The forms are those of psana/pscalib/calib/MDBWebUtils.py. What is not known is answered with an
empty list: an error would make the client drop what it has.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from calstore.errors import CalstoreError, Corrupt
from calstore.model.detectors import signal_mask
from calstore.model.psana2 import MAX_RUN, parse_long_name
from calstore.repository.psana2 import long_names, withheld
from calstore.serve.guard import FACTS
from calstore.serve.payloads import BytesResponse, Payloads
from calstore.serve.query import Query, asked_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from calstore.repository.psana2 import Served
    from calstore.repository.version import Version
    from calstore.serve.catalogue import Catalogue
    from calstore.serve.use_book import UseBook

PREFIXES: Final = ("/ws/calib_ws", "/ws-jwt/calib_ws", "/ws-kerb/calib_ws")
NAMES: Final = "cdb_detnames"

_log = logging.getLogger("calstore.serve")


class Psana2:
    """The routes of the protocol over a catalogue, for those who read.

    Parameters
    ----------
    book
        Where it is kept who was given what.
    lists_names
        Whether a query for all names is answered, by their numbers: a tool that registers a name
        takes the next one.
    """

    def __init__(self, catalogue: Catalogue, book: UseBook, *, lists_names: bool = False) -> None:
        self.catalogue = catalogue
        self.book = book
        self.lists_names = lists_names
        self.payloads = Payloads()

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
        return JSONResponse([NAMES, *(f"cdb_{name}" for name in self.catalogue.experiments)])

    async def collections(self, request: Request) -> Response:
        """The short names of the detectors of an experiment."""
        database = request.path_params["database"]
        return JSONResponse(await run_in_threadpool(self._collections, database))

    async def documents(self, request: Request) -> Response:
        """What a query finds in a collection: a detector's names, or its constants of a run."""
        database, collection = (request.path_params[key] for key in ("database", "collection"))
        asked = await asked_of(request)
        if asked is None:
            return JSONResponse([])
        found = await run_in_threadpool(self._find, database, collection, asked, _host(request))
        documents, facts = found
        request.scope[FACTS].extend(facts)
        return JSONResponse(documents)

    async def document(self, request: Request) -> Response:
        """One document by its id; clients that take the newest of a list ask for it."""
        served = self.catalogue.told(request.path_params["identity"])
        if served is None:
            return JSONResponse([])
        return JSONResponse(served.document(request.path_params["collection"]))

    async def payload(self, request: Request) -> Response:
        """The bytes of an array or a text."""
        served = self.catalogue.told(request.path_params["identity"])
        if served is None:
            return Response(b"", status_code=404)
        request.scope[FACTS].append(f"{served.constant} {served.constant.digest}")
        self.book.goes_on(_host(request))
        try:
            data = await run_in_threadpool(self.payloads.get, served)
        except Corrupt as error:
            _log.error("%s", error)
            return Response(str(error), status_code=500)
        return BytesResponse([data], {"ETag": f'"{served.id_data}"'})

    def _collections(self, database: str) -> list[str]:
        experiment = database.removeprefix("cdb_")
        if experiment not in self.catalogue.experiments:
            return []
        longs = long_names(self.catalogue.newest(experiment))
        return [self.catalogue.short_name(long) for long in longs]

    def _find(
        self, database: str, collection: str, asked: dict[str, Any], client: str
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The documents, and what the log is to say of them."""
        try:
            if database == NAMES:
                return self._names(collection, asked, client), []
            return self._constants(database.removeprefix("cdb_"), collection, asked, client)
        except CalstoreError as error:
            _log.warning("%s/%s: %s", *(ascii(name) for name in (database, collection)), error)
            long = self.catalogue.long_name(collection)
            if long is not None:
                self.book.missing(client, long)
            return [], []

    def _names(self, kind: str, asked: dict[str, Any], client: str) -> list[dict[str, Any]]:
        """Exactly one document for a long or short name; all of a kind only where it is safe."""
        long, short = asked.get("long"), asked.get("short")
        if not asked and self.lists_names:
            # Without the long names, among which a client would look for parts of its own.
            known = [self._name(each) for each in self.catalogue.names_of(kind)]
            return [{"seqnumber": each["seqnumber"], "short": each["short"]} for each in known]
        if isinstance(short, str):
            long = self.catalogue.long_name(short)
        if not isinstance(long, str):
            return []
        if not self.catalogue.knows(long):
            if signal_mask(kind) is not None and parse_long_name(long)[0] == kind:
                _log.warning("no version has constants for the panels of %.200r", long)
                self.book.missing(client, long)
            return []
        return [self._name(long)]

    def _name(self, long: str) -> dict[str, Any]:
        short = self.catalogue.short_name(long)
        return {"long": long, "seqnumber": int(short.rpartition("_")[2]), "short": short}

    def _constants(
        self, experiment: str, short: str, asked: dict[str, Any], client: str
    ) -> tuple[list[dict[str, Any]], list[str]]:
        query = Query.parsed(asked)
        if query is None or experiment not in self.catalogue.experiments:
            return [], []  # the detector's own database is empty: nothing falls back to it
        if query.run is None:
            return _matching(self.catalogue.everything(experiment, short), short, query), []
        documents: list[dict[str, Any]] = []
        facts = []
        # Run 0 is asked for as all runs up to 9999, and then chosen as 0.
        for run in (0, MAX_RUN) if query.run == MAX_RUN else (query.run,):
            version, found = self.catalogue.constants(experiment, short, run, client)
            documents += _matching(found, short, query)
            facts.append(f"{version.name} {version.digest} run {run}")
            if run != MAX_RUN:
                self._note(client, experiment, short, run, version, found)
        return documents, facts

    def _note(
        self,
        client: str,
        experiment: str,
        short: str,
        run: int,
        version: Version,
        found: Sequence[Served],
    ) -> None:
        """Keep what was given, or that it was nothing."""
        given = [(each.constant.detector.source, each.constant.type_name) for each in found]
        if given:
            self.book.given(client, version, experiment, run, given)
            if names := withheld(found, run):
                _log.warning(
                    "%s: %s not given to the panels of %s, for which it is not",
                    version.name,
                    ", ".join(names),
                    found[0].long,
                )
        elif (long := self.catalogue.long_name(short)) is not None:
            _log.warning("%s has nothing for %s at run %d", version.name, long, run)
            self.book.missing(client, long)


def _host(request: Request) -> str:
    return request.client.host if request.client else "?"


def _matching(found: tuple[Served, ...], short: str, query: Query) -> list[dict[str, Any]]:
    documents = (served.document(short) for served in found)
    return [document for document in documents if query.holds(document)]
