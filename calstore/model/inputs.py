"""Input manifests: which frames were read (docs/format.md, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from calstore.errors import Invalid
from calstore.model.canonical import Value, decode, encode
from calstore.model.digest import Digest, Reference, reference_to, xxh128
from calstore.model.fields import items, mapping, natural, octets, require_keys, text

FORMAT: Final = 1
MAX_BYTES: Final = 16 * 1024 * 1024

DTYPES: Final = ("uint8", "uint16", "int16", "uint32", "int32")
"""What a raw frame can be made of: whole ADU, whose sums are exact."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events of a step are read, in the order in which they were taken.

    Parameters
    ----------
    codes
        Event codes of which an event has one at least; a negative code is one that it has not
        (psana1's calibrun). Empty for any event.
    skip
        How many of these events are left out at the start of the step.
    most
        How many frames are read of a step at most; 0 for all.
    """

    codes: tuple[int, ...] = ()
    skip: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        natural(self.skip, "number of skipped events")
        natural(self.most, "largest number of frames")
        if len(set(self.codes)) != len(self.codes) or 0 in self.codes:
            raise Invalid(f"the event codes {self.codes}: each once, and none of them 0")

    def to_value(self) -> dict[str, Value]:
        """The selection as an input manifest holds it."""
        return {"codes": list(self.codes), "most": self.most, "skip": self.skip}

    @classmethod
    def from_value(cls, value: Value) -> Selection:
        """The selection that an input manifest holds; `Invalid` for anything else."""
        fields = require_keys(value, {"codes", "most", "skip"}, "selection")
        codes = items(fields["codes"], "event codes")
        if not all(isinstance(code, int) and not isinstance(code, bool) for code in codes):
            raise Invalid(f"event codes are whole numbers, not {codes!r:.60}")
        return cls(
            tuple(code for code in codes if isinstance(code, int)),
            natural(fields["skip"], "number of skipped events"),
            natural(fields["most"], "largest number of frames"),
        )


@dataclass(frozen=True, slots=True)
class Frames:
    """The identity of raw frames: what they are made of, and a digest in event order.

    They stay where they were taken and are not stored, so no SHA-256 of them is computed.

    Parameters
    ----------
    dtype
        One of `DTYPES`.
    shape
        Of one frame, as ``(row, column)`` or ``(segment, row, column)``.
    """

    dtype: str
    shape: tuple[int, ...]
    count: int
    digest: Digest

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise Invalid(
                f"frames of {self.dtype} are no raw frames, which hold whole ADU "
                f"({', '.join(DTYPES)}); read the detector's raw data"
            )
        if not 2 <= len(self.shape) <= 3 or min(self.shape) < 1:
            raise Invalid(
                f"a frame of shape {self.shape}; it is (row, column) or (segment, row, column)"
            )
        natural(self.count, "number of frames", least=1)

    @classmethod
    def of(cls, dtype: str, shape: tuple[int, ...], digests: Sequence[Digest]) -> Frames:
        """The frames whose own digests, of their values in C order, little-endian, are these."""
        header: dict[str, Value] = {
            "dtype": dtype,
            "frames": [digest.value for digest in digests],
            "kind": "frames",
            "shape": list(shape),
        }
        return cls(dtype, shape, len(digests), xxh128(encode(header)))

    def to_value(self) -> dict[str, Value]:
        """The frames as an input manifest holds them."""
        return {
            "count": self.count,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "xxh128": self.digest.value,
        }

    @classmethod
    def from_value(cls, value: Value) -> Frames:
        """The frames that an input manifest holds; `Invalid` for anything else."""
        fields = require_keys(value, {"count", "dtype", "shape", "xxh128"}, "frames")
        return cls(
            text(fields["dtype"], "frames' dtype"),
            tuple(
                natural(length, "length of an axis") for length in items(fields["shape"], "shape")
            ),
            natural(fields["count"], "number of frames"),
            Digest(octets(fields["xxh128"], "xxh128", 16)),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """One file that frames were read from, as it was then.

    Parameters
    ----------
    modified_ns
        When it was last written, in nanoseconds since 1970.
    """

    path: str
    size: int
    modified_ns: int

    def to_value(self) -> dict[str, Value]:
        """The file as a record holds it."""
        return {"modified_ns": self.modified_ns, "path": self.path, "size": self.size}

    @classmethod
    def from_value(cls, value: Value) -> Evidence:
        """The file that a record holds; `Invalid` for anything else."""
        fields = require_keys(value, {"modified_ns", "path", "size"}, "file of evidence")
        return cls(
            text(fields["path"], "path"),
            natural(fields["size"], "size"),
            natural(fields["modified_ns"], "time"),
        )


@dataclass(frozen=True, slots=True)
class InputManifest:
    """What was read for a derivation: one detector's frames of one step of one run.

    Parameters
    ----------
    detector
        The source, or the name that the data have for it.
    serials
        Its panels, in the order of the segments; empty where the data do not say.
    step
        Counted from 0; a run without steps is one step.
    mode
        The gain mode in which they were taken, ``""`` for a detector without modes.
    """

    experiment: str
    run: int
    detector: str
    frames: Frames
    step: int = 0
    mode: str = ""
    serials: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        natural(self.run, "run")
        natural(self.step, "step")
        if not self.experiment or not self.detector:
            raise Invalid("frames belong to an experiment and to a detector; name both")

    def encoded(self) -> bytes:
        """The canonical bytes."""
        return encode(
            {
                "detector": self.detector,
                "experiment": self.experiment,
                "format": FORMAT,
                "frames": self.frames.to_value(),
                "kind": "input",
                "mode": self.mode,
                "run": self.run,
                "selection": self.selection.to_value(),
                "serials": list(self.serials),
                "step": self.step,
            }
        )

    @property
    def reference(self) -> Reference:
        """By which the manifest is stored."""
        return reference_to(self.encoded())

    @classmethod
    def decoded(cls, data: bytes) -> InputManifest:
        """The manifest of canonical bytes; `Invalid` for anything else."""
        fields = mapping(decode(data, limit=MAX_BYTES), "manifest")
        if fields.get("kind") != "input" or fields.get("format") != FORMAT:
            raise Invalid(f"a manifest of kind {fields.get('kind')!r} where 'input' was expected")
        keys = {"detector", "experiment", "format", "frames", "kind", "mode", "run"}
        fields = require_keys(
            dict(fields), keys | {"selection", "serials", "step"}, "input manifest"
        )
        return cls(
            text(fields["experiment"], "experiment"),
            natural(fields["run"], "run"),
            text(fields["detector"], "detector"),
            Frames.from_value(fields["frames"]),
            natural(fields["step"], "step"),
            text(fields["mode"], "gain mode"),
            tuple(text(item, "serial") for item in items(fields["serials"], "serials")),
            Selection.from_value(fields["selection"]),
        )
