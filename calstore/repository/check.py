"""check: the machine's verdict on constants; a person's is an approval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from calstore.checks import form, geometry, rules, values
from calstore.checks.finding import Finding, Subject
from calstore.errors import Invalid
from calstore.formats import psana_text
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import calibration_type, group
from calstore.model.digest import Digest, Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.repository.version import CalibrationConstant, Version
from calstore.views.course import Course, runs_text, side_by_side
from calstore.views.coverage import coverage_of
from calstore.views.selection import Selection

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_OF_A_DARK: Final = ("pixel_rms", "pixel_status", "pixel_gain", "pixel_offset")
"""Types that readers combine with the pedestals, value by value."""


@dataclass(frozen=True, slots=True)
class DetectorFindings:
    """What was found about one detector; what is wrong comes first.

    Parameters
    ----------
    constants
        How many of it were judged.
    """

    detector: Detector
    constants: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was judged, and what was found.

    Parameters
    ----------
    detectors
        Every detector that was judged, also those of which there is nothing to say.
    arrays, size
        Distinct arrays that were read for it, and their bytes.
    """

    detectors: tuple[DetectorFindings, ...]
    arrays: int
    size: int

    @property
    def constants(self) -> int:
        """How many constants were judged; those that no run gets are not."""
        return sum(one.constants for one in self.detectors)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all detectors."""
        return tuple(finding for one in self.detectors for finding in one.findings)

    @property
    def wrong(self) -> int:
        """How many findings are more than suspicious."""
        return sum(finding.is_wrong for finding in self.findings)

    @property
    def suspicious(self) -> int:
        """How many findings a person should look at, beside what is wrong."""
        return len(self.findings) - self.wrong

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong; something may be suspicious all the same."""
        return not self.wrong


