"""Recipes of dark processing: every parameter that can change a number, frozen and versioned.

`psana` follows psana's DarkProc (defaults from psana/detector/UtilsCalib.py:278-580, psana 4.3.4)
without its zero frame; `robust` gates and judges by medians, so that rare events and bad pixels
do not pull the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from calstore.errors import Invalid
from calstore.model.detectors import signal_mask, tells_bad_switches
from calstore.model.inputs import DTYPES

Number: TypeAlias = "int | float"

PSANA: Final = "psana"
ROBUST: Final = "robust"
VERSIONS: Final = {PSANA: 1, ROBUST: 1}
"""The edition of each recipe that is made here; a change that can alter a number is a new one."""

MIN_FRAMES: Final = 3
"""psana makes nothing from fewer."""

MOST_GATE_FRAMES: Final = 0xFFFF
"""The kernels count the first frames in 16 bits; they are kept in memory besides."""

_SIGNED: Final = frozenset({"int16", "int32"})
_BITS: Final = {"uint8": 8, "uint16": 16, "int16": 16, "uint32": 32, "int32": 32}

_SKIPPED_KINDS: Final = ("epix10ka", "epixhr")
_SKIPPED: Final = 100
"""Events at the start of a step while the gain mode settles (psana's epix10ka_pedestals)."""


@dataclass(frozen=True, slots=True)
class DarkRecipe:
    """All that decides the constants of a dark beside its frames.

    Parameters
    ----------
    name, version
        ``psana`` or ``robust``, and its edition.
    frames
        Most frames used of a step; 0 for all.
    gate_frames
        How many of them, from the first, the gates are made from.
    skip
        Events left out at the start of a step.
    data_bits
        The bits of a raw value that are signal; the others are cleared first.
    bad_switch
        1 where gain bits ``10`` (the two highest) mark a pixel that failed to switch, else 0.
    int_lo, int_hi
        The range of allowed values and pedestals, in ADU, both included.
    rms_lo, rms_hi
        The range of allowed noise, in ADU.
    int_n_lo, int_n_hi, rms_n_lo, rms_n_hi
        How far below and above the usual a pedestal or a noise may be, in its spreads over the
        pixels. 0 for no such limit.
    fraction_out
        The fraction of frames in which a value may be out of the allowed range.
    gate_lo, gate_hi
        ``psana``: quantiles of the first frames that are the gates of a pixel.
    gate_sigmas
        ``robust``: the gates are this many sigma from the median, sigma by the median deviation.
    """

    name: str
    version: int
    frames: int
    gate_frames: int
    skip: int
    data_bits: int
    bad_switch: int
    int_lo: float
    int_hi: float
    rms_lo: float
    rms_hi: float
    int_n_lo: float
    int_n_hi: float
    rms_n_lo: float
    rms_n_hi: float
    fraction_out: float
    gate_lo: float = 0.0
    gate_hi: float = 0.0
    gate_sigmas: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in VERSIONS:
            raise Invalid(f"no recipe {self.name!r}; there are {' and '.join(VERSIONS)}")
        if self.version != VERSIONS[self.name]:
            raise Invalid(
                f"edition {self.version!r} of the recipe {self.name}; this calstore has "
                f"{VERSIONS[self.name]}: use the calstore that made it"
            )
        for name in _names(self.name):
            value = getattr(self, name)
            accepts, told = _RULES[name]
            if not _is_number(value) or not accepts(value):
                raise Invalid(f"{name} = {value!r} of the recipe {self.name}: {told}")
            if name not in _WHOLE:
                object.__setattr__(self, name, float(value))
        for low, high in (("int_lo", "int_hi"), ("rms_lo", "rms_hi"), ("gate_lo", "gate_hi")):
            if low in _names(self.name) and not getattr(self, low) < getattr(self, high):
                raise Invalid(
                    f"{low} = {getattr(self, low):g} and {high} = {getattr(self, high):g} of the "
                    f"recipe {self.name}: the first is less than the second"
                )

    def parameters(self) -> dict[str, Number]:
        """All parameters that the recipe uses, by name, as a derivation holds them."""
        values = asdict(self)
        return {name: values[name] for name in _names(self.name)}

    @classmethod
    def of(cls, name: str, version: int, parameters: Mapping[str, object]) -> DarkRecipe:
        """The recipe that a derivation holds.

        Raises
        ------
        Invalid
            When this calstore does not know the recipe or that edition of it, when a parameter is
            missing, unknown, or has a value that it cannot have.
        """
        if name not in VERSIONS:
            raise Invalid(f"no recipe {name!r}; there are {' and '.join(VERSIONS)}")
        expected = _names(name)
        if sorted(parameters) != sorted(expected):
            raise Invalid(
                f"the recipe {name} has the parameters {', '.join(expected)}; "
                f"given were {', '.join(sorted(parameters)) or 'none'}"
            )
        return cls(name=name, version=version, **parameters)  # type: ignore[arg-type]


def recipe_text(recipe: DarkRecipe) -> str:
    """The recipe as people read it: its name, and the limits that somebody may have changed."""
    limits = ("frames", "int_lo", "int_hi", "rms_lo", "rms_hi")
    values = recipe.parameters()
    told = " ".join(f"{name}={values[name]:g}" for name in limits if name in values)
    return f"{recipe.name} {recipe.version} ({told})"


def recipe_for(
    name: str, kind: str, dtype: str, changes: Mapping[str, Number] | None = None
) -> DarkRecipe:
    """The recipe of that name for a kind of detector, with some parameters changed.

    Parameters
    ----------
    kind
        As raw data name it: ``Epix100a``, ``jungfrau``; all bits are signal for an unknown one.
    dtype
        Of the raw frames, one of `model.inputs.DTYPES`.
    changes
        Parameter → value instead of the default.

    Raises
    ------
    Invalid
        For a recipe, parameter or dtype that does not exist, or an impossible value.
    """
    if name not in VERSIONS:
        raise Invalid(f"no recipe {name!r}; there are {' and '.join(VERSIONS)}")
    if dtype not in DTYPES:
        raise Invalid(f"frames of {dtype} are no raw frames, which are {', '.join(DTYPES)}")
    changes = changes or {}
    unknown = sorted(set(changes) - set(_names(name)))
    if unknown:
        raise Invalid(
            f"the recipe {name} has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(_names(name))}"
        )
    values = {**_defaults(name, kind, dtype, changes), **changes}
    return DarkRecipe(name=name, version=VERSIONS[name], **values)  # type: ignore[arg-type]


def _defaults(name: str, kind: str, dtype: str, changes: Mapping[str, Number]) -> dict[str, Number]:
    """Class defaults of psana 4.3.4 (reference: UtilsCalib.py:278-310), bits by detector."""
    every = 2 ** _BITS[dtype] - 1
    known = signal_mask(kind)
    bits = changes.get("data_bits", every if known is None else known & every)
    if not isinstance(bits, int) or not 0 < bits <= every:
        raise Invalid(f"data_bits = {bits!r}: a mask of the {_BITS[dtype]} bits of {dtype}")
    largest = every >> 1 if dtype in _SIGNED and bits == every else bits
    skipped = kind.casefold().startswith(_SKIPPED_KINDS)
    return {
        **_OWN_DEFAULTS[name],
        "skip": _SKIPPED if skipped else 0,
        "data_bits": bits,
        "bad_switch": int(tells_bad_switches(kind) and dtype == "uint16"),
        "int_lo": 1.0,
        "int_hi": float(largest - 1),
        "rms_lo": 0.001,
        "rms_hi": float(largest - 1),
        **dict.fromkeys(("int_n_lo", "int_n_hi", "rms_n_lo", "rms_n_hi"), 6.0),
        "fraction_out": 0.1,
    }


def _names(name: str) -> tuple[str, ...]:
    return (*_SHARED, *_OWN[name])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_natural(value: Number) -> bool:
    return isinstance(value, int) and value >= 0


_SHARED: Final = (
    *("frames", "gate_frames", "skip", "data_bits", "bad_switch"),
    *("int_lo", "int_hi", "rms_lo", "rms_hi"),
    *("int_n_lo", "int_n_hi", "rms_n_lo", "rms_n_hi", "fraction_out"),
)
_OWN: Final = {PSANA: ("gate_lo", "gate_hi"), ROBUST: ("gate_sigmas",)}
_WHOLE: Final = frozenset({"frames", "gate_frames", "skip", "data_bits", "bad_switch"})

_OWN_DEFAULTS: Final[dict[str, dict[str, Number]]] = {
    PSANA: {"frames": 1000, "gate_frames": 50, "gate_lo": 0.05, "gate_hi": 0.95},
    ROBUST: {"frames": 0, "gate_frames": 50, "gate_sigmas": 6.0},
}

_Rule: TypeAlias = tuple[Callable[[Number], bool], str]
_ANY: Final[_Rule] = (lambda value: True, "a number")
_NATURAL: Final[_Rule] = (_is_natural, "a whole number, 0 or more")
_SPREADS: Final[_Rule] = (lambda value: value >= 0, "0 (no such limit) or more")
_FRACTION: Final[_Rule] = (lambda value: 0 <= value <= 1, "from 0 to 1")

_RULES: Final[dict[str, _Rule]] = {
    "frames": (
        lambda value: _is_natural(value) and not 0 < value < MIN_FRAMES,
        f"a whole number, {MIN_FRAMES} or more, or 0 for all",
    ),
    "gate_frames": (
        lambda value: _is_natural(value) and MIN_FRAMES <= value <= MOST_GATE_FRAMES,
        f"a whole number from {MIN_FRAMES} to {MOST_GATE_FRAMES}",
    ),
    "skip": _NATURAL,
    "data_bits": (lambda value: _is_natural(value) and value > 0, "a mask of bits"),
    "bad_switch": (lambda value: _is_natural(value) and value < 2, "0 or 1"),
    **dict.fromkeys(("int_lo", "int_hi"), _ANY),
    **dict.fromkeys(("rms_lo", "rms_hi"), _SPREADS),
    **dict.fromkeys(("int_n_lo", "int_n_hi", "rms_n_lo", "rms_n_hi"), _SPREADS),
    **dict.fromkeys(("fraction_out", "gate_lo", "gate_hi"), _FRACTION),
    "gate_sigmas": (lambda value: value > 0, "more than 0"),
}
