"""A small calib directory that looks like a real one, to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from calstore.errors import Conflict, Invalid
from calstore.formats import history, psana_text_writer

EPIX: Final = "Epix100a::CalibV1/XppGon.0:Epix100a.1"
JUNGFRAU: Final = "Jungfrau::CalibV1/CxiDs1.0:Jungfrau.0"

_GEOMETRY = """\
# TITLE  geometry of an imaginary Epix100a
# 1-2 parent, 3-4 object, 5-7 position [um], 8-10 rotation [deg], 11-13 tilt [deg]
IP  0  CAMERA     0      0  0  -100000    0  0  0    0.00000  0.00000  0.00000
CAMERA  0  EPIX100:V1  0      0  0        0   90  0  0    0.00000  0.00000  0.00000
"""


def write_sample(dest: Path) -> None:
    """Write the sample: an Epix100a with two darks, and a Jungfrau in three gain modes.

    Raises
    ------
    Conflict
        When ``dest`` is there already.
    Invalid
        When it cannot be written.
    """
    try:
        dest.mkdir(parents=True)
    except FileExistsError:
        raise Conflict(f"{dest} is there already; name a new directory") from None
    except OSError as error:
        raise Invalid(f"cannot make {dest} ({error.strerror}); name another place") from error
    random = np.random.default_rng(137)
    for run in (10, 137):
        level = random.normal(2500 + run, 30, (704, 768)).astype(np.float32)
        noise = random.gamma(20, 0.13, (704, 768)).astype(np.float32)
        bad = (random.random((704, 768)) < 0.002).astype(np.uint16)
        _constant(dest, EPIX, "pedestals", f"{run}-end", level)
        _constant(dest, EPIX, "pixel_rms", f"{run}-end", noise)
        _constant(dest, EPIX, "pixel_status", f"{run}-end", bad)
    _file(dest, f"{EPIX}/geometry/0-end.data", _GEOMETRY.encode())
    modes = np.array([2900, 15000, 14500], dtype=np.float32).reshape(3, 1, 1, 1)
    level = modes + random.normal(0, 40, (3, 1, 512, 1024)).astype(np.float32)
    gain = np.broadcast_to(
        np.array([41.5, -1.39, -0.11], dtype=np.float32).reshape(3, 1, 1, 1), level.shape
    )
    _constant(dest, JUNGFRAU, "pedestals", "99-end", level)
    _constant(dest, JUNGFRAU, "pixel_gain", "1-end", gain)


def sample_mask() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A pixel_mask for the sample's Epix100a, with a beam stop: 1 is good."""
    rows, columns = np.ogrid[:704, :768]
    outside = (rows - 350) ** 2 + (columns - 380) ** 2 > 60**2
    return np.asarray(outside, dtype=np.uint8)


def _constant(
    dest: Path,
    detector: str,
    type_name: str,
    runs: str,
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> None:
    text = psana_text_writer.write(array, type_name=type_name, comments=["a sample, not real"])
    _file(dest, f"{detector}/{type_name}/{runs}.data", text)
    line = history.render(
        file=f"{runs}.data",
        copy_of=f"{type_name}-work.txt",
        experiment="demo",
        run=runs.partition("-")[0].zfill(4),
        comment="sample",
        user="demo",
        host="localhost",
        time="2026-01-01T03:00:00",
        zone="UTC",
    )
    with (dest / detector / type_name / "HISTORY").open("a") as file:
        file.write(line)


def _file(dest: Path, path: str, data: bytes) -> None:
    target = dest / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
