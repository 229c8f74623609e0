"""Names of refs, and which names may become part of a path."""

from __future__ import annotations

import re
from dataclasses import dataclass

from calstore.errors import Invalid

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
_RECORD = re.compile(r"[0-9]{8}")
_SHAPES = "<experiment>/<name>, <experiment>/users/<user>/<name> or detectors/<id>/<name>"


@dataclass(frozen=True, slots=True, order=True)
class RefName:
    """The name of a calib-version: a branch that moves or a tag that does not."""

    text: str

    def __post_init__(self) -> None:
        parts = self.text.split("/")
        for part in parts:
            _check_component(part, self.text)
        match parts:
            case ["detectors", _, _]:
                return
            case [experiment, "users", _, _] if experiment not in ("users", "detectors"):
                return
            case [experiment, name] if "users" not in parts and experiment != "detectors":
                del name
                return
        raise Invalid(f"the ref name {self.text!r} is not of the form {_SHAPES}")

    def __str__(self) -> str:
        return self.text

    @property
    def log(self) -> str:
        """The log that holds its records."""
        return f"refs/{self.text}"

    @property
    def experiment(self) -> str:
        """The first component."""
        return self.text.split("/")[0]


def _check_component(part: str, whole: str) -> None:
    if not _COMPONENT.fullmatch(part):
        raise Invalid(
            f"the ref name {whole!r} has the component {part!r}; a component begins with a letter "
            "or digit and goes on with letters, digits and ._:+- (at most 128)"
        )
    if _RECORD.fullmatch(part):
        raise Invalid(
            f"the ref name {whole!r} has the component {part}; eight digits name a record"
        )
    if part.endswith(".lock"):
        raise Invalid(f"the ref name {whole!r} has a component that ends in .lock")


def check_path(path: str) -> str:
    """The path, if every component may become a file's name below a folder.

    Raises
    ------
    Invalid
        For an empty component, ``.``, ``..``, a NUL, one over 255 bytes, or no UTF-8.
    """
    for part in path.split("/"):
        check_component(part, path)
    return path


def check_component(part: str, path: str | None = None) -> str:
    """The component, if it may become a file's name; `Invalid` otherwise."""
    whole = part if path is None else path
    if part in ("", ".", "..") or "/" in part or "\0" in part:
        raise Invalid(f"the name {whole!r} has a component {part!r}, which no file may have")
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        raise Invalid(f"the name {whole!r} is not valid UTF-8") from None
    if size > 255:
        raise Invalid(f"the name {whole[:60]!r}… has a component of {size} bytes; at most 255")
    return part
