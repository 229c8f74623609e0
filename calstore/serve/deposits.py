"""psana2's calibration service: what its deploying tools send becomes versions of a sandbox.

The requests are those of psana/pscalib/calib/MDBWebUtils.py (psana 4.3.4): a payload, then its
document, into the experiment's database, and both again into the detector's own.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from calstore.errors import CalstoreError, Invalid, NotFound
from calstore.model.documents import Document
from calstore.model.psana2 import parse_long_name
from calstore.repository.deposit import Place, deposit, withdraw
from calstore.repository.documents import Deposit, put_content
from calstore.serve.guard import FACTS
from calstore.serve.psana2 import NAMES, PREFIXES

if TYPE_CHECKING:
    from starlette.requests import Request

    from calstore.model.records import Stamp
    from calstore.repository.psana2 import Served
    from calstore.repository.version import Version
    from calstore.serve.catalogue import Catalogue

MAX_WAITING: Final = 2 * 1024**3
"""Bytes of payloads whose document has not come yet; the oldest are forgotten beyond."""

MAX_DOCUMENT: Final = 1024 * 1024
_log = logging.getLogger("calstore.serve")


class Deposits:
    """The routes by which psana2's tools write.

    Parameters
    ----------
    sandboxes
        Experiment → the ref that what is deposited for it goes to.
    stamp
        Who serves, when, and why.
    """

    def __init__(
        self, catalogue: Catalogue, sandboxes: Mapping[str, str], stamp: Callable[[str], Stamp]
    ) -> None:
        self.catalogue = catalogue
        self.sandboxes = sandboxes
        self._stamp = stamp
        self._waiting: OrderedDict[str, bytes] = OrderedDict()
        self._accepted: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """All of them, under the prefixes that clients use."""
        found = []
        for prefix in PREFIXES:
            for path, method, answer in (
                ("/{database}/gridfs/", "POST", self.add_payload),
                ("/{database}/{collection}/", "POST", self.add_document),
                ("/{database}/{collection}/{identity}", "PUT", self.replace_document),
                ("/{database}/gridfs/{identity}", "DELETE", self.keep_payload),
                ("/{database}", "DELETE", self.delete),
                ("/{database}/{collection}", "DELETE", self.delete),
                ("/{database}/{collection}/{identity}", "DELETE", self.delete),
            ):
                found.append(Route(prefix + path, answer, methods=[method]))
        return found

    async def add_payload(self, request: Request) -> Response:
        """Keep a payload until its document comes."""
        data = await request.body()
        identity = _new_id()
        if request.path_params["database"].removeprefix("cdb_") in self.sandboxes:
            with self._lock:
                self._waiting[identity] = data
                while sum(map(len, self._waiting.values())) > MAX_WAITING:
                    self._waiting.popitem(last=False)
        return JSONResponse({"_id": identity})

    async def add_document(self, request: Request) -> Response:
        """Make a version of a document and its payload, or register a short name."""
        return await self._answered(request, self._add)

    async def replace_document(self, request: Request) -> Response:
        """Make a version in which a constant has another document, or another place."""
        return await self._answered(request, self._replace)

    async def delete(self, request: Request) -> Response:
        """Make a version without a constant, a detector, or anything."""
        return await self._answered(request, self._delete)

    async def keep_payload(self, request: Request) -> Response:
        """Do nothing: the versions before have the payload still."""
        return JSONResponse({"_id": request.path_params["identity"]})

    async def _answered(
        self, request: Request, act: Callable[[Mapping[str, str], Any], str]
    ) -> Response:
        body = await request.body()
        if len(body) > MAX_DOCUMENT:
            return JSONResponse({"error": "a document of more than 1 MB"}, 413)
        try:
            fields = json.loads(body) if body else {}
            identity = await run_in_threadpool(act, request.path_params, fields)
        except (ValueError, RecursionError) as error:
            return JSONResponse({"error": f"no JSON ({error})"}, 400)
        except CalstoreError as error:
            _log.warning("refused: %s", error)
            request.scope[FACTS].append("refused")
            status = 404 if isinstance(error, NotFound) else 400
            return JSONResponse({"error": str(error)}, status)
        return JSONResponse({"_id": identity})

    def _add(self, path: Mapping[str, str], fields: Any) -> str:
        database, collection = path["database"], path["collection"]
        if database == NAMES:
            return self._name(fields)
        experiment = database.removeprefix("cdb_")
        if experiment not in self.sandboxes:
            return self._copy(database, fields)
        document = self._document(collection, fields, _new_id())
        with self._lock:
            payload = self._waiting.pop(document.id_data, None)
        if payload is None:
            raise NotFound(f"the payload {document.id_data} did not come before its document")
        content = put_content(self.catalogue.store, document, payload)
        return self._commit(experiment, Deposit(database, document, content), ())

    def _replace(self, path: Mapping[str, str], fields: Any) -> str:
        experiment = self._written(path["database"])
        before = self._told(path["identity"])
        document = self._document(path["collection"], fields, path["identity"])
        with self._lock:
            payload = self._waiting.pop(document.id_data, None)
        if payload is not None:
            content = put_content(self.catalogue.store, document, payload)
        elif document.id_data == before.id_data:
            content = before.constant.constant.content
        else:
            raise NotFound(f"the payload {document.id_data} did not come before its document")
        made = Deposit(path["database"], document, content)
        return self._commit(experiment, made, (_place(before),))

    def _delete(self, path: Mapping[str, str], fields: Any) -> str:
        del fields
        database = path["database"]
        if database.removeprefix("cdb_") not in self.sandboxes and database != NAMES:
            return ""  # the detectors' own databases are empty, whatever was sent to them
        experiment = self._written(database)
        short, identity = path.get("collection"), path.get("identity")
        if identity is not None:
            place = _place(self._told(identity))
            self._withdraw(experiment, lambda version: [place], f"deleted {_named(place)}")
            return identity
        long = None if short is None else self.catalogue.long_name(short)
        if short is not None and long is None:
            raise NotFound(f"nobody was told the short name {short}")
        whose = experiment if long is None else long
        self._withdraw(
            experiment, lambda version: _places(version, long), f"deleted all of {whose}"
        )
        return ""

    def _name(self, fields: Any) -> str:
        long, short = (
            fields.get(key) if isinstance(fields, dict) else None for key in ("long", "short")
        )
        if not isinstance(long, str) or not isinstance(short, str):
            raise Invalid("a name's document has a long and a short name")
        self.catalogue.register(long, short)
        return _new_id()

    def _copy(self, database: str, fields: Any) -> str:
        """The second document of a deposit, for the detector's own database; one is enough."""
        of = fields.get("id_doc_exp") if isinstance(fields, dict) else None
        with self._lock:
            is_known = of in self._accepted
        if not is_known:
            raise Invalid(
                f"{database} is of no experiment that is written to here; these are "
                f"{', '.join(self.sandboxes)}"
            )
        return _new_id()

    def _document(self, collection: str, fields: Any, identity: str) -> Document:
        long = self.catalogue.long_name(collection) or ""
        given = {**fields, "_id": identity} if isinstance(fields, dict) else fields
        return Document.parsed(given, long)

    def _commit(self, experiment: str, made: Deposit, instead_of: tuple[Place, ...]) -> str:
        document = made.document
        by = document.told("uid") or "somebody"
        name = document.told("detname") or document.panels[0]
        what = f"{name} {document.type_name} {document.runs}, deposited by {by}"
        stamp = self._stamp(document.told("comment")[:1000])
        store, ref = self.catalogue.store, self.sandboxes[experiment]
        moved = deposit(store, ref, [made], what[:900], stamp, instead_of=instead_of)
        self.catalogue.forget_begun(experiment)
        _log.info("%s: %s", moved.record.name, what)
        with self._lock:
            self._accepted[document.identity] = None
            if len(self._accepted) > 10_000:
                self._accepted.popitem(last=False)
        self.catalogue.short_name(document.long)
        self.catalogue.tell_of(experiment, document)
        return document.identity

    def _withdraw(
        self, experiment: str, places: Callable[[Version], list[Place]], what: str
    ) -> None:
        moved = withdraw(
            self.catalogue.store, self.sandboxes[experiment], places, what[:900], self._stamp("")
        )
        self.catalogue.forget_begun(experiment)
        _log.info("%s: %s", moved.record.name, what)

    def _written(self, database: str) -> str:
        experiment = database.removeprefix("cdb_")
        if experiment not in self.sandboxes:
            raise Invalid(f"{database} cannot be changed here; {', '.join(self.sandboxes)} can")
        return experiment

    def _told(self, identity: str) -> Served:
        served = self.catalogue.told(identity)
        if served is None:
            raise NotFound(f"nobody was told of the document {identity}; list them first")
        return served


def _place(served: Served) -> Place:
    constant = served.constant
    return (constant.detector.group, constant.detector.source), constant.type_name, constant.runs


def _named(place: Place) -> str:
    (_, source), type_name, runs = place
    return f"{source} {type_name} {runs}"


def _places(version: Version, long: str | None) -> list[Place]:
    """All constants for these panels, or all that psana2 knows."""
    kind, serials = ("", ()) if long is None else parse_long_name(long)
    return [
        (key, type_name, runs)
        for key in version.detectors
        if "::" not in key[0] and kind in ("", key[0])
        for type_name, by_range in version.detector(key).manifest.constants.items()
        for runs, constant in by_range.items()
        if long is None or constant.serials == serials
    ]


def _new_id() -> str:
    return f"{int(time.time()):08x}{secrets.token_hex(8)}"
