"""Views on disk: a new directory, or the update of one that is there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from calstore.errors import NO_ROOM, CalstoreError, Conflict, Invalid
from calstore.model.digest import Buffer, Digest, xxh128
from calstore.store.budget import Budget
from calstore.views.ledger import JOURNAL
from calstore.views.plan import Content
from calstore.views.receipt import NAME, Receipt, Written
from calstore.views.remarks import ViewRemark
from calstore.views.sharing import make_folder
from calstore.views.temporaries import TEMPORARY, unfinished_beside, unfinished_name
from calstore.views.tree import Tree

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
    with _unfinished(dest) as beside, Tree(beside) as tree:
        tree.lock()  # nobody takes it for a leftover
        files = write_all(
            job,
            planned,
            lambda path, parts, digest: OnDisk.of(parts, digest, tree.write(path, *parts)),
        )
        for path, target in job.receipt.links.items():
            tree.link(path, target)
        receipt = replace(job.receipt, files=files, folders=frozenset(tree.made))
        tree.write(NAME, receipt.rendered())
        tree.sync({*planned, *job.receipt.links, NAME})
        try:
            beside.rename(dest)
        except OSError as error:
            raise Conflict(f"{dest} came into being meanwhile; look at it, run again") from error
    with contextlib.suppress(Invalid), Tree(dest.parent) as parent:
        parent.sync({dest.name})
    return Change(tuple(planned), (), 0)


@contextlib.contextmanager
def _unfinished(dest: Path) -> Iterator[Path]:
    """A new folder beside DEST; gone after an error."""
    beside = unfinished_name(dest)
    try:
        try:
            dest.parent.mkdir(parents=True, exist_ok=True)
            make_folder(beside)
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno in NO_ROOM:
                raise Conflict(f"no room to make {dest} ({why}); make room, run again") from error
            raise Invalid(f"cannot make {dest} ({why}); choose another place") from error
        yield beside
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def drop_unfinished(dest: Path) -> None:
    """Remove new directories that killed runs left beside DEST; who builds one holds its lock."""
    for path in unfinished_beside(dest):
        if not path.is_symlink():
            with contextlib.suppress(CalstoreError), Tree(path) as tree:
                if tree.lock():
                    shutil.rmtree(path, ignore_errors=True)


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
