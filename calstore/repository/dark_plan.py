"""Which frames of which runs become which constants, before any frame is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from calstore.darks.modes import modes_of, origins_of
from calstore.darks.recipe import DarkRecipe, recipe_for
from calstore.errors import Invalid, NotFound
from calstore.frames.source import Contents, DetectorData, FrameSource, Step
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import device_of, group_of, is_source
from calstore.model.manifests import Constant, Detector
from calstore.repository.derive import GAINS, Rule, rule_of
from calstore.repository.inherit import Inherited, inherited
from calstore.repository.measure import Wanted
from calstore.repository.recipes import Recipes
from calstore.repository.results import derivation_of
from calstore.repository.store import Store
from calstore.repository.version import Version

BY_DEFAULT: Final = ("cspad", "epix", "jungfrau")
"""How the kinds of detectors begin that are done when nobody names one."""

FIRST_RECIPE: Final = "psana"
"""For a detector that has no dark yet: its numbers go on from those of the tools before."""


@dataclass(frozen=True, slots=True)
class Data:
    """A run whose frames can be read, and what it holds."""

    run: int
    source: FrameSource
    contents: Contents


@dataclass(frozen=True, slots=True)
class Reading:
    """The frames of one detector in one gain mode: a step of one of the runs."""

    data: Data
    detector: DetectorData
    step: Step


@dataclass(frozen=True, slots=True)
class Job:
    """One detector: what is read, and by which recipe it becomes constants.

    Parameters
    ----------
    readings
        By gain mode; the only key is ``""`` for a detector without.
    recipe_before
        The recipe of the dark that the version has, ``None`` for none.
    inherited
        What the version lacks and a ref of the same panels has.
    codes
        Event codes of which an event has one; none for any event.
    """

    key: Detector
    detector: DetectorData
    readings: Mapping[str, Reading]
    rule: Rule
    recipe_before: DarkRecipe | None
    inherited: Inherited
    codes: tuple[int, ...] = ()

    @property
    def run(self) -> int:
        """The first of the runs."""
        return min(each.data.run for each in self.readings.values())

    def wanted(self, data: Data) -> Wanted | None:
        """What is to be read of one run, ``None`` for nothing."""
        of_run = [each for each in self.readings.values() if each.data is data]
        if not of_run:
            return None
        steps = tuple(each.step for each in of_run)
        return Wanted(of_run[0].detector, steps, self.rule.recipe, self.codes)


def jobs_of(
    store: Store,
    version: Version | None,
    runs: Sequence[Data],
    names: Sequence[str],
    recipes: Recipes,
    without: frozenset[str],
) -> tuple[Job, ...]:
    """What is to be done for each detector.

    Parameters
    ----------
    version
        What the ref has, ``None`` for a new one.
    runs
        One run; or several, one for each gain mode or some.
    names
        Detectors by source, name in the data, or a unique part; none for those of `BY_DEFAULT`.
    without
        Gain modes that may be absent.

    Raises
    ------
    NotFound
        When the data hold no such detector, or none that is done by default.
    Invalid
        When gain modes are not told, told twice, or are missing; when panels differ between runs.
    """
    chosen = _chosen(runs[0].contents, names)
    return tuple(_job(store, version, runs, each, recipes, without) for each in chosen)


def key_of(detector: DetectorData) -> Detector:
    """Group and source under which a set has the detector.

    psana's group for a source of LCLS-I; for LCLS-II the detector's type and name.
    """
    if is_source(detector.name):
        return group_of(detector.name), detector.name
    return detector.kind or "UNDEFINED", detector.name


def constants_at(
    version: Version | None, key: Detector, run: int, types: Sequence[str]
) -> dict[str, ArrayReference]:
    """The arrays of some types that a run gets of a detector, as far as there are any."""
    if version is None or key not in version.manifest.detectors:
        return {}
    there = version.detector(key).at(run)
    return _arrays({name: there[name].constant for name in types if name in there})


def _chosen(contents: Contents, names: Sequence[str]) -> list[DetectorData]:
    if names:
        named = [_named(contents, name) for name in names]
        return list({each.name: each for each in named}.values())
    found = [each for each in contents.detectors if _kind(each).casefold().startswith(BY_DEFAULT)]
    if not found:
        raise NotFound(
            f"no cspad, epix or jungfrau in the data; name a detector: --detector "
            f"{' or '.join(each.name for each in contents.detectors) or 'none'}"
        )
    return found


def _named(contents: Contents, text: str) -> DetectorData:
    exact = [each for each in contents.detectors if each.name == text]
    wanted = text.casefold()
    found = exact or [each for each in contents.detectors if wanted in each.name.casefold()]
    there = ", ".join(each.name for each in contents.detectors) or "no detectors"
    if not found:
        raise NotFound(f"no detector {text!r} in the data, which hold {there}")
    if len(found) > 1:
        raise Invalid(f"{text!r} is a part of several detectors of the data: {there}")
    return found[0]


def _kind(detector: DetectorData) -> str:
    device = device_of(detector.name)
    return detector.kind or ("" if device is None else device.name)


def _job(
    store: Store,
    version: Version | None,
    runs: Sequence[Data],
    detector: DetectorData,
    recipes: Recipes,
    without: frozenset[str],
) -> Job:
    modes = modes_of(_kind(detector))
    key = key_of(detector)
    readings = list(_readings(runs, detector))
    before = _recipe_before(store, version, key, runs[0].run)
    recipe = _recipe(recipes, before, _kind(detector), detector.dtype)
    others = inherited(store, version, key, detector.serials)
    if modes is None:
        if without or len(runs) > 1:
            raise Invalid(
                f"{detector.name} has no gain modes: it takes one run, and none is left out"
            )
        by_mode = {"": _first(readings, detector)}
        return Job(key, detector, by_mode, Rule(recipe), before, others)
    by_mode = _by_mode(readings, detector, modes.names)
    gains = {**_arrays(others.constants), **constants_at(version, key, runs[0].run, GAINS)}
    gains = {name: array for name, array in gains.items() if name in GAINS}
    has_gains = gains.keys() >= set(GAINS)
    origins_of(by_mode.keys(), modes.names, has_gains=has_gains, without=without)
    rule = Rule(recipe, modes.names, gains if has_gains else {}, without)
    return Job(key, detector, by_mode, rule, before, others)


def _arrays(constants: Mapping[str, Constant]) -> dict[str, ArrayReference]:
    contents = {name: constant.content for name, constant in constants.items()}
    return {name: item for name, item in contents.items() if isinstance(item, ArrayReference)}


def _readings(runs: Sequence[Data], detector: DetectorData) -> Iterator[Reading]:
    for data in runs:
        there = _named(data.contents, detector.name)
        if (there.serials, there.shape, there.dtype) != (
            detector.serials,
            detector.shape,
            detector.dtype,
        ):
            raise Invalid(
                f"{detector.name} has other panels in run {data.run} than in run {runs[0].run}; "
                "runs of one dark are of the same detector"
            )
        for step in there.steps:
            if step.events != 0:
                yield Reading(data, there, step)


def _first(readings: Sequence[Reading], detector: DetectorData) -> Reading:
    """Steps belong to the detector that the scan names; any other one is read in the first."""
    if not readings:
        raise Invalid(f"the data hold no event with a frame of {detector.name}; is the run empty?")
    return readings[0]


def _by_mode(
    readings: Sequence[Reading], detector: DetectorData, modes: tuple[str, ...]
) -> dict[str, Reading]:
    found: dict[str, Reading] = {}
    for each in readings:
        mode, where = each.step.mode, f"step {each.step.number} of run {each.data.run}"
        if mode == "" and len(readings) > 1:
            continue
        if mode not in modes:
            told = f"the gain mode {mode!r}, which is none of" if mode else "no gain mode of"
            raise Invalid(
                f"{where} tells {told} {detector.name} ({', '.join(modes)}); "
                "tell it with --from MODE=FILE"
            )
        if mode in found:
            other = found[mode]
            raise Invalid(
                f"{detector.name} is in {mode} both in step {other.step.number} of run "
                f"{other.data.run} and in {where}; name one run for each mode"
            )
        found[mode] = each
    return found


def _recipe(recipes: Recipes, before: DarkRecipe | None, kind: str, dtype: str) -> DarkRecipe:
    if recipes.name is None and before is not None:
        changes = {**before.parameters(), **recipes.changes}
        return recipe_for(before.name, kind, dtype, changes) if recipes.changes else before
    return recipe_for(recipes.name or FIRST_RECIPE, kind, dtype, recipes.changes)


def _recipe_before(
    store: Store, version: Version | None, key: Detector, run: int
) -> DarkRecipe | None:
    """The recipe of the pedestals that the run gets, or else of the newest that are computed."""
    if version is None or key not in version.manifest.detectors:
        return None
    constants = version.detector(key).manifest.constants.get("pedestals", {})
    computed = {runs: one for runs, one in constants.items() if one.derivation is not None}
    of_run = version.detector(key).timeline("pedestals").at(run) if computed else None
    runs = of_run if of_run in computed else max(computed, default=None)
    if runs is None:
        return None
    derivation = computed[runs].derivation
    assert derivation is not None
    return rule_of(derivation_of(store, derivation)).recipe
