"""A directory that is there is brought to what it shall hold.

First all new files are written under temporary names; nobody sees anything of it, and what fails
then changes nothing. Then each gets its name, in an order by which every run goes straight from
what it got to what it shall get; then old files go. What others wrote stays theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISDIR, S_ISLNK

from calstore.errors import Conflict, Invalid
from calstore.formats.calib_tree import place_of
from calstore.model.digest import Buffer, Digest, xxh128
from calstore.views.histories import grow, growth, is_history
from calstore.views.ledger import JOURNAL, Ledger, note, read, settle
from calstore.views.plan import Content
from calstore.views.receipt import NAME, Part, Receipt, Written
from calstore.views.state import State, has, holds, refuse_hidden, state_of
from calstore.views.temporaries import is_file
from calstore.views.tree import Entries, Staged, Tree, folders_of
from calstore.views.write import Change, Job, OnDisk, planned_files, write_all


@dataclass(frozen=True, slots=True)
class _Found:
    """The directory as it was before the update."""

    tree: Tree
    dest: Path
    entries: Entries
    ledger: Ledger
    state: State

    @property
    def receipt(self) -> Receipt:
        return self.state.receipt

    @property
    def is_view(self) -> bool:
        return self.ledger.receipt is not None


@dataclass(frozen=True, slots=True)
class _Todo:
    """What an update has to do.

    Parameters
    ----------
    keep
        Files of the receipt that stay as they are.
    data
        Files that are made, unless they are there with these very bytes.
    histories
        HISTORY files, which get the lines that they lack.
    gone
        Files and links that are taken away, in this order.
    links
        All links of the view afterwards.
    """

    keep: dict[str, Written]
    data: dict[str, Content]
    histories: dict[str, Content]
    gone: list[str]
    links: Mapping[str, str]


def update(dest: Path, job: Job) -> Change:
    """Bring a directory to what the job says.

    Files that calstore did not write are never touched: one with the planned bytes is taken
    for a planned one. A HISTORY that is there only grows, by appending, because other tools
    append to it at any time.

    Raises
    ------
    Conflict
        When a file that the update would touch holds somebody's work (unless the job says
        ``discard``): nothing was touched then. Or when somebody writes such a file meanwhile.
    Invalid
        When this account may not write there; nothing was touched then.
    """
    with Tree(dest) as tree:
        is_alone = tree.lock()
        found = _look(tree, dest, job)
        if is_alone:
            tree.drop(found.entries.leftovers)
        [part] = job.receipt.parts
        receipt = replace(job.receipt, parts=_put_over(found.receipt.parts, part))
        if found.is_view and receipt.is_of(found.receipt) and found.state.is_clean:
            return Change((), (), found.state.unchanged)
        planned = planned_files(job)
        _refuse_obstacles(found, planned, job)
        if not job.discard:
            _refuse_changed(found, part, job, planned)
        return _carry_out(found, part, replace(job, receipt=receipt), planned)


def _look(tree: Tree, dest: Path, job: Job) -> _Found:
    known = read(tree, dest)
    before = known.receipt
    if before is not None:
        _refuse_another_kind(dest, before, job)
    entries = tree.entries()
    receipt = before or replace(job.receipt, parts=(), links={})
    return _Found(tree, dest, entries, known, state_of(tree, dest, receipt, entries, known.noted))


def _refuse_another_kind(dest: Path, before: Receipt, job: Job) -> None:
    """Raise `Invalid` for what does not go with the rest of the view, or would harm its readers."""
    new, [part] = job.receipt, job.receipt.parts
    if part.under and before.store != new.store:
        raise Invalid(
            f"{dest} was made from another store (id {before.store}); make all of it anew, or "
            "name that store"
        )
    if part.under and before.for_ami != new.for_ami:
        raise Invalid(
            f"{dest} was made {'with' if before.for_ami else 'without'} --for ami; "
            "make a part of it so too, or all of it anew"
        )
    if before.layout != new.layout and (part.under or not job.discard):
        raise Invalid(
            f"{dest} has the layout {before.layout}, whose readers would find nothing in "
            f"{new.layout}; choose another directory"
            + ("" if part.under else ", or change all of it with --discard")
        )
    others = [each for each in before.parts if each.run is None and each.overlaps(part)]
    if part.run is not None and others and not job.discard:
        raise Invalid(
            f"{dest} serves more runs than {part.run}, which would find nothing then; choose "
            "another directory, or take theirs away with --discard"
        )


def _put_over(parts: tuple[Part, ...], new: Part) -> tuple[Part, ...]:
    """The parts of a view after one of them was made anew."""
    kept = [part for part in parts if new.under and not new.holds(f"{part.under}/")]
    return (*kept, new)


def _refuse_obstacles(found: _Found, planned: Mapping[str, Content], job: Job) -> None:
    """Raise `Conflict` for a link, a file or a folder in the way of what is to be written."""
    refuse_hidden(found.dest, planned, found.entries)
    for path in sorted({*found.receipt.files, *planned}):
        there = found.entries.found.get(path)
        if (found.tree.stat(path) is not None) if there is None else S_ISDIR(there.st_mode):
            raise Conflict(f"{found.dest / path} is a folder, in the way of a file; move it away")
        if path in planned and is_history(path) and there is not None and not is_file(there):
            raise Conflict(f"{found.dest / path} is no file, so it cannot grow; move it away")
    for path, target in job.receipt.links.items():
        leads_to = found.tree.target(path)
        if leads_to is None and found.tree.stat(path) is not None:
            raise Conflict(f"{found.dest / path} is in the way of a link to {target}; move it away")
        if leads_to not in (None, target, found.receipt.links.get(path)) and not job.discard:
            raise Conflict(
                f"{found.dest / path} is somebody's link to {leads_to}, where AMI needs one to "
                f"{target}; move it away, or overwrite it with --discard"
            )


def _refuse_changed(found: _Found, part: Part, job: Job, planned: Mapping[str, Content]) -> None:
    """Raise `Conflict` if a file that the update would touch holds somebody's work."""
    files, entries = found.receipt.files, found.entries.found
    suspects = {*found.state.modified, *(planned.keys() & entries.keys() - files.keys())}
    changed = [f"{path} (deleted)" for path in found.state.deleted if path in planned]
    for path in suspects:
        if not part.holds(path) or is_history(path) or path in found.receipt.links:
            continue
        seen = entries[path]
        if holds(found.tree, path, seen, files.get(path), found.ledger.noted):
            continue
        if path not in planned or not has(found.tree, path, seen, job.render(planned[path])):
            changed.append(f"{path} (a link)" if S_ISLNK(seen.st_mode) else path)
    if changed:
        shown = ", ".join(sorted(changed)[:5]) + (", …" if len(changed) > 5 else "")
        raise Conflict(
            f"{found.dest}: {len(changed)} file(s) are not as calstore left them: {shown}; keep "
            f"them with: calstore adopt {found.dest} {part.ref}, or overwrite them with --discard"
            if found.is_view
            else f"{found.dest}: {len(changed)} file(s) are not what the version has: {shown}; "
            f"keep them with: calstore import {found.dest} {part.ref}, or overwrite them with "
            "--discard"
        )


