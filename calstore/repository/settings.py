"""What a store was told about its experiments: where their data and calib directories are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from calstore.errors import Invalid, NotFound
from calstore.model.names import RefName
from calstore.model.records import SETTINGS, Record, Stamp
from calstore.repository import recipes
from calstore.repository.commit import append_record
from calstore.repository.store import READS_FROM, Store

CALIB_DIR: Final = "calib-dir"
DEFAULTS: Final[Mapping[str, str]] = {
    CALIB_DIR: "/sdf/data/lcls/ds/{instrument}/{experiment}/calib",
    "data-dir": "/sdf/data/lcls/ds/{instrument}/{experiment}/xtc",
    "ffb-dir": "/sdf/data/lcls/drpsrcf/ffb/{instrument}/{experiment}/xtc",
}
"""Where LCLS keeps them (lcls-daq/ami event/Calib.cc names the root); the fast feedback's disks,
where data are first, are named so in tests of slac-lcls/lcls2."""

DATA_DIRS: Final = ("data-dir", "ffb-dir")
"""Where raw data are looked for, in this order."""

_EXPERIMENT = re.compile(r"(?=.*[0-9])[A-Za-z]{3}[A-Za-z0-9]{1,60}")
_FIELD = re.compile(r"\{([^{}]*)\}")


def settings_of(store: Store) -> Mapping[str, str]:
    """All settings that somebody made, by name; see docs/format.md, section 9.

    Raises
    ------
    Corrupt
        When the newest record of them is damaged.
    """
    entry = store.head(SETTINGS)
    return {} if entry is None else entry.record.settings or {}


def change_setting(store: Store, name: str, value: str | None, stamp: Stamp) -> Record | None:
    """Let a setting have another value, ``None`` for its default; ``None`` if it has it already.

    Raises
    ------
    Invalid
        For a name that no setting has, or a value that is no absolute path where one is meant.
    """
    _check_name(name)
    if value is not None:
        _check_value(name, value)
    while True:
        before = store.head(SETTINGS)
        old = {} if before is None else before.record.settings or {}
        new = {key: text for key, text in old.items() if key != name}
        if value is not None:
            new[name] = value
        if new == old:
            return None
        record = append_record(
            store,
            SETTINGS,
            before,
            stamp=stamp,
            operation="config",
            what=f"{name} is {'the default' if value is None else value}",
            settings=new,
        )
        if record is not None:
            return record


def place_of(store: Store, name: str, experiment: str) -> Path:
    """Where an experiment has its ``calib-dir`` or ``data-dir``.

    Raises
    ------
    Invalid
        For a text that is no name of an experiment.
    """
    if not is_experiment(experiment):
        raise Invalid(f"{experiment!r} is no name of an experiment, such as xppn4116")
    found = settings_of(store)
    pattern = found.get(f"{name}/{experiment}") or found.get(name) or DEFAULTS[name]
    fields = {"experiment": experiment, "instrument": experiment[:3].lower()}
    return Path(_FIELD.sub(lambda match: fields[match[1]], pattern))


def calib_dir(store: Store, experiment: str) -> Path:
    """The calib directory of an experiment; it, or the folder for it, is there.

    Raises
    ------
    NotFound
        When neither is.
    """
    path = place_of(store, CALIB_DIR, experiment)
    if not os.path.isdir(path.parent):  # noqa: PTH112 - false too where we may not look
        raise NotFound(
            f"the calib directory of {experiment} would be {path}, but there is no {path.parent}; "
            f"name a directory, or say where it is: calstore config {CALIB_DIR}/{experiment} PATH"
        )
    return path


def calib_dir_of_ref(store: Store, ref: RefName) -> Path:
    """The directory that a ref's experiment reads, for a ref that may be meant for it.

    Raises
    ------
    Invalid
        For a sandbox, or what belongs to a detector: nobody's analysis reads it unasked.
    """
    if not is_experiment(ref.experiment) or "/users/" in ref.text:
        raise Invalid(f"{ref} has no directory of its own; name DEST")
    return calib_dir(store, ref.experiment)


def is_experiment(text: str) -> bool:
    """Whether a text may name an experiment: three letters for the instrument, then a number."""
    return _EXPERIMENT.fullmatch(text) is not None


def check_reads_from(value: str) -> None:
    """Raise `Invalid` unless a text names stores wherever it is read: by URL or absolute path."""
    for location in value.split() or [value]:
        if not (location.startswith("/") or "://" in location) or not location.isprintable():
            raise Invalid(
                f"{location!r} is neither an absolute path nor a URL of a store; several have "
                "blanks between them"
            )


def _check_name(name: str) -> None:
    kind, slash, experiment = name.partition("/")
    if name == READS_FROM:
        return
    if kind == recipes.SETTING and recipes.is_recipe_name(experiment):
        return
    if kind not in DEFAULTS or (slash and not is_experiment(experiment)):
        known = ", ".join(f"{kind}, {kind}/<experiment>" for kind in DEFAULTS)
        raise Invalid(
            f"there is no setting {name!r}; there are {known}, {recipes.SETTING}/<name>, "
            f"{READS_FROM}"
        )


def _check_value(name: str, value: str) -> None:
    if name.startswith(f"{recipes.SETTING}/"):
        recipes.parse_recipe(value)
        return
    if name == READS_FROM:
        check_reads_from(value)
        return
    fields = _FIELD.findall(value)
    unknown = set(fields) - {"instrument", "experiment"}
    bare = _FIELD.sub("", value)
    if (
        not value.startswith("/")
        or unknown
        or "{" in bare
        or "}" in bare
        or not value.isprintable()
    ):
        raise Invalid(
            f"{value!r} is no absolute path, in which {{instrument}} and {{experiment}} may stand"
        )
    if "/" not in name and "experiment" not in fields:
        raise Invalid(
            f"{value} would be the {name} of every experiment; write {{experiment}} into it, or "
            f"set {name}/<experiment>"
        )
