"""Derivations: by which recipe, from which inputs, a constant was made (docs/format.md, 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from calstore.errors import Invalid
from calstore.model.arrays import ArrayReference
from calstore.model.canonical import Value, decode, encode
from calstore.model.digest import Reference, reference_to
from calstore.model.fields import mapping, natural, require_keys, text

FORMAT: Final = 1
MAX_BYTES: Final = 1024 * 1024

MEASURED: Final = "measured"
COMPUTED: Final = "computed"
ABSENT: Final = "absent"
FRAMES: Final = "frames"
ORIGINS: Final = (MEASURED, COMPUTED, ABSENT)
"""Where the values of a gain mode come from; of an absent one they are psana's fill-in."""

Parameter: TypeAlias = "bool | int | float | str"


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that a derivation was made from: an array, a blob, or frames.

    Parameters
    ----------
    kind
        ``array``, ``blob``, or ``frames`` for what an input manifest describes.
    content
        The array, the blob or the input manifest.
    """

    kind: str
    content: ArrayReference | Reference

    def __post_init__(self) -> None:
        is_array = isinstance(self.content, ArrayReference)
        if self.kind not in ("array", "blob", FRAMES) or is_array != (self.kind == "array"):
            raise Invalid(f"an input of kind {self.kind!r}: {self.content}")

    def to_value(self) -> dict[str, Value]:
        """The input as a derivation holds it."""
        return {self.kind: self.content.to_value()}

    @classmethod
    def from_value(cls, value: Value) -> Input:
        """The input that a derivation holds; `Invalid` for anything else."""
        fields = mapping(value, "derivation's input")
        if len(fields) != 1:
            raise Invalid(f"an input is one of array, blob and frames, not {sorted(fields)}")
        ((kind, item),) = fields.items()
        read = ArrayReference.from_value if kind == "array" else Reference.from_value
        return cls(kind, read(item))


@dataclass(frozen=True, slots=True)
class DerivationManifest:
    """A recipe with every parameter, and the inputs by the role that they have in it.

    Equal derivations have equal results; who ran it, when, where and from which file is not
    in it.

    Parameters
    ----------
    recipe, version
        The rule, and which edition of it; a change that can alter a number is a new edition.
    parameters
        All of them, defaults too.
    inputs
        Role → what was read: ``frames``, or ``frames/FH`` for each mode, ``pixel_gain``.
    modes
        Gain mode → one of `ORIGINS`; empty for a detector without modes.
    """

    recipe: str
    version: int
    parameters: Mapping[str, Parameter]
    inputs: Mapping[str, Input]
    modes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        natural(self.version, "version of a recipe", least=1)
        if not self.recipe or not self.inputs:
            raise Invalid("a derivation has a recipe and an input at least")
        for mode, origin in self.modes.items():
            if origin not in ORIGINS:
                raise Invalid(f"the gain mode {mode} is {origin!r}; it is one of {ORIGINS}")
        for name in ("parameters", "inputs", "modes"):
            ordered = dict(sorted(getattr(self, name).items()))
            object.__setattr__(self, name, MappingProxyType(ordered))

    def encoded(self) -> bytes:
        """The canonical bytes."""
        return encode(
            {
                "format": FORMAT,
                "inputs": {role: item.to_value() for role, item in self.inputs.items()},
                "kind": "derivation",
                "modes": dict(self.modes),
                "parameters": dict(self.parameters),
                "recipe": self.recipe,
                "version": self.version,
            }
        )

    @property
    def reference(self) -> Reference:
        """By which the manifest is stored."""
        return reference_to(self.encoded())

    @classmethod
    def decoded(cls, data: bytes) -> DerivationManifest:
        """The manifest of canonical bytes; `Invalid` for anything else."""
        fields = mapping(decode(data, limit=MAX_BYTES), "manifest")
        if fields.get("kind") != "derivation" or fields.get("format") != FORMAT:
            kind = fields.get("kind")
            raise Invalid(f"a manifest of kind {kind!r} where 'derivation' was expected")
        keys = {"format", "inputs", "kind", "modes", "parameters", "recipe", "version"}
        fields = require_keys(dict(fields), keys, "derivation")
        inputs = mapping(fields["inputs"], "derivation's inputs")
        modes = mapping(fields["modes"], "derivation's modes")
        return cls(
            text(fields["recipe"], "recipe"),
            natural(fields["version"], "version of a recipe"),
            _parameters(fields["parameters"]),
            {role: Input.from_value(item) for role, item in inputs.items()},
            {mode: text(origin, "origin of a mode") for mode, origin in modes.items()},
        )


def _parameters(value: Value) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for name, item in mapping(value, "derivation's parameters").items():
        if not isinstance(item, bool | int | float | str):
            raise Invalid(f"the parameter {name!r} is a number or a text, not {item!r:.60}")
        parameters[name] = item
    return parameters
