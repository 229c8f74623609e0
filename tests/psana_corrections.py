"""Run by psana's python: raw frames, psana's corrected ones, and its images, of each step.

``psana_corrections.py OUT NAMES CMPARS FILE``: the first event of each step of each detector.
CMPARS is JSON, ``null`` for none. psana's Jungfrau gives the same memory for each event, so copies
are kept. Its epix100 cuts a frame of one panel in two at row 384, since it takes columns for
rows (UtilsCommonMode.py:170 before the frame has a third axis); psana's own function is called
here with that axis.
"""

import json
import sys

import numpy as np
from psana import DataSource
from psana.detector.UtilsCommonMode import common_mode_apply

out, names, cmpars, path = sys.argv[1:]
cmpars = json.loads(cmpars)


def corrected(face, event):
    if cmpars is None:
        return face.calib(event)
    if face._dettype == "jungfrau":
        return face.calib(event, cmpars=tuple(cmpars), cversion=0)  # the compiled one takes none
    if face._dettype != "epix100":
        return face.calib(event, cmpars=tuple(cmpars))
    frame, mask = (face.raw(event) - face._pedestals())[None], face._mask()
    common_mode_apply(frame, mask.copy()[None], cmpars=tuple(cmpars))
    return frame[0] * face._gain_factor() * mask


run = next(DataSource(files=path).runs())
detectors = {name: run.Detector(name).raw for name in names.split(",")}
found = {}
for number, step in enumerate(run.steps()):
    event = next(step.events())
    for name, face in detectors.items():
        found[f"{name} {number} raw"] = np.array(face.raw(event))
        found[f"{name} {number} calib"] = np.array(corrected(face, event))
        if hasattr(face, "_cbits_config_detector"):
            found[f"{name} {number} bits"] = np.array(face._cbits_config_detector())
        if cmpars is None:
            image = face.image(event)
            found[f"{name} {number} image"] = np.array([]) if image is None else np.array(image)
np.savez(out, **found)
