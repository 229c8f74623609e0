"""What the JSON API takes and gives: the table that checks requests and describes itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from calstore.errors import Invalid

PREFIX: Final = "/api/v1"
JSON: Final = "application/json"
NPY: Final = "application/x-npy"
BYTES: Final = "application/octet-stream"

_TEXT: Final = r"[^\x00-\x1f\x7f]{1,1000}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, by its pattern.

    Parameters
    ----------
    schema
        What the description says instead of the pattern, where that is not all that is known of it.
    """

    name: str
    pattern: str
    text: str
    required: bool = False
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for.

    Parameters
    ----------
    schema
        The name of what its JSON is described by; ``None`` for what no file in ``schemas/`` is of.
    media
        What it gives; of all but JSON a range of bytes can be asked for.
    """

    name: str
    path: str
    text: str
    parameters: tuple[Parameter, ...] = ()
    schema: str | None = None
    media: tuple[str, ...] = (JSON,)

    @property
    def has_ranges(self) -> bool:
        """Whether a range of its bytes can be asked for."""
        return JSON not in self.media

    @property
    def in_path(self) -> frozenset[str]:
        """The names of parameters that are parts of its path."""
        return frozenset(re.findall(r"\{(\w+)\}", self.path))

    def checked(self, path: Mapping[str, Any], query: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The parameters of a request.

        Raises
        ------
        Invalid
            For one that is not known, missing, given twice, or not of its pattern.
        """
        known = {each.name: each for each in self.parameters}
        asked = {name: str(value) for name, value in path.items()}
        for name, value in query:
            if name not in known or name in path:
                there = ", ".join(each for each in known if each not in path) or "none"
                raise Invalid(f"unknown parameter {name!r:.60}; known are {there}")
            if name in asked:
                raise Invalid(f"the parameter {name} is given twice")
            asked[name] = value
        for name, parameter in known.items():
            if name not in asked:
                if parameter.required:
                    raise Invalid(f"the parameter {name} is missing: {parameter.text}")
            elif not re.fullmatch(parameter.pattern, asked[name]):
                raise Invalid(f"{name}={asked[name]!r:.60} is not of the form {parameter.pattern}")
        return asked


def _defined(name: str) -> dict[str, str]:
    """A definition that commands' documents use too; the model parses what is given."""
    return {"$ref": f"#/components/schemas/definitions/$defs/{name}"}


def _flag(name: str, text: str) -> Parameter:
    return Parameter(name, "true|false", text, schema={"enum": ["true", "false"]})


_NATURAL: Final = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_POSITIVE: Final = {**_NATURAL, "minimum": 1}
_VERSION: Final = Parameter(
    "version",
    _TEXT,
    "A ref, a record of it (xppn4116/main@7), xppn4116/main@approved, or a digest (xxh128:…)",
    True,
    _defined("asked_version"),
)
_DETECTOR: Final = Parameter("detector", _TEXT, "Its source, or a unique part of it")
_TYPE: Final = Parameter("type", _TEXT, "The calibration type")
_RUN: Final = Parameter("run", r"[0-9]{1,9}", "The run", schema=_NATURAL)
_EXPERIMENT: Final = Parameter(
    "experiment", r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}", "As xppn4116", True, _defined("experiment")
)
_DIGEST: Final = Parameter("digest", r"(?:xxh128:)?[0-9a-f]{32}", "XXH3-128, in hex", True)
_PANEL: Final = Parameter("number", r"[0-9]{1,9}", "From 0", True, _NATURAL)


def _required(parameter: Parameter) -> Parameter:
    return replace(parameter, required=True)


OPERATIONS: Final = (
    Operation("openapi", "/openapi.json", "This description"),
    Operation(
        "refs",
        "/refs",
        "The newest record of each ref",
        (
            Parameter("pattern", _TEXT, "Which, as xppn4116/*"),
            _flag("deleted", "Deleted refs too"),
        ),
        "refs",
    ),
    Operation(
        "log",
        "/log",
        "The history of a ref, the newest record first",
        (
            Parameter("ref", _TEXT, "As xppn4116/main", True, _defined("ref")),
            Parameter("limit", r"[1-9][0-9]{0,8}", "Only so many", schema=_POSITIVE),
        ),
        "log",
    ),
    Operation("show", "/show", "What a version holds", (_VERSION, _DETECTOR, _TYPE, _RUN), "show"),
    Operation(
        "coverage",
        "/coverage",
        "Which constant each run gets",
        (_VERSION, _DETECTOR, _RUN),
        "coverage",
    ),
    Operation(
        "diff",
        "/diff",
        "How two versions differ",
        (
            replace(_VERSION, name="before"),
            replace(_VERSION, name="after"),
            *(_DETECTOR, _TYPE, _RUN),
        ),
        "diff",
    ),
    Operation(
        "approvals", "/approvals", "Who said what of a set of constants", (_VERSION,), "approvals"
    ),
    Operation(
        "uses",
        "/uses",
        "Which constants programs were given for a run",
        (_EXPERIMENT, _required(_RUN)),
        "used",
    ),
    Operation(
        "runs",
        "/runs",
        "Which runs are dark, planned or flawed, and why",
        (
            _EXPERIMENT,
            _flag("dark", "Only darks"),
            _flag("flawed", "Only flawed runs"),
            _flag("planned", "Only runs whose data are not there yet"),
            Parameter("reason", _TEXT, "Only of this reason"),
            Parameter("detector", _TEXT, "Only what concerns it: a part of its name"),
            Parameter("runs", _TEXT, "Only these: 100-200", schema=_defined("run_range")),
            replace(_RUN, name="history", text="All that was said of this run"),
        ),
        "runs",
    ),
    Operation(
        "constant",
        "/constant",
        "What a run gets: an array as .npy, anything else as its bytes",
        (_VERSION, _required(_DETECTOR), _required(_TYPE), _required(_RUN)),
        media=(NPY, BYTES),
    ),
    Operation("array", "/arrays/{digest}", "An array as .npy", (_DIGEST,), media=(NPY,)),
    Operation(
        "panel",
        "/arrays/{digest}/panels/{number}",
        "One panel of an array: its values in C order, little-endian",
        (_DIGEST, _PANEL),
        media=(BYTES,),
    ),
    Operation("blob", "/blobs/{digest}", "A file's bytes", (_DIGEST,), media=(BYTES,)),
)
