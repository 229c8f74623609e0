"""DEST as a link to the newest of some complete directories: switched at once.

A reader that resolves DEST once sees one version for as long as it likes, up to the number of
generations that are kept. They lie beside DEST in ``.<name>.generations/`` and may not be
written: what a tool put into one would be gone from DEST with the next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from calstore.errors import CalstoreError, Conflict, Invalid
from calstore.views.sharing import make_folder
from calstore.views.state import State, has, look, status
from calstore.views.temporaries import TEMPORARY, unfinished_beside, unfinished_name
from calstore.views.tree import Tree
from calstore.views.write import (
    Change,
    Job,
    build,
    planned_files,
)

_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def folder_of(dest: Path) -> Path:
    """Where the generations of a view lie."""
    return dest.parent / f".{dest.name}.generations"


def current(dest: Path) -> Path | None:
    """The generation that DEST leads to, ``None`` when it is no link of this kind."""
    try:
        if not dest.is_symlink():
            return None
        target = dest.parent / dest.readlink()
    except OSError as error:
        raise Invalid(
            f"cannot look at {dest} ({error.strerror or error}); choose another place"
        ) from error
    return target if target.parent == folder_of(dest) else None


def switch(dest: Path, job: Job, keep: int) -> Change:
    """Make a new generation and let DEST lead to it; the newest ``keep`` are kept.

    Raises
    ------
    Conflict
        When DEST is no link that calstore made, or somebody changed what it leads to.
    """
    now = current(dest)
    if now is None and os.path.lexists(dest):
        raise Conflict(
            f"{dest} is not a link to generations; move it away, or update it without --generations"
        )
    with _one_at_a_time(folder_of(dest)):
        if now is not None and now.is_dir():
            state = _left_so(dest, now, job)
            if state.is_clean and not state.foreign and job.receipt.is_of(state.receipt):
                return Change((), (), state.unchanged)
        _drop_unseen(dest, now)
        new = folder_of(dest) / f"{_newest(dest) + 1:08d}"
        change = build(new, job)
        _forbid_writing(new)
        _lead_to(dest, new)
        _drop_old(dest, keep)
    return change


def _left_so(dest: Path, now: Path, job: Job) -> State:
    """The state of the generation that DEST leads to.

    Raises
    ------
    Conflict
        When it holds somebody's work that the next one would not have, unless that is discarded.
    """
    with Tree(now) as tree:
        state, _, entries = look(tree, now)
        changed = [*state.modified, *state.deleted, *state.added, *state.foreign]
        if changed and not job.discard:
            planned, found = planned_files(job), entries.found
            changed = [
                path
                for path in changed
                if (path in found) != (path in planned)
                or (path in found and not has(tree, path, found[path], job.render(planned[path])))
            ]
            if changed:
                [part] = job.receipt.parts
                shown = ", ".join(sorted(changed)[:5]) + (", …" if len(changed) > 5 else "")
                raise Conflict(
                    f"{dest}: {len(changed)} file(s) are not as calstore left them: {shown}; keep "
                    f"them with: calstore adopt {dest} {part.ref}, or leave them behind with "
                    "--discard"
                )
    return state


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            make_folder(folder)
    except OSError as error:
        raise Invalid(f"cannot make {folder} ({error.strerror}); choose another place") from error
    with Tree(folder) as tree:
        tree.lock()
        yield


def _numbers(dest: Path) -> list[int]:
    names = (path.name for path in folder_of(dest).iterdir())
    return sorted(int(name) for name in names if name.isdecimal())


def _newest(dest: Path) -> int:
    return max(_numbers(dest), default=0)


def _lead_to(dest: Path, generation: Path) -> None:
    """Let DEST lead to the generation from one moment to the next, durably."""
    for left_over in unfinished_beside(dest):
        if left_over.is_symlink():
            with contextlib.suppress(OSError):
                left_over.unlink()
    temporary = unfinished_name(dest)
    try:
        temporary.symlink_to(Path(generation.parent.name) / generation.name)
        temporary.replace(dest)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise Conflict(f"{dest} cannot be switched ({error.strerror}); look at it") from error
    with contextlib.suppress(Invalid), Tree(dest.parent) as parent:
        parent.sync({dest.name})


def _drop_old(dest: Path, keep: int) -> None:
    """Remove the oldest generations, but none in which somebody has put something."""
    for number in _numbers(dest)[:-keep]:
        generation = folder_of(dest) / f"{number:08d}"
        if _is_untouched(generation):
            _remove(generation)


def _remove(generation: Path) -> None:
    """Let a generation vanish from its place at once, then remove it."""
    doomed = unfinished_name(generation)
    with contextlib.suppress(OSError):
        generation.rename(doomed)
        _allow_writing(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _drop_unseen(dest: Path, now: Path | None) -> None:
    """Remove what killed runs left: unfinished generations, and such as DEST never led to."""
    for path in folder_of(dest).iterdir():
        is_newer = path.name.isdecimal() and now is not None and path.name > now.name
        if TEMPORARY in path.name or (is_newer and _is_untouched(path)):
            _remove(path)


def _is_untouched(generation: Path) -> bool:
    """Whether a generation holds nothing but what calstore put there."""
    with contextlib.suppress(CalstoreError):
        state = status(generation)
        return state.is_clean and not state.foreign
    return False


def _forbid_writing(top: Path) -> None:
    for name, _, _ in os.walk(top):
        folder = Path(name)
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~_WRITE)


def _allow_writing(top: Path) -> None:
    for name, _, _ in os.walk(top):
        folder = Path(name)
        with contextlib.suppress(OSError):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IWUSR)
