"""psana's own finder and text reader, asked one question per line; run under psana's Python."""

import contextlib
import json
import sys

import numpy as np
from psana.pscalib.calib.CalibFileFinder import CalibFile, CalibFileFinder
from psana.pscalib.calib.NDArrIO import load_txt

# psana sorts by __cmp__, which Python 3 does not call: give it what Python 2 did.
CalibFile.__lt__ = lambda self, other: self.__cmp__(other) < 0


def answer(question):
    finder = CalibFileFinder(question["calib"], question["group"], pbits=0)
    path = finder.findCalibFile(question["source"], question["type"], question["run"])
    if not path:
        return {"path": None}
    array = np.array(load_txt(path), dtype=question["dtype"]).reshape(question["shape"])
    return {"path": path, "bytes": array.tobytes().hex()}


for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        answered = answer(json.loads(line))
    print(json.dumps(answered))
