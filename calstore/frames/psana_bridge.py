"""Raw frames by way of psana, for another process: run under the python that has psana.

It needs Python 3.7, numpy and psana, and never imports calstore: psana lives in an environment of
its own. `calstore.frames.psana` starts it and speaks with it:

* Each message, either way, is its length (4 bytes, little-endian) and that many bytes of JSON.
* The first message in, on stdin, is the question; ``{"free": DETECTOR}`` gives a slot back.
* Out come ``hello``, then ``contents``; or ``configuration``; or ``ring`` (once per detector),
  ``block`` …, ``end``; or an ``error`` with its kind and a text.
* Frames go through memory shared by way of the file descriptor that the question names: a detector
  has two slots there, which are filled in turn. The memory has no name, so none is left behind.
* When stdin ends, whoever asked is gone, and so is this process.

What psana prints goes to stderr.
"""

from __future__ import annotations

import base64
import glob
import importlib.util
import json
import mmap
import os
import queue
import struct
import sys
import threading
import traceback
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

PROTOCOL = 2
SHARE = 32  # frames in a row that belong to one process, as in calstore.frames.source
SLOT_BYTES = 32 * 2**20
SLOTS = 2
FIRST_EVENTS = 100  # of a step, among which each detector has a frame, or is not offered
PATH_CHARACTERS = 200  # psana 4 cuts the names of files after these

CONFIGURE, BEGIN_RUN, END_RUN, BEGIN_STEP, END_STEP = 2, 4, 5, 6, 7
EVENTS = (11, 12)  # the last of a batch, and any other
HEADER = struct.Struct("<6I")
BEFORE_EXTENT = 12  # the bytes of a header that its extent does not count

# psana/detector/UtilsEpix10ka.py:456-531: mask and value of the control bits without a gain bit.
EPIX10KA_MODES = (
    ("FH", 28, 28),
    ("FM", 28, 12),
    ("FL", 12, 8),
    ("AHL-H", 60, 16),
    ("AML-M", 60, 0),
)

# lcls-psana/Detector src/UtilsJungfrauCalib.py DIC_GAIN_MODE.
JUNGFRAU_MODES = {
    "Normal": "G0",
    "HighGain0": "G0",
    "FixedGain1": "G1",
    "ForcedGain1": "G1",
    "FixedGain2": "G2",
    "ForcedGain2": "G2",
}


class Refused(Exception):
    """What the asker is told: ``not-found``, ``invalid``, ``no-psana`` or ``psana``, and a text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Datagram(NamedTuple):
    """Where a datagram of an xtc2 file is, and what it is."""

    time: int
    service: int
    offset: int
    size: int


def datagrams(path: str) -> Iterator[Datagram]:
    """The datagrams of an xtc2 file by their headers; `Refused` where it is cut short."""
    total = os.path.getsize(path)
    offset = 0
    with open(path, "rb", buffering=0) as file:
        while offset < total:
            file.seek(offset)
            header = file.read(HEADER.size)
            if len(header) < HEADER.size:
                raise Refused("invalid", cut_short(path, offset, total))
            low, high, env, _, _, extent = HEADER.unpack(header)
            size, service = BEFORE_EXTENT + extent, env >> 24 & 0xF
            if (offset == 0 and service != CONFIGURE) or size < HEADER.size:
                raise Refused("invalid", "%s is no xtc2 file of LCLS-II" % path)
            if offset + size > total:
                raise Refused("invalid", cut_short(path, offset, total))
            yield Datagram(high << 32 | low, service, offset, size)
            offset += size


def cut_short(path: str, offset: int, total: int) -> str:
    """What is said of a file that ends inside a datagram."""
    return (
        "%s is cut short at byte %d of %d: its last datagram is not all there; "
        "wait for the run to end, or copy the file again" % (path, offset, total)
    )


# What both psanas have in common.


def described(text: Any) -> dict[str, Any]:
    """The docstring of a step as a dictionary, empty where it is none."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def scan_names(doc: dict[str, Any], name: str) -> bool:
    """Whether a step belongs to the detector: ``jungfrau_0`` is a segment of ``jungfrau``."""
    named = str(doc.get("detname", ""))
    return named == name or named.rpartition("_")[0] == name


