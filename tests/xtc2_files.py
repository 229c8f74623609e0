"""Real xtc2 files by psana's own writer; run under psana's python.

Usage: ``xtc2_files.py PLAN …``. A plan is JSON: ``out``, ``experiment``, ``run``, and ``steps``, a
list of ``{"frames": {DETECTOR: FILE.npy}, "doc": {…}, "codes": [[…], …], "config": MODE}``. Each
event has one frame of each detector; ``detectors`` has the kind, the serials and, if some events
have no frame, their numbers as ``missing``. ``streams`` instead of ``out`` says which detectors go
into which file.
"""

import json
import sys

import numpy as np
from psana.dgramedit import AlgDef, DetectorDef, DgramEdit
from psana.psexp import TransitionId

T0 = 1_750_000_000 - 631_152_000  # seconds since 1990
HOUR = 3600
RAW = {
    "epix100": (AlgDef("raw", 2, 0, 1), {"raw": (np.uint16, 2)}),
    "epix10ka": (AlgDef("raw", 2, 0, 1), {"raw": (np.uint16, 2)}),
    "jungfrau": (
        AlgDef("raw", 0, 2, 0),
        {"raw": (np.uint16, 3), "numHotPixels": (np.uint32, 0), "hotPixelThresh": (np.uint32, 0)},
    ),
    "opal": (AlgDef("raw", 2, 0, 0), {"image": (np.uint16, 2)}),
}
PIXELS = {"FH": 12, "FM": 12, "FL": 8, "AHL-H": 0, "AML-M": 0}
TRBIT = {"FH": 1, "FM": 0, "FL": 0, "AHL-H": 1, "AML-M": 0}


def start_of(plan):
    """When a run was taken: one in an hour. Seconds are in the upper half of a time."""
    return (T0 + plan["run"] * HOUR) << 32


class Stream:
    """One file with some of the detectors."""

    def __init__(self, path, plan, names, is_first):
        self.plan, self.file = plan, open(path, "wb")  # noqa: SIM115, PTH123
        self.buffer = bytearray(plan.get("buffer", 40_000_000))
        self.config = DgramEdit(
            transition_id=TransitionId.Configure, ts=start_of(plan), bufsize=len(self.buffer)
        )
        self.cameras, self.settings = {}, {}
        for name in names:
            self._declare(name, plan["detectors"][name])
        define = self.config.Detector
        self.runinfo = define(
            DetectorDef("runinfo", "runinfo", ""),
            AlgDef("runinfo", 0, 0, 1),
            {"expt": (str, 1), "runnum": (np.uint32, 0)},
        )
        self.scan = is_first and define(
            DetectorDef("scan", "scan", "scan1"),
            AlgDef("raw", 2, 0, 0),
            {"step_value": (np.float64, 0), "step_docstring": (str, 1)},
        )
        self.timing = is_first and define(
            DetectorDef("timing", "ts", "timing1"),
            AlgDef("raw", 2, 0, 0),
            {"sequenceValues": (np.uint16, 1)},
        )
        for panels in self.settings.values():
            self._configured(self.config, panels, plan["steps"][0].get("config", "FH"))
        self.write(self.config)

    def _declare(self, name, detector):
        alg, fields = RAW[detector["kind"]]
        define = self.config.Detector
        panels = list(enumerate(detector["serials"]))
        kind = detector["kind"]
        self.cameras[name] = [
            define(DetectorDef(name, kind, serial), alg, fields, segment=n) for n, serial in panels
        ]
        if kind == "epix10ka":
            self.settings[name] = [
                define(
                    DetectorDef(name, kind, serial),
                    AlgDef("config", 2, 0, 0),
                    {"asicPixelConfig": (np.uint8, 3), "trbit": (np.uint8, 1)},
                    segment=n,
                )
                for n, serial in panels
            ]

    def _configured(self, dgram, panels, mode):
        for panel in panels:
            panel.config.asicPixelConfig = np.full((4, 176, 192), PIXELS[mode], np.uint8)
            panel.config.trbit = np.full(4, TRBIT[mode], np.uint8)
            dgram.adddata(panel.config)

    def write(self, dgram):
        dgram.save(self.buffer)
        self.file.write(memoryview(self.buffer)[: dgram.size])

    def begin(self, transition, time):
        return DgramEdit(
            transition_id=transition,
            config_dgramedit=self.config,
            ts=time,
            bufsize=len(self.buffer),
        )

    def begin_run(self, time):
        dgram = self.begin(TransitionId.BeginRun, time)
        self.runinfo.runinfo.expt = self.plan["experiment"]
        self.runinfo.runinfo.runnum = self.plan["run"]
        dgram.adddata(self.runinfo.runinfo)
        self.write(dgram)

    def begin_step(self, number, step, time):
        dgram = self.begin(TransitionId.BeginStep, time)
        if self.scan:
            self.scan.raw.step_value = float(number)
            self.scan.raw.step_docstring = json.dumps(step.get("doc", {}))
            dgram.adddata(self.scan.raw)
        if "config" in step:
            for panels in self.settings.values():
                self._configured(dgram, panels, step["config"])
        self.write(dgram)

    def event(self, number, frames, codes, time):
        """One event; a detector whose frame is ``None`` is missing from it."""
        dgram = self.begin(TransitionId.L1Accept, time)
        if self.timing:
            words = np.zeros(18, np.uint16)
            for code in codes:
                words[code >> 4] |= 1 << (code & 15)
            self.timing.raw.sequenceValues = words
            dgram.adddata(self.timing.raw)
        for name, panels in self.cameras.items():
            if frames[name] is not None:
                self._add(dgram, self.plan["detectors"][name]["kind"], panels, frames[name])
        self.write(dgram)

    def _add(self, dgram, kind, panels, frame):
        for segment, panel in enumerate(panels):
            one = frame if frame.ndim == 2 else frame[segment]
            if kind == "jungfrau":
                panel.raw.raw = np.ascontiguousarray(one[np.newaxis] if one.ndim == 2 else one)
                panel.raw.numHotPixels, panel.raw.hotPixelThresh = 0, 0
            elif kind == "opal":
                panel.raw.image = np.ascontiguousarray(one)
            else:
                panel.raw.raw = np.ascontiguousarray(one)
            dgram.adddata(panel.raw)


def main(plan):
    clock = start_of(plan)

    def tick():
        nonlocal clock
        clock += 1_000_000
        return clock

    def transition(which):
        time = tick()
        for stream in streams:
            stream.write(stream.begin(which, time))

    parts = plan.get("streams") or [[plan["out"], list(plan["detectors"])]]
    streams = [Stream(path, plan, names, number == 0) for number, (path, names) in enumerate(parts)]
    time = tick()
    for stream in streams:
        stream.begin_run(time)
    for number, step in enumerate(plan["steps"]):
        time = tick()
        for stream in streams:
            stream.begin_step(number, step, time)
        transition(TransitionId.Enable)
        frames = {name: np.load(file, mmap_mode="r") for name, file in step["frames"].items()}
        for event in range(len(next(iter(frames.values())))):
            missing = {name: event in plan["detectors"][name].get("missing", []) for name in frames}
            now = {
                name: None if missing[name] else np.ascontiguousarray(each[event])
                for name, each in frames.items()
            }
            codes = step["codes"][event] if "codes" in step else []
            time = tick()
            for stream in streams:
                stream.event(event, now, codes, time)
        transition(TransitionId.Disable)
        transition(TransitionId.EndStep)
    transition(TransitionId.EndRun)


if __name__ == "__main__":
    for text in sys.argv[1:]:
        main(json.loads(text))
