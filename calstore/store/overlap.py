"""Many calls of a backend that is far away, several under way at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from calstore.store.backend import Backend

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def overlapped(
    backend: Backend, work: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """The results of some work on each item, in order; as ``map`` where nothing would be gained.

    Who stops early has caused little more than he took: what is under way doubles with each
    result, up to a few times `Backend.width`.
    """
    if backend.width == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[_Result]] = deque()
    ahead, most = 1, 4 * backend.width
    pool = ThreadPoolExecutor(backend.width)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
                ahead = min(2 * ahead, most)
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
