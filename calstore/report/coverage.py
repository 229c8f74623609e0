"""Which constant each run gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calstore.model.records import Record
from calstore.report.records import approval_json
from calstore.repository.coverage import Answer
from calstore.repository.version import Version
from calstore.views.coverage import DetectorCoverage


def coverage_json(
    version: Version,
    approval: Record | None,
    run: int | None,
    found: tuple[DetectorCoverage, ...],
    told: Mapping[tuple[str, str], list[Answer]],
) -> dict[str, Any]:
    """What each run gets, as ``schemas/coverage.json`` describes it."""
    return {
        "approval": approval_json(approval),
        "detectors": [_detector_json(version, one, told.get(one.detector)) for one in found],
        "manifest": str(version.digest),
        "run": run,
        "version": version.name,
    }


def _detector_json(
    version: Version, one: DetectorCoverage, told: list[Answer] | None
) -> dict[str, Any]:
    constants = version.detector(one.detector).manifest.constants
    group, source = one.detector
    return {
        "absent": dict(one.absent),
        "group": group,
        "mismatches": [
            {
                "panels": [list(serials) for serials in mismatch.panels],
                "pedestals": str(mismatch.pedestals),
                "runs": mismatch.runs,
                "type": mismatch.type_name,
                "winner": str(mismatch.winner),
            }
            for mismatch in one.mismatches
        ],
        "problems": list(one.problems),
        "run": None if told is None else [_answer_json(answer) for answer in told],
        "source": source,
        "types": [
            {
                "default": covered.default,
                "live": None if covered.live is None else str(covered.live),
                "read_by_ami": covered.is_read_by_ami,
                "shadowed": [str(runs) for runs in covered.shadowed],
                "stretches": [
                    {
                        "digest": None
                        if piece.winner is None
                        else str(constants[covered.name][piece.winner].content.digest),
                        "runs": piece.runs,
                        "winner": None if piece.winner is None else str(piece.winner),
                    }
                    for piece in covered.stretches
                ],
                "type": covered.name,
            }
            for covered in one.types
        ],
    }


def _answer_json(answer: Answer) -> dict[str, Any]:
    constant, record = answer.constant, answer.record
    return {
        "beaten": [str(runs) for runs in answer.beaten],
        "digest": None if constant is None else str(constant.digest),
        "record": None if record is None else record.name,
        "type": answer.type_name,
        "winner": None if constant is None else str(constant.runs),
    }
