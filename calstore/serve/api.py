"""The JSON API: what the reading commands tell, and the constants themselves.

A version is named in a parameter of the query, since names of refs have slashes in them and people
type them as they are: ``/api/v1/show?version=xppn4116/main@7``. In a path it would have to be
written with ``%2F``, which servers and proxies decode, or not, as they like.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from calstore.errors import Corrupt, NotFound
from calstore.formats import npy
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Digest, xxh128
from calstore.model.runs import RunRange
from calstore.report.coverage import coverage_json
from calstore.report.diff import diff_json
from calstore.report.records import approvals_json, log_json, refs_json, uses_json
from calstore.report.runs import Wanted, marked_runs, runs_json
from calstore.report.show import constants_of, show_json
from calstore.repository.approvals import approval_finder, approval_of, approvals_of
from calstore.repository.coverage import answers, coverage
from calstore.repository.diff import diff
from calstore.repository.refs import log, refs
from calstore.repository.uses import uses_of
from calstore.serve.answers import Identity, bytes_answer, is_pinned, json_answer, not_modified
from calstore.serve.endpoint import Asked, Endpoint, Nothing
from calstore.serve.openapi import described
from calstore.serve.operations import NPY, OPERATIONS, PREFIX
from calstore.serve.shared import SharedArrays
from calstore.store import arrays, objects

if TYPE_CHECKING:
    import numpy as np
    from starlette.requests import Request
    from starlette.responses import Response

    from calstore.repository.store import Store


class Api:
    """The routes below ``/api/v1`` over a store; nothing can be changed by them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._shared = SharedArrays()

    def routes(self) -> list[Route]:
        """All of them, and what tells that there are no others."""
        answer: dict[str, Callable[[Request, Asked], Response]] = {
            "openapi": self.openapi,
            "refs": self.refs,
            "log": self.log,
            "show": self.show,
            "coverage": self.coverage,
            "diff": self.diff,
            "approvals": self.approvals,
            "uses": self.uses,
            "runs": self.runs,
            "constant": self.constant,
            "array": self.array,
            "panel": self.panel,
            "blob": self.blob,
        }
        found = [
            Route(f"{PREFIX}{each.path}", Endpoint(each, answer[each.name])) for each in OPERATIONS
        ]
        others = [Route(PREFIX, Nothing()), Route(f"{PREFIX}/{{rest:path}}", Nothing())]
        return [*found, *others]

    def openapi(self, request: Request, asked: Asked) -> Response:
        """The description of all this."""
        return json_answer(request, described())

    def refs(self, request: Request, asked: Asked) -> Response:
        """`calstore refs`."""
        from fnmatch import fnmatchcase

        approval = approval_finder(self.store)
        found = [
            (ref, None if ref.head.manifest is None else approval(ref.head.manifest.digest))
            for ref in refs(self.store, deleted=_is_true(asked, "deleted"))
            if fnmatchcase(ref.name.text, asked.get("pattern", "*"))
        ]
        return json_answer(request, refs_json(found))

    def log(self, request: Request, asked: Asked) -> Response:
        """`calstore log`."""
        approval = approval_finder(self.store)
        found = [
            (record, None if record.manifest is None else approval(record.manifest.digest))
            for record in islice(log(self.store, asked["ref"]), _number(asked, "limit"))
        ]
        return json_answer(request, log_json(found))

    def show(self, request: Request, asked: Asked) -> Response:
        """`calstore show`; even of a record not for ever, since it may be approved later."""
        version = self.store[asked["version"]]
        detector = asked.get("detector")
        found = constants_of(version, detector, asked.get("type"), _number(asked, "run"))
        approval = approval_of(self.store, version.digest)
        return json_answer(request, show_json(version, found, approval, whole=detector is None))

    def coverage(self, request: Request, asked: Asked) -> Response:
        """`calstore coverage`; not for ever, see `show`."""
        version, run = self.store[asked["version"]], _number(asked, "run")
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
        run = _number(asked, "run")
        document = diff_json(diff(before, after, run=run, **how), run)
        pinned = is_pinned(asked["before"], asked["after"])
        return json_answer(request, document, for_ever=pinned)

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

    def runs(self, request: Request, asked: Asked) -> Response:
        """`calstore runs list`."""
        wanted = Wanted(
            dark=_is_true(asked, "dark"),
            flawed=_is_true(asked, "flawed"),
            planned=_is_true(asked, "planned"),
            reason=asked.get("reason"),
            detector=asked.get("detector"),
            within=RunRange.parse(asked["runs"]) if "runs" in asked else None,
            history=_number(asked, "history"),
        )
        found = marked_runs(self.store, asked["experiment"], wanted)
        return json_answer(request, runs_json(found))

    def constant(self, request: Request, asked: Asked) -> Response:
        """What a run gets, as ``.npy`` or, where it is no array, as bytes."""
        version = self.store[asked["version"]]
        found = version[asked["detector"]].at(int(asked["run"]))[asked["type"]]
        identity = Identity(found.digest.hex, is_pinned(asked["version"]))
        known = not_modified(request, identity)
        if known is not None:
            return known
        if isinstance(found.constant.content, ArrayReference):
            return self._array_answer(request, identity, found.digest, lambda: found.array)
        return bytes_answer(request, [found.data], identity)

    def array(self, request: Request, asked: Asked) -> Response:
        """An array by its digest, as ``.npy``."""
        reference = self._reference(asked["digest"])
        identity = Identity(reference.digest.hex, for_ever=True)
        return not_modified(request, identity) or self._array_answer(
            request,
            identity,
            reference.digest,
            lambda: arrays.get(self.store.backend, reference),
        )

    def panel(self, request: Request, asked: Asked) -> Response:
        """One panel of an array, little-endian."""
        reference, number = self._reference(asked["digest"]), int(asked["number"])
        identity = Identity(f"{reference.digest.hex}-{number}", for_ever=True)
        data = arrays.get_panel(self.store.backend, reference, number)
        return not_modified(request, identity) or bytes_answer(request, [data], identity)

    def blob(self, request: Request, asked: Asked) -> Response:
        """Bytes by their digest."""
        digest = _digest(asked["digest"])
        key = objects.key_of(objects.BLOBS, digest)
        data = self.store.backend.get(key)
        if xxh128(data) != digest:
            where = self.store.backend.describe(key)
            raise Corrupt(f"{where} is damaged; restore it from a copy", key)
        identity = Identity(digest.hex, for_ever=True)
        return not_modified(request, identity) or bytes_answer(request, [data], identity)

    def _reference(self, text: str) -> ArrayReference:
        digest = _digest(text)
        reference = arrays.stored_reference(self.store.backend, digest)
        if reference is None:
            raise NotFound(f"no array {digest}")
        return reference

    def _array_answer(
        self,
        request: Request,
        identity: Identity,
        digest: Digest,
        read: Callable[[], np.ndarray[Any, np.dtype[Any]]],
    ) -> Response:
        parts = npy.render(self._shared.get(digest, read))
        return bytes_answer(request, parts, identity, NPY)


def _is_true(asked: Asked, name: str) -> bool:
    return asked.get(name) == "true"


def _number(asked: Asked, name: str) -> int | None:
    return int(asked[name]) if name in asked else None


def _digest(text: str) -> Digest:
    return Digest(bytes.fromhex(text.removeprefix("xxh128:")))
