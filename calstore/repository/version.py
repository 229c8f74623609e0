"""Version, detector, constant: the nouns of the Python interface, each opened from the last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from calstore.errors import Invalid, NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import is_source
from calstore.model.digest import Digest, Reference, sha256, typed_prefix
from calstore.model.manifests import Constant, Detector, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.records import Record
from calstore.model.runs import RunRange
from calstore.repository.approvals import newest_approved
from calstore.repository.damage import naming_versions
from calstore.repository.store import APPROVED, Store, head_of
from calstore.store import logs, objects
from calstore.views.resolve import Timeline

if TYPE_CHECKING:
    import numpy as np

    from calstore.correct.corrections import Correction, Corrections
    from calstore.model.derivations import DerivationManifest
    from calstore.repository.provenance import Provenance


@dataclass(frozen=True)
class Version:
    """A set of calibration constants: ``version["Epix100a.1"]`` is a detector.

    Parameters
    ----------
    name
        ``xppn4116/main@7``, or the manifest's digest.
    reference
        The set manifest.
    record
        The record that names it, ``None`` when it was opened by digest.
    """

    store: Store
    name: str
    reference: Reference
    manifest: SetManifest
    record: Record | None

    @property
    def digest(self) -> Digest:
        """By which the same set can be had again, wherever it is."""
        return self.reference.digest

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """Group and source of each detector."""
        return tuple(self.manifest.detectors)

    def __getitem__(self, text: str) -> DetectorConstants:
        """The detector whose source is ``text``, or the only one that has it as a part.

        Raises
        ------
        NotFound
            When there is none.
        Invalid
            When there are several.
        """
        return self.detector(self.find(text))

    def find(self, text: str) -> Detector:
        """Group and source of the one detector that ``text`` means; see `__getitem__`."""
        if not text:
            raise Invalid("an empty text names no detector; write its source or a part of it")
        wanted = text.casefold()
        exact = [key for key in self.detectors if text in (key[1], "/".join(key))]
        # A whole source is never taken for a part of another, as …Epix100a.1 is of …Epix100a.12.
        parts = [
            key
            for key in self.detectors
            if wanted == key[1].casefold()
            or (wanted in "/".join(key).casefold() and not is_source(text))
        ]
        found = exact or parts
        if not found:
            there = ", ".join(source for _, source in self.detectors) or "none"
            raise NotFound(f"no detector {text!r} in {self.name}; it has {there}")
        if len(found) > 1:
            listed = ", ".join("/".join(key) for key in found)
            raise Invalid(f"{text!r} is a part of several detectors: {listed}; write more of it")
        return found[0]

    def detector(self, key: Detector) -> DetectorConstants:
        """The detector of this group and source; `NotFound` when it is not in the set."""
        if key not in self.manifest.detectors:
            raise NotFound(f"no detector {'/'.join(key)} in {self.name}")
        if key not in self._opened:
            with naming_versions(self.store):
                manifest = load_detector(self.store, self.manifest.detectors[key])
            self._opened[key] = DetectorConstants(self, *key, manifest)
        return self._opened[key]

    @cached_property
    def deposited_dtypes(self) -> frozenset[tuple[str, str, str]]:
        """Unique id, type and dtype of arrays that psana 2's own tools made."""
        from calstore.repository.documents import deposited_dtypes

        return deposited_dtypes(self)

    @cached_property
    def _opened(self) -> dict[Detector, DetectorConstants]:
        """Detectors that were read and verified already."""
        return {}


@dataclass(frozen=True)
class DetectorConstants:
    """The constants of one detector: ``detector.at(run=137)`` is what that run gets."""

    version: Version
    group: str
    source: str
    manifest: DetectorManifest

    @property
    def types(self) -> tuple[str, ...]:
        """The calibration types that it has."""
        return tuple(self.manifest.constants)

    def at(self, run: int) -> RunConstants:
        """What psana's rule gives this run, by type."""
        return RunConstants(self, run)

    def timeline(self, type_name: str) -> Timeline:
        """Which constant of a type each run gets."""
        return self._timelines[type_name]

    @cached_property
    def _timelines(self) -> dict[str, Timeline]:
        return {name: Timeline(by_range) for name, by_range in self.manifest.constants.items()}


