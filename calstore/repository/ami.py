"""Views that LCLS-I AMI reads: nothing in them that AMI would replace by its default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from calstore.errors import Invalid
from calstore.formats.ami_text import ami_refusal, geometry_refusal
from calstore.model.ami import (
    LIVE_RUN,
    ami_largest,
    ami_reads,
    ami_shape_of,
    ami_shape_problem,
)
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import ami_group_of, calibration_type, group_of
from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector, DetectorManifest
from calstore.model.runs import RunRange
from calstore.repository.store import Store
from calstore.repository.version import Version
from calstore.store import objects
from calstore.views.remarks import ViewRemark
from calstore.views.resolve import Timeline
from calstore.views.selection import Selection


def aliases(detectors: Iterable[Detector], only: Detector | None = None) -> dict[str, str]:
    """Links by which AMI finds what psana has elsewhere: path → target, relative to its folder.

    Where a version has constants of its own in AMI's group, AMI reads those.

    Parameters
    ----------
    detectors
        All that the version has.
    only
        The one to make links for; ``None`` for all.
    """
    there = tuple(detectors)
    links = {}
    for group, source in there if only is None else (only,):
        ami_group = ami_group_of(source)
        if ami_group in (None, group) or group != group_of(source):
            continue
        if not ami_group:
            links[source] = f"{group}/{source}"
        elif (ami_group, source) not in there:
            links[f"{ami_group}/{source}"] = f"../{group}/{source}"
    return links


def for_ami(
    version: Version, detectors: Mapping[Detector, DetectorManifest], selection: Selection
) -> dict[Detector, DetectorManifest]:
    """The detectors, with constants whose imported text AMI would drop to be rendered anew.

    Parameters
    ----------
    detectors
        What the view shall have of the version.
    selection
        Which part of the version that is.

    Raises
    ------
    Invalid
        With all reasons for which AMI would still take its default, or another number than the
        one that is stored, each with what to do.
    """
    check = _Check(version, selection)
    made = {
        key: check.detector(key, manifest) if _is_read(key, version) else manifest
        for key, manifest in detectors.items()
    }
    if check.reasons:
        listed = "\n  ".join(check.reasons)
        raise Invalid(
            f"{version.name} cannot be for AMI, which would go on with its defaults in silence "
            f"({len(check.reasons)} reason(s)):\n  {listed}"
        )
    return made


def remarks_on(
    version: Version, detectors: Mapping[Detector, DetectorManifest], selection: Selection
) -> Iterator[ViewRemark]:
    """What AMI goes on without, because a version does not have it."""
    for key, manifest in detectors.items():
        source, folder = key[1], "/".join(key)
        if not ami_reads(source):
            text = f"AMI reads no constants of {source} from a calib directory"
            yield ViewRemark(folder, text)
        elif _is_read(key, version) and selection.type_name is None:
            absent = [name for name in ami_reads(source) if name not in manifest.constants]
            if absent:
                text = f"{source} has no {', '.join(absent)}: AMI goes on with its defaults"
                yield ViewRemark(folder, text)


def _is_read(key: Detector, version: Version) -> bool:
    """Whether AMI looks in the folder of this detector, or in a link to it."""
    group, source = key
    if not ami_reads(source):
        return False
    ami_group = ami_group_of(source)
    return group == ami_group or (
        group == group_of(source) and (ami_group, source) not in version.manifest.detectors
    )


@dataclass
class _Check:
    """Goes through constants as AMI does, and collects what it would stumble over."""

    version: Version
    selection: Selection
    reasons: list[str] = field(default_factory=list)
    _refusals: dict[tuple[Reference, str, tuple[int, ...]], str | None] = field(
        default_factory=dict
    )

    @property
    def _store(self) -> Store:
        return self.version.store

    def detector(self, key: Detector, manifest: DetectorManifest) -> DetectorManifest:
        for type_name in ami_reads(key[1]):
            by_range = manifest.constants.get(type_name)
            if by_range is None:
                continue
            if Timeline(by_range).at(LIVE_RUN) is None:
                self._no_end(key, type_name, max(by_range))
            made = {
                runs: self._constant(key, type_name, runs, constant)
                for runs, constant in by_range.items()
            }
            manifest = manifest.replaced(type_name, made)
        return manifest

    def _no_end(self, key: Detector, type_name: str, last: RunRange) -> None:
        run = self.selection.run
        step = (
            f"give one with: {self._set(key, type_name, f'{last.first}-end')}"
            if run is None
            else f"leave out --run {run}"
        )
        self.reasons.append(
            f"{key[1]} {type_name}: no range goes to the end, so live AMI finds none; {step}"
        )

    def _constant(
        self, key: Detector, type_name: str, runs: RunRange, constant: Constant
    ) -> Constant:
        """The constant, from its array where AMI would not take its text."""
        try:
            return self._taken(key, type_name, constant)
        except Invalid as error:
            step = f"give them others with: {self._set(key, type_name, str(runs))}"
            self.reasons.append(f"{key[1]} {type_name} {runs}: {error}; {step}")
            return constant

    def _taken(self, key: Detector, type_name: str, constant: Constant) -> Constant:
        if not isinstance(constant.content, ArrayReference):
            self._check_opaque(key[1], type_name, constant.content)
            return constant
        problem = ami_shape_problem(key[1], type_name, constant.content.shape)
        if problem is not None:
            raise Invalid(problem)
        largest = ami_largest(key[1], type_name)
        is_npy = (constant.name or "").endswith(".npy")
        if largest is not None or is_npy:
            self._check_values(constant.content, type_name, largest)
        if constant.source is None or is_npy:
            return constant  # a view renders it
        refusal = self._refusal(constant.source, type_name, constant.content.shape)
        if refusal is None:
            return constant
        self._check_mended(key[0], type_name, constant, refusal)
        return replace(constant, source=None)

    def _check_opaque(self, source: str, type_name: str, blob: Reference) -> None:
        """Raise `Invalid` for a file that is no array and that AMI would not take as it is."""
        shape = ami_shape_of(source, type_name)
        if type_name == "geometry":
            refusal = geometry_refusal(self._data(blob))
        elif calibration_type(type_name) is None and shape is not None:
            refusal = self._refusal(blob, type_name, shape)
        else:
            refusal = "it is kept as an opaque file, because psana could not read it"
        if refusal is not None:
            raise Invalid(refusal)

    def _check_values(self, array: ArrayReference, type_name: str, largest: int | None) -> None:
        from calstore.formats import psana_text_writer
        from calstore.store import arrays

        values = psana_text_writer.checked(arrays.get(self._store.backend, array), type_name)
        if largest is not None and max(-float(values.min()), float(values.max())) > largest:
            raise Invalid(
                f"values from {values.min()} to {values.max()}, of which AMI makes other ones: "
                f"it holds integers of at most {largest}"
            )

    def _check_mended(self, group: str, type_name: str, constant: Constant, refusal: str) -> None:
        """Raise `Invalid` where text made from the array would not say what the file says."""
        from calstore.formats import psana_text, psana_text_writer
        from calstore.store import arrays

        assert isinstance(constant.content, ArrayReference)
        assert constant.source is not None
        stored = arrays.get(self._store.backend, constant.content)
        psana_text_writer.checked(stored, type_name)
        kind = calibration_type(type_name)
        if kind is None or not kind.integer_text:
            return
        # An unknown type keeps the dtype of the header, in which nothing has been wrapped yet.
        written = psana_text.read(self._data(constant.source), group=group, type_name="").array
        if (written.reshape(-1) != stored.reshape(-1)).any():
            raise Invalid(f"{refusal}, and psana changes what is written when it reads it")

    def _refusal(self, blob: Reference, type_name: str, shape: tuple[int, ...]) -> str | None:
        key = (blob, type_name, shape)
        if key not in self._refusals:
            self._refusals[key] = ami_refusal(self._data(blob), type_name, shape)
        return self._refusals[key]

    def _data(self, blob: Reference) -> bytes:
        return objects.get(self._store.backend, objects.BLOBS, blob)

    def _set(self, key: Detector, type_name: str, runs: str) -> str:
        record = self.version.record
        ref = "REF" if record is None else record.log.removeprefix("refs/")
        return f"calstore set {ref} {'/'.join(key)} {type_name} {runs} FILE"
