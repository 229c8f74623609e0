"""Raw frames by way of psana, which runs in a process and an environment of its own.

The other end is `calstore.frames.psana_bridge`, where the messages are described.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from calstore.errors import CalstoreError, Invalid, NotFound
from calstore.frames.psana_bridge import END_RUN, PROTOCOL, Refused, datagrams
from calstore.frames.source import WHOLE, Block, Contents, DetectorData, Evidence, Part, Step
from calstore.model.inputs import Selection

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_BRIDGE: Final = Path(__file__).with_name("psana_bridge.py")
_ONE_PROCESS: Final = {
    # Of psana, and of the MPI that it imports even where it is told not to use it.
    "PS_PARALLEL": "none",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
_OF_MPI: Final = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "MPI_", "SLURM_")
_HOW: Final = "name the python that has it: --psana-python PYTHON"
_STDERR_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class PsanaFrames:
    """The frames of one run; see `calstore.frames.source.FrameSource`."""

    question: Mapping[str, Any]
    python: str
    environment: Mapping[str, str]
    found: Contents
    files: tuple[Path, ...]
    mode: str

    def contents(self) -> Contents:
        """What was found when it was opened."""
        return self.found

    @contextmanager
    def blocks(
        self, selections: Mapping[str, Selection], part: Part = WHOLE
    ) -> Iterator[Iterator[Block]]:
        """The selected frames, in memory that psana's process shares."""
        steps = max((len(each.steps) for each in self.found.detectors), default=0)
        asked = {
            **self.question,
            "ask": "frames",
            "detectors": {name: each.to_value() for name, each in selections.items()},
            "part": {"rank": part.rank, "of": part.of, "head": part.head},
            "steps": steps,
        }
        with (
            _started(self.python, self.environment, asked) as bridge,
            closing(_blocks(bridge, self.mode)) as blocks,
        ):
            yield blocks

    def configuration(self, detector: str, step: int) -> Array | None:
        """The bits of the gain mode of each pixel in a step; see `FrameSource.configuration`."""
        asked = {**self.question, "ask": "configuration", "detector": detector, "step": step}
        with _started(self.python, self.environment, asked) as bridge:
            answer = bridge.read("configuration")
        if not answer["shape"]:
            return None
        data = zlib.decompress(base64.b64decode(answer["bits"]))
        return np.frombuffer(data, np.uint8).reshape(answer["shape"])

    def evidence(self) -> tuple[Evidence, ...]:
        """The files as they are now."""
        found = [(path, path.stat()) for path in self.files]
        return tuple(Evidence(str(path), at.st_size, at.st_mtime_ns) for path, at in found)


def open_psana(
    *,
    files: Sequence[Path] = (),
    experiment: str = "",
    run: int | None = None,
    directory: Path | None = None,
    mode: str = "",
    python: str | None = None,
    path: str = "",
    environment: Mapping[str, str] | None = None,
) -> PsanaFrames:
    """The frames of one run as psana reads them.

    Parameters
    ----------
    files
        The run's streams, xtc2 of LCLS-II or xtc of LCLS-I; none to let psana find them by
        `experiment`, `run` and, if given, `directory`.
    mode
        The gain mode of a run of one step, where the data do not tell it.
    python
        The python that has psana; ``None`` for this one, or the one on the `path`.
    path
        Where a python is looked for, as the shell's PATH.
    environment
        Of psana's process.

    Raises
    ------
    NotFound
        When there is no such file or run, or no python that has psana.
    Invalid
        When a file is cut short or holds no events; when the data tell another mode; when psana
        fails.
    """
    environment = environment or {}
    question = {
        "protocol": PROTOCOL,
        "files": [str(file.resolve()) for file in files],
        "experiment": experiment,
        "run": run,
        "directory": "" if directory is None else str(directory.resolve()),
    }
    found_python = _python(python, path, environment)
    with _started(found_python, environment, {**question, "ask": "contents"}) as bridge:
        answer = bridge.read("contents")
    detectors = tuple(_detector(each, mode) for each in answer["detectors"])
    named = tuple(Path(file) for file in answer["files"])
    if not answer["events"]:
        where = ", ".join(map(str, named)) or f"{experiment} run {run}"
        raise Invalid(f"{where} holds no events; is it the run that was meant?")
    found = Contents(answer["experiment"], answer["run"], detectors, answer["unique"])
    return PsanaFrames(question, found_python, environment, found, named, mode)


def is_complete(path: Path) -> bool:
    """Whether an xtc2 file ends with the end of its run: nothing more will be written to it.

    Raises
    ------
    NotFound
        When there is no such file.
    """
    last = None
    try:
        for found in datagrams(str(path)):
            last = found
    except Refused:
        return False
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}; name a run's xtc2") from None
    return last is not None and last.service == END_RUN


def _detector(answer: Mapping[str, Any], mode: str) -> DetectorData:
    steps = [Step(each["number"], each["events"], each["mode"] or mode) for each in answer["steps"]]
    read = [step for step in steps if step.events]
    if mode and (len(read) > 1 or any(step.mode != mode for step in read)):
        told = ", ".join(each["mode"] or "no mode" for each in answer["steps"])
        raise Invalid(
            f"{answer['name']} was read in {len(read)} steps ({told}), which cannot all be {mode}; "
            "name the file without a gain mode"
        )
    return DetectorData(
        answer["name"],
        answer["kind"],
        tuple(answer["serials"]),
        tuple(answer["shape"]),
        answer["dtype"],
        tuple(steps),
    )


