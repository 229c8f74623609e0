"""Documents of psana 2's calibration service, read without believing them (psana 4.3.4).

The fields are those of psana/pscalib/calib/MDBUtils.py (`docdic`), the ranges as
psana/pscalib/calib/CalibDoc.py takes them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from calstore.errors import Invalid
from calstore.model.names import check_component
from calstore.model.psana2 import MAX_RUN, parse_long_name
from calstore.model.runs import END, RunRange

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

EVERY_RUN: Final = RunRange(0, END)
MAX_PAYLOAD: Final = 4 * 1024**3
_IDENTITY: Final = re.compile(r"[0-9a-f]{24}")
_SHAPE: Final = re.compile(r"\(\s*(?:\d{1,9}\s*(?:,\s*\d{1,9}\s*)*,?\s*)?\)")
_DTYPE: Final = re.compile(r"[<>=|]?(?:bool|u?int(?:8|16|32|64)|float(?:16|32|64)|[iuf][1248]|b1)")


@dataclass(frozen=True, slots=True)
class Document:
    """One document, and so one constant: what it says of itself, checked.

    Parameters
    ----------
    fields
        All of it, as it came.
    identity
        Its ``_id``, which begins with the time of the deposit.
    long
        The unique id of the panels.
    runs
        A last run of 9999 is psana2's ``end``.
    dtype
        Of the array; ``""`` for a text.
    """

    fields: Mapping[str, Any]
    identity: str
    type_name: str
    long: str
    runs: RunRange
    id_data: str
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def parsed(cls, fields: object, long: str = "") -> Document:
        """The document that a service or a tool sent.

        Parameters
        ----------
        long
            The unique id that its collection is for, which counts more than what it says itself.

        Raises
        ------
        Invalid
            For what psana2 would not take, and for what it would run: a pickle, or a shape that is
            no list of numbers.
        """
        if not isinstance(fields, dict):
            raise Invalid(f"a document that is no map: {fields!r:.80}")
        own = long or fields.get("longname")
        type_name = _text(fields, "ctype")
        check_component(type_name)
        parse_long_name(own if isinstance(own, str) else "")
        for part in str(own).split("_"):
            check_component(part)
        data_type = fields.get("data_type")
        if data_type not in ("ndarray", "str"):
            raise Invalid(f"its data are of the type {data_type!r:.40}, which is not opened here")
        is_array = data_type == "ndarray"
        return cls(
            fields=fields,
            identity=_identity(fields, "_id"),
            type_name=type_name,
            long=str(own),
            runs=_runs(fields.get("run"), fields.get("run_end")),
            id_data=_identity(fields, "id_data"),
            dtype=_matching(_text(fields, "data_dtype"), _DTYPE, "dtype") if is_array else "",
            shape=_shape(fields.get("data_shape")) if is_array else (),
        )

    @classmethod
    def fall_back(cls, fields: object, long: str = "") -> Document:
        """A document of a detector's own database, where psana2 does not look at the runs."""
        if not isinstance(fields, dict):
            return cls.parsed(fields, long)
        return replace(cls.parsed({**fields, "run": 0, "run_end": "end"}, long), fields=fields)

    @property
    def panels(self) -> tuple[str, tuple[str, ...]]:
        """The type of the detector and the serials of its panels."""
        return parse_long_name(self.long)

    @property
    def seconds(self) -> int:
        """When it was deposited, in seconds since 1970."""
        return int(self.identity[:8], 16)

    @property
    def size(self) -> int | None:
        """Bytes of the payload; ``None`` for a text, which does not say."""
        if not self.dtype:
            return None
        import numpy as np

        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def act(self) -> tuple[object, ...]:
        """What documents have in common that were deposited by one command."""
        names = ("uid", "host", "cwd", "comment", "time_sec", "detname")
        return (self.long, self.runs, self.command, *(str(self.fields.get(key)) for key in names))

    @property
    def command(self) -> str:
        """The command line that deposited it; ``""`` where it does not say."""
        found = self.fields.get("extpars")
        try:
            told = json.loads(found) if isinstance(found, str) else found
        except (ValueError, RecursionError):
            return ""
        command = told.get("command") if isinstance(told, dict) else None
        return command if isinstance(command, str) else ""

    def told(self, name: str) -> str:
        """A field as a line of text; ``""`` where there is none."""
        found = self.fields.get(name)
        text = str(found) if isinstance(found, str | int | float) else ""
        return text if text.isprintable() else text.encode("unicode_escape").decode()

    def decoded(self, payload: bytes) -> Array | bytes:
        """The array, or the text in UTF-8, of a payload.

        Raises
        ------
        Invalid
            When the payload has another size, or is no text.
        """
        if self.size is None:
            try:
                payload.decode()
            except UnicodeDecodeError as error:
                raise Invalid(f"a text that is no UTF-8 ({error})") from None
            return payload
        import numpy as np

        if len(payload) != self.size:
            raise Invalid(
                f"a payload of {len(payload)} bytes; {self.dtype} {self.shape} has {self.size}"
            )
        return np.frombuffer(payload, self.dtype).reshape(self.shape)


def identity_of(fields: Mapping[str, Any]) -> str:
    """The ``_id`` of a document, plain or as MongoDB writes one in JSON; ``""`` for none."""
    found = fields.get("_id")
    if isinstance(found, dict):
        found = found.get("$oid")
    return found if isinstance(found, str) else ""


def _text(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name)
    if not isinstance(found, str) or not found:
        raise Invalid(f"a document whose {name} is {found!r:.60}")
    return found


def _matching(text: str, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.fullmatch(text):
        raise Invalid(f"a document whose {what} is {text!r:.60}")
    return text


def _identity(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name)
    if isinstance(found, dict):
        found = found.get("$oid")
    return _matching(found if isinstance(found, str) else repr(found)[:60], _IDENTITY, name)


def _runs(first: object, last: object) -> RunRange:
    begin, end = (_number(each) for each in (first, last))
    if end is None and last == "end":
        end = MAX_RUN
    if begin is None or end is None or not begin <= end <= MAX_RUN:
        raise Invalid(f"a document for the runs {first!r:.20} to {last!r:.20}: never used by psana")
    return RunRange(begin, END if end == MAX_RUN else end)


def _number(found: object) -> int | None:
    if isinstance(found, bool):
        return None
    if isinstance(found, int) and found >= 0:
        return found
    is_number = isinstance(found, str) and found.isascii() and found.isdecimal()
    return int(str(found)) if is_number and len(str(found)) < 10 else None


def _shape(found: object) -> tuple[int, ...]:
    text = found if isinstance(found, str) else ""
    if not _SHAPE.fullmatch(text):
        raise Invalid(f"a document whose data_shape is {found!r:.60}")
    shape = tuple(int(part) for part in re.findall(r"\d+", text))
    if math.prod(shape) * 8 > MAX_PAYLOAD or len(shape) > 8:
        raise Invalid(f"a document with an array of the shape {shape}, which is too large")
    return shape