def _carry_out(found: _Found, part: Part, job: Job, planned: Mapping[str, Content]) -> Change:
    tree = found.tree
    todo = _todo(found, part, job, planned)
    with _Staging(found) as staging:
        files = {**todo.keep, **write_all(job, todo.data, staging.put)}
        lines = {path: b"".join(job.render(content)) for path, content in todo.histories.items()}
        _refuse_forbidden(found, [*staging.digests, *todo.gone], lines)
        known = _note(found, staging.digests, lines, todo.gone)
        staging.publish()
    written = [*staging.digests]
    for path, planned_lines in lines.items():
        has_grown, there = grow(tree, path, planned_lines, is_ours=_is_ours(found, path))
        files[path] = Written(planned[path].key, there.digest.hex, there.size, there.mtime_ns)
        written += [path] if has_grown else []
    for path, target in todo.links.items():
        if tree.target(path) != target:
            tree.link(path, target)
    tree.sync([*written, *todo.links])
    for path in todo.gone:
        tree.remove(path, found.entries.found.get(path))
    tree.sync(todo.gone)
    folders = (found.receipt.folders | tree.made) - _emptied(found, todo.gone)
    receipt = replace(job.receipt, files=files, links=todo.links, folders=folders)
    if known != found.ledger or known.noted or receipt != known.receipt:
        settle(tree, known, receipt)
    return Change(
        written=tuple(sorted(written)),
        removed=tuple(path for path in todo.gone if path not in found.receipt.links),
        unchanged=sum(1 for path in planned if part.holds(path)) - len(written),
        strangers=_strangers(found, planned, files),
    )


def _emptied(found: _Found, gone: Sequence[str]) -> set[str]:
    """Take away the folders that calstore made for what is gone, where nothing else is in them."""
    held = {folder for path in gone for folder in folders_of(path)}
    return found.tree.remove_folders(held & (found.receipt.folders | found.tree.made))


