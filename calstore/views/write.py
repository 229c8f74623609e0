"""Views on disk: a new directory, or the update of one that is there."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from calstore.errors import Conflict, Invalid
from calstore.model.digest import Buffer, Digest, xxh128
from calstore.store.budget import Budget
from calstore.views.plan import Content
from calstore.views.receipt import JOURNAL, NAME, Receipt, Written
from calstore.views.remarks import ViewRemark
from calstore.views.tree import TEMPORARY, Tree

_WORKERS = 4  # two render while two wait for the disk
_IN_HAND = 192 * 2**20  # bytes that they hold together, unless one file takes more

Render: TypeAlias = Callable[[Content], Sequence[Buffer]]
"""The bytes of a content, in parts."""


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file as it was put in place: the digest and size of its bytes, and when."""

    digest: Digest
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, parts: Sequence[Buffer], digest: Digest, found: os.stat_result) -> OnDisk:
        """A file that holds just these bytes."""
        size = sum(memoryview(part).nbytes for part in parts)
        return cls(digest, size, found.st_mtime_ns)


Put: TypeAlias = Callable[[str, Sequence[Buffer], Digest], OnDisk]
"""Puts the bytes of that digest at a path."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a directory shall hold.

    Parameters
    ----------
    receipt
        The version that it is made from, as its only part, and the links; its files are filled
        in when they are written.
    plan
        The files, by path; asked only when something has to be done.
    render
        The bytes of a content.
    discard
        Whether what somebody changed gives way.
    progress
        Called with the number of files done and the number of all.
    """

    receipt: Receipt
    plan: Callable[[], Mapping[str, Content]]
    render: Render
    discard: bool = False
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a view: paths written, removed, and left as they were.

    Parameters
    ----------
    strangers
        Constants that others put beside those of the version, so that psana may choose them.
    remarks
        What readers will not do with what was written.
    """

    written: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    strangers: tuple[str, ...] = ()
    remarks: tuple[ViewRemark, ...] = ()


def build(dest: Path, job: Job) -> Change:
    """Make a new directory beside its place, and rename it: nobody sees a part of it.

    Raises
    ------
    Conflict
        When something came into being there meanwhile.
    """
    planned = planned_files(job)
    beside = dest.parent / f".{dest.name}{TEMPORARY}{secrets.token_hex(6)}"
    try:
        try:
            dest.parent.mkdir(parents=True, exist_ok=True)
            beside.mkdir()
        except OSError as error:
            raise Invalid(f"cannot make {dest} ({error.strerror}); choose another") from error
        with Tree(beside) as tree:
            files = write_all(
                job,
                planned,
                lambda path, parts, digest: OnDisk.of(parts, digest, tree.write(path, *parts)),
            )
            for path, target in job.receipt.links.items():
                tree.link(path, target)
            tree.write(NAME, replace(job.receipt, files=files).rendered())
            tree.sync({*planned, *job.receipt.links, NAME})
        try:
            beside.rename(dest)
        except OSError as error:
            raise Conflict(f"{dest} came into being meanwhile; look at it, run again") from error
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    with contextlib.suppress(Invalid), Tree(dest.parent) as parent:
        parent.sync({dest.name})
    return Change(tuple(planned), (), 0)


def planned_files(job: Job) -> Mapping[str, Content]:
    """The files of a job, none of which has a name that calstore keeps for itself."""
    planned = job.plan()
    for path in planned:
        first = path.split("/")[0]
        if first in (NAME, JOURNAL) or path.rsplit("/", 1)[-1].startswith(TEMPORARY):
            raise Invalid(f"the version has a file {path}, a name that calstore keeps for views")
    for link in job.receipt.links:
        if any(path == link or path.startswith(f"{link}/") for path in planned):
            raise Invalid(
                f"the version has files below {link}, where AMI needs a link to another folder; "
                "take them out of the directory that they came from, and import it again"
            )
    return planned


def write_all(
    job: Job,
    contents: Mapping[str, Content],
    put: Put,
) -> dict[str, Written]:
    """Render the contents and put each in place, several at a time; path → what was written."""
    budget = Budget(max(_IN_HAND, *(content.size for content in contents.values()), 0))

    def write(path: str) -> Written:
        content = contents[path]
        with budget.of(content.size):
            try:
                parts = job.render(content)
            except Invalid as error:
                raise Invalid(f"{path} cannot be made: {error}") from error
            there = put(path, parts, xxh128(*parts))
        return Written(content.key, there.digest.hex, there.size, there.mtime_ns)

    files = {}
    job.progress(0, len(contents))
    with _stopping_pool() as pool:
        for path, written in zip(contents, pool.map(write, contents), strict=True):
            files[path] = written
            job.progress(len(files), len(contents))
    return files


@contextlib.contextmanager
def _stopping_pool() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
