"""How two versions differ."""

from __future__ import annotations

from typing import Any

from calstore.model.arrays import ArrayReference, panels_of
from calstore.model.records import Record
from calstore.repository.diff import Differences, differing_panels, effects_of, origins_of
from calstore.views.course import Winner
from calstore.views.difference import ConstantDifference, Effect


def diff_json(found: Differences, run: int | None) -> dict[str, Any]:
    """How two versions differ, as ``schemas/diff.json`` describes it."""
    return {
        "after": {"manifest": str(found.after.digest), "name": found.after.name},
        "before": {"manifest": str(found.before.digest), "name": found.before.name},
        "constants": [
            _constant_json(found, each, origins)
            for each, origins in zip(found.constants, origins_of(found), strict=True)
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
    found: Differences, each: ConstantDifference, origins: tuple[Record | None, Record | None]
) -> dict[str, Any]:
    return {
        "after": _winner_json(each.after),
        "before": _winner_json(each.before),
        "group": each.detector[0],
        "kind": each.kind,
        "panels": _panels_json(found, each) if each.kind == "changed" else None,
        "records": [None if record is None else record.name for record in origins],
        "source": each.detector[1],
        "type": each.type_name,
    }


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
