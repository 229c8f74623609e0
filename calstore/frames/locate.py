"""Where the raw data of an experiment's runs are: the files, by their names.

The names are those of the data acquisition: ``<experiment>-r0137-s000-c000.xtc2`` of LCLS-II, and
``e665-r0137-s00-c00.xtc`` of LCLS-I, which end in ``.inprogress`` while they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calstore.errors import Conflict, Invalid, NotFound

_XTC2 = re.compile(r"(?P<experiment>[A-Za-z0-9]+)-r(?P<run>[0-9]{4,})-s[0-9]+-c[0-9]+\.xtc2")
_XTC = re.compile(r"e[0-9]+-r(?P<run>[0-9]{4,})-s[0-9]+-c[0-9]+\.xtc")
_IN_PROGRESS: Final = ".inprogress"
_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run, by name; all of one directory."""

    run: int
    files: tuple[Path, ...]


def runs_in(directory: Path, experiment: str) -> dict[int, tuple[Path, ...]]:
    """The files of each run that a directory has of an experiment; none where it is not there.

    Raises
    ------
    Invalid
        When the directory may not be read.
    """
    found: dict[int, list[Path]] = {}
    try:
        paths = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise Invalid(f"cannot look into {directory} ({error.strerror})") from error
    for path in paths:
        name = path.name.removesuffix(_IN_PROGRESS)
        match = _XTC2.fullmatch(name) or _XTC.fullmatch(name)
        if match and match.groupdict().get("experiment", experiment) == experiment:
            found.setdefault(int(match["run"]), []).append(path)
    return {run: tuple(files) for run, files in found.items()}


def find_run(directories: Sequence[Path], experiment: str, run: int) -> RunFiles:
    """The files of a run, from the first of the directories that has some.

    Raises
    ------
    NotFound
        When none has.
    """
    for directory in directories:
        files = runs_in(directory, experiment).get(run)
        if files:
            return RunFiles(run, files)
    looked = " and ".join(map(str, directories))
    raise NotFound(
        f"no files of run {run} of {experiment} in {looked}; name them with --from, say where they "
        f"are: calstore config data-dir/{experiment} PATH, or wait for them: --wait SECONDS"
    )


def latest_run(directories: Sequence[Path], experiment: str) -> int:
    """The newest run that any of the directories has.

    Raises
    ------
    NotFound
        When there is none.
    """
    runs = [run for directory in directories for run in runs_in(directory, experiment)]
    if not runs:
        looked = " and ".join(map(str, directories))
        raise NotFound(
            f"no run of {experiment} in {looked}; say where they are: "
            f"calstore config data-dir/{experiment} PATH"
        )
    return max(runs)


def wait_for(
    find: Callable[[], RunFiles],
    is_complete: Callable[[Path], bool],
    timeout_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> RunFiles:
    """The files of a run once they are there and written to their end.

    Parameters
    ----------
    find
        Gives the files there are, or `NotFound`.
    is_complete
        Whether a file is written to its end.
    clock, sleep
        In seconds.

    Raises
    ------
    NotFound
        When there is no file in all that time.
    Conflict
        When a file is still being written then.
    """
    deadline = clock() + timeout_s
    while True:
        late = clock() >= deadline
        try:
            found = find()
        except NotFound:
            if late:
                raise
        else:
            unfinished = [path for path in found.files if not _is_written(path, is_complete)]
            if not unfinished:
                return found
            if late:
                raise Conflict(
                    f"{unfinished[0]} is still being written; run again when the run has ended, or "
                    "wait longer: --wait SECONDS"
                )
        sleep(_PAUSE_S)


def _is_written(path: Path, is_complete: Callable[[Path], bool]) -> bool:
    return not path.name.endswith(_IN_PROGRESS) and is_complete(path)
