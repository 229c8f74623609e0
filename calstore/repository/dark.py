"""dark: a dark run becomes constants with their provenance, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from calstore.darks.recipe import DarkRecipe
from calstore.errors import Invalid
from calstore.frames.source import WHOLE
from calstore.model.arrays import ArrayReference
from calstore.model.detectors import COMPUTED_FROM
from calstore.model.digest import Reference
from calstore.model.inputs import InputManifest
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.records import Record, Stamp
from calstore.model.runs import END, RunRange
from calstore.repository.change import Move, move, put_set
from calstore.repository.dark_plan import Data, Job, Reading, Recipes, jobs_of, wanted_of
from calstore.repository.derive import GAINS, DarkInput, Derived, Rule, derive_dark
from calstore.repository.measure import Key, Measured, measure
from calstore.repository.results import witness
from calstore.repository.set_constant import overridden
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version, load_detector
from calstore.store import logs, objects


@dataclass(frozen=True, slots=True)
class DarkRequest:
    """What shall become of a dark run.

    Parameters
    ----------
    detectors
        By source, name in the data, or a unique part; none for cspad, epix and jungfrau.
    valid
        Runs that get the constants whatever else there is; ``None`` adds ``<run>-end`` and leaves
        later darks their runs.
    without
        Gain modes that may be absent.
    """

    experiment: str
    ref: str
    detectors: tuple[str, ...] = ()
    recipes: Recipes = field(default_factory=Recipes)
    valid: RunRange | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DarkDetector:
    """What was made for one detector.

    Parameters
    ----------
    frames
        By gain mode, how many were used; the only key is ``""`` for a detector without.
    is_short
        Whether some mode has fewer frames than the recipe makes its gates from.
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
    is_short: bool
    status_before: ArrayReference | None


@dataclass(frozen=True, slots=True)
class DarkMade:
    """The record of the new version, whether it is new, and what was made for each detector."""

    record: Record
    changed: bool
    runs: RunRange
    detectors: tuple[DarkDetector, ...]


def dark(
    store: Store,
    request: DarkRequest,
    runs: Sequence[Data],
    stamp: Stamp,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DarkMade:
    """Pedestals, noise, status and extremes of the pixels, committed with their provenance.

    Parameters
    ----------
    runs
        One dark run; of a detector with gain modes also several, each with some of them.
    progress
        Called with the number of frames done and of all, for each run.

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
    before = _version(store, ref)
    jobs = jobs_of(store, before, runs, request.detectors, request.recipes, request.without)
    measured = [measure(data.source, wanted_of(jobs, data), WHOLE, progress) for data in runs]
    by_data = list(zip(runs, measured, strict=True))
    made = [_derived(store, request, job, by_data, before, stamp) for job in jobs]
    valid = request.valid or RunRange(min(data.run for data in runs), END)
    told = ", ".join(job.key[1] for job in jobs)
    numbers = ", ".join(map(str, sorted({data.run for data in runs})))

    def decide(version: Version | None) -> Move:
        manifest = SetManifest() if version is None else version.manifest
        for job, each in zip(jobs, made, strict=True):
            manifest = _with(store, manifest, job, each.derived, valid, request.valid is None)
        return Move(put_set(store, manifest), f"dark run {numbers}: {told}, for runs {valid}")

    moved = move(store, ref, decide, stamp, "dark", may_be_new=True)
    return DarkMade(moved.record, moved.changed, valid, tuple(made))


def _version(store: Store, ref: RefName) -> Version | None:
    entry = logs.head(store.backend, ref.log)
    return None if entry is None or entry.record.manifest is None else store[str(ref)]


def _derived(
    store: Store,
    request: DarkRequest,
    job: Job,
    measured: Sequence[tuple[Data, Mapping[Key, Measured]]],
    before: Version | None,
    stamp: Stamp,
) -> DarkDetector:
    inputs = {}
    for mode, reading in job.readings.items():
        of_run = next(each for data, each in measured if data is reading.data)
        found = of_run.get((reading.detector.name, reading.step.number))
        if found is None:
            raise Invalid(
                f"no frame of {reading.detector.name} is left in step {reading.step.number} of run "
                f"{reading.data.run}; the recipe skips the first {job.recipe.skip}"
            )
        inputs[mode] = DarkInput(_input(request, job, mode, reading, found), found.sums)
    run = min(reading.data.run for reading in job.readings.values())
    gains = _constants_at(before, job, run, GAINS) if _needs_gains(job, request) else {}
    rule = Rule(job.recipe, job.modes, gains if len(gains) == len(GAINS) else {}, request.without)
    derived = derive_dark(store, inputs, rule, stamp)
    for mode, reading in job.readings.items():
        manifest = inputs[mode].manifest
        what = f"frames of {manifest.detector}, run {manifest.run}"
        witness(store, manifest.reference, reading.data.source.evidence(), stamp, what)
    return DarkDetector(
        job.key[1],
        derived,
        job.recipe,
        job.recipe_before,
        {mode: each.sums.frames for mode, each in inputs.items()},
        any(each.sums.is_short for each in inputs.values()),
        _constants_at(before, job, run, ("pixel_status",)).get("pixel_status"),
    )


def _input(
    request: DarkRequest, job: Job, mode: str, reading: Reading, found: Measured
) -> InputManifest:
    return InputManifest(
        request.experiment,
        reading.data.run,
        reading.detector.name,
        found.frames,
        reading.step.number,
        mode,
        reading.detector.serials,
        wanted_of((job,), reading.data)[0].selection,
    )


def _needs_gains(job: Job, request: DarkRequest) -> bool:
    return any(mode in COMPUTED_FROM and mode not in request.without for mode in job.modes)


def _constants_at(
    version: Version | None, job: Job, run: int, types: Sequence[str]
) -> dict[str, ArrayReference]:
    """The arrays of some types that the run gets, as far as there are any."""
    if version is None or job.key not in version.manifest.detectors:
        return {}
    there = version.detector(job.key).at(run)
    contents = {name: there[name].constant.content for name in types if name in there}
    return {name: item for name, item in contents.items() if isinstance(item, ArrayReference)}


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
    for name, array in derived.results.items():
        constant = Constant(array, serials=job.detector.serials, derivation=derived.reference)
        before = detector.constants.get(name, {})
        after = {**before, runs: constant} if is_underlay else overridden(before, runs, constant)
        detector = detector.replaced(name, after)
    stored = objects.put(store.backend, objects.MANIFESTS, detector.encoded())
    return manifest.replaced(job.key, stored)
