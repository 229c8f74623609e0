"""DEST as a link to the newest of some complete directories: switched at once.

A reader that resolves DEST once sees one version for as long as it likes, up to the number of
generations that are kept. They lie beside DEST in ``.<name>.generations/`` and may not be
written: what a tool put into one would be gone from DEST with the next.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from calstore.errors import CalstoreError, Conflict, Invalid
from calstore.views.state import State, status
from calstore.views.tree import TEMPORARY, Tree
from calstore.views.write import Change, Job, build

_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def folder_of(dest: Path) -> Path:
    """Where the generations of a view lie."""
    return dest.parent / f".{dest.name}.generations"


def current(dest: Path) -> Path | None:
    """The generation that DEST leads to, ``None`` when it is no link of this kind."""
    if not dest.is_symlink():
        return None
    target = dest.parent / dest.readlink()
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
            state = status(now)
            if not job.discard:
                _refuse_changed(dest, state)
            if state.is_clean and job.receipt.is_of(state.receipt):
                return Change((), (), state.unchanged)
        _drop_unfinished(dest)
        new = folder_of(dest) / f"{_newest(dest) + 1:08d}"
        change = build(new, job)
        _forbid_writing(new)
        _lead_to(dest, new)
        _drop_old(dest, keep)
    return change


def _refuse_changed(dest: Path, state: State) -> None:
    changed = [*state.modified, *state.deleted, *state.added, *state.foreign]
    if changed:
        raise Conflict(
            f"{dest}: {len(changed)} file(s) are not as calstore left them: "
            f"{', '.join(changed[:5])}; keep them with: calstore adopt {dest} REF, "
            "or leave them behind with --discard"
        )


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
    temporary = dest.parent / f".{dest.name}{TEMPORARY}{secrets.token_hex(6)}"
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
        with contextlib.suppress(CalstoreError):
            state = status(generation)
            if not state.is_clean or state.foreign:
                continue
        _allow_writing(generation)
        shutil.rmtree(generation, ignore_errors=True)


def _drop_unfinished(dest: Path) -> None:
    for path in folder_of(dest).iterdir():
        if TEMPORARY in path.name:
            shutil.rmtree(path, ignore_errors=True)


def _forbid_writing(top: Path) -> None:
    for name, _, _ in os.walk(top):
        folder = Path(name)
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~_WRITE)


def _allow_writing(top: Path) -> None:
    for name, _, _ in os.walk(top):
        folder = Path(name)
        with contextlib.suppress(OSError):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IWUSR)
