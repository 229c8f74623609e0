"""From exact sums to stored constants: one derivation, looked up or computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from calstore._version import __version__
from calstore.darks.constants import DarkConstants, derive
from calstore.darks.modes import origins_of, stacked
from calstore.darks.recipe import DarkRecipe
from calstore.errors import Invalid
from calstore.model.arrays import ArrayReference
from calstore.model.derivations import (
    ABSENT,
    COMPUTED,
    FRAMES,
    DerivationManifest,
    Input,
    Parameter,
)
from calstore.model.digest import Reference
from calstore.model.inputs import InputManifest
from calstore.model.records import Stamp
from calstore.repository.results import put_derivation, put_input, remember
from calstore.repository.store import Store
from calstore.store import arrays

if TYPE_CHECKING:
    import numpy as np

    from calstore.darks.sums import GatedSums

    Array = np.ndarray[Any, np.dtype[Any]]

GAINS: Final = ("pixel_gain", "pixel_offset")
"""From charge injection; the pedestals of gain modes that no dark measures are computed with it."""

MODES: Final = "gain_modes"
"""The parameter that names the gain modes in the order of the axis, a blank apart."""


@dataclass(frozen=True, slots=True)
class DarkInput:
    """The frames of one detector in one gain mode (``""`` for a detector without), as sums."""

    manifest: InputManifest
    sums: GatedSums


@dataclass(frozen=True, slots=True)
class Rule:
    """All that decides the numbers of a dark beside its frames.

    Parameters
    ----------
    modes
        The gain modes in the order of the axis; empty for a detector without.
    gains
        Of `GAINS`, what the modes that no dark measures are computed with; may be empty.
    without
        Modes that are left out on request; they hold what psana fills in.
    """

    recipe: DarkRecipe
    modes: tuple[str, ...] = ()
    gains: Mapping[str, ArrayReference] = field(default_factory=dict)
    without: frozenset[str] = frozenset()

    @property
    def has_gains(self) -> bool:
        """Whether modes that no dark measures can be computed."""
        return self.gains.keys() >= set(GAINS)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """As a derivation holds them."""
        modes = {MODES: " ".join(self.modes)} if self.modes else {}
        return {**self.recipe.parameters(), **modes}


@dataclass(frozen=True, slots=True)
class Derived:
    """What a derivation gave: by type, the arrays; all of it is stored."""

    reference: Reference
    manifest: DerivationManifest
    results: Mapping[str, ArrayReference]


def derive_dark(store: Store, inputs: Mapping[str, DarkInput], rule: Rule, stamp: Stamp) -> Derived:
    """The constants of one detector from its dark frames, stored and remembered.

    Parameters
    ----------
    inputs
        By gain mode; the only key is ``""`` for a detector without modes.

    Raises
    ------
    Invalid
        When there are too few frames, or a gain mode has neither frames nor a rule.
    Corrupt
        When the same derivation gave something else before.
    """
    manifest, values = computed(store, inputs, rule)
    results = {name: arrays.put(store.backend, array) for name, array in values.items()}
    for each in inputs.values():
        put_input(store, each.manifest)
    reference = put_derivation(store, manifest)
    remember(store, reference, results, stamp, software())
    return Derived(reference, manifest, results)


def computed(
    store: Store, inputs: Mapping[str, DarkInput], rule: Rule
) -> tuple[DerivationManifest, dict[str, Array]]:
    """The derivation and its arrays by type; nothing is stored. Errors as `derive_dark`."""
    manifest = manifest_of({mode: each.manifest for mode, each in inputs.items()}, rule)
    made = {mode: derive(each.sums, rule.recipe) for mode, each in inputs.items()}
    if not rule.modes:
        (one,) = made.values()
        return manifest, _by_type(one)
    gains = {name: arrays.get(store.backend, ref) for name, ref in rule.gains.items()}
    together = stacked(made, rule.modes, gains=gains, without=rule.without)
    return manifest, _by_type(together.constants)


def manifest_of(inputs: Mapping[str, InputManifest], rule: Rule) -> DerivationManifest:
    """The derivation of constants from some inputs, by gain mode, before it is computed.

    Raises
    ------
    Invalid
        When a gain mode has neither frames nor a rule.
    """
    used = {
        f"{FRAMES}/{mode}" if mode else FRAMES: Input(FRAMES, each.reference)
        for mode, each in inputs.items()
    }
    origins = {}
    if rule.modes:
        origins = origins_of(
            inputs.keys(), rule.modes, has_gains=rule.has_gains, without=rule.without
        )
    if COMPUTED in origins.values():
        used |= {name: Input("array", reference) for name, reference in rule.gains.items()}
    return DerivationManifest(rule.recipe.name, rule.recipe.version, rule.parameters, used, origins)


def rule_of(manifest: DerivationManifest) -> Rule:
    """The rule that a derivation followed, to follow it again.

    Raises
    ------
    Invalid
        When this calstore does not know the recipe, or not that version of it.
    """
    parameters = dict(manifest.parameters)
    modes = parameters.pop(MODES, "")
    if not isinstance(modes, str):
        raise Invalid(f"a derivation whose gain modes are {modes!r}")
    gains = {
        name: item.content
        for name, item in manifest.inputs.items()
        if isinstance(item.content, ArrayReference)
    }
    without = frozenset(mode for mode, origin in manifest.modes.items() if origin == ABSENT)
    recipe = DarkRecipe.of(manifest.recipe, manifest.version, parameters)
    return Rule(recipe, tuple(modes.split()), gains, without)


def software() -> str:
    """What computes here, with versions."""
    import numba
    import numpy as np

    return f"calstore {__version__}, numpy {np.__version__}, numba {numba.__version__}"


def _by_type(constants: DarkConstants) -> dict[str, Array]:
    return {
        "pedestals": constants.pedestals,
        "pixel_max": constants.pixel_max,
        "pixel_min": constants.pixel_min,
        "pixel_rms": constants.pixel_rms,
        "pixel_status": constants.pixel_status,
    }
