"""mask: which pixels to leave out, made from what a version has, and where clients see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from calstore.darks.masks import users_mask
from calstore.errors import Invalid, NotFound
from calstore.formats import npy, psana_text
from calstore.model.arrays import ArrayReference
from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.records import Record, Stamp
from calstore.model.runs import MAX_RUN, RunRange
from calstore.repository.change import Move, move, put_set
from calstore.repository.derive_mask import (
    EXTRA,
    GEOMETRY,
    MASK,
    PEDESTALS,
    STATUS,
    USER,
    Array,
    DerivedMask,
    MaskRequest,
    derive_mask,
    needs_image,
)
from calstore.repository.files import read_file
from calstore.repository.set_constant import overridden
from calstore.repository.store import Store, ref_name
from calstore.repository.version import Version, load_detector
from calstore.store import objects
from calstore.views.resolve import Timeline

Serials: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Masking:
    """The mask of some runs.

    Parameters
    ----------
    pixels, masked
        Of one gain mode: how many there are, and how many of them are masked.
    causes
        Cause → how many pixels it masks; several may mask the same.
    keeps_older
        Whether the pixel_status still has the bit of an earlier mask, as far as it was looked at.
    """

    runs: RunRange
    mask: ArrayReference
    derivation: Reference
    pixels: int
    masked: int
    causes: Mapping[str, int]
    keeps_older: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: a mask for all runs that get the same status, and the record."""

    record: Record
    changed: bool
    detector: Detector
    maskings: tuple[Masking, ...]


def read_users_mask(path: Path) -> Array:
    """A user's mask from ``.npy`` or text, as uint8; `Invalid` when it is none."""
    data = read_file(path)
    try:
        if path.suffix == ".npy":
            return users_mask(npy.read(data))
        return users_mask(psana_text.read(data, group="", type_name=USER).array)
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from error


def make_mask(
    store: Store,
    name: str,
    detector: str,
    request: MaskRequest,
    stamp: Stamp,
    *,
    runs: RunRange | None = None,
) -> Made:
    """Give runs a pixel_mask, and fold it into their status if asked, in one commit.

    Parameters
    ----------
    name
        The ref; a tag is refused.
    detector
        The source, or a unique part of it.
    runs
        Those that get a mask, each by the status that it has; ``None`` for the newest ones that
        get the same.

    Raises
    ------
    NotFound
        When there is no such ref or detector, or not what the mask is made from.
    Invalid
        When the user's mask fits neither the panels nor the image, when no pixel would be left, or
        when where chips meet is asked for and not known.
    """
    found: dict[RunRange, DerivedMask] = {}
    keys: list[Detector] = []

    def decide(version: Version | None) -> Move:
        assert version is not None
        key = version.find(detector)
        manifest = load_detector(store, version.manifest.detectors[key])
        found.clear()
        stretches = list(_stretches(version, key, manifest, request, runs))
        for stretch, serials, used in stretches:
            derived = found[stretch] = derive_mask(store, key, request, used, stamp)
            for type_name, content in derived.results.items():
                constant = Constant(content, serials=serials, derivation=derived.reference)
                before = manifest.constants.get(type_name, {})
                manifest = manifest.replaced(type_name, overridden(before, stretch, constant))
        keys[:] = [key]
        spelled = ", ".join(map(str, found))
        into = f", folded into {request.apply_to}" if request.apply_to else ""
        return Move(_with(version, key, manifest), f"mask {key[1]} {spelled}{into}")

    moved = move(store, ref_name(name), decide, stamp, "mask")
    maskings = tuple(_masking(stretch, derived) for stretch, derived in found.items())
    return Made(moved.record, moved.changed, keys[0], maskings)


def _masking(runs: RunRange, derived: DerivedMask) -> Masking:
    masked = derived.masked
    return Masking(
        runs,
        derived.results[MASK],
        derived.reference,
        masked.mask.size,
        masked.count,
        masked.causes,
        derived.keeps_older,
    )


def _stretches(
    version: Version,
    key: Detector,
    manifest: DetectorManifest,
    request: MaskRequest,
    runs: RunRange | None,
) -> Iterator[tuple[RunRange, Serials, Mapping[str, Constant]]]:
    """Runs that get the same of all that a mask is made from, their panels, and that by role."""
    base = _base_role(version, key, manifest, request)
    timeline = Timeline(manifest.constants[base])
    runs = runs or _newest(timeline)
    covered = [
        piece for piece in timeline.pieces if piece.first <= runs.last and runs.first <= piece.last
    ]
    if not covered:
        raise NotFound(
            f"no {base} for {key[1]} in runs {runs}; calstore coverage {version.name} shows which"
        )
    example = manifest.constants[base][covered[-1].winner]
    shape = example.content.shape if isinstance(example.content, ArrayReference) else ()
    is_drawn = needs_image(request, key, shape)
    roles = [EXTRA] if request.apply_to == EXTRA else []
    roles += [base] if _counts(base, request) else []
    roles += [GEOMETRY] if is_drawn else []
    timelines = {role: Timeline(manifest.constants.get(role, {})) for role in roles}
    for stretch in _cut(runs, timelines.values()):
        winners = {role: line.at(stretch.first) for role, line in timelines.items()}
        used = {role: manifest.constants[role][won] for role, won in winners.items() if won}
        if base not in roles:
            used[base] = example
        if is_drawn and base in used and GEOMETRY not in used:
            assert request.user is not None
            raise NotFound(
                f"no geometry for {key[1]} in runs {stretch}, and a mask of shape "
                f"{request.user.shape} is not one of its panels; set one: calstore set "
                f"{version.name.partition('@')[0]} {key[1]} geometry {stretch} FILE"
            )
        if base in used:
            yield stretch, used[base].serials, used


def _counts(base: str, request: MaskRequest) -> bool:
    """Whether the values of the base count, and not just how many there are."""
    return base == STATUS and (bool(request.status_bits) or request.apply_to == STATUS)


def _base_role(
    version: Version, key: Detector, manifest: DetectorManifest, request: MaskRequest
) -> str:
    """The type that has a value for each pixel: the status where it is needed."""
    if request.status_bits and STATUS not in manifest.constants:
        raise NotFound(
            f"no {STATUS} for {key[1]} in {version.name}; to mask without it: --status-bits 0"
        )
    first = STATUS if _counts(STATUS, request) else PEDESTALS
    for role in (first, PEDESTALS, STATUS):
        if role in manifest.constants:
            return role
    raise NotFound(
        f"neither {PEDESTALS} nor {STATUS} for {key[1]} in {version.name}, so how many pixels it "
        "has is not known"
    )


def _newest(timeline: Timeline) -> RunRange:
    newest = [piece for piece in timeline.pieces if piece.first <= MAX_RUN][-1]
    return RunRange(newest.first, newest.last)


def _cut(runs: RunRange, timelines: Iterable[Timeline]) -> Iterator[RunRange]:
    """The runs in order, cut wherever one of the timelines goes over to something else."""
    edges = {runs.first, runs.last + 1}
    for timeline in timelines:
        for piece in timeline.pieces:
            edges |= {run for run in (piece.first, piece.last + 1) if runs.holds(run)}
    for first, following in pairwise(sorted(edges)):
        if first <= MAX_RUN:
            yield RunRange(first, following - 1)


def _with(version: Version, key: Detector, manifest: DetectorManifest) -> Reference:
    """The version's set, stored, with another manifest of a detector."""
    store = version.store
    reference = objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
    return put_set(store, version.manifest.replaced(key, reference))