@dataclass(frozen=True)
class RunConstants(Mapping[str, "CalibrationConstant"]):
    """The constants that one run gets: type → constant."""

    detector: DetectorConstants
    run: int

    def __getitem__(self, type_name: str) -> CalibrationConstant:
        """The constant of this type.

        Raises
        ------
        NotFound
            Where psana would go on with its default in silence.
        """
        detector = self.detector
        if type_name not in detector.manifest.constants:
            there = ", ".join(detector.types)
            raise NotFound(f"no {type_name} for {detector.source}; it has {there}")
        runs = detector.timeline(type_name).at(self.run)
        if runs is None:
            by_range = detector.manifest.constants[type_name]
            nearest = min(
                by_range, key=lambda r: min(abs(r.first - self.run), abs(r.last - self.run))
            )
            raise NotFound(
                f"no {type_name} for {detector.source} at run {self.run}; "
                f"the nearest range is {nearest}"
            )
        constant = detector.manifest.constants[type_name][runs]
        return CalibrationConstant(detector, type_name, runs, constant)

    def correction(self, wanted: Corrections | None = None) -> Correction:
        """The corrections that these constants allow, for any number of frames.

        ``None`` is for all that there are constants for.

        Raises
        ------
        NotFound
            When a constant that is asked for is not there.
        Invalid
            When constants do not fit each other.
        """
        from calstore.repository.corrected import correction

        return correction(self, wanted)

    def correct(
        self,
        raw: np.ndarray[Any, np.dtype[Any]],
        wanted: Corrections | None = None,
        configuration: np.ndarray[Any, np.dtype[Any]] | None = None,
    ) -> np.ndarray[Any, np.dtype[Any]]:
        """A raw frame, corrected: float32, in keV where a gain is applied, else in ADU.

        Takes the constants from the store each time; for many frames see `correction`, which
        names the errors.
        """
        return self.correction(wanted)(raw, configuration)

    def image(self, frame: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
        """A frame or a constant of one gain mode, assembled: ``(row, column)``, 0 between panels.

        Raises
        ------
        NotFound
            When the run gets no geometry.
        Invalid
            When the geometry places another number of pixels.
        """
        from calstore.repository.corrected import image

        return image(self, frame)

    def __iter__(self) -> Iterator[str]:
        return (
            name
            for name in self.detector.types
            if self.detector.timeline(name).at(self.run) is not None
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class CalibrationConstant:
    """One constant: its array or bytes, verified on every read, and where it comes from."""

    detector: DetectorConstants
    type_name: str
    runs: RunRange
    constant: Constant

    @property
    def digest(self) -> Digest:
        """The identity of the content."""
        return self.constant.content.digest

    @property
    def array(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The array, read-only, in the unit of its type (ADU for pedestals and pixel_rms).

        Raises
        ------
        Invalid
            When it is no array but an opaque file; use `data`.
        Corrupt
            When it is not what was stored.
        """
        from calstore.store import arrays  # zarr takes longer to import than most commands run

        reference = self.constant.content
        if not isinstance(reference, ArrayReference):
            raise Invalid(
                f"{self} is an opaque file, not an array; ask for its bytes: .data, or -o FILE.data"
            )
        with naming_versions(self._store):
            return arrays.get(self._store.backend, reference)

    @property
    def data(self) -> bytes:
        """The bytes of the imported file, or of the opaque one.

        Raises
        ------
        Invalid
            When it was computed or set, so that there is no file; use `array`.
        Corrupt
            When it is not what was stored.
        """
        content = self.constant.content
        blob = content if isinstance(content, Reference) else self.constant.source
        if blob is None:
            raise Invalid(f"{self} has no imported file; ask for its array: .array, or -o FILE.npy")
        with naming_versions(self._store):
            return objects.get(self._store.backend, objects.BLOBS, blob)

    @property
    def provenance(self) -> Provenance | None:
        """How it came into this version; ``None`` when the version was opened by digest."""
        from calstore.repository.provenance import provenance

        return provenance(self)

    @property
    def derivation(self) -> DerivationManifest | None:
        """By which recipe and from which inputs it was computed; ``None`` for what was imported.

        Raises
        ------
        Corrupt
            When it is not what was stored.
        """
        from calstore.repository.results import derivation_of

        reference = self.constant.derivation
        if reference is None:
            return None
        with naming_versions(self._store):
            return derivation_of(self._store, reference)

    def __str__(self) -> str:
        detector = self.detector
        return f"{detector.version.name} {detector.source} {self.type_name} {self.runs}"

    @property
    def _store(self) -> Store:
        return self.detector.version.store


def open_version(store: Store, text: str) -> Version:
    """The version that a ref, a record or a digest names; see `Store.__getitem__`."""
    reference, entry = locate(store, text)
    with naming_versions(store):
        manifest = load_set(store, reference)
    if entry is None:
        return Version(store, str(reference.digest), reference, manifest, None)
    return Version(store, entry.record.name, reference, manifest, entry.record)


def locate(store: Store, text: str) -> tuple[Reference, logs.Entry | None]:
    """The set manifest that a ref, a record or a digest names, and the record if one did."""
    prefix = typed_prefix(text)
    if prefix is not None:
        return _by_digest(store, prefix), None
    name, _, number = text.partition("@")
    ref = RefName(name)
    if not number and "@" not in text:
        entry = head_of(store, ref)
    elif number == APPROVED:
        head_of(store, ref)
        entry = newest_approved(store, ref)
    else:
        entry = _numbered(store, ref, number)
    if entry.record.manifest is None:
        raise NotFound(f"{entry.record.name} deletes the ref; it has no constants")
    return entry.record.manifest, entry


def load_set(store: Store, reference: Reference) -> SetManifest:
    """The verified set manifest; `Corrupt` when it is not what was stored."""
    data = objects.get(store.backend, objects.MANIFESTS, reference)
    with _naming_file(store, reference):
        return SetManifest.decoded(data)


def load_detector(store: Store, reference: Reference) -> DetectorManifest:
    """The verified detector manifest; `Corrupt` when it is not what was stored."""
    data = objects.get(store.backend, objects.MANIFESTS, reference)
    with _naming_file(store, reference):
        return DetectorManifest.decoded(data)


@contextlib.contextmanager
def _naming_file(store: Store, reference: Reference) -> Iterator[None]:
    """Let an `Invalid` from inside say which file it is about."""
    try:
        yield
    except Invalid as error:
        key = objects.key_of(objects.MANIFESTS, reference.digest)
        raise Invalid(f"{store.backend.describe(key)}: {error}") from error


def _numbered(store: Store, ref: RefName, number: str) -> logs.Entry:
    if not (number.isdecimal() and number.isascii() and 0 < int(number) < 10**8):
        raise Invalid(f"{ref}@{number} is no record; write {ref}@1, {ref}@2, … or {ref}@{APPROVED}")
    try:
        return logs.read(store.backend, ref.log, int(number))
    except NotFound:
        newest = store.head(ref.log)
        if newest is not None and int(number) < newest.record.number:
            raise logs.gone(store.backend, ref.log, int(number)) from None
        known = "there is no such ref" if newest is None else f"its newest is {newest.record.name}"
        raise NotFound(f"there is no record {ref}@{number}; {known}") from None


def _by_digest(store: Store, prefix: str) -> Reference:
    digest = objects.find(store.backend, objects.MANIFESTS, prefix)
    key = objects.key_of(objects.MANIFESTS, digest)
    data = store.backend.get(key)
    reference = Reference(digest, sha256(data), len(data))
    objects.check(data, reference, store.backend.describe(key), key)
    try:
        SetManifest.decoded(data)
    except Invalid as error:
        raise Invalid(
            f"{digest} is no set of constants ({error}); calstore refs lists sets"
        ) from None
    return reference
