"""The OpenAPI description of the JSON API, made from the table that its requests are checked by."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from calstore._version import __version__
from calstore.report.schemas import embedded
from calstore.serve.operations import JSON, OPERATIONS, PREFIX, Operation, Parameter

_TEXT: Final = """\
Calibration constants, read-only. HEAD is answered wherever GET is, and no other method. ETags are
digests. What is named by a digest or a record never changes and may be kept for ever, unless it
says who approved it. All that is stored is verified before any of it is sent."""

_ERRORS: Final = {
    "400": "A parameter that is not known, missing or wrong, or what cannot be done",
    "401": "The service wants a token, and there was none or a wrong one",
    "404": "No such version, detector, type, run or object",
    "409": "Somebody changed what was read; ask again",
    "500": "What is stored is damaged; none of it is sent",
}

_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "ETag": {
        "description": "A digest of what is answered; strong",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{32}(?:-[0-9]{1,9})?"$'},
    },
    "Cache-Control": {
        "description": "Whether this may be kept for ever, or is to be asked for again",
        "required": True,
        "schema": {"type": "string", "pattern": "^(?:no-cache|(?:public|private), .*immutable)$"},
    },
    "Accept-Ranges": {"required": True, "schema": {"const": "bytes"}},
    "Content-Range": {
        "required": True,
        "schema": {"type": "string", "pattern": r"^bytes (?:[0-9]+-[0-9]+|\*)/[0-9]+$"},
    },
}

_CONDITIONS: Final = {
    "If-None-Match": "ETags of what the client has; 304 if it is the same still",
    "If-Range": "An ETag: send the range of this, or else all that there is now",
    "Range": "One range of bytes, as bytes=0-99, bytes=100- or bytes=-8; others are ignored",
}


@cache
def described() -> dict[str, Any]:
    """The OpenAPI description."""
    names = [each.schema for each in OPERATIONS if each.schema is not None]
    error = {
        "type": "object",
        "additionalProperties": False,
        "required": ["error", "message"],
        "properties": {
            "error": {"enum": ["Conflict", "Corrupt", "Invalid", "NotFound"]},
            "message": {"type": "string", "minLength": 1},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "calstore", "version": __version__, "description": _TEXT},
        "security": [{}, {"token": []}],
        "paths": {f"{PREFIX}{each.path}": _path(each) for each in OPERATIONS},
        "components": {
            "headers": _HEADERS,
            "parameters": {
                name: {"name": name, "in": "header", "description": text, "schema": _STRING}
                for name, text in _CONDITIONS.items()
            },
            "schemas": {**embedded("definitions", *names), "error": error},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Where the service was told to ask for one",
                }
            },
        },
    }


_STRING: Final = {"type": "string"}


def _path(operation: Operation) -> dict[str, Any]:
    conditions = ["If-None-Match", *(["If-Range", "Range"] if operation.has_ranges else [])]
    told = {"summary": operation.text, "description": operation.text}
    return {
        "parameters": [_parameter(each, operation) for each in operation.parameters],
        "get": {
            **told,
            "operationId": operation.name,
            "parameters": [_reference("parameters", each) for each in conditions],
            "responses": _answers(operation),
        },
        "head": {
            **told,
            "operationId": f"{operation.name}_head",
            "parameters": [_reference("parameters", "If-None-Match")],
            "responses": _heads(operation),
        },
    }


def _parameter(parameter: Parameter, operation: Operation) -> dict[str, Any]:
    schema = parameter.schema or {"type": "string", "pattern": f"^(?:{parameter.pattern})$"}
    return {
        "name": parameter.name,
        "in": "path" if parameter.name in operation.in_path else "query",
        "required": parameter.required,
        "description": parameter.text,
        "schema": dict(schema),
    }


def _answers(operation: Operation) -> dict[str, Any]:
    schema = {} if operation.schema is None else {"schema": _reference("schemas", operation.schema)}
    content = dict.fromkeys(operation.media, schema)
    ranges = ["Accept-Ranges"] if operation.has_ranges else []
    problem = {JSON: {"schema": _reference("schemas", "error")}}
    answers = {
        "200": {"description": operation.text, **_with(*ranges), "content": content},
        "304": {"description": "The client has it", **_with()},
        **{code: {"description": text, "content": problem} for code, text in _ERRORS.items()},
    }
    # Who is not let in is told so by the service, before this API is asked.
    answers["401"] = {"description": _ERRORS["401"], "content": {JSON: {}}}
    if operation.has_ranges:
        of_part = _with("Accept-Ranges", "Content-Range")
        answers["206"] = {"description": "The range asked for", **of_part, "content": content}
        answers["416"] = {"description": "No such range", **of_part}
    return dict(sorted(answers.items()))


def _heads(operation: Operation) -> dict[str, Any]:
    ranges = ["Accept-Ranges"] if operation.has_ranges else []
    return {
        "200": {"description": operation.text, **_with(*ranges)},
        "304": {"description": "The client has it", **_with()},
        **{code: {"description": text} for code, text in _ERRORS.items()},
    }


def _with(*others: str) -> dict[str, Any]:
    return {
        "headers": {
            name: _reference("headers", name) for name in ("ETag", "Cache-Control", *others)
        }
    }


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
