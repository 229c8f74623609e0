"""How fast ``.data`` text is written and read, as ratios to numpy's functions in one run."""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from calstore.formats import psana_text, psana_text_writer

ROWS, COLUMNS = 16 * 352, 384  # one gain mode of an Epix10ka2M


def saved(array: np.ndarray, fmt: str) -> bytes:
    stream = io.BytesIO()
    np.savetxt(stream, array, fmt=fmt)
    return stream.getvalue()


def read(text: bytes) -> np.ndarray:
    reading = psana_text.read(text, group="Epix10ka2M::CalibV1", type_name="pedestals")
    return reading.array


def medians(repeats: int, **calls: Callable[[], object]) -> dict[str, float]:
    """Seconds of each call; they take turns, so that a busy moment hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure_writing(array: np.ndarray, repeats: int) -> dict[str, float]:
    def write() -> bytes:
        return psana_text_writer.write(array, type_name="pedestals")

    assert read(write()).tobytes() == array.tobytes()
    seconds = medians(repeats, write=write, savetxt=lambda: saved(array, "%.9g"))
    return {"write, savetxt %.9g": seconds["savetxt"] / seconds["write"]}


def measure_reading(name: str, text: bytes, repeats: int) -> dict[str, float]:
    expected = np.loadtxt(io.BytesIO(text), dtype=np.float32)
    assert read(text).tobytes() == expected.tobytes()
    seconds = medians(
        repeats,
        read=lambda: read(text),
        double=lambda: np.loadtxt(io.BytesIO(text)),
        single=lambda: np.loadtxt(io.BytesIO(text), dtype=np.float32),
    )
    return {
        f"read {name}, loadtxt": seconds["double"] / seconds["read"],
        f"read {name}, loadtxt float32": seconds["single"] / seconds["read"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    arguments = parser.parse_args()

    noise = np.random.default_rng(1).normal(1000, 50, (ROWS, COLUMNS))
    array = noise.astype(np.float32)
    ratios = measure_writing(array, max(3, arguments.repeats // 2))
    for name, text in (
        ("shortest", psana_text_writer.write(array, type_name="pedestals")),
        ("%.9g", saved(array, "%.9g")),
        ("%8.2f", saved(array, "%8.2f")),
        ("%10.3f", saved(array, "%10.3f")),
    ):
        ratios |= measure_reading(name, text, arguments.repeats)

    if arguments.json:
        print(json.dumps(ratios))
        return
    print(f"{array.size} float32, times faster than numpy (median of {arguments.repeats})")
    for what, ratio in ratios.items():
        print(f"{what:<32}{ratio:6.1f}")


if __name__ == "__main__":
    main()
