"""prefetch: the constants of a run as the file that psana 2 and AMI read instead of asking."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from calstore.errors import Conflict, Invalid, NotFound
from calstore.model.detectors import signal_mask
from calstore.model.psana2 import parse_long_name, short_name, short_number
from calstore.model.records import Stamp
from calstore.model.uses import Use
from calstore.repository.psana2 import Served, served, withheld
from calstore.repository.uses import record_use
from calstore.repository.version import Version

PSANAS_OWN: Final = Path("/dev/shm/calibconst.pkl")
"""Where psana looks (psana/pscalib/app/calib_prefetch/calib_utils.py)."""

_MARK: Final = b"\ncalstore prefetch "
_TAIL: Final = 4096
_PROTOCOL: Final = 5


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a run gets of a version, as psana has it in memory.

    Parameters
    ----------
    constants
        Detector, by its name in the data → type → array or text, and psana's document.
    missing
        Unique ids of detectors with pixels of which the version has nothing.
    withheld
        Detectors and types that are of no use for the run's panels, in a line of text each.
    """

    constants: Mapping[str, Mapping[str, tuple[Any, Mapping[str, Any]]]]
    missing: tuple[str, ...]
    withheld: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, tuple[str, ...]]:
        """The types of each detector that has any."""
        return {name: tuple(sorted(each)) for name, each in sorted(self.constants.items()) if each}


def gather(
    version: Version, run: int, unique_ids: Mapping[str, str], *, allow_missing: bool = False
) -> Gathered:
    """What a run gets of a version for all its detectors.

    Parameters
    ----------
    unique_ids
        Of all detectors of the run, by their names in the data.

    Raises
    ------
    NotFound
        When the version has nothing for a detector with pixels.
    """
    found = {name: _served(version, unique, run) for name, unique in unique_ids.items()}
    missing = tuple(
        sorted(unique for name, unique in unique_ids.items() if _lacks(found[name], unique))
    )
    if missing and not allow_missing:
        listed = "\n  ".join(missing)
        raise NotFound(
            f"{version.name} has no constants at run {run} for\n  {listed}\nMake them with "
            "calstore dark, or allow them to be missing"
        )
    told = {name: withheld(each, run) for name, each in found.items()}
    return Gathered(
        {name: _constants(each) for name, each in found.items()},
        missing,
        tuple(f"{name}: {', '.join(types)}" for name, types in told.items() if types),
    )


def prefetch(
    version: Version, run: int, unique_ids: Mapping[str, str], gathered: Gathered, dest: Path
) -> int:
    """Write what was gathered, at once or not at all; the size of the file.

    psana takes no file that lacks a detector of its run, of whatever kind.

    Raises
    ------
    NotFound
        When there is no such folder, or no room.
    Conflict
        When the file is there and was not written by this.
    """
    _refuse_foreign(dest)
    document = {"calib_const": dict(gathered.constants), "det_info": dict(unique_ids)}
    return _write(dest, document, {"digest": str(version.digest), "run": run})


def record_prefetch(
    version: Version, experiment: str, run: int, gathered: Gathered, dest: Path, stamp: Stamp
) -> None:
    """Keep in the store what was written for whoever reads it; see `record_use`."""
    use = Use(f"file:{dest.resolve()}", "", gathered.given, gathered.missing)
    record_use(version, experiment, run, use, stamp)


def _served(version: Version, unique: str, run: int) -> tuple[Served, ...]:
    try:
        return served(version, unique, run)
    except Invalid:
        return ()  # such as scan and epics, which have no panels


def _lacks(found: tuple[Served, ...], unique: str) -> bool:
    return not found and signal_mask(unique.partition("_")[0]) is not None


def _constants(found: tuple[Served, ...]) -> dict[str, tuple[Any, dict[str, Any]]]:
    constants = {}
    for each in found:
        kind, _ = parse_long_name(each.long)
        array = each.array()
        data = each.payload().decode() if array is None else array
        document = each.document(short_name(kind, short_number(each.long)))
        constants[each.constant.type_name] = (data, document)
    return constants


class _Pickler(pickle.Pickler):
    """Writes arrays in a way that every numpy reads: its own names parts that have moved."""

    def reducer_override(self, obj: Any) -> Any:
        """An array as the call that makes it again, from bytes that can be written to."""
        if isinstance(obj, np.ndarray):
            octets = bytearray(np.ascontiguousarray(obj).data)
            return np.ndarray, (obj.shape, obj.dtype.str, octets)
        return NotImplemented


def _refuse_foreign(dest: Path) -> None:
    try:
        with dest.open("rb") as file:
            file.seek(-min(_TAIL, dest.stat().st_size), os.SEEK_END)
            tail = file.read()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Invalid(f"cannot read {dest} ({error.strerror}); name another file") from error
    mark = tail.rfind(_MARK)
    if mark < 0 or not tail.endswith(b"}\n"):
        raise Conflict(
            f"{dest} was not written by calstore prefetch, so it is left alone; move it away, or "
            "name another file"
        )


def _write(dest: Path, document: Mapping[str, Any], told: Mapping[str, Any]) -> int:
    """Replace the file, whole; what comes behind the pickle says whose it is."""
    temporary = dest.with_name(f".{dest.name}.calstore-tmp-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            _Pickler(file, _PROTOCOL).dump(document)
            file.write(_MARK + json.dumps(told, sort_keys=True).encode() + b"\n")
            size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        _refuse_foreign(dest)
        temporary.replace(dest)
    except OSError as error:
        raise NotFound(f"cannot write {dest} ({error.strerror}); name another file") from error
    finally:
        temporary.unlink(missing_ok=True)
    return size