def _python(python: str | None, path: str, environment: Mapping[str, str]) -> str:
    """The python that has psana."""
    if python is not None:
        found = shutil.which(python, path=path)
        if found is None:
            raise NotFound(f"there is no python {python}; {_HOW}")
        return found
    if importlib.util.find_spec("psana") is not None:
        return sys.executable
    for name in ("python", "python3"):
        found = shutil.which(name, path=path)
        if found is not None and _has_psana(found, environment):
            return found
    raise NotFound(f"neither this python nor the one on the path has psana; {_HOW}")


def _has_psana(python: str, environment: Mapping[str, str]) -> bool:
    test = "import importlib.util, sys; sys.exit(importlib.util.find_spec('psana') is None)"
    done = subprocess.run(
        [python, "-c", test],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@dataclass(frozen=True, slots=True)
class _Bridge:
    """psana's process while it answers."""

    process: subprocess.Popen[bytes]
    memory: int
    stderr: IO[bytes]

    def send(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode()
        assert self.process.stdin is not None
        # One that has died is noticed where its answer is read.
        with suppress(BrokenPipeError):
            self.process.stdin.write(struct.pack("<I", len(data)) + data)
            self.process.stdin.flush()

    def read(self, *kinds: str) -> dict[str, Any]:
        """The next message, which is of one of these kinds."""
        assert self.process.stdout is not None
        head = self.process.stdout.read(4)
        size = struct.unpack("<I", head)[0] if len(head) == 4 else 0
        data = self.process.stdout.read(size)
        if not data or len(data) < size:
            self._died()
        message: dict[str, Any] = json.loads(data)
        if message["kind"] == "error":
            raise self._error(message)
        if message["kind"] not in kinds:
            raise Invalid(f"psana's process answers {message['kind']!r}, not {' or '.join(kinds)}")
        return message

    def _died(self) -> NoReturn:
        code = self.process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        raise Invalid(f"psana's process {how} before all was read; nothing is used{self._last()}")

    def _error(self, message: Mapping[str, Any]) -> CalstoreError:
        if message["error"] == "not-found":
            return NotFound(message["text"])
        if message["error"] == "no-psana":
            return NotFound(f"{message['text']}; {_HOW}")
        if message["error"] == "psana":
            return Invalid(f"psana failed with {message['text']}{self._last()}")
        return Invalid(message["text"])

    def _last(self) -> str:
        """The last lines that it printed."""
        self.stderr.seek(max(0, os.fstat(self.stderr.fileno()).st_size - 4096))
        lines = self.stderr.read().decode(errors="replace").splitlines()[-_STDERR_LINES:]
        return "".join(f"\n  {line}" for line in lines)


@contextmanager
def _started(
    python: str, environment: Mapping[str, str], question: Mapping[str, Any]
) -> Iterator[_Bridge]:
    """psana's process, which is gone when the context is left."""
    with tempfile.TemporaryFile() as stderr:
        memory = os.memfd_create("calstore-frames")
        process = None
        try:
            process = subprocess.Popen(
                [python, str(_BRIDGE)],
                env=_of_one_process(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                pass_fds=(memory,),
            )
            bridge = _Bridge(process, memory, stderr)
            bridge.send({**question, "memory": memory})
            hello = bridge.read("hello")
            if hello["protocol"] != PROTOCOL:
                raise Invalid(
                    f"psana's process speaks protocol {hello['protocol']}, not {PROTOCOL}; "
                    "is calstore installed twice?"
                )
            yield bridge
        except OSError as error:
            raise Invalid(f"cannot run {python} ({error.strerror or error}); {_HOW}") from error
        finally:
            if process is not None:
                _end(process)
            os.close(memory)


def _of_one_process(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that is none of several, even where this one is.

    psana imports MPI in any case; below mpirun or srun it would take itself for one of theirs.
    """
    kept = {name: text for name, text in environment.items() if not name.startswith(_OF_MPI)}
    return {**kept, **_ONE_PROCESS}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    process.wait()


def _blocks(bridge: _Bridge, mode: str) -> Generator[Block, None, None]:
    """The blocks as they come; the one before is given back when the next is asked for."""
    rings: dict[str, Array] = {}
    while True:
        message = bridge.read("ring", "block", "end")
        if message["kind"] == "end":
            return
        name = message["detector"]
        if message["kind"] == "ring":
            rings[name] = _ring(bridge.memory, message)
            continue
        numbers = message["numbers"]
        frames = rings[name][message["slot"], : len(numbers)]
        yield Block(name, message["step"], message["mode"] or mode, numbers, frames)
        bridge.send({"free": name})


def _ring(memory: int, message: Mapping[str, Any]) -> Array:
    """The slots of a detector, of shape ``(slot, frame, *shape of one frame)``, read-only."""
    dtype, shape = np.dtype(message["dtype"]), tuple(message["shape"])
    slots, slot_bytes = message["slots"], message["slot_bytes"]
    mapped = mmap.mmap(memory, slots * slot_bytes, prot=mmap.PROT_READ, offset=message["offset"])
    frame_bytes = dtype.itemsize * int(np.prod(shape))
    return np.ndarray(
        (slots, slot_bytes // frame_bytes, *shape),
        dtype,
        mapped,
        strides=(slot_bytes, frame_bytes, *_strides(shape, dtype.itemsize)),
    )


def _strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    return tuple(itemsize * int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
