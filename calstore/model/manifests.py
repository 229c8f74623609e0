"""Manifests: which constants a set is made of (docs/format.md, section 6)."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from calstore.errors import Invalid
from calstore.model.arrays import ArrayReference
from calstore.model.canonical import Value, decode, encode
from calstore.model.digest import Reference
from calstore.model.fields import items, mapping, require_keys, text
from calstore.model.names import check_component, check_path
from calstore.model.runs import RunRange

FORMAT: Final = 1
MAX_BYTES: Final = 16 * 1024 * 1024

_CONSTANT_KEYS: Final = frozenset({"array", "blob", "derivation", "name", "serials", "source"})

Detector: TypeAlias = tuple[str, str]
"""A group and a source, as in ``("Epix100a::CalibV1", "XppGon.0:Epix100a.1")``."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One file's worth of a calibration type: an array, or a blob that could not be one.

    Parameters
    ----------
    content
        The array, or the verbatim bytes of a file that is opaque.
    name
        The file's name where it is not ``<run range>.data``: the same range with leading
        zeros, or ``.npy``.
    source
        The verbatim file that the array was read from; ``None`` when it is rendered.
    serials
        The panels that it was made for, in the order of the array; empty where nobody said.
    derivation
        The manifest of how it was computed, in which its role is its type; ``None`` for what
        came from elsewhere.
    """

    content: ArrayReference | Reference
    name: str | None = None
    source: Reference | None = None
    serials: tuple[str, ...] = ()
    derivation: Reference | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_component(self.name)
        if any(not serial or not serial.isprintable() for serial in self.serials):
            raise Invalid(f"the serials {self.serials!r}: each is a printable text")
        if self.source is not None and isinstance(self.content, Reference):
            raise Invalid("a blob is its own source")
        if self.derivation is not None and isinstance(self.content, Reference):
            raise Invalid("a blob with a derivation; only arrays are computed")

    def renamed(self) -> Constant:
        """The constant for other runs: its file's name spells the old ones, so it is dropped.

        A file with another suffix than ``.data`` cannot be the source of one that has it.
        """
        if self.name is None:
            return self
        is_npy = self.name.endswith(".npy") and isinstance(self.content, ArrayReference)
        return replace(self, name=None, source=None if is_npy else self.source)

    def to_value(self) -> dict[str, Value]:
        """The constant as a detector manifest holds it."""
        kind = "array" if isinstance(self.content, ArrayReference) else "blob"
        value: dict[str, Value] = {kind: self.content.to_value()}
        if self.derivation is not None:
            value["derivation"] = self.derivation.to_value()
        if self.name is not None:
            value["name"] = self.name
        if self.serials:
            value["serials"] = list(self.serials)
        if self.source is not None:
            value["source"] = self.source.to_value()
        return value

    @classmethod
    def from_value(cls, value: Value) -> Constant:
        """The constant that a detector manifest holds; `Invalid` for anything else."""
        fields = require_keys(value, set(), "constant", optional=_CONSTANT_KEYS)
        if ("array" in fields) == ("blob" in fields):
            raise Invalid("a constant has either an array or a blob")
        name = text(fields["name"], "constant's name") if "name" in fields else None
        content: ArrayReference | Reference
        if "array" in fields:
            content = ArrayReference.from_value(fields["array"])
        else:
            content = Reference.from_value(fields["blob"])
        source, derivation = (
            Reference.from_value(fields[key]) if key in fields else None
            for key in ("source", "derivation")
        )
        return cls(content, name, source, _serials(fields), derivation)


Constants: TypeAlias = Mapping[str, Mapping[RunRange, Constant]]
"""Type → run range → constant."""


@dataclass(frozen=True, slots=True)
class DetectorManifest:
    """The constants of one detector, by type and run range."""

    constants: Constants = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, by_range in self.constants.items():
            check_component(name)
            if not by_range:
                raise Invalid(f"the type {name!r} has no constants; leave it out")
            for runs, constant in by_range.items():
                _check_name(runs, constant.name)
        frozen = {
            name: MappingProxyType(dict(sorted(self.constants[name].items())))
            for name in sorted(self.constants)
        }
        object.__setattr__(self, "constants", MappingProxyType(frozen))

    def encoded(self) -> bytes:
        """The canonical bytes."""
        return encode(
            {
                "constants": {
                    name: {str(runs): constant.to_value() for runs, constant in by_range.items()}
                    for name, by_range in self.constants.items()
                },
                "format": FORMAT,
                "kind": "detector",
            }
        )

    @classmethod
    def decoded(cls, data: bytes) -> DetectorManifest:
        """The manifest of canonical bytes; `Invalid` for anything else."""
        return cls._built(_constants(data))

    @classmethod
    def apart(cls, one: bytes, other: bytes) -> tuple[DetectorManifest, DetectorManifest]:
        """Two manifests of canonical bytes, without the constants that both have alike.

        What is alike is not even built, so that two large manifests that hardly differ are soon
        compared.
        """
        mine, theirs = _constants(one), _constants(other)
        return cls._built(_without(mine, theirs)), cls._built(_without(theirs, mine))

    @classmethod
    def of_types(cls, data: bytes, names: Container[str]) -> DetectorManifest:
        """What the manifest of canonical bytes has of some types; the others are not built."""
        constants = _constants(data)
        return cls._built({name: item for name, item in constants.items() if name in names})

    @classmethod
    def _built(cls, constants: Mapping[str, Mapping[str, Value]]) -> DetectorManifest:
        return cls(
            {
                name: {_range(runs): Constant.from_value(item) for runs, item in by_range.items()}
                for name, by_range in constants.items()
            }
        )

    def replaced(self, name: str, by_range: Mapping[RunRange, Constant]) -> DetectorManifest:
        """This manifest with other constants of one type; none at all removes the type."""
        others = {key: value for key, value in self.constants.items() if key != name}
        return DetectorManifest({**others, name: by_range} if by_range else others)


@dataclass(frozen=True, slots=True)
class SetManifest:
    """All detectors of a calib-version, and the loose files of its tree."""

    detectors: Mapping[Detector, Reference] = field(default_factory=dict)
    files: Mapping[str, Reference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group, source in self.detectors:
            check_component(group)
            check_component(source)
        for path in self.files:
            check_path(path)
        object.__setattr__(
            self, "detectors", MappingProxyType(dict(sorted(self.detectors.items())))
        )
        object.__setattr__(self, "files", MappingProxyType(dict(sorted(self.files.items()))))

    def encoded(self) -> bytes:
        """The canonical bytes."""
        groups: dict[str, dict[str, Value]] = {}
        for (group, source), reference in self.detectors.items():
            groups.setdefault(group, {})[source] = reference.to_value()
        return encode(
            {
                "detectors": dict(groups),
                "files": {path: blob.to_value() for path, blob in self.files.items()},
                "format": FORMAT,
                "kind": "set",
            }
        )

    @classmethod
    def decoded(cls, data: bytes) -> SetManifest:
        """The manifest of canonical bytes; `Invalid` for anything else."""
        body = _body(data, "set", "detectors", "files")
        detectors = {}
        for group, sources in mapping(body["detectors"], "part of a manifest").items():
            if not sources:
                raise Invalid(f"the group {group!r} has no detectors")
            for source, reference in mapping(sources, "part of a manifest").items():
                detectors[group, source] = Reference.from_value(reference)
        files = {
            path: Reference.from_value(blob)
            for path, blob in mapping(body["files"], "part of a manifest").items()
        }
        return cls(detectors, files)

    def replaced(self, detector: Detector, manifest: Reference | None) -> SetManifest:
        """This manifest with another reference for one detector; ``None`` removes it."""
        others = {key: value for key, value in self.detectors.items() if key != detector}
        if manifest is not None:
            others[detector] = manifest
        return SetManifest(others, self.files)


def _body(data: bytes, kind: str, *keys: str) -> Mapping[str, Value]:
    value = decode(data, limit=MAX_BYTES)
    fields = mapping(value, "manifest")
    if type(fields.get("format")) is not int or fields["format"] != FORMAT:
        raise Invalid(f"not a manifest of format {FORMAT}; was it written by a newer calstore?")
    if fields.get("kind") != kind:
        raise Invalid(f"a manifest of kind {fields.get('kind')!r} where {kind!r} was expected")
    return require_keys(value, {"format", "kind", *keys}, f"{kind} manifest")


def _constants(data: bytes) -> dict[str, Mapping[str, Value]]:
    """Type → run range → constant, as a detector manifest holds them."""
    constants = mapping(_body(data, "detector", "constants")["constants"], "part of a manifest")
    return {name: mapping(item, "part of a manifest") for name, item in constants.items()}


def _without(
    constants: Mapping[str, Mapping[str, Value]], others: Mapping[str, Mapping[str, Value]]
) -> dict[str, Mapping[str, Value]]:
    """The constants of each type that the others have not, or not so; types that have some."""
    left: dict[str, Mapping[str, Value]] = {}
    for name, by_range in constants.items():
        alike = others.get(name, {})
        apart = {runs: item for runs, item in by_range.items() if alike.get(runs) != item}
        if apart:
            left[name] = apart
    return left


def _serials(fields: Mapping[str, Value]) -> tuple[str, ...]:
    if "serials" not in fields:
        return ()
    serials = tuple(text(item, "serial") for item in items(fields["serials"], "serials"))
    if not serials:
        raise Invalid("an empty list of serials; leave it out")
    return serials


def _check_name(runs: RunRange, name: str | None) -> None:
    """Raise `Invalid` for a file name by which a view would give a constant to other runs."""
    if name is None:
        return
    stem, dot, suffix = name.rpartition(".")
    if not dot or suffix not in ("data", "npy") or RunRange.parse(stem) != runs:
        raise Invalid(f"a constant for runs {runs} has the file name {name!r}")


def _range(spelled: str) -> RunRange:
    runs = RunRange.parse(spelled)
    if str(runs) != spelled:
        raise Invalid(f"the run range {spelled!r} is spelled {runs} in a manifest")
    return runs
