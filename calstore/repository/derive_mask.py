"""A mask as a derivation: from stored arrays, by a rule that is all in its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from calstore._version import __version__
from calstore.correct.assembly import assembly, panels_of
from calstore.correct.geometry import coordinates
from calstore.darks import masks
from calstore.darks.masks import MaskRule
from calstore.errors import Invalid
from calstore.formats.psana_text_writer import checked
from calstore.model.arrays import ArrayReference
from calstore.model.conventions import calibration_type, fixed_shape
from calstore.model.derivations import DerivationManifest, Input, Parameter
from calstore.model.detectors import asic_shape, asic_shape_of_kind, gain_modes
from calstore.model.digest import Reference
from calstore.model.manifests import Constant, Detector
from calstore.model.records import Stamp
from calstore.repository.ingest import put_array
from calstore.repository.results import put_derivation, remember
from calstore.repository.store import Store
from calstore.store import arrays, objects

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Inputs: TypeAlias = Mapping[str, ArrayReference | Reference]

MASK: Final = "pixel_mask"
STATUS: Final = "pixel_status"
EXTRA: Final = "status_extra"
APPLICABLE: Final = (STATUS, EXTRA)
"""Types whose bits clients mask by without being asked to; AMI knows the first alone."""

PEDESTALS: Final = "pedestals"
GEOMETRY: Final = "geometry"
USER: Final = "user"

_SETTINGS: Final = ("apply_to", "has_modes", "is_drawn")


@dataclass(frozen=True, slots=True, eq=False)
class MaskRequest:
    """What shall be masked; see `MaskRule` for the numbers.

    Parameters
    ----------
    user
        A mask of somebody's own, 1 is good: in the shape of the panels, stacked into a plane, or
        drawn on the assembled image.
    is_drawn
        Whether it is drawn on the image even where it has the shape of the panels too.
    apply_to
        One of `APPLICABLE`, whose bit the masked pixels get; ``""`` for none.
    """

    status_bits: int = masks.ALL_BITS
    edges: int = 0
    centre: int = 0
    neighbours: int = 0
    user: Array | None = None
    is_drawn: bool = False
    apply_to: str = ""

    def __post_init__(self) -> None:
        if self.apply_to not in ("", *APPLICABLE):
            listed = " or ".join(APPLICABLE)
            raise Invalid(f"a mask is folded into {listed}, not into {self.apply_to}")
        if self.is_drawn and self.user is None:
            raise Invalid("a mask that is drawn on the image is in a file; name it")
        self._rule((1, 1))

    def rule_for(self, key: Detector) -> MaskRule:
        """The rule for a detector; `Invalid` when where its chips meet is asked for, not known."""
        group, source = key
        chip = asic_shape(source) or asic_shape_of_kind(group)
        if self.centre and chip is None:
            raise Invalid(f"where the chips of {source} meet is not known; leave out the centre")
        return self._rule(chip)

    def _rule(self, chip: tuple[int, int] | None) -> MaskRule:
        rows, columns = chip if chip is not None and self.centre else (0, 0)
        return MaskRule(self.status_bits, self.edges, self.centre, self.neighbours, rows, columns)


@dataclass(frozen=True, slots=True, eq=False)
class DerivedMask:
    """What a derivation gave: by type, the arrays; all of it is stored.

    Parameters
    ----------
    keeps_older
        Whether the status still has the bit of an earlier mask, because this one is not folded
        into it.
    """

    reference: Reference
    results: Mapping[str, ArrayReference]
    masked: masks.Masked
    keeps_older: bool


def derive_mask(
    store: Store, key: Detector, request: MaskRequest, used: Mapping[str, Constant], stamp: Stamp
) -> DerivedMask:
    """The mask of a detector from some of its constants, by role, stored and remembered.

    Raises
    ------
    Invalid
        As `computed`, and when an input is no array that can be one.
    Corrupt
        When the same derivation gave something else before.
    """
    manifest = _manifest(store, key, request, used)
    values, masked = computed(store, manifest)
    results = {name: _put(store, array, key, name) for name, array in values.items()}
    reference = put_derivation(store, manifest)
    remember(store, reference, results, stamp, software())
    bare, status = manifest.inputs.get(STATUS), used.get(STATUS)
    had_bit = bare is not None and status is not None and bare.content != status.content
    return DerivedMask(reference, results, masked, had_bit and request.apply_to != STATUS)


def computed(
    store: Store, manifest: DerivationManifest
) -> tuple[Mapping[str, Array], masks.Masked]:
    """What a mask's derivation gives, by type, from its inputs alone; nothing is stored.

    Raises
    ------
    Invalid
        When this calstore does not know the recipe, or not that version of it; when the user's
        mask fits neither the panels nor the image; when no pixel would be left.
    Corrupt
        When an input is not what was stored.
    """
    if (manifest.recipe, manifest.version) != (masks.RECIPE, masks.VERSION):
        raise Invalid(f"{manifest.recipe} {manifest.version} is no recipe of a mask known here")
    rule, apply_to, modes, is_drawn = _settings(manifest.parameters)
    inputs = {role: item.content for role, item in manifest.inputs.items()}
    shape = _base(inputs).shape
    shape_of_mode = shape[1:] if modes else shape
    panels = masks.panels_shape(shape_of_mode)
    status = _array(store, inputs, STATUS)
    by_panel = None if status is None else masks.by_panel(status, has_modes=modes)
    user = _users_panels(store, inputs, panels, is_drawn)
    masked = masks.mask_of(panels, rule, status=by_panel, user=user)
    results = {MASK: masks.as_stored(masked.mask, shape_of_mode)}
    if apply_to:
        there = _array(store, inputs, apply_to)
        before = _nothing(shape, apply_to) if there is None else there
        results[apply_to] = masks.folded(before, results[MASK])
    return results, masked


def software() -> str:
    """What computes a mask here, with versions."""
    return f"calstore {__version__}, numpy {np.__version__}"


def has_modes(key: Detector, shape: tuple[int, ...]) -> bool:
    """Whether the first axis of a constant of this shape is that of gain modes.

    psana takes it for that where there are four (psana/detector/mask_algos.py:56). With three it is
    where a detector of one panel has no axis of panels, which psana reads as well.
    """
    if fixed_shape(key[0], STATUS) is not None:
        return False
    modes = gain_modes(key[1])
    return len(shape) > 3 or (
        len(shape) == 3 and modes is not None and shape[0] == len(modes.names)
    )


def needs_image(request: MaskRequest, key: Detector, shape: tuple[int, ...]) -> bool:
    """Whether the user's mask is one of the assembled image, of constants of this shape."""
    if request.user is None or request.is_drawn or len(shape) < 2:
        return request.is_drawn
    panels = masks.panels_shape(shape[1:] if has_modes(key, shape) else shape)
    return masks.on_panels(request.user, panels) is None


