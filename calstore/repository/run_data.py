"""The raw frames of runs: where they are, and opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from calstore.errors import Invalid, NotFound
from calstore.frames.locate import RunFiles, find_run, latest_run, wait_for
from calstore.frames.open_frames import (
    PsanaPython,
    is_of_psana,
    open_frames,
    open_streams,
    split_place,
)
from calstore.frames.source import FrameSource
from calstore.frames.stacks import Labels
from calstore.model.inputs import Evidence, InputManifest
from calstore.repository.dark_plan import Data
from calstore.repository.settings import DATA_DIRS, place_of
from calstore.repository.store import Store


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a run that is still being written is waited for, and by which clock."""

    timeout_s: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]


def data_of(
    store: Store,
    labels: Labels,
    files: Sequence[str],
    psana: PsanaPython,
    patience: Patience | None = None,
) -> list[Data]:
    """What is read for a run: the named files, or those where the experiment has its data.

    Parameters
    ----------
    labels
        The experiment and the run, and what files of bare frames cannot say.
    files
        ``FILE`` or ``MODE=FILE``: all files of psana that have no mode are streams of one run, each
        other one is read by itself. A number is a run that is looked for by the store's settings;
        none at all is the run of the labels.
    patience
        For a run that is looked for; ``None`` does not wait.

    Raises
    ------
    NotFound
        When there is no such file or run.
    Invalid
        When a file holds no raw frames, or those of another run or experiment.
    Conflict
        When the run is still being written.
    """
    if not files:
        files = _located(store, labels, patience)
    data, streams = [], []
    for text in files:
        mode, equals, path = text.partition("=")
        if not equals or "/" in mode:
            mode, path = "", text
        if path.isdecimal() and not Path(path).exists():
            one = replace(labels, run=int(path), mode=mode)
            data.append(_by_psana(_located(store, one, patience), one, psana))
        elif not is_of_psana(path):
            data.append(_checked(open_frames(path, replace(labels, mode=mode)), labels, path))
        elif mode:
            data.append(_by_psana([path], replace(labels, mode=mode), psana))
        else:
            streams.append(path)
    if streams:
        data.append(_by_psana(streams, labels, psana))
    if all(each.run != labels.run for each in data):
        runs = ", ".join(str(each.run) for each in data)
        raise Invalid(f"the files hold run {runs}, not run {labels.run}; name what was meant")
    return data


def data_dirs(store: Store, experiment: str) -> list[Path]:
    """Where an experiment's raw data are looked for, in this order."""
    return [place_of(store, name, experiment) for name in DATA_DIRS]


def newest_run(store: Store, experiment: str) -> int:
    """The newest run whose data are there; `NotFound` where there is none."""
    return latest_run(data_dirs(store, experiment), experiment)


def found_again(
    store: Store, evidence: tuple[Evidence, ...], wanted: InputManifest, psana: PsanaPython
) -> FrameSource:
    """The frames of an input, from where they were seen or where the experiment has them now.

    Raises
    ------
    NotFound
        When they are in neither place.
    """
    labels = Labels(wanted.experiment, wanted.run, wanted.detector, serials=wanted.serials)
    files = [file.path for file in evidence]
    by_psana = [is_of_psana(file) for file in files]
    if files and all(by_psana):
        if not all(Path(file).exists() for file in files):
            files = _located(store, labels, None)
        return open_streams(files, labels, psana)
    if len(files) != 1:
        raise NotFound(f"{len(files)} files were read then, and only psana reads several at once")
    labels = replace(labels, mode=wanted.mode)
    try:
        return open_frames(files[0], labels)
    except NotFound:
        path, inside = split_place(files[0])
        for directory in data_dirs(store, wanted.experiment):
            moved = directory / path.name
            if moved.exists():
                return open_frames(f"{moved}:{inside}" if inside else str(moved), labels)
        raise


def _located(store: Store, labels: Labels, patience: Patience | None) -> list[str]:
    experiment, run = labels.experiment, labels.run
    if run is None:
        raise Invalid(f"which run of {experiment} is meant? Name it")
    directories = data_dirs(store, experiment)

    def find() -> RunFiles:
        return find_run(directories, experiment, run)

    found = find() if patience is None else _waited(find, patience)
    return [str(path) for path in found.files]


def _waited(find: Callable[[], RunFiles], patience: Patience) -> RunFiles:
    return wait_for(find, _is_complete, patience.timeout_s, patience.clock, patience.sleep)


def _is_complete(path: Path) -> bool:
    if path.suffix != ".xtc2":
        return True  # of LCLS-I the name tells
    from calstore.frames.psana import is_complete

    return is_complete(path)


def _by_psana(files: Sequence[str], labels: Labels, psana: PsanaPython) -> Data:
    return _checked(open_streams(files, labels, psana), labels, files[0])


def _checked(source: FrameSource, labels: Labels, file: str) -> Data:
    found = source.contents()
    if found.experiment not in ("", labels.experiment):
        raise Invalid(f"{file} is of {found.experiment}, not of {labels.experiment}; name its own")
    run = labels.run if found.run is None else found.run
    if run is None:
        raise Invalid(f"{file} does not tell its run; name it")
    return Data(run, source, found)
