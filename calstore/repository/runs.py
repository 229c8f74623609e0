"""runs: what people say of an experiment's runs, kept with its history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from calstore.errors import Invalid, NotFound
from calstore.frames.locate import runs_in
from calstore.model.fields import natural
from calstore.model.marks import RunMark
from calstore.model.names import RefName
from calstore.model.records import RUNS, Record, Stamp
from calstore.model.runs import RunRange
from calstore.repository.commit import append_record, refuse_nameless
from calstore.repository.settings import DATA_DIRS, is_experiment, place_of
from calstore.repository.store import Store
from calstore.store import logs

NOTHING: Final = RunMark()


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of a run now; ``None`` leaves what was said before."""

    is_dark: bool | None = None
    reason: str | None = None
    detectors: tuple[str, ...] | None = None
    valid: RunRange | None = None
    comment: str | None = None

    def upon(self, mark: RunMark) -> RunMark:
        """The mark with this in it; `Invalid` for a dark without a reason, or a reason without."""
        is_dark = mark.is_dark if self.is_dark is None else self.is_dark
        before = mark.reason if is_dark else ""
        return replace(
            mark,
            is_dark=is_dark,
            reason=before if self.reason is None else self.reason,
            detectors=mark.detectors if self.detectors is None else self.detectors,
            valid=self.valid or mark.valid,
            comment=mark.comment if self.comment is None else self.comment,
        )


def tag_run(store: Store, experiment: str, run: int, told: Told, stamp: Stamp) -> Record:
    """Say what a run is: a dark, why, of which detectors, for which runs. It need not be taken yet.

    Raises
    ------
    Invalid
        For a dark without a reason, or a shared account that names no person.
    """
    return _marked(store, experiment, run, "tag", told.upon, stamp)


def flag_run(store: Store, experiment: str, run: int, flaw: str, stamp: Stamp) -> Record:
    """Say what is wrong with a run; ``""`` for nothing any more.

    Raises
    ------
    Invalid
        For a shared account that names no person.
    """
    return _marked(
        store, experiment, run, "flag", lambda mark: replace(mark, flawed=flaw.strip()), stamp
    )


def mark_of(store: Store, experiment: str, run: int) -> RunMark | None:
    """What is said of a run now; ``None`` where nobody said anything."""
    entry = store.head(log_of(RUNS, experiment, run))
    return None if entry is None else entry.record.mark


def marks_of(store: Store, experiment: str) -> dict[int, Record]:
    """The newest record of each run of an experiment that has a mark, by run."""
    folder = f"{RUNS}/{experiment}/"
    runs = sorted(int(log.removeprefix(folder)) for log in logs.names(store.backend, folder))
    found = {run: store.head(log_of(RUNS, experiment, run)) for run in runs}
    return {run: entry.record for run, entry in found.items() if entry is not None}


def history_of(store: Store, experiment: str, run: int) -> Iterator[Record]:
    """All that was said of a run, the newest first; `NotFound` where nobody said anything."""
    log = log_of(RUNS, experiment, run)
    if store.head(log) is None:
        raise NotFound(f"nobody said anything of run {run} of {experiment}")
    return (entry.record for entry in logs.history(store.backend, log))


def taken_runs(store: Store, experiment: str) -> frozenset[int]:
    """The runs whose data can be seen; none where no data directory is."""
    if not is_experiment(experiment):
        return frozenset()
    places = [place_of(store, name, experiment) for name in DATA_DIRS]
    return frozenset(run for place in places for run in runs_in(place, experiment))


def next_run(store: Store, experiment: str) -> int:
    """The run after the newest that the data or any mark show.

    Raises
    ------
    NotFound
        When neither show one.
    """
    known = {*taken_runs(store, experiment), *marks_of(store, experiment)}
    if not known:
        raise NotFound(
            f"no run of {experiment} is known, so neither is the next; write its number, or say "
            f"where the data are: calstore config data-dir/{experiment} PATH"
        )
    return max(known) + 1


def _marked(
    store: Store,
    experiment: str,
    run: int,
    operation: str,
    change: Callable[[RunMark], RunMark],
    stamp: Stamp,
) -> Record:
    refuse_nameless(stamp)
    log = log_of(RUNS, experiment, run)
    while True:
        before = store.head(log)
        old = NOTHING if before is None else before.record.mark or NOTHING
        mark = change(old)
        if before is not None and mark == old:
            return before.record
        record = append_record(
            store, log, before, stamp=stamp, operation=operation, what=told_of(mark), mark=mark
        )
        if record is not None:
            return record


def told_of(mark: RunMark) -> str:
    """A mark in one line."""
    parts = [f"dark, {mark.reason}"] if mark.is_dark else []
    parts += [f"of {', '.join(mark.detectors)}"] if mark.detectors else []
    parts += [f"for runs {mark.valid}"] if mark.valid is not None else []
    parts += [f"flawed: {mark.flawed}"] if mark.flawed else []
    parts += [mark.comment] if mark.comment else []
    return "; ".join(parts) or "nothing"


def log_of(family: str, experiment: str, run: int) -> str:
    """The log of a run in a family of logs; `Invalid` for what is no experiment or no run."""
    try:
        RefName(f"{experiment}/main")
    except Invalid:
        raise Invalid(f"{experiment!r} is no name of an experiment, such as xppn4116") from None
    return f"{family}/{experiment}/{natural(run, 'run')}"