def _manifest(
    store: Store, key: Detector, request: MaskRequest, used: Mapping[str, Constant]
) -> DerivationManifest:
    inputs: dict[str, Input] = {}
    for role, constant in used.items():
        content = constant.content
        is_array = isinstance(content, ArrayReference)
        if is_array == (role == GEOMETRY):
            there, needed = ("an array", "a text") if is_array else ("an opaque file", "an array")
            raise Invalid(
                f"the {role} of {key[1]} is {there}, and a mask needs {needed}; "
                "calstore check says more"
            )
        if isinstance(content, ArrayReference) and role in APPLICABLE:
            content = _bare(store, key, role, content)
        inputs[role] = Input("array" if is_array else "blob", content)
    if request.user is not None:
        user = arrays.put(store.backend, masks.users_mask(request.user))
        inputs[USER] = Input("array", user)
    shape = _base({role: item.content for role, item in inputs.items()}).shape
    parameters: dict[str, Parameter] = {
        **request.rule_for(key).parameters(),
        "apply_to": request.apply_to,
        "has_modes": has_modes(key, shape),
        "is_drawn": request.is_drawn,
    }
    return DerivationManifest(masks.RECIPE, masks.VERSION, parameters, inputs)


def _bare(store: Store, key: Detector, type_name: str, content: ArrayReference) -> ArrayReference:
    """A status without the bit of an earlier mask, stored: what was there before that one.

    So a mask that is made twice is made from the same, and a new one takes the old one's place.
    """
    status = checked(arrays.get(store.backend, content), type_name)
    return _put(store, masks.folded(status, np.ones((), np.uint8)), key, type_name)


def _put(store: Store, array: Array, key: Detector, type_name: str) -> ArrayReference:
    content = put_array(store.backend, array, key, type_name).content
    assert isinstance(content, ArrayReference)
    return content


def _base(inputs: Inputs) -> ArrayReference:
    """The input that has a value for each pixel."""
    base = inputs.get(STATUS, inputs.get(PEDESTALS))
    if not isinstance(base, ArrayReference) or len(base.shape) < 2:
        raise Invalid(f"a mask is made from a {STATUS} or {PEDESTALS} with rows and columns")
    return base


def _array(store: Store, inputs: Inputs, role: str) -> Array | None:
    content = inputs.get(role)
    return arrays.get(store.backend, content) if isinstance(content, ArrayReference) else None


def _nothing(shape: tuple[int, ...], type_name: str) -> Array:
    kind = calibration_type(type_name)
    assert kind is not None
    return np.zeros(shape, kind.dtype)


def _users_panels(
    store: Store, inputs: Inputs, panels: masks.Shape, is_drawn: bool
) -> Array | None:
    """The user's mask as ``(panel, row, column)``, by the geometry if it is drawn on the image."""
    user = _array(store, inputs, USER)
    if user is None:
        return None
    placed = None if is_drawn else masks.on_panels(user, panels)
    if placed is not None:
        return placed
    geometry = inputs.get(GEOMETRY)
    if not isinstance(geometry, Reference):
        raise Invalid(f"a mask of shape {user.shape} needs a geometry, and the derivation has none")
    where = assembly(coordinates(objects.get(store.backend, objects.BLOBS, geometry)))
    if where.rows.shape != panels:
        raise Invalid(
            f"the geometry places pixels {where.rows.shape}, where the panels are {panels}; "
            "calstore check says more"
        )
    if user.shape != where.shape:
        stacked = (panels[0] * panels[1], panels[2])
        raise Invalid(
            f"a user's mask of shape {user.shape}: the panels are {panels}, stacked {stacked}, "
            f"and the assembled image is {where.shape}"
        )
    return panels_of(where, user)


def _settings(parameters: Mapping[str, Parameter]) -> tuple[MaskRule, str, bool, bool]:
    left = dict(parameters)
    apply_to, modes, is_drawn = (left.pop(name, None) for name in _SETTINGS)
    rule = MaskRule.of(left)
    if not isinstance(apply_to, str) or apply_to not in ("", *APPLICABLE):
        raise Invalid(f"a mask's derivation that is applied to {apply_to!r}")
    if not isinstance(modes, bool) or not isinstance(is_drawn, bool):
        raise Invalid(f"a mask's derivation with {modes!r} and {is_drawn!r}, not true or false")
    return rule, apply_to, modes, is_drawn