def refuse_other_mode(mode: str, name: str, doc: dict[str, Any]) -> None:
    """An epix10ka whose configuration is not what its scan says was not configured in time."""
    if not scan_names(doc, name) or doc.get("scantype") != "pedestal" or "step" not in doc:
        return
    order = [each for each, _, _ in EPIX10KA_MODES]
    told = int(doc["step"])
    if told < len(order) and order[told] != mode:
        raise Refused(
            "invalid",
            "%s is configured for %s where the scan says that step %d is %s; was the "
            "configuration not applied?" % (name, mode or "no gain mode", told, order[told]),
        )


def mode_of_bits(bits: Any) -> str:
    """The mode of more than half of the pixels, ``""`` for none."""
    for mode, mask, value in EPIX10KA_MODES:
        if np.count_nonzero(bits & mask == value) * 2 > bits.size:
            return mode
    return ""


def listed(
    source: Any, name: str, frame: Any, counts: list[int], modes: list[str]
) -> dict[str, Any]:
    """One detector as the contents have it."""
    steps = [
        {"number": number, "events": count, "mode": modes[number]}
        for number, count in enumerate(counts)
    ]
    return {
        "name": name,
        "kind": source.kind(name),
        "serials": source.serials(name),
        "shape": list(frame.shape),
        "dtype": frame.dtype.name,
        "steps": steps,
    }


class Stretch(NamedTuple):
    """The times of the transitions that began a step, and of its events."""

    begins: list[int]
    events: list[int]


