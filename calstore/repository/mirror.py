"""clone and mirror: many refs at once, from a store to an empty one, or for a backup."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from calstore.errors import NotFound
from calstore.model.records import RUNS
from calstore.repository.damage import EVERYTHING
from calstore.repository.gap import Divergence, Gap, compare_logs
from calstore.repository.push import diverged
from calstore.repository.store import Store
from calstore.repository.transfer import Carried, Progress, carry, unseen
from calstore.store import logs


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a mirror did, and what it could not make equal.

    Parameters
    ----------
    diverged
        Logs that went on in two ways, and were left as they are.
    strangers
        Refs of the mirror that the store does not have.
    ahead
        Refs of which the mirror has more records than the store.
    """

    carried: Carried
    diverged: tuple[Divergence, ...]
    strangers: tuple[str, ...]
    ahead: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether both have the same refs now."""
        return not (self.diverged or self.strangers or self.ahead)


def clone(
    source: Store, dest: Store, patterns: Sequence[str] = ("*",), *, progress: Progress = unseen
) -> Carried:
    """Copy all refs whose names match one of the patterns, and what is said of their runs.

    The source's settings stay there: they say where directories are on its machines.

    Raises
    ------
    NotFound
        When no ref matches.
    Conflict
        When a ref went on in two ways; nothing was copied.
    Corrupt
        When something to be copied is damaged; no record was added.
    """
    names = [log.removeprefix("refs/") for log in logs.names(source.backend, "refs/")]
    wanted = [name for name in names if any(fnmatch.fnmatchcase(name, each) for each in patterns)]
    if not wanted:
        raise NotFound(
            f"{source.backend.describe('')} has no ref {' or '.join(patterns)}; it has "
            f"{', '.join(names[:8]) or 'none'}"
        )
    experiments = {name.partition("/")[0] for name in wanted}
    marks = [
        log for log in logs.names(source.backend, f"{RUNS}/") if log.split("/")[1] in experiments
    ]
    gaps = []
    every = [f"refs/{name}" for name in wanted] + marks
    for found in compare_logs(source.backend, dest.own, every):
        if isinstance(found, Divergence):
            raise diverged(found, source.backend, dest.own)
        gaps.append(found)
    return carry(source.backend, dest.own, gaps, progress=progress)


def mirror(store: Store, to: Store, *, progress: Progress = unseen) -> Mirrored:
    """Let another store have every log of this one, and all that they lead to.

    One way: nothing of the mirror is taken, and nothing of it is removed.

    Raises
    ------
    Corrupt
        When something to be copied is damaged; no record was added.
    """
    ours = [log for family in EVERYTHING for log in logs.names(store.own, family)]
    found = compare_logs(store.own, to.own, ours)
    gaps = [each for each in found if isinstance(each, Gap)]
    carried = carry(store.backend, to.own, gaps, with_evidence=False, progress=progress)
    theirs = logs.names(to.own, "refs/")
    return Mirrored(
        carried,
        tuple(each for each in found if isinstance(each, Divergence)),
        tuple(log.removeprefix("refs/") for log in theirs if log not in set(ours)),
        tuple(
            gap.log.removeprefix("refs/")
            for gap in gaps
            if gap.log.startswith("refs/") and gap.there > gap.newest
        ),
    )
