"""What the JSON API takes and gives: the table that checks requests and describes itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from calstore._version import __version__
from calstore.errors import Invalid
from calstore.report.schemas import embedded

PREFIX: Final = "/api/v1"

_TEXT: Final = r"[^\x00-\x1f\x7f]{1,1000}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, by its pattern.

    Parameters
    ----------
    schema
        Keys of its JSON schema other than those of its pattern.
    """

    name: str
    pattern: str
    text: str
    required: bool = False
    schema: Mapping[str, Any] | None = None

    def described(self, place: str) -> dict[str, Any]:
        """As OpenAPI has it."""
        return {
            "name": self.name,
            "in": place,
            "required": self.required or place == "path",
            "description": self.text,
            "schema": dict(self.schema or {"type": "string", "pattern": f"^{self.pattern}$"}),
        }


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for.

    Parameters
    ----------
    gives
        A name of a schema, for JSON; or media types.
    """

    name: str
    path: str
    text: str
    gives: str | tuple[str, ...]
    parameters: tuple[Parameter, ...]

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
                raise Invalid(f"unknown parameter {name!r:.60}; known are {', '.join(known)}")
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


_NATURAL: Final = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_POSITIVE: Final = {**_NATURAL, "minimum": 1}
_VERSION: Final = Parameter(
    "version", _TEXT, "A ref, a record of it (xppn4116/main@7), or a digest (xxh128:…)", True
)
_DETECTOR: Final = Parameter("detector", _TEXT, "Its source, or a unique part of it")
_TYPE: Final = Parameter("type", _TEXT, "The calibration type")
_RUN: Final = Parameter("run", r"[0-9]{1,9}", "The run", schema=_NATURAL)
_DIGEST: Final = Parameter("digest", r"(?:xxh128:)?[0-9a-f]{32}", "XXH3-128, in hex", True)


def _required(parameter: Parameter) -> Parameter:
    return Parameter(parameter.name, parameter.pattern, parameter.text, True, parameter.schema)


OPERATIONS: Final = (
    Operation(
        "refs",
        "/refs",
        "The newest record of each ref",
        "refs",
        (
            Parameter("pattern", _TEXT, "Which, as xppn4116/*"),
            Parameter(
                "deleted", "true|false", "Deleted refs too", schema={"enum": ["true", "false"]}
            ),
        ),
    ),
    Operation(
        "log",
        "/log",
        "The history of a ref, the newest record first",
        "log",
        (
            Parameter("ref", _TEXT, "As xppn4116/main", True),
            Parameter("limit", r"[1-9][0-9]{0,8}", "Only so many", schema=_POSITIVE),
        ),
    ),
    Operation("show", "/show", "What a version holds", "show", (_VERSION, _DETECTOR, _TYPE, _RUN)),
    Operation(
        "coverage",
        "/coverage",
        "Which constant each run gets",
        "coverage",
        (_VERSION, _DETECTOR, _RUN),
    ),
    Operation(
        "diff",
        "/diff",
        "How two versions differ",
        "diff",
        (
            Parameter("before", _TEXT, "A version", True),
            Parameter("after", _TEXT, "A version", True),
            *(_DETECTOR, _TYPE, _RUN),
        ),
    ),
    Operation(
        "approvals", "/approvals", "Who said what of a set of constants", "approvals", (_VERSION,)
    ),
    Operation(
        "uses",
        "/uses",
        "Which constants programs were given for a run",
        "used",
        (Parameter("experiment", _TEXT, "As xppn4116", True), _required(_RUN)),
    ),
    Operation(
        "constant",
        "/constant",
        "What a run gets: an array as .npy, anything else as its bytes",
        ("application/x-npy", "application/octet-stream"),
        (_VERSION, _required(_DETECTOR), _required(_TYPE), _required(_RUN)),
    ),
    Operation("array", "/arrays/{digest}", "An array as .npy", ("application/x-npy",), (_DIGEST,)),
    Operation(
        "panel",
        "/arrays/{digest}/panels/{number}",
        "One panel of an array: its values in C order, little-endian",
        ("application/octet-stream",),
        (_DIGEST, Parameter("number", r"[0-9]{1,9}", "From 0", True, _NATURAL)),
    ),
    Operation(
        "blob", "/blobs/{digest}", "A file's bytes", ("application/octet-stream",), (_DIGEST,)
    ),
)

_ERRORS: Final = {
    "400": "A parameter that is not known, missing or wrong, or what cannot be done",
    "404": "No such version, detector, type, run or object",
    "500": "What is stored is damaged; none of it is sent",
}


@cache
def described() -> dict[str, Any]:
    """The OpenAPI description."""
    names = [each.gives for each in OPERATIONS if isinstance(each.gives, str)]
    error = {
        "type": "object",
        "additionalProperties": False,
        "required": ["error", "message"],
        "properties": {
            "error": {"enum": ["Conflict", "Corrupt", "Invalid", "NotFound"]},
            "message": {"type": "string"},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "calstore",
            "version": __version__,
            "description": "Calibration constants, read-only. ETags are digests.",
        },
        "paths": {f"{PREFIX}{each.path}": {"get": _operation(each)} for each in OPERATIONS},
        "components": {"schemas": {**embedded(*names), "error": error}},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    in_path = set(re.findall(r"\{(\w+)\}", operation.path))
    is_json = isinstance(operation.gives, str)
    content: dict[str, Any] = {name: {} for name in operation.gives if not is_json}
    if is_json:
        schema = {"$ref": f"#/components/schemas/{operation.gives}"}
        content = {"application/json": {"schema": schema}}
    parts = (
        {}
        if is_json
        else {
            "206": {"description": "The range that was asked for", "content": content},
            "416": {"description": "No such range"},
        }
    )
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}}
    return {
        "operationId": operation.name,
        "summary": operation.text,
        "parameters": [
            each.described("path" if each.name in in_path else "query")
            for each in operation.parameters
        ],
        "responses": {
            "200": {"description": operation.text, "content": content},
            "304": {"description": "As the client has it"},
            **parts,
            **{code: {"description": text, "content": problem} for code, text in _ERRORS.items()},
        },
    }
