"""The JSON API: what the reading commands tell, and the constants themselves.

A version is named in a parameter of the query, since names of refs have slashes in them and people
type them as they are: ``/api/v1/show?version=xppn4116/main@7``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from calstore.errors import CalstoreError, Conflict, Corrupt, Invalid, NotFound
from calstore.formats import npy
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Digest, xxh128
from calstore.report.coverage import coverage_json
from calstore.report.diff import diff_json
from calstore.report.records import approvals_json, log_json, refs_json, uses_json
from calstore.report.show import constants_of, show_json
from calstore.repository.approvals import approval_finder, approval_of, approvals_of
from calstore.repository.coverage import answers, coverage
from calstore.repository.diff import diff
from calstore.repository.refs import log, refs
from calstore.repository.uses import uses_of
from calstore.serve.answers import (
    ASK_AGAIN,
    FOR_EVER,
    bytes_answer,
    etag_of,
    is_known,
    json_answer,
    not_modified,
)
from calstore.serve.openapi import OPERATIONS, PREFIX, described
from calstore.store import arrays, objects

if TYPE_CHECKING:
    from starlette.requests import Request

    from calstore.repository.store import Store
    from calstore.repository.version import CalibrationConstant

_NPY: Final = "application/x-npy"
_STATUSES: Final = ((NotFound, 404), (Conflict, 409), (Invalid, 400))
_log = logging.getLogger("calstore.serve")

Asked = Mapping[str, str]
"""Parameters of a request, each checked against its pattern."""


class Api:
    """The routes below ``/api/v1`` over a store; nothing can be changed by them."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def routes(self) -> list[Route]:
        """All of them."""
        answer: dict[str, Callable[[Request, Asked], Response]] = {
            "refs": self.refs,
            "log": self.log,
            "show": self.show,
            "coverage": self.coverage,
            "diff": self.diff,
            "approvals": self.approvals,
            "uses": self.uses,
            "constant": self.constant,
            "array": self.array,
            "panel": self.panel,
            "blob": self.blob,
        }
        found = [
            Route(f"{PREFIX}{each.path}", _endpoint(each.name, answer[each.name]))
            for each in OPERATIONS
        ]
        return [Route(f"{PREFIX}/openapi.json", self.openapi), *found]

    async def openapi(self, request: Request) -> Response:
        """The description of all this."""
        return json_answer(request, described())

    def refs(self, request: Request, asked: Asked) -> Response:
        """`calstore refs`."""
        from fnmatch import fnmatchcase

        approval = approval_finder(self.store)
        found = [
            (ref, None if ref.head.manifest is None else approval(ref.head.manifest.digest))
            for ref in refs(self.store, deleted=asked.get("deleted") == "true")
            if fnmatchcase(ref.name.text, asked.get("pattern", "*"))
        ]
        return json_answer(request, refs_json(found))

    def log(self, request: Request, asked: Asked) -> Response:
        """`calstore log`."""
        approval = approval_finder(self.store)
        most = int(asked["limit"]) if "limit" in asked else None
        found = [
            (record, None if record.manifest is None else approval(record.manifest.digest))
            for record in islice(log(self.store, asked["ref"]), most)
        ]
        return json_answer(request, log_json(found))

    def show(self, request: Request, asked: Asked) -> Response:
        """`calstore show`."""
        version = self.store[asked["version"]]
        detector = asked.get("detector")
        found = constants_of(version, detector, asked.get("type"), _run(asked))
        approval = approval_of(self.store, version.digest)
        return json_answer(request, show_json(version, found, approval, whole=detector is None))

    def coverage(self, request: Request, asked: Asked) -> Response:
        """`calstore coverage`."""
        version, run = self.store[asked["version"]], _run(asked)
        found = coverage(version, asked.get("detector"))
        told = (
            {}
            if run is None
            else {each.detector: list(answers(version, each, run)) for each in found}
        )
        approval = approval_of(self.store, version.digest)
        return json_answer(request, coverage_json(version, approval, run, found, told))

    def diff(self, request: Request, asked: Asked) -> Response:
        """`calstore diff` of two versions."""
        before, after = self.store[asked["before"]], self.store[asked["after"]]
        how = {"detector": asked.get("detector"), "type_name": asked.get("type")}
        found = diff(before, after, run=_run(asked), **how)
        return json_answer(request, diff_json(found, _run(asked)))

    def approvals(self, request: Request, asked: Asked) -> Response:
        """All words about a set, the newest first."""
        version = self.store[asked["version"]]
        found = approvals_of(self.store, version.digest)
        return json_answer(request, approvals_json(version.digest, found))

    def uses(self, request: Request, asked: Asked) -> Response:
        """`calstore used`."""
        experiment, run = asked["experiment"], int(asked["run"])
        found = uses_of(self.store, experiment, run)
        return json_answer(request, uses_json(experiment, run, found))

    def constant(self, request: Request, asked: Asked) -> Response:
        """What a run gets, as ``.npy`` or, where it is no array, as bytes."""
        version = self.store[asked["version"]]
        found = version[asked["detector"]].at(int(asked["run"]))[asked["type"]]
        if is_known(request, etag_of(found.digest.hex)):
            return not_modified(found.digest.hex, ASK_AGAIN)
        if isinstance(found.constant.content, ArrayReference):
            return _array_answer(request, found.constant.content, found, ASK_AGAIN)
        return bytes_answer(request, [found.data], found.digest.hex, ASK_AGAIN)

    def array(self, request: Request, asked: Asked) -> Response:
        """An array by its digest, as ``.npy``."""
        reference = self._reference(asked["digest"])
        if is_known(request, etag_of(reference.digest.hex)):
            return not_modified(reference.digest.hex, FOR_EVER)
        parts = npy.render(arrays.get(self.store.backend, reference))
        return bytes_answer(request, parts, reference.digest.hex, FOR_EVER, _NPY)

    def panel(self, request: Request, asked: Asked) -> Response:
        """One panel of an array, little-endian."""
        reference = self._reference(asked["digest"])
        number = int(asked["number"])
        digest = f"{reference.digest.hex}-{number}"
        data = arrays.get_panel(self.store.backend, reference, number)
        if is_known(request, etag_of(digest)):
            return not_modified(digest, FOR_EVER)
        return bytes_answer(request, [data], digest, FOR_EVER)

    def blob(self, request: Request, asked: Asked) -> Response:
        """Bytes by their digest."""
        digest = _digest(asked["digest"])
        key = objects.key_of(objects.BLOBS, digest)
        data = self.store.backend.get(key)
        if xxh128(data) != digest:
            where = self.store.backend.describe(key)
            raise Corrupt(f"{where} is damaged; restore it from a copy", key)
        if is_known(request, etag_of(digest.hex)):
            return not_modified(digest.hex, FOR_EVER)
        return bytes_answer(request, [data], digest.hex, FOR_EVER)

    def _reference(self, text: str) -> ArrayReference:
        digest = _digest(text)
        reference = arrays.stored_reference(self.store.backend, digest)
        if reference is None:
            raise NotFound(f"no array {digest}")
        return reference


def _array_answer(
    request: Request, reference: ArrayReference, constant: CalibrationConstant, cache: str
) -> Response:
    parts = npy.render(constant.array)
    return bytes_answer(request, parts, reference.digest.hex, cache, _NPY)


def _endpoint(
    name: str, answer: Callable[[Request, Asked], Response]
) -> Callable[[Request], Awaitable[Response]]:
    """The answer in a thread of its own, with checked parameters, and errors as JSON."""
    (operation,) = (each for each in OPERATIONS if each.name == name)

    async def endpoint(request: Request) -> Response:
        try:
            asked = operation.checked(request.path_params, request.query_params.multi_items())
            return await run_in_threadpool(answer, request, asked)
        except CalstoreError as error:
            status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 500)
            if status == 500:
                _log.error("%s", error)
            told = {"error": type(error).__name__, "message": str(error)}
            return JSONResponse(told, status)

    endpoint.__name__ = name
    return endpoint


def _run(asked: Asked) -> int | None:
    return int(asked["run"]) if "run" in asked else None


def _digest(text: str) -> Digest:
    return Digest(bytes.fromhex(text.removeprefix("xxh128:")))