class Psana2:
    """LCLS-II: xtc2 files, or an experiment, a run and a directory."""

    def __init__(self, question: dict[str, Any]) -> None:
        import psana

        files = question["files"]
        for path in files:
            if not os.path.exists(path):
                raise Refused("not-found", "there is no file %s; name the run's xtc2" % path)
            if len(path) > PATH_CHARACTERS:
                raise Refused("invalid", "psana cuts names of files at 200 characters: %s" % path)
        if files:
            self._index([[path] for path in files])
            if len(files) == 1:
                self.source = psana.DataSource(files=files, skip_calib_load="all")
            else:
                self.source = streams_of_one_run(files)
        else:
            self.source = from_directory(psana, question)
            self._index([chunks_of(str(path)) for path in self.source.xtc_files])
        self.run: Any = next(iter(self.source.runs()), None)
        if self.run is None:
            raise Refused("invalid", "no run begins in %s" % ", ".join(self.files))
        self.experiment = str(self.run.expt or "")
        self.number = None if self.run.runnum is None else int(self.run.runnum)
        self.docstring = self.run.Detector("step_docstring", accept_missing=True)
        raw = [(name, getattr(self.run.Detector(name), "raw", None)) for name in self._names()]
        self.faces: dict[str, Any] = {name: face for name, face in raw if is_area(face)}
        self.timing = next((face for _, face in raw if hasattr(face, "eventcodes")), None)

    @property
    def least(self) -> int:
        """How many events there are by the headers of the files.

        When they were read, the end is not asked for: psana waits a second at that of a file to
        which more may be written.
        """
        return sum(len(step.events) for step in self._steps())

    def _names(self) -> list[str]:
        return sorted(self.run.detnames)

    def _index(self, streams: list[list[str]]) -> None:
        self.files = [path for stream in streams for path in stream]
        self.index = [
            {found.time: (path, found) for path in stream for found in datagrams(path)}
            for stream in streams
        ]
        begins = [
            {time for time, (_, found) in stream.items() if found.service == BEGIN_RUN}
            for stream in self.index
        ]
        if any(times != begins[0] for times in begins):
            raise Refused(
                "invalid",
                "%s are files of different runs; name one run, or one for each gain mode: "
                "MODE=FILE" % ", ".join(self.files),
            )

    def kind(self, name: str) -> str:
        """The type of a detector as the data say it."""
        return str(self.faces[name]._dettype)

    def serials(self, name: str) -> list[str]:
        """Of the panels, in the order of the segments."""
        return [str(serial) for serial in self.faces[name]._uniqueid.split("_")[1:]]

    def frame(self, name: str, event: Any) -> Any:
        """The raw frame of a detector; ``None`` where the event has none."""
        face = self.faces[name]
        return face.raw(event) if hasattr(face, "raw") else face.image(event)

    def codes(self, event: Any) -> set[int] | None:
        """The event codes of an event; ``None`` where the data hold none at all."""
        if self.timing is None:
            return None
        flags = self.timing.eventcodes(event)
        return set() if flags is None else {code for code, is_set in enumerate(flags) if is_set}

    def doc(self, step: Any) -> dict[str, Any]:
        """What the docstring of a step says."""
        return described(self.docstring(step))

    def bits(self, name: str) -> Any:
        """The control bits of the pixels of an epix10ka or epixhr, as configured now."""
        if not self.kind(name).startswith(("epix10ka", "epixhr2x2", "epixhr1x4")):
            return None
        return self.faces[name]._cbits_config_detector()

    def mode(self, name: str, step: tuple[int, int], doc: dict[str, Any], bits: Any) -> str:
        """The gain mode of a detector in one of so many steps, ``""`` where nothing tells."""
        kind, is_named = self.kind(name), scan_names(doc, name)
        if kind.startswith("jungfrau"):
            if is_named and doc.get("gainMode") in (0, 1, 2):
                return "G%d" % doc["gainMode"]
            return "G%d" % step[0] if is_named and step[1] == 3 else ""
        if kind.startswith(("epixm320", "epixuhr")):
            return str(doc.get("gain_mode", "")) if is_named else ""
        return "" if bits is None else mode_of_bits(bits)

    def steps(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """The steps of the run, each with its events."""
        for step in self.run.steps():
            yield step, step.events()

    def contents(self) -> dict[str, Any]:
        """What the run holds, from the headers, the transitions and the first events."""
        steps = self._steps()
        shapes: dict[str, Any] = {}
        modes: dict[str, list[str]] = {name: [] for name in self.faces}
        for number, step in enumerate(steps):
            begins = [self._event_at(time) for time in step.begins]
            for begin in begins:
                self.run._update_envstore_from_dgrams(begin._dgrams)
            doc = self.doc(begins[0])
            for name in self.faces:
                mode = self.mode(name, (number, len(steps)), doc, self.bits(name))
                modes[name].append(mode)
            for time in step.events[:FIRST_EVENTS]:
                if len(shapes) < len(self.faces):
                    self._learn(shapes, self._event_at(time))
        counts = [len(step.events) for step in steps]
        return {
            "detectors": [
                listed(self, name, shapes[name], counts, modes[name]) for name in sorted(shapes)
            ],
            "events": sum(counts),
            "unique": {str(k): str(v) for k, v in self.run.get_filtered_detinfo().items()},
        }

    def configuration(self, name: str, number: int) -> Any:
        """The control bits of the pixels of a detector in a step; ``None`` where it has none."""
        if name not in self.faces:
            raise Refused("not-found", "no detector %s in %s" % (name, ", ".join(self.files)))
        steps = self._steps()
        if number >= len(steps):
            raise Refused("not-found", "there are %d steps, and no step %d" % (len(steps), number))
        for time in steps[number].begins:
            self.run._update_envstore_from_dgrams(self._event_at(time)._dgrams)
        return self.bits(name)

    def _learn(self, shapes: dict[str, Any], event: Any) -> None:
        for name in self.faces:
            frame = self.frame(name, event) if name not in shapes else None
            if isinstance(frame, np.ndarray) and frame.ndim in (2, 3):
                shapes[name] = frame

    def _steps(self) -> list[Stretch]:
        """The steps as psana counts them: one that begins inside another is a part of that."""
        services = {
            time: found.service for stream in self.index for time, (_, found) in stream.items()
        }
        steps: list[Stretch] = []
        is_open = False
        for time in sorted(services):
            service = services[time]
            if service == BEGIN_STEP:
                if not is_open:
                    steps.append(Stretch([], []))
                steps[-1].begins.append(time)
                is_open = True
            elif service == END_STEP:
                is_open = False
            elif service in EVENTS and is_open:
                steps[-1].events.append(time)
        return steps

    def _event_at(self, time: int) -> Any:
        """The event or transition of a time, read from where it is in the files."""
        from psana.dgram import Dgram
        from psana.event import Event

        dgrams: list[Any] = []
        for config, stream in zip(self.source.dm.configs, self.index):
            if time not in stream:
                dgrams.append(None)
                continue
            path, found = stream[time]
            file = os.open(path, os.O_RDONLY)
            try:
                where = {"offset": found.offset, "size": found.size}
                dgrams.append(Dgram(file_descriptor=file, config=config, **where))
            finally:
                os.close(file)
        return Event(dgrams=dgrams, run=self.run._run_ctx)


def is_area(face: Any) -> bool:
    """Whether an interface has frames, in the field ``raw`` or, as opal, ``image``."""
    return callable(getattr(face, "raw", None)) or callable(getattr(face, "image", None))


def chunks_of(path: str) -> list[str]:
    """The files that one stream was written to, one after the other, of which this is the first."""
    first, found, rest = path.rpartition("-c000")
    return sorted(glob.glob(glob.escape(first) + "-c[0-9][0-9][0-9]" + rest)) if found else [path]


def from_directory(psana: Any, question: dict[str, Any]) -> Any:
    """psana's own source for an experiment and a run.

    It asks a web service of SLAC for the names of the files; where that cannot be reached, those
    that are in the directory are taken, as psana does for a run that the service does not know.
    """
    from psana.psexp.ds_base import DataSourceBase

    ask = DataSourceBase._get_file_info_from_db

    def ask_if_reachable(self: Any, run: int) -> Any:
        try:
            return ask(self, run)
        except OSError:
            return {}

    DataSourceBase._get_file_info_from_db = ask_if_reachable
    names = {"exp": question["experiment"], "run": question["run"]}
    if question["directory"]:
        names["dir"] = question["directory"]
    try:
        return psana.DataSource(skip_calib_load="all", **names)
    except (AssertionError, FileNotFoundError, SystemExit) as error:
        raise Refused(
            "not-found",
            "psana finds no files of %s run %s (%s); name their directory, or the files"
            % (names["exp"], names["run"], error),
        ) from error


def streams_of_one_run(files: list[str]) -> Any:
    """A source for several streams without small data: events are built by their time."""
    from psana import utils
    from psana.dgram import Dgram
    from psana.dgrammanager import DgramManager
    from psana.psexp.singlefile_ds import SingleFileDataSource

    class Streams(DgramManager):  # type: ignore[misc]
        def __init__(self, files: list[str], consumers: list[Any]) -> None:
            DgramManager.__init__(self, files, config_consumers=consumers)
            self.heads = [self._read(config) for config in self.configs]

        def _read(self, config: Any) -> Any:
            try:
                return Dgram(config=config, max_retries=0)
            except StopIteration:
                return None

        def __next__(self) -> list[Any]:
            times = [head.timestamp() for head in self.heads if head is not None]
            if not times:
                ends = self._check_missing_endrun()
                if ends:
                    return list(ends)
                raise StopIteration
            built: list[Any] = [None] * len(self.heads)
            for stream, head in enumerate(self.heads):
                if head is not None and head.timestamp() == min(times):
                    built[stream] = head
                    self.heads[stream] = self._read(self.configs[stream])
            service = utils.first_service(built)
            if service in (BEGIN_RUN, END_RUN):
                self.found_endrun = service == END_RUN
            self._timestamps = [min(times)]
            return built

    class Source(SingleFileDataSource):  # type: ignore[misc]
        def _setup_run(self) -> bool:
            if getattr(self, "dm", None) is not None:
                return False
            self.dm = Streams(self.files, [self.dsparms])
            return True

    return Source(files=files, skip_calib_load="all")


class Psana1:
    """LCLS-I: xtc files, or an experiment, a run and a directory, by psana's public interface."""

    def __init__(self, question: dict[str, Any]) -> None:
        import psana

        self.psana = psana
        self.files = question["files"]
        for path in self.files:
            if not os.path.exists(path):
                raise Refused("not-found", "there is no file %s; name the run's xtc" % path)
        names = self.files
        if not names:
            pattern = os.path.join(
                glob.escape(question["directory"]), "*-r%04d-s*.xtc*" % question["run"]
            )
            self.files = sorted(glob.glob(pattern)) if question["directory"] else []
            words = ["exp=%s" % question["experiment"], "run=%s" % question["run"], "smd"]
            words += ["dir=%s" % question["directory"]] if question["directory"] else []
            names = [":".join(words)]
        try:
            self.source = psana.DataSource(*names)
        except RuntimeError as error:
            raise Refused(
                "not-found", "psana finds no run in %s (%s)" % (names[0], error)
            ) from error
        self.run: Any = next(iter(self.source.runs()), None)
        if self.run is None:
            raise Refused("invalid", "no run begins in %s" % ", ".join(names))
        self.experiment = str(self.source.env().experiment() or question["experiment"])
        self.number = int(self.run.run())
        found = {name: psana.Detector(name) for name in self._names()}
        self.faces = {
            name: face
            for name, face in found.items()
            if hasattr(face, "raw") and hasattr(face, "image")
        }
        self.least = 0  # which only reading all would tell
        self.evrs = [face for face in found.values() if hasattr(face, "eventCodes")]

    def _names(self) -> list[str]:
        return sorted({str(names[0]) for names in self.psana.DetNames()})

    def kind(self, name: str) -> str:
        """The type of a detector as the data say it."""
        return name.partition(":")[2].partition(".")[0]

    def frame(self, name: str, event: Any) -> Any:
        """The raw frame of a detector; ``None`` where the event has none."""
        return self.faces[name].raw(event)

    def codes(self, event: Any) -> set[int] | None:
        """The event codes of an event; ``None`` where the data hold none at all."""
        if not self.evrs:
            return None
        return {int(code) for evr in self.evrs for code in evr.eventCodes(event) or ()}

    def doc(self, step: Any) -> dict[str, Any]:
        """What the docstring of a step says."""
        return {}

    def bits(self, name: str) -> Any:
        """The control bits of the pixels of an epix10ka, as configured now."""
        if not self.kind(name).lower().startswith("epix10ka"):
            return None
        panels = self._panels(name)
        return np.stack([bits_of_panel(panel) for panel in panels]) if panels else None

    def mode(self, name: str, step: tuple[int, int], doc: dict[str, Any], bits: Any) -> str:
        """The gain mode that a detector is configured for now; ``""`` where it has none."""
        if self.kind(name) != "Jungfrau":
            return "" if bits is None else mode_of_bits(bits)
        found = self._configuration("Jungfrau", "ConfigV", name)
        return "" if found is None else JUNGFRAU_MODES.get(found.gainMode().name, "")

    def serials(self, name: str) -> list[str]:
        """Of the panels of an epix, in the order of the segments; none of other detectors."""
        if not self.kind(name).startswith("Epix"):
            return []
        return [serial_of_panel(panel) for panel in self._panels(name)]

    def _panels(self, name: str) -> list[Any]:
        """The configurations of the panels of an epix."""
        prefix = "Config" + self.kind(name)[len("Epix") :] + "V"
        found = self._configuration("Epix", prefix, name)
        if found is None:
            return []
        if not hasattr(found, "elemCfg"):
            return [found]
        return [found.elemCfg(number) for number in range(found.numberOfElements())]

    def _configuration(self, group: str, prefix: str, name: str) -> Any:
        """The newest kind of configuration that the data hold of a detector."""
        types = getattr(self.psana, group, None)
        store, source = self.source.env().configStore(), self.psana.Source(name)
        versions = sorted((each for each in dir(types) if each.startswith(prefix)), reverse=True)
        found = (store.get(getattr(types, version), source) for version in versions)
        return next((each for each in found if each is not None), None)

    def steps(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        """The steps of the run, each with its events."""
        for step in self.run.steps():
            yield step, step.events()

    def configuration(self, name: str, number: int) -> Any:
        """Not given here: the bits of each event are the step's own."""
        raise Refused("invalid", "psana of LCLS-I is not asked for the configuration of %s" % name)

    def contents(self) -> dict[str, Any]:
        """What the run holds; all of it is read for the steps, which small data make cheap."""
        counts: list[int] = []
        shapes: dict[str, Any] = {}
        modes: dict[str, list[str]] = {name: [] for name in self.faces}
        for _, events in self.steps():
            counts.append(0)
            for event in events:
                if not counts[-1]:
                    for name in self.faces:
                        modes[name].append(self.mode(name, (0, 0), {}, self.bits(name)))
                counts[-1] += 1
                if counts[-1] > FIRST_EVENTS:
                    continue
                for name in self.faces:
                    frame = self.frame(name, event) if name not in shapes else None
                    if isinstance(frame, np.ndarray) and frame.ndim in (2, 3):
                        shapes[name] = frame
            if not counts[-1]:
                for name in self.faces:
                    modes[name].append("")
        return {
            "detectors": [
                listed(self, name, shapes[name], counts, modes[name]) for name in sorted(shapes)
            ],
            "events": sum(counts),
            "unique": {},
        }


def bits_of_panel(panel: Any) -> Any:
    """Bits of pixels and ASICs as lcls-psana/Detector src/UtilsEpix10ka.py puts them together."""
    bits = np.asarray(panel.asicPixelConfigArray()) & 12
    rows, columns = bits.shape[0] // 2, bits.shape[1] // 2
    upper, lower = slice(None, rows), slice(rows, None)
    left, right = slice(None, columns), slice(columns, None)
    for asic, where in enumerate(((lower, right), (upper, right), (upper, left), (lower, left))):
        if panel.asics(asic).trbit():
            bits[where] |= 16
    return bits


def serial_of_panel(panel: Any) -> str:
    """The serial as lcls-psana/Detector src/UtilsEpix.py spells it."""
    fields = ["version", "carrierId0", "carrierId1", "digitalCardId0", "digitalCardId1"]
    fields += ["analogCardId0", "analogCardId1"]
    return "-".join(
        "%010d" % (getattr(panel, name)() if hasattr(panel, name) else 0) for name in fields
    )


# What is sent.


class Channel:
    """Messages with whoever asked; a thread reads what comes, and ends this process with it."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self.incoming, self.outgoing = incoming, outgoing
        self.question = self._read()
        self.freed: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, **message: Any) -> None:
        """Write a message."""
        data = json.dumps(message).encode()
        self.outgoing.write(struct.pack("<I", len(data)) + data)
        self.outgoing.flush()

    def _read(self) -> dict[str, Any]:
        head = self.incoming.read(4)
        if len(head) < 4:
            os._exit(0)
        message: dict[str, Any] = json.loads(self.incoming.read(struct.unpack("<I", head)[0]))
        return message

    def _listen(self) -> None:
        while True:
            self.freed.put(self._read()["free"])


class Ring:
    """The two slots of a detector in the shared memory, filled in turn."""

    def __init__(self, channel: Channel, name: str, frame: Any) -> None:
        descriptor = channel.question["memory"]
        fitting = max(1, SLOT_BYTES // frame.nbytes)
        self.room = fitting // SHARE * SHARE or fitting
        page = mmap.ALLOCATIONGRANULARITY
        slot_bytes = -(-self.room * frame.nbytes // page) * page
        offset = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, offset + SLOTS * slot_bytes)
        memory = mmap.mmap(descriptor, SLOTS * slot_bytes, offset=offset)
        self.slots = [
            np.frombuffer(memory, frame.dtype, self.room * frame.size, slot * slot_bytes).reshape(
                (self.room, *frame.shape)
            )
            for slot in range(SLOTS)
        ]
        self.shape, self.dtype = frame.shape, frame.dtype
        self.name, self.channel = name, channel
        self.free, self.filling = SLOTS, 0
        self.numbers: list[int] = []
        channel.send(
            kind="ring",
            detector=name,
            shape=frame.shape,
            dtype=frame.dtype.name,
            offset=offset,
            slot_bytes=slot_bytes,
            slots=SLOTS,
        )

    def put(self, number: int, frame: Any) -> None:
        """Copy a frame into the slot that is filled."""
        np.copyto(self.slots[self.filling][len(self.numbers)], frame, casting="no")
        self.numbers.append(number)

    def flush(self, step: int, mode: str) -> None:
        """Send what is in the slot."""
        if not self.numbers:
            return
        self.channel.send(
            kind="block",
            detector=self.name,
            step=step,
            mode=mode,
            numbers=self.numbers,
            slot=self.filling,
        )
        self.numbers = []
        self.filling = (self.filling + 1) % SLOTS
        self.free -= 1


class Reader:
    """One pass over a run, sending the frames that were asked for."""

    def __init__(self, channel: Channel, source: Any) -> None:
        self.channel, self.source = channel, source
        self.part = channel.question["part"]
        self.selections = channel.question["detectors"]
        self.rings: dict[str, Ring] = {}
        for name in self.selections:
            if name not in source.faces:
                there = ", ".join(sorted(source.faces)) or "no detector with frames"
                raise Refused("not-found", "no detector %r in the data: %s" % (name, there))
        self.needs_codes = any(each["codes"] for each in self.selections.values())

    def read(self) -> None:
        """Send what was asked for, step by step."""
        steps, events, is_enough = self.channel.question["steps"], 0, False
        least = self.source.least
        for number, (step, found) in enumerate(self.source.steps()):
            seen = dict.fromkeys(self.selections, 0)
            modes = None
            for event in found:
                events += 1
                if modes is None:
                    modes = self._modes(number, step, steps)
                codes = self._codes(event)
                for name, selection in self.selections.items():
                    self._take(name, selection, event, codes, (seen, number, modes[name]))
                is_enough = number + 1 == steps and (events == least or self._is_enough(seen))
                if is_enough:
                    break
            for name, ring in self.rings.items():
                ring.flush(number, "" if modes is None else modes[name])
            if number + 1 == steps:
                break
        if not is_enough and events < least:
            raise Refused(
                "invalid",
                "psana gave %d of the %d events in %s and stopped; was a file changed meanwhile?"
                % (events, least, ", ".join(self.source.files)),
            )
        self.channel.send(kind="end", events=events)

    def _modes(self, number: int, step: Any, steps: int) -> dict[str, str]:
        doc = self.source.doc(step)
        modes = {}
        for name in self.selections:
            bits = self.source.bits(name)
            modes[name] = self.source.mode(name, (number, steps), doc, bits)
            if bits is not None:
                refuse_other_mode(modes[name], name, doc)
        return modes

    def _codes(self, event: Any) -> set[int]:
        if not self.needs_codes:
            return set()
        codes: set[int] | None = self.source.codes(event)
        if codes is None:
            raise Refused("invalid", "the data hold no event codes, so none can be asked for")
        return codes

    def _is_enough(self, seen: dict[str, int]) -> bool:
        return all(
            each["most"] and seen[name] >= each["skip"] + each["most"]
            for name, each in self.selections.items()
        )

    def _take(
        self, name: str, selection: dict[str, Any], event: Any, codes: set[int], where: Any
    ) -> None:
        seen, step, mode = where
        most, skip = selection["most"], selection["skip"]
        if (most and seen[name] >= skip + most) or not is_selected(selection["codes"], codes):
            return
        frame = self.source.frame(name, event)
        if frame is None:
            return
        number = seen[name] - skip
        seen[name] += 1
        if number < 0 or not self._needs(number):
            return
        if name not in self.rings:
            self.rings[name] = Ring(self.channel, name, frame)
        ring = self.rings[name]
        if (frame.shape, frame.dtype) != (ring.shape, ring.dtype):
            raise Refused(
                "invalid",
                "a frame of %s in step %d is %s %s, those before are %s %s; was the detector "
                "configured anew in the middle of the run?"
                % (name, step, frame.dtype, frame.shape, ring.dtype, ring.shape),
            )
        if not ring.numbers:
            self._wait(ring)
        ring.put(number, frame)
        if len(ring.numbers) == ring.room:
            ring.flush(step, mode)

    def _needs(self, number: int) -> bool:
        part = self.part
        return bool(number < part["head"] or number // SHARE % part["of"] == part["rank"])

    def _wait(self, ring: Ring) -> None:
        """Until the slot that is filled next was given back."""
        while not ring.free:
            self.rings[self.channel.freed.get()].free += 1


def is_selected(wanted: list[int], codes: set[int]) -> bool:
    """Whether an event has one of the codes; a negative one is one that it has not."""
    return not wanted or any(
        (code in codes) if code > 0 else (-code not in codes) for code in wanted
    )


def opened(question: dict[str, Any]) -> Any:
    """The run in the psana that this python has."""
    if importlib.util.find_spec("psana") is None:
        raise Refused("no-psana", "%s has no psana" % sys.executable)
    has_psexp = importlib.util.find_spec("psana.psexp") is not None
    return Psana2(question) if has_psexp else Psana1(question)


def answer(channel: Channel) -> None:
    """What was asked for."""
    question = channel.question
    channel.send(kind="hello", protocol=PROTOCOL, python=sys.version.split()[0])
    if question["protocol"] != PROTOCOL:
        return
    source = opened(question)
    if question["ask"] == "frames":
        Reader(channel, source).read()
        return
    if question["ask"] == "configuration":
        bits = source.configuration(question["detector"], question["step"])
        packed = (
            b"" if bits is None else zlib.compress(np.ascontiguousarray(bits, np.uint8).tobytes())
        )
        shape = [] if bits is None else list(bits.shape)
        text = base64.b64encode(packed).decode()
        channel.send(kind="configuration", bits=text, shape=shape)
        return
    channel.send(
        kind="contents",
        experiment=source.experiment,
        run=source.number,
        files=source.files,
        **source.contents(),
    )


def main() -> None:
    """Answer one question."""
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    channel = Channel(sys.stdin.buffer, outgoing)
    try:
        answer(channel)
    except Refused as refused:
        channel.send(kind="error", error=refused.kind, text=str(refused))
    except BrokenPipeError:
        pass
    except Exception as error:
        traceback.print_exc()
        channel.send(kind="error", error="psana", text="%s: %s" % (type(error).__name__, error))
    sys.stderr.flush()
    os._exit(0)  # psana's own threads and destructors have nothing more to do


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    main()
