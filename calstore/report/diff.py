"""How two versions differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from calstore.model.arrays import ArrayReference, panels_of
from calstore.model.records import Record
from calstore.repository.diff import Differences, differing_panels, effects_of, origins_of
from calstore.views.course import Winner
from calstore.views.difference import ConstantDifference, Effect

if TYPE_CHECKING:
    from calstore.checks.numbers import Numbers
    from calstore.repository.diff_numbers import ConstantNumbers


def diff_json(
    found: Differences, run: int | None, numbers: Sequence[ConstantNumbers | None] = ()
) -> dict[str, Any]:
    """How two versions differ, as ``schemas/diff.json`` describes it.

    Parameters
    ----------
    numbers
        Of each constant that differs, in their order; none for no numbers at all.
    """
    told = numbers or (None,) * len(found.constants)
    return {
        "after": {"manifest": str(found.after.digest), "name": found.after.name},
        "before": {"manifest": str(found.before.digest), "name": found.before.name},
        "constants": [
            _constant_json(found, each, origins, own)
            for each, origins, own in zip(found.constants, origins_of(found), told, strict=True)
        ],
        "effects": [] if run is not None else [_effect_json(each) for each in effects_of(found)],
        "files": [
            {
                "after": None if file.after is None else str(file.after.digest),
                "before": None if file.before is None else str(file.before.digest),
                "path": file.path,
            }
            for file in found.files
        ],
        "run": run,
    }


def _constant_json(
    found: Differences,
    each: ConstantDifference,
    origins: tuple[Record | None, Record | None],
    numbers: ConstantNumbers | None,
) -> dict[str, Any]:
    return {
        "after": _winner_json(each.after),
        "before": _winner_json(each.before),
        "group": each.detector[0],
        "kind": each.kind,
        "numbers": None if numbers is None else _numbers_json(numbers),
        "panels": _panels_json(found, each) if each.kind == "changed" else None,
        "records": [None if record is None else record.name for record in origins],
        "source": each.detector[1],
        "type": each.type_name,
    }


def _numbers_json(numbers: ConstantNumbers) -> dict[str, Any]:
    arrays = numbers.arrays
    return {
        "bits": [
            {"bit": bit, "gained": gained, "lost": lost}
            for bit, (gained, lost) in numbers.bits.items()
        ],
        "causes": list(numbers.causes),
        "displaced": [
            {
                "element": each.element,
                "moved_um": None if each.moved_um is None else list(each.moved_um),
                "turned": None if each.turned is None else list(each.turned),
            }
            for each in numbers.displaced
        ],
        "panels": None if arrays is None else [pixels_json(each) for each in arrays.panels],
        "total": None if arrays is None else pixels_json(arrays.total),
        "unit": numbers.unit,
    }


def pixels_json(numbers: Numbers) -> dict[str, Any]:
    """Numbers of some pixels, as ``schemas/diff.json`` describes them."""
    noise = numbers.in_noise
    return {
        "changed": numbers.changed,
        "high": _finite(numbers.high),
        "in_noise": None if noise is None else {"median": noise[0], "high": noise[1]},
        "largest": _finite(numbers.largest),
        "low": _finite(numbers.low),
        "median": _finite(numbers.median),
        "pixels": numbers.pixels,
    }


def _finite(number: float) -> float | None:
    """A number that JSON has; ``None`` where no pixel is finite in both."""
    return number if math.isfinite(number) else None


def _panels_json(found: Differences, each: ConstantDifference) -> dict[str, Any] | None:
    panels = differing_panels(found.before, found.after, each)
    content = None if each.after is None else each.after[1].content
    if panels is None or not isinstance(content, ArrayReference):
        return None
    count = panels_of(content.dtype, content.shape).count
    return {"count": count, "differing": list(panels)}


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {
        "after": _winner_json(effect.after),
        "before": _winner_json(effect.before),
        "group": effect.detector[0],
        "runs": effect.runs,
        "source": effect.detector[1],
        "type": effect.type_name,
    }


def _winner_json(winner: Winner) -> dict[str, Any] | None:
    if winner is None:
        return None
    runs, constant = winner
    content = constant.content
    return {
        "array": {"dtype": content.dtype, "shape": list(content.shape)}
        if isinstance(content, ArrayReference)
        else None,
        "digest": str(content.digest),
        "name": constant.name or f"{runs}.data",
        "runs": str(runs),
        "serials": list(constant.serials),
        "verbatim": None if constant.source is None else str(constant.source.digest),
    }
