"""psana's own DarkProc on frames of a file, timed; run under psana's Python.

Usage: ``psana_darks.py FRAMES.npy RESULT.npz PARAMETERS``. The parameters are JSON: ``class``
(``DarkProc`` or ``DarkProcJungfrau``), ``filled``, and what the class takes. With ``filled`` the
last row of the first block holds its frame, which psana 4.3.4 leaves zero; psana1 fills it.
"""

import importlib
import json
import sys
import time

import numpy as np

MODULES = {
    "DarkProc": "psana.detector.UtilsCalib",
    "DarkProcJungfrau": "psana.detector.UtilsJungfrauCalib",
}


def filled(base):
    """The class with the last frame of the first block put into it, and added once."""

    class Filled(base):
        def event(self, raw, number):
            if self.block is None:
                self.block = np.zeros((self.nrecs1, *raw.shape), raw.dtype)
            if self.irec + 1 != self.nrecs1 - 1:
                return super().event(raw, number)
            self.irec += 1
            self.accumulate_block(raw)
            self.proc_block_short()
            self.init_proc()
            self.add_block()
            return self.status

    return Filled


def main(frames_path, result_path, parameters):
    base = getattr(importlib.import_module(MODULES[parameters["class"]]), parameters["class"])
    process = (filled(base) if parameters["filled"] else base)(
        plotim=0,
        **{name: value for name, value in parameters.items() if name not in ("class", "filled")},
    )
    process.gmindex, process.gmname = 0, "g0"
    frames = np.load(frames_path, mmap_mode="r")
    started = time.perf_counter()
    for number, frame in enumerate(frames):
        process.event(frame, number)
    process.summary()
    seconds = time.perf_counter() - started
    np.savez(
        result_path,
        seconds=seconds,
        count=process.arr_sum0,
        total=process.arr_sum1,
        squares=process.arr_sum2,
        below=process.sta_int_lo,
        above=process.sta_int_hi,
        pedestals=process.arr_av1,
        rms=process.arr_rms,
        status=process.arr_sta,
        maximum=process.arr_max,
        minimum=process.arr_min,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
