"""dark: a dark run becomes constants with their provenance, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from calstore.checks.finding import Finding
from calstore.darks.recipe import DarkRecipe
from calstore.errors import Invalid
from calstore.frames.source import Part
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Reference
from calstore.model.inputs import Frames, InputManifest
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.marks import RunMark
from calstore.model.names import RefName
from calstore.model.records import Record, Stamp
from calstore.model.runs import END, RunRange
from calstore.repository.change import Move, move, put_set
from calstore.repository.check import check
from calstore.repository.coverage import shadow_in
from calstore.repository.crew import Alone, Crew
from calstore.repository.dark_plan import Data, Job, constants_at, jobs_of
from calstore.repository.derive import DarkInput, Derived, derive_dark, manifest_of
from calstore.repository.inherit import ALL_RUNS, Inherited
from calstore.repository.measure import Key, Measured, measure, merged, selection_of
from calstore.repository.recipes import Recipes
from calstore.repository.results import recall, seen_in, witness
from calstore.repository.runs import NOTHING, mark_of
from calstore.repository.set_constant import overridden
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version, load_detector
from calstore.store import objects
from calstore.views.coverage import Shadow

ALONE: Final = Alone()


@dataclass(frozen=True, slots=True)
class DarkRequest:
    """What shall become of a dark run.

    Parameters
    ----------
    detectors
        By source, name in the data, or a unique part; none for those of the run's mark, or else
        cspad, epix and jungfrau.
    valid
        Runs that get the constants whatever else there is; ``None`` adds the range of the run's
        mark, or else ``<run>-end``, and leaves later darks their runs.
    without
        Gain modes that may be absent.
    codes
        Event codes of which an event has one; a negative one is one that it has not. None for any
        event.
    again
        Whether the frames are read even if the same files, unchanged since, were read before.
    anyway
        Whether a run that somebody flagged as flawed is taken all the same.
    require_check
        Whether the ref stays as it is when `check` finds something wrong.
    """

    experiment: str
    ref: str
    detectors: tuple[str, ...] = ()
    recipes: Recipes = field(default_factory=Recipes)
    valid: RunRange | None = None
    without: frozenset[str] = frozenset()
    codes: tuple[int, ...] = ()
    again: bool = False
    anyway: bool = False
    require_check: bool = False


@dataclass(frozen=True, slots=True)
class DarkDetector:
    """What was made for one detector.

    Parameters
    ----------
    frames
        By gain mode, how many were used; the only key is ``""`` for a detector without.
    is_remembered
        Whether it was looked up: the same files, unchanged since, were read before.
    inherited
        What was taken over with it from a ref of the same panels.
    recipe_before
        Of the dark before, ``None`` for none.
    status_before
        The pixel_status that the run got before, ``None`` for none.
    """

    source: str
    derived: Derived
    recipe: DarkRecipe
    recipe_before: DarkRecipe | None
    frames: Mapping[str, int]
    is_remembered: bool
    inherited: Inherited
    status_before: ArrayReference | None

    @property
    def is_short(self) -> bool:
        """Whether some mode has fewer frames than the recipe makes its gates from."""
        return min(self.frames.values()) < self.recipe.gate_frames


@dataclass(frozen=True, slots=True)
class DarkMade:
    """The record of the new version, whether it is new, and what was made for each detector.

    Parameters
    ----------
    findings
        What `check` says of what the first of the runs gets now, by source.
    shadows
        Which later constants keep their runs, by source.
    """

    record: Record
    changed: bool
    runs: RunRange
    detectors: tuple[DarkDetector, ...]
    findings: Mapping[str, tuple[Finding, ...]]
    shadows: Mapping[str, Shadow]


def dark(
    store: Store,
    request: DarkRequest,
    runs: Sequence[Data],
    stamp: Stamp,
    progress: Callable[[int, int], None] = lambda done, total: None,
    crew: Crew = ALONE,
) -> DarkMade | None:
    """Pedestals, noise, status and extremes of the pixels, committed with their provenance.

    Parameters
    ----------
    runs
        One dark run; of a detector with gain modes also several, each with some of them.
    progress
        Called with the number of frames done and of all, for each run.
    crew
        The processes that share the frames, each of which calls this. The first commits; the
        others get ``None``.

    Raises
    ------
    NotFound
        When the data hold no such detector.
    Invalid
        When the frames are no raw frames, too few, or a gain mode is missing; nothing is changed.
    Conflict
        When others move the ref faster than this can follow.
    Corrupt
        When the same frames and recipe gave something else before.
    """
    ref = ref_name(request.ref)
    mark = _mark(store, request, [data.run for data in runs])
    stamp = stamp if stamp.why else replace(stamp, why=mark.reason)
    before = _version(store, ref)
    names = request.detectors or mark.detectors
    planned = jobs_of(store, before, runs, names, request.recipes, request.without)
    jobs = [replace(job, codes=request.codes) for job in planned]
    known = {job.key: None if request.again else _remembered(store, request, job) for job in jobs}
    # Another writer may have been between them: what the first decides counts.
    rules = crew.share({job.key: job.rule for job in jobs if known[job.key] is None})
    new = [replace(job, rule=rules[job.key]) for job in jobs if job.key in rules]
    parts = [crew.gather(_measured(new, data, progress, crew)) for data in runs]
    if crew.rank != 0:
        return None
    measured = [(data, merged(of_run)) for data, of_run in zip(runs, parts, strict=True)]
    derived = {
        job.key: known[job.key] or _derived(store, request, job, measured, stamp) for job in jobs
    }
    made = tuple(_told(job, before, derived[job.key], known[job.key] is not None) for job in jobs)
    valid = request.valid or mark.valid or RunRange(min(data.run for data in runs), END)
    told = ", ".join(job.key[1] for job in jobs)
    numbers = ", ".join(map(str, sorted({data.run for data in runs})))

    findings: dict[str, tuple[Finding, ...]] = {}

    def decide(version: Version | None) -> Move:
        manifest = SetManifest() if version is None else version.manifest
        for job in jobs:
            one = derived[job.key]
            manifest = _with(store, manifest, job, one.derived, valid, request.valid is None)
        new = put_set(store, manifest)
        findings.update(
            _findings(Version(store, str(new.digest), new, manifest, None), jobs, valid)
        )
        if request.require_check:
            _refuse_wrong(findings)
        parents = tuple(parent for job in jobs for parent in job.inherited.parents)
        what = f"dark run {numbers}: {told}, for runs {valid}"
        return Move(new, what, tuple(dict.fromkeys(parents)))

    moved = move(store, ref, decide, stamp, "dark", may_be_new=True)
    after = store[moved.record.name]
    shadows = {job.key[1]: shadow_in(after, "/".join(job.key), "pedestals", valid) for job in jobs}
    reached = {source: shadow for source, shadow in shadows.items() if shadow is not None}
    return DarkMade(moved.record, moved.changed, valid, made, findings, reached)


def _findings(
    version: Version, jobs: Sequence[Job], runs: RunRange
) -> Iterator[tuple[str, tuple[Finding, ...]]]:
    for job in jobs:
        checked = check(version, "/".join(job.key), run=runs.first)
        yield job.key[1], checked.findings


def _refuse_wrong(findings: Mapping[str, tuple[Finding, ...]]) -> None:
    wrong = [
        f"{source} {each.type_name}: {each.what}"
        for source, found in findings.items()
        for each in found
        if each.is_wrong
    ]
    if wrong:
        raise Invalid(
            f"check finds {len(wrong)} wrong ({'; '.join(wrong[:3])}), so nothing was changed; "
            "look at the frames, or leave --require-check out"
        )


@dataclass(frozen=True, slots=True)
class _Done:
    """A derivation that was looked up or computed, and its inputs by gain mode."""

    derived: Derived
    inputs: Mapping[str, InputManifest]


def _mark(store: Store, request: DarkRequest, runs: Sequence[int]) -> RunMark:
    """What was said of the first of the runs; `Invalid` where one is flawed, unless anyway."""
    marks = {run: mark_of(store, request.experiment, run) or NOTHING for run in sorted(set(runs))}
    for run, mark in marks.items():
        if mark.flawed and not request.anyway:
            raise Invalid(
                f"run {run} of {request.experiment} is flawed: {mark.flawed}; take another one, or "
                "say --anyway"
            )
    return marks[min(marks)]


def _version(store: Store, ref: RefName) -> Version | None:
    entry = store.head(ref.log)
    return None if entry is None or entry.record.manifest is None else store[str(ref)]


def _remembered(store: Store, request: DarkRequest, job: Job) -> _Done | None:
    """What the same frames gave before: the files are as they were when they were read."""
    inputs: dict[str, InputManifest] = {}
    for mode, reading in job.readings.items():
        for seen in seen_in(store, reading.data.source.evidence()):
            if seen == _input(request, job, mode, seen.frames):
                inputs[mode] = seen
    if inputs.keys() != job.readings.keys():
        return None
    manifest = manifest_of(inputs, job.rule)
    results = recall(store, manifest.reference.digest)
    if results is None:
        return None
    return _Done(Derived(manifest.reference, manifest, results), inputs)


def _measured(
    jobs: Sequence[Job], data: Data, progress: Callable[[int, int], None], crew: Crew
) -> dict[Key, Measured]:
    wanted = [each for job in jobs if (each := job.wanted(data)) is not None]
    if not wanted:
        return {}
    return measure(data.source, wanted, Part(crew.rank, crew.of), progress)


def _derived(
    store: Store,
    request: DarkRequest,
    job: Job,
    measured: Sequence[tuple[Data, Mapping[Key, Measured]]],
    stamp: Stamp,
) -> _Done:
    inputs = {}
    for mode, reading in job.readings.items():
        of_run = next(each for data, each in measured if data is reading.data)
        found = of_run.get((reading.detector.name, reading.step.number))
        if found is None:
            raise Invalid(
                f"no frame of {reading.detector.name} is left in step {reading.step.number} of run "
                f"{reading.data.run}; the recipe skips the first {job.rule.recipe.skip}"
            )
        inputs[mode] = DarkInput(_input(request, job, mode, found.frames), found.sums)
    derived = derive_dark(store, inputs, job.rule, stamp)
    for mode, reading in job.readings.items():
        manifest = inputs[mode].manifest
        what = f"frames of {manifest.detector}, run {manifest.run}"
        witness(store, manifest.reference, reading.data.source.evidence(), stamp, what)
    return _Done(derived, {mode: each.manifest for mode, each in inputs.items()})


def _told(job: Job, before: Version | None, done: _Done, is_remembered: bool) -> DarkDetector:
    frames = {mode: each.frames.count for mode, each in done.inputs.items()}
    status = constants_at(before, job.key, job.run, ("pixel_status",)).get("pixel_status")
    recipe = job.rule.recipe
    return DarkDetector(
        job.key[1],
        done.derived,
        recipe,
        job.recipe_before,
        frames,
        is_remembered,
        job.inherited,
        status,
    )


def _input(request: DarkRequest, job: Job, mode: str, frames: Frames) -> InputManifest:
    """The input manifest of a gain mode, if these are its frames."""
    reading = job.readings[mode]
    return InputManifest(
        request.experiment,
        reading.data.run,
        reading.detector.name,
        frames,
        reading.step.number,
        mode,
        reading.detector.serials,
        selection_of(job.rule.recipe, job.codes),
    )


def _with(
    store: Store,
    manifest: SetManifest,
    job: Job,
    derived: Derived,
    runs: RunRange,
    is_underlay: bool,
) -> SetManifest:
    """The set with the constants of a detector in it; the detector's manifest is stored."""
    reference: Reference | None = manifest.detectors.get(job.key)
    detector = DetectorManifest() if reference is None else load_detector(store, reference)
    for name, other in job.inherited.constants.items():
        if name not in detector.constants:
            detector = detector.replaced(name, {ALL_RUNS: other})
    for name, array in derived.results.items():
        constant = Constant(array, serials=job.detector.serials, derivation=derived.reference)
        before = detector.constants.get(name, {})
        after = {**before, runs: constant} if is_underlay else overridden(before, runs, constant)
        detector = detector.replaced(name, after)
    stored = objects.put(store.backend, objects.MANIFESTS, detector.encoded())
    return manifest.replaced(job.key, stored)
