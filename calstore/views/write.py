"""Views on disk: a new directory, or the update of one that calstore made."""

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
from calstore.model.digest import Buffer, xxh128
from calstore.store.budget import Budget
from calstore.views.plan import Content
from calstore.views.receipt import (
    JOURNAL,
    NAME,
    Receipt,
    Written,
    journal_line,
    parse,
    parse_journal,
)
from calstore.views.tree import TEMPORARY, Tree, is_file

_WORKERS = 4  # two render while two wait for the disk
_IN_HAND = 192 * 2**20  # bytes that they hold together, unless one file takes more


Render: TypeAlias = Callable[[Content], Sequence[Buffer]]
"""The bytes of a content, in parts."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an update did to a view: paths written, removed, and left as they were."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int


def write_view(
    dest: Path,
    planned: Mapping[str, Content],
    receipt: Receipt,
    render: Render,
    progress: Callable[[int, int], None],
) -> Change:
    """Make ``dest`` hold the planned files.

    Parameters
    ----------
    dest
        A directory that does not exist, is empty, or was made by calstore. A new one is built
        beside its place and renamed, so nobody sees a part of it.
    receipt
        Says which version this is; its files are filled in here.
    render
        The bytes of a content.
    progress
        Called with the number of files done and the number of all.

    Raises
    ------
    Conflict
        When calstore did not make ``dest``, or somebody changed a file in it. Nothing was
        touched then.
    """
    _refuse_reserved(planned)
    if os.path.lexists(dest) and not (dest.is_dir() and not any(dest.iterdir())):
        return _update(dest, planned, receipt, render, progress)
    return _build(dest, planned, receipt, render, progress)


def _refuse_reserved(planned: Mapping[str, Content]) -> None:
    for path in planned:
        first = path.split("/")[0]
        if first in (NAME, JOURNAL) or path.rsplit("/", 1)[-1].startswith(TEMPORARY):
            raise Invalid(f"the version has a file {path}, a name that calstore keeps for views")


def _build(
    dest: Path,
    planned: Mapping[str, Content],
    receipt: Receipt,
    render: Render,
    progress: Callable[[int, int], None],
) -> Change:
    beside = dest.parent / f".{dest.name}{TEMPORARY}{secrets.token_hex(6)}"
    try:
        try:
            dest.parent.mkdir(parents=True, exist_ok=True)
            beside.mkdir()
        except OSError as error:
            raise Invalid(f"cannot make {dest} ({error.strerror}); choose another") from error
        with Tree(beside) as tree:
            files = _write_all(tree, planned, render, progress, journal=False)
            tree.write(NAME, replace(receipt, files=files).rendered())
            tree.sync(set(planned) | {NAME})
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


def _update(
    dest: Path,
    planned: Mapping[str, Content],
    receipt: Receipt,
    render: Render,
    progress: Callable[[int, int], None],
) -> Change:
    with Tree(dest) as tree:
        before = _receipt_in(tree, dest)
        current = {
            path: written
            for path, written in before.files.items()
            if is_file(found := tree.stat(path)) and found and written.untouched(found)
        }
        noted = parse_journal(tree.read(JOURNAL) or b"")
        _refuse_changed(tree, dest, before, current, planned, render, noted)
        keep = {
            path: written
            for path, written in current.items()
            if path in planned and planned[path].key == written.key
        }
        to_write = {path: content for path, content in planned.items() if path not in keep}
        left_over = {path for path, digests in noted.items() if _holds(tree, path, digests)}
        obsolete = sorted({*before.files, *left_over} - planned.keys())
        files = {**keep, **_write_all(tree, to_write, render, progress, journal=True)}
        tree.sync(set(to_write))
        for path in obsolete:
            tree.remove(path)
        tree.write(NAME, replace(receipt, files=files).rendered())
        tree.remove(JOURNAL)
        tree.sync({NAME, *obsolete})
    return Change(tuple(to_write), tuple(obsolete), len(keep))


def _receipt_in(tree: Tree, dest: Path) -> Receipt:
    data = tree.read(NAME)
    if data is None:
        raise Conflict(f"{dest} was not made by calstore and is not empty; choose a new directory")
    return parse(data, str(dest / NAME))


def _refuse_changed(
    tree: Tree,
    dest: Path,
    before: Receipt,
    current: Mapping[str, Written],
    planned: Mapping[str, Content],
    render: Render,
    noted: Mapping[str, set[str]],
) -> None:
    """Raise `Conflict` if a file that the update would touch holds somebody's work."""
    changed = []
    for path in sorted({*before.files, *planned}):
        if path in current or (found := tree.stat(path)) is None:
            continue
        data = tree.read(path) if is_file(found) else None
        if data is None:
            changed.append(path)
            continue
        digest = xxh128(data)
        expected = {before.files[path].digest.hex} if path in before.files else set()
        if digest.hex in expected | noted.get(path, set()):
            continue
        if path in planned and b"".join(render(planned[path])) == data:
            continue
        changed.append(path)
    if changed:
        shown = ", ".join(changed[:5]) + (", …" if len(changed) > 5 else "")
        raise Conflict(
            f"{dest}: {len(changed)} file(s) are not as calstore left them: {shown}; "
            "move them away, then run again"
        )


def _holds(tree: Tree, path: str, digests: set[str]) -> bool:
    """Whether an interrupted update left this file: it holds what that was about to put."""
    data = tree.read(path) if is_file(tree.stat(path)) else None
    return data is not None and xxh128(data).hex in digests


def _write_all(
    tree: Tree,
    contents: Mapping[str, Content],
    render: Render,
    progress: Callable[[int, int], None],
    *,
    journal: bool,
) -> dict[str, Written]:
    budget = Budget(max(_IN_HAND, *(content.size for content in contents.values()), 0))

    def write(path: str) -> Written:
        content = contents[path]
        with budget.of(content.size):
            try:
                parts = render(content)
            except Invalid as error:
                raise Invalid(f"{path} cannot be made: {error}") from error
            digest = xxh128(*parts)
            if journal:
                tree.append(JOURNAL, journal_line(path, digest))
            found = tree.write(path, *parts)
        return Written(content.key, digest, found.st_size, found.st_mtime_ns)

    files = {}
    progress(0, len(contents))
    with _stopping_pool() as pool:
        for path, written in zip(contents, pool.map(write, contents), strict=True):
            files[path] = written
            progress(len(files), len(contents))
    return files


@contextlib.contextmanager
def _stopping_pool() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
