"""What was said of an experiment's runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from calstore.model.marks import REASONS, RunMark
from calstore.model.records import Record
from calstore.model.runs import RunRange
from calstore.report.records import who_json
from calstore.repository.runs import history_of, marks_of, taken_runs
from calstore.repository.store import Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which marks of runs are asked for; all that is not the default must be so.

    Parameters
    ----------
    detector
        A part of its name; a mark without detectors concerns all of them.
    history
        Ask for all that was said of this run instead of the newest word about each.
    """

    dark: bool = False
    flawed: bool = False
    planned: bool = False
    reason: str | None = None
    detector: str | None = None
    within: RunRange | None = None
    history: int | None = None

    def holds(self, run: int, mark: RunMark, taken: frozenset[int]) -> bool:
        """Whether a run with this mark is one of those."""
        return (
            (mark.is_dark or not self.dark)
            and (bool(mark.flawed) or not self.flawed)
            and (is_planned(run, taken) or not self.planned)
            and self.reason in (None, mark.reason)
            and _concerns(mark, self.detector)
            and (self.within is None or self.within.first <= run <= self.within.last)
        )


@dataclass(frozen=True, slots=True)
class MarkedRuns:
    """Runs with their marks, and the runs whose data can be seen."""

    experiment: str
    found: tuple[tuple[int, Record, RunMark], ...]
    taken: frozenset[int]


def marked_runs(store: Store, experiment: str, wanted: Wanted) -> MarkedRuns:
    """The marks of an experiment's runs that are asked for.

    Raises
    ------
    NotFound
        When nobody said anything of the run whose history is asked for.
    """
    said: Iterable[tuple[int, Record]]
    if wanted.history is None:
        said = marks_of(store, experiment).items()
    else:
        run = wanted.history
        said = [(run, record) for record in history_of(store, experiment, run)]
    taken = taken_runs(store, experiment)
    found = tuple(
        (run, record, mark)
        for run, record in said
        if (mark := record.mark) is not None and wanted.holds(run, mark, taken)
    )
    return MarkedRuns(experiment, found, taken)


def is_planned(run: int, taken: frozenset[int]) -> bool:
    """Whether a run has no data yet, where data can be seen at all."""
    return bool(taken) and run not in taken


def runs_json(runs: MarkedRuns) -> dict[str, Any]:
    """What was said of runs, as ``schemas/runs.json`` describes it."""
    told = [_run_json(run, record, mark, runs.taken) for run, record, mark in runs.found]
    return {"experiment": runs.experiment, "runs": told}


def _concerns(mark: RunMark, detector: str | None) -> bool:
    if detector is None or not mark.detectors:
        return True
    return any(detector.casefold() in each.casefold() for each in mark.detectors)


def _run_json(run: int, record: Record, mark: RunMark, taken: frozenset[int]) -> dict[str, Any]:
    return {
        "comment": mark.comment,
        "dark": mark.is_dark,
        "detectors": list(mark.detectors),
        "flawed": mark.flawed or None,
        "number": record.number,
        "planned": is_planned(run, taken) if taken else None,
        "reason": mark.reason or None,
        "reason_is_known": mark.reason in REASONS,
        "run": run,
        "valid": None if mark.valid is None else str(mark.valid),
        "when": record.stamp.when,
        "who": who_json(record),
        "why": record.stamp.why,
    }