def _todo(found: _Found, part: Part, job: Job, planned: Mapping[str, Content]) -> _Todo:
    before, entries = found.receipt, found.entries.found
    keep = {
        path: written
        for path, written in before.files.items()
        if not part.holds(path) or _stays(found, path, written, planned)
    }
    missing = {path: content for path, content in planned.items() if path not in keep}
    histories = {path: content for path, content in missing.items() if is_history(path)}
    noted = found.ledger.noted
    left_over = {
        path
        for path in noted
        if (seen := entries.get(path)) and holds(found.tree, path, seen, None, noted)
    }
    obsolete = [
        path
        for path in {*before.files, *left_over} - planned.keys()
        if part.holds(path) and path in entries and not is_history(path)
    ]
    links = {**before.links, **job.receipt.links} if part.under else job.receipt.links
    dead = [
        path
        for path, target in before.links.items()
        if path not in links and found.tree.target(path) == target
    ]
    data = {path: content for path, content in missing.items() if path not in histories}
    # What is least wanted goes first, so that no run gets it in between.
    gone = sorted(obsolete, key=_priority, reverse=True) + dead
    return _Todo(keep, data, histories, gone, links)


def _priority(path: str) -> tuple[bool, int, int, str]:
    """Sorts what a run would get rather before what it would get else, as psana chooses.

    New files that get their names in this order leave each run with what it had, until it has
    what it shall have.
    """
    place = place_of(path)
    if place is None:
        return True, 0, 0, path
    return False, -place.runs.first, place.runs.last, path


class _Staging:
    """Puts files beside their places, unless they are there with the same bytes.

    After an error, what did not get its name is gone.
    """

    def __init__(self, found: _Found) -> None:
        self.digests: dict[str, str] = {}
        self._found = found
        self._staged: list[Staged] = []

    def __enter__(self) -> _Staging:
        return self

    def __exit__(self, kind: object, value: BaseException | None, traceback: object) -> None:
        if value is not None:
            self._found.tree.drop(staged.beside for staged in self._staged)
            self._found.tree.remove_folders(self._found.tree.made)

    def put(self, path: str, parts: Sequence[Buffer], digest: Digest) -> OnDisk:
        tree, seen = self._found.tree, self._found.entries.found.get(path)
        if seen is not None and has(tree, path, seen, parts):
            return OnDisk.of(parts, digest, seen)
        staged = tree.stage(path, parts, seen)
        self._staged.append(staged)
        self.digests[path] = digest.hex
        return OnDisk.of(parts, digest, staged.found)

    def publish(self) -> None:
        """Give each file its name, one after the other."""
        for staged in sorted(self._staged, key=lambda staged: _priority(staged.path)):
            self._found.tree.publish(staged, self._found.entries.found.get(staged.path))


def _refuse_forbidden(found: _Found, touched: Sequence[str], histories: Iterable[str]) -> None:
    """Raise `Invalid` while nothing is touched, if this account may not do all of it."""
    for path in (NAME, JOURNAL):
        seen = found.tree.stat(path)
        if seen is not None:
            found.tree.check_replaceable(path, seen)
    for path in touched:
        if path in found.entries.found:
            found.tree.check_replaceable(path, found.entries.found[path])
    for path in histories:
        if path in found.entries.found:
            found.tree.check_appendable(path)


def _note(
    found: _Found, staged: Mapping[str, str], lines: Mapping[str, bytes], gone: Sequence[str]
) -> Ledger:
    """Write down what will be done, if anything will."""
    put = dict(staged)
    for path, planned in lines.items():
        there, missing = growth(found.tree, path, planned)
        if missing and _is_ours(found, path):
            put[path] = xxh128(there, missing).hex
    if not put and not gone:
        return found.ledger
    return note(found.tree, found.ledger, put, gone)


def _is_ours(found: _Found, path: str) -> bool:
    """Whether a HISTORY has no lines of others; one that is made has none."""
    if path not in found.entries.found:
        return not found.tree.read(path)
    return path in found.receipt.files and path not in found.state.modified


def _stays(found: _Found, path: str, written: Written, planned: Mapping[str, Content]) -> bool:
    """Whether a file of the receipt is as it shall be; a HISTORY stays even when nobody plans it.

    Somebody may just be adding a line to it.
    """
    is_wanted = planned[path].key == written.key if path in planned else is_history(path)
    seen = found.entries.found.get(path)
    return is_wanted and is_file(seen) and written.untouched(seen)


def _strangers(
    found: _Found, planned: Mapping[str, Content], files: Mapping[str, Written]
) -> tuple[str, ...]:
    """Files in the folders of the version that psana may choose, or stumble over."""
    folders = {path.rpartition("/")[0] for path in planned}
    return tuple(
        path
        for path in sorted(found.state.added)
        if path not in files and path.rpartition("/")[0] in folders
    )
