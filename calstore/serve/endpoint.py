"""One operation of the JSON API as an application: checked, answered in a thread, errors told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from calstore.errors import CalstoreError, Conflict, Invalid, NotFound
from calstore.serve.answers import problem
from calstore.serve.operations import PREFIX, Operation

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

Asked = Mapping[str, str]
"""Parameters of a request, each checked against its pattern."""

_STATUSES: Final = ((NotFound, 404), (Conflict, 409), (Invalid, 400))
_READING: Final = ("GET", "HEAD")
_log = logging.getLogger("calstore.serve")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation, and what answers it; as no function, it is asked with any method."""

    operation: Operation
    answer: Callable[[Request, Asked], Response]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope)
        answer = _refused(request) or await self._answered(request)
        await answer(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        try:
            path, query = request.path_params, request.query_params.multi_items()
            asked = self.operation.checked(path, query)
            return await run_in_threadpool(self.answer, request, asked)
        except CalstoreError as error:
            status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 500)
            if status == 500:
                _log.error("%s", error)
            return problem(status, type(error).__name__, str(error))


class Nothing:
    """What there is at any other path below the prefix."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say that there is nothing, and where to look."""
        request = Request(scope)
        path = request.url.path
        told = f"there is no {path!r:.80}; {PREFIX}/openapi.json lists what there is"
        answer = _refused(request) or problem(404, "NotFound", told)
        await answer(scope, receive, send)


def _refused(request: Request) -> Response | None:
    if request.method in _READING:
        return None
    told = f"{request.method:.20} is not answered here; nothing can be changed: GET or HEAD"
    answer = problem(405, "Invalid", told)
    answer.headers["Allow"] = ", ".join(_READING)
    return answer
