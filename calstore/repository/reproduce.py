"""reproduce: derive constants again from the runs that they came from, and compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from calstore.darks import masks
from calstore.errors import Corrupt, Invalid, NotFound
from calstore.frames.source import WHOLE, FrameSource
from calstore.model.arrays import ArrayReference
from calstore.model.derivations import FRAMES, DerivationManifest
from calstore.model.digest import Digest, Reference, typed_prefix
from calstore.model.inputs import Evidence, InputManifest
from calstore.model.manifests import Detector
from calstore.repository import derive, derive_mask
from calstore.repository.measure import Wanted, measure
from calstore.repository.results import derivation_of, evidences, input_of, recall
from calstore.repository.store import Store
from calstore.repository.version import Version, open_version
from calstore.store import arrays, objects

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

Opener: TypeAlias = Callable[[tuple[Evidence, ...], InputManifest], FrameSource]
"""Opens the files of some evidence, labelled as the input says; `NotFound` where they are gone."""

SAME: Final = "same"
DIFFERS: Final = "differs"
CHANGED: Final = "changed"
GONE: Final = "gone"


@dataclass(frozen=True, slots=True)
class Compared:
    """One array of a derivation: its type, what the set has and what came out now."""

    type_name: str
    stored: Digest
    now: Digest


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What became of one derivation.

    Parameters
    ----------
    detector
        Group and source, ``None`` where only the derivation was named.
    outcome
        `SAME`; `DIFFERS`: the same inputs gave something else; `CHANGED`: the frames are not
        those that were read then; `GONE`: they, or a stored input, cannot be found or read.
    why
        Of what changed or is gone: which input it is, and what is known of it.
    """

    detector: Detector | None
    derivation: Digest
    recipe: str
    outcome: str
    compared: tuple[Compared, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Task:
    """A derivation, and the arrays that it is said to have given."""

    detector: Detector | None
    reference: Reference
    results: Mapping[str, Digest]


class _Changed(Exception):
    """The frames are others than those that were read then."""


def reproduce(
    store: Store,
    text: str,
    detector: str | None = None,
    *,
    opener: Opener,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Reproduced, ...]:
    """Every derivation of a version, or the one of a digest, computed again and compared.

    Nothing is stored. Constants that were imported or set have no derivation and are left out.

    Parameters
    ----------
    text
        A ref, a record, or the digest of a set or of a derivation.
    detector
        The source, or a unique part of it; only of a version.
    progress
        Called with the number of derivations done and of all.

    Raises
    ------
    NotFound
        When there is no such version or detector, or nothing in it was derived.
    Corrupt
        When something stored is not what was stored.
    """
    tasks = list(_tasks(store, text, detector))
    if not tasks:
        raise NotFound(
            f"nothing in {text} was derived by calstore, so nothing can be derived again; "
            f"calstore show {text} says where its constants come from"
        )
    progress(0, len(tasks))
    found = []
    for done, task in enumerate(tasks, start=1):
        found.append(_reproduced(store, task, opener))
        progress(done, len(tasks))
    return tuple(found)


def _tasks(store: Store, text: str, detector: str | None) -> Iterator[_Task]:
    derivation = _derivation_named(store, text)
    if derivation is None:
        yield from _of_version(open_version(store, text), detector)
        return
    if detector is not None:
        raise Invalid(f"{text} is one derivation; leave the detector out")
    results = recall(store, derivation.digest)
    if results is None:
        raise NotFound(
            f"what {derivation.digest.short} gave is not stored; name a version that has it"
        )
    yield _Task(None, derivation, {role: array.digest for role, array in results.items()})


def _derivation_named(store: Store, text: str) -> Reference | None:
    """The derivation that a digest names; ``None`` where it is a set, or no digest."""
    prefix = typed_prefix(text)
    if prefix is None:
        return None
    digest = objects.find(store.backend, objects.MANIFESTS, prefix)
    data = store.backend.get(objects.key_of(objects.MANIFESTS, digest))
    try:
        reference = DerivationManifest.decoded(data).reference
    except Invalid:
        return None
    if reference.digest != digest:
        raise Corrupt(f"the derivation {digest} is damaged; restore it from a copy")
    return reference


def _of_version(version: Version, detector: str | None) -> Iterator[_Task]:
    keys = version.detectors if detector is None else (version.find(detector),)
    for key in keys:
        results: dict[Reference, dict[str, Digest]] = {}
        for type_name, by_range in version.detector(key).manifest.constants.items():
            for constant in by_range.values():
                if constant.derivation is not None:
                    of_it = results.setdefault(constant.derivation, {})
                    of_it[type_name] = constant.content.digest
        for reference, by_type in results.items():
            yield _Task(key, reference, by_type)


def _reproduced(store: Store, task: _Task, opener: Opener) -> Reproduced:
    manifest = derivation_of(store, task.reference)
    recipe = f"{manifest.recipe} {manifest.version}"
    try:
        values = _computed(store, manifest, opener)
    except _Changed as changed:
        return Reproduced(task.detector, task.reference.digest, recipe, CHANGED, why=str(changed))
    except (NotFound, Invalid) as error:
        return Reproduced(task.detector, task.reference.digest, recipe, GONE, why=str(error))
    compared = tuple(
        Compared(name, digest, arrays.identity(values[name]))
        for name, digest in sorted(task.results.items())
    )
    is_same = all(each.stored == each.now for each in compared)
    outcome = SAME if is_same else DIFFERS
    return Reproduced(task.detector, task.reference.digest, recipe, outcome, compared)


def _computed(store: Store, manifest: DerivationManifest, opener: Opener) -> Mapping[str, Array]:
    """What the derivation gives now, by type."""
    if manifest.recipe == masks.RECIPE:
        return derive_mask.computed(store, manifest)[0]
    rule = derive.rule_of(manifest)
    inputs = {}
    for role, item in manifest.inputs.items():
        if item.kind == FRAMES:
            assert not isinstance(item.content, ArrayReference)
            mode = role.partition("/")[2]
            inputs[mode] = _measured(store, item.content, rule, opener)
    return derive.computed(store, inputs, rule)[1]


def _measured(
    store: Store, reference: Reference, rule: derive.Rule, opener: Opener
) -> derive.DarkInput:
    """The sums of the frames that an input names, if they are still the same."""
    wanted = input_of(store, reference)
    told = f"the frames of {wanted.detector}, run {wanted.run} of {wanted.experiment}"
    source = _opened(evidences(store, reference.digest), wanted, opener, told)
    holds = source.contents().detectors
    detector = next((each for each in holds if each.name == wanted.detector), None)
    steps = () if detector is None else detector.steps
    step = next((each for each in steps if each.number == wanted.step), None)
    if detector is None or step is None:
        raise NotFound(f"{told} are gone: the files hold {', '.join(each.name for each in holds)}")
    found = measure(source, [Wanted(detector, (step,), rule.recipe, wanted.selection.codes)], WHOLE)
    measured = found.get((detector.name, step.number))
    if measured is None:
        raise NotFound(f"{told} are gone: the files hold no frame of step {wanted.step}")
    now = measured.frames
    if now != wanted.frames:
        raise _Changed(
            f"{told} have changed: {wanted.frames.count} with {wanted.frames.digest.short} were "
            f"read then, {now.count} with {now.digest.short} now"
        )
    return derive.DarkInput(wanted, measured.sums)


def _opened(
    known: Iterable[tuple[Evidence, ...]], wanted: InputManifest, opener: Opener, told: str
) -> FrameSource:
    """The newest of the places that the frames were found in, and that still has them."""
    looked: list[str] = []
    for evidence in known:
        try:
            return opener(evidence, wanted)
        except NotFound as error:
            looked.append(str(error))
    raise NotFound(f"{told} are gone: {'; '.join(looked) or 'nobody noted where they were'}")