def check(
    version: Version,
    detector: str | None = None,
    type_name: str | None = None,
    *,
    run: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Judge the constants that any run gets, each distinct array once.

    Of the arrays, at most two are in memory at a time.

    Parameters
    ----------
    detector
        The source, or a unique part of it.
    type_name
        Only this type of the detector. What concerns the values of two types is not judged then.
    run
        Only what this run gets.
    progress
        Called with the number of arrays done and of all.

    Raises
    ------
    NotFound
        When there is no such detector, or nothing to judge for it.
    Invalid
        When a type is given without a detector, or one that has no rules.
    Corrupt
        When an array is not what was stored.
    """
    if type_name is not None and detector is None:
        raise Invalid(f"of which detector is the {type_name}? Name the detector too")
    if type_name is not None and not rules.is_judged(type_name):
        raise Invalid(f"there are no rules for {type_name}; leave it out to judge all that have")
    key = None if detector is None else version.find(detector)
    manifests = {
        one: version.detector(one).manifest for one in version.detectors if key in (None, one)
    }
    selected = Selection(key, type_name, run).detectors(manifests)
    whole = Selection(key, None, run).detectors(manifests)
    parts = [part for one, manifest in selected.items() for part in _parts(version, one, manifest)]
    found = _Found({one: _pairs(whole[one], type_name, run) for one in selected})
    for part in parts:
        found.add(part.detector, _form_findings(part, found))
    for one in selected:
        found.add(one, _shapes_apart(one, found.pairs[one]))
        found.add(one, _geometries_apart(one, found))
        found.add(one, _panels_apart(one, whole[one], type_name, run))
    sizes = _judge_values(parts, found, progress)
    judged = Counter[Detector]()
    for part in parts:
        judged[part.detector] += len(part.subject.runs)
    by_detector = (DetectorFindings(one, judged[one], found.of(one)) for one in selected)
    return Checked(tuple(by_detector), len(sizes), sum(sizes))


@dataclass(frozen=True, slots=True)
class _Part:
    """A distinct constant of a detector's type, under all the ranges whose runs get it."""

    detector: Detector
    subject: Subject
    constant: CalibrationConstant


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two constants that the same runs get: of a type beside the pedestals or the rms.

    Parameters
    ----------
    other
        ``None`` where the runs get no constant of this type.
    """

    basis_type: str
    basis: Constant
    other_type: str
    other: Constant | None
    runs: tuple[str, ...]


@dataclass
class _Found:
    """What was found so far, and what is remembered of an rms that is no longer in memory.

    Parameters
    ----------
    silent
        Detector and digest of an rms → the indices of its pixels without noise.
    texts
        Digest of a geometry → its text.
    """

    pairs: Mapping[Detector, Sequence[_Pair]]
    findings: dict[Detector, list[Finding]] = field(default_factory=dict)
    silent: dict[tuple[Detector, Digest], Array] = field(default_factory=dict)
    texts: dict[Digest, bytes] = field(default_factory=dict)

    def add(self, detector: Detector, findings: Iterable[Finding]) -> None:
        """Keep some findings."""
        self.findings.setdefault(detector, []).extend(findings)

    def of(self, detector: Detector) -> tuple[Finding, ...]:
        """What was found about a detector: equal findings once, what is wrong first."""
        runs: dict[Finding, list[str]] = {}
        for finding in self.findings.get(detector, ()):
            runs.setdefault(replace(finding, runs=("",)), []).extend(finding.runs)
        merged = [
            replace(finding, runs=tuple(dict.fromkeys(named))) for finding, named in runs.items()
        ]
        return tuple(sorted(merged, key=lambda finding: not finding.is_wrong))


def _parts(version: Version, key: Detector, manifest: DetectorManifest) -> Iterator[_Part]:
    """The constants that any run gets, equal ones once.

    Files that differ may be one array: psana's cast makes 0 of 65536.
    """
    detector = version.detector(key)
    for name, by_range in manifest.constants.items():
        if not rules.is_judged(name):
            continue
        alike: dict[tuple[Reference | ArrayReference, Reference | None], list[RunRange]] = {}
        for runs in sorted(Course.of(by_range).names):
            constant = by_range[runs]
            alike.setdefault((constant.content, constant.source), []).append(runs)
        for ranges in alike.values():
            subject = Subject(*key, name, tuple(map(str, ranges)))
            first = CalibrationConstant(detector, name, ranges[0], by_range[ranges[0]])
            yield _Part(key, subject, first)


def _pairs(manifest: DetectorManifest, type_name: str | None, run: int | None) -> tuple[_Pair, ...]:
    """What the same runs get of types that belong together, equal pairs once."""
    beside = (*_OF_A_DARK, rules.GEOMETRY)
    kinds = [*(("pedestals", other) for other in beside), ("pixel_rms", "pixel_status")]
    pairs: list[_Pair] = []
    for basis, other in kinds:
        if basis not in manifest.constants or type_name not in (None, basis, other):
            continue
        courses = [Course.of(manifest.constants.get(name, {})) for name in (basis, other)]
        alike: dict[tuple[Digest, Digest | None], _Pair] = {}
        for first, last, (mine, theirs) in side_by_side(*courses):
            if mine is None or (run is not None and not first <= run <= last):
                continue
            second = None if theirs is None else theirs[1]
            digests = mine[1].content.digest, None if second is None else second.content.digest
            spelled = runs_text(first, last) if run is None else runs_text(run, run)
            known = alike.get(digests)
            before = () if known is None else known.runs
            alike[digests] = _Pair(basis, mine[1], other, second, (*before, spelled))
        pairs.extend(alike.values())
    return tuple(pairs)


def _form_findings(part: _Part, found: _Found) -> tuple[Finding, ...]:
    """What is odd about a constant before any array is read; the text of a geometry is."""
    content, subject = part.constant.constant.content, part.subject
    if isinstance(content, ArrayReference):
        return rules.form_findings(subject, content.dtype, content.shape)
    if group(subject.group) is None:
        return ()  # of other programs, as HDF5 in Xtcav::CalibV1
    if subject.type_name != rules.GEOMETRY:
        return tuple(form.opaque(subject))
    found.texts[content.digest] = part.constant.data
    return tuple(geometry.geometry(subject, found.texts[content.digest]))


def _shapes_apart(key: Detector, pairs: Iterable[_Pair]) -> Iterator[Finding]:
    """Constants of one run with another shape than its pedestals, each with a shape that can be."""
    for pair in pairs:
        if pair.other is None or pair.basis_type != "pedestals":
            continue
        pedestals = _shape(key, pair.basis_type, pair.basis)
        shape = _shape(key, pair.other_type, pair.other)
        subject = Subject(*key, pair.other_type, pair.runs)
        if pedestals and shape and not form.is_alike(subject, pedestals, shape):
            yield subject.wrong(
                f"the shape is {shape}, that of the pedestals of these runs {pedestals}",
                "psana fails when it combines them, or combines other pixels",
            )


def _geometries_apart(key: Detector, found: _Found) -> Iterator[Finding]:
    """Geometries of one run that place other pixels than its pedestals have."""
    for pair in found.pairs[key]:
        if pair.other_type != rules.GEOMETRY or pair.other is None:
            continue
        text = found.texts.get(pair.other.content.digest)
        pedestals = _shape(key, pair.basis_type, pair.basis)
        if text is not None and pedestals:
            subject = Subject(*key, rules.GEOMETRY, pair.runs)
            yield from geometry.beside_pedestals(subject, text, pedestals)


def _shape(key: Detector, type_name: str, constant: Constant) -> tuple[int, ...] | None:
    """The shape of an array, ``None`` for a file, and where it has a finding of its own."""
    content = constant.content
    if not isinstance(content, ArrayReference):
        return None
    has_finding = any(form.shape(Subject(*key, type_name, ("",)), content.shape))
    return None if has_finding else content.shape


def _panels_apart(
    key: Detector, manifest: DetectorManifest, type_name: str | None, run: int | None
) -> Iterator[Finding]:
    """Constants of one run that were made for other panels than its pedestals."""
    (covered,) = coverage_of({key: manifest}, ())
    for mismatch in covered.mismatches:
        if type_name not in (None, "pedestals", mismatch.type_name):
            continue
        if run is None or mismatch.first <= run <= mismatch.last:
            mine, theirs = (" ".join(serials) for serials in mismatch.panels)
            runs = mismatch.runs if run is None else runs_text(run, run)
            yield Subject(*key, mismatch.type_name, (runs,)).wrong(
                f"made for the panels {theirs}, the pedestals of these runs for {mine}",
                "each pixel gets a value of another one",
            )


def _judge_values(
    parts: Sequence[_Part], found: _Found, progress: Callable[[int, int], None]
) -> list[int]:
    """Judge the arrays one by one; the sizes of what was read."""
    together: dict[Digest, list[_Part]] = {}
    # First each rms: its pixels without noise are few, and are remembered for the status.
    for part in sorted(parts, key=lambda part: part.subject.type_name != "pixel_rms"):
        if isinstance(part.constant.constant.content, ArrayReference):
            together.setdefault(part.constant.digest, []).append(part)
    progress(0, len(together))
    sizes = []
    for done, users in enumerate(together.values(), start=1):
        array = users[0].constant.array
        sizes.append(array.nbytes)
        for part in users:
            found.add(part.detector, rules.value_findings(part.subject, array))
            found.add(part.detector, _silence_findings(part, array, found))
        del array
        for part in users:
            found.add(part.detector, _cast_findings(part))
        progress(done, len(together))
    return sizes


def _silence_findings(part: _Part, array: Array, found: _Found) -> Iterator[Finding]:
    """Pixels without noise that no status masks: an rms is remembered, a status answers."""
    key, digest, name = part.detector, part.constant.digest, part.subject.type_name
    pairs = [pair for pair in found.pairs[key] if pair.basis_type == "pixel_rms"]
    if name == "pixel_rms":
        found.silent[key, digest] = values.silent_pixels(part.subject, array)
    for pair in pairs:
        rms = pair.basis.content
        silent = found.silent.get((key, rms.digest))
        if silent is None or not isinstance(rms, ArrayReference):
            continue
        subject = Subject(*key, "pixel_rms", pair.runs)
        other = None if pair.other is None else pair.other.content
        if name == "pixel_rms" and rms.digest == digest and other is None:
            yield from values.unmasked_silence(subject, silent, None)
        is_its_status = other is not None and other.digest == digest
        if name == "pixel_status" and is_its_status and array.size == math.prod(rms.shape):
            yield from values.unmasked_silence(subject, silent, array)


def _cast_findings(part: _Part) -> tuple[Finding, ...]:
    """What psana's cast of a file's integers has hidden: 65536 is 0 in the array."""
    kind, source = calibration_type(part.subject.type_name), part.constant.constant.source
    if kind is None or not kind.integer_text or source is None:
        return ()
    name = part.constant.constant.name
    if name is not None and name.endswith(".npy"):
        return ()
    # As of a type that psana does not know, which is not cast.
    reading = psana_text.read(part.constant.data, group=part.subject.group, type_name="")
    return rules.written_findings(part.subject, reading.array)
