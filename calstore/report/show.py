"""What a version holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from calstore.errors import NotFound
from calstore.model.arrays import ArrayReference
from calstore.model.records import Record
from calstore.report.records import approval_json
from calstore.repository.version import CalibrationConstant, DetectorConstants, Version


def constants_of(
    version: Version, detector: str | None, type_name: str | None, run: int | None
) -> list[CalibrationConstant]:
    """The constants of a version, of one detector, of one type, or that one run gets.

    Raises
    ------
    NotFound
        When there is no such detector, or none of the type or for the run.
    """
    keys = version.detectors if detector is None else (version.find(detector),)
    found = [each for key in keys for each in _of_detector(version.detector(key), type_name, run)]
    if not found and (type_name is not None or run is not None):
        at = "" if run is None else f" at run {run}"
        what = f"{type_name or 'constants'} for {detector or 'any detector'}"
        raise NotFound(f"no {what} in {version.name}{at}; calstore show {version.name} lists all")
    return found


def _of_detector(
    detector: DetectorConstants, type_name: str | None, run: int | None
) -> Iterator[CalibrationConstant]:
    for name, by_range in detector.manifest.constants.items():
        if type_name not in (None, name):
            continue
        winner = None if run is None else detector.timeline(name).at(run)
        for runs, constant in by_range.items():
            if run is None or runs == winner:
                yield CalibrationConstant(detector, name, runs, constant)


def is_used(constant: CalibrationConstant) -> bool:
    """Whether any run gets it."""
    return constant.runs in constant.detector.timeline(constant.type_name).winners


def show_json(
    version: Version,
    constants: Sequence[CalibrationConstant],
    approval: Record | None,
    *,
    whole: bool,
) -> dict[str, Any]:
    """What a version holds, as ``schemas/show.json`` describes it; ``whole`` with other files."""
    files = version.manifest.files if whole else {}
    return {
        "approval": approval_json(approval),
        "constants": [_constant_json(constant) for constant in constants],
        "files": [
            {"path": path, "size": blob.size, "xxh128": blob.digest.hex}
            for path, blob in files.items()
        ],
        "manifest": {
            "sha256": version.reference.sha256.hex(),
            "size": version.reference.size,
            "xxh128": version.digest.hex,
        },
        "version": version.name,
    }


def _constant_json(constant: CalibrationConstant) -> dict[str, Any]:
    content, source = constant.constant.content, constant.constant.source
    derivation = constant.constant.derivation
    is_array = isinstance(content, ArrayReference)
    reference = content.content if isinstance(content, ArrayReference) else content
    return {
        "derivation": None if derivation is None else derivation.digest.hex,
        "dtype": content.dtype if isinstance(content, ArrayReference) else None,
        "group": constant.detector.group,
        "kind": "array" if is_array else "blob",
        "name": constant.constant.name or f"{constant.runs}.data",
        "runs": str(constant.runs),
        "sha256": reference.sha256.hex(),
        "shape": list(content.shape) if isinstance(content, ArrayReference) else None,
        "size": reference.size,
        "source": constant.detector.source,
        "type": constant.type_name,
        "used": is_used(constant),
        "verbatim": None if source is None else source.digest.hex,
        "xxh128": reference.digest.hex,
    }
