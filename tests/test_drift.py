"""How a constant moved is told from place to place, in its unit and in noise."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import run
from psana2_client import put_version

from calstore.repository.store import init_store

REF = "mfx/main"
OF = ("jungfrau", "jungfrau", ("1", "2"))
SHAPE = (3, 2, 16, 24)


@pytest.fixture
def folder(tmp_path: Path, store_place: str) -> Path:
    """Three darks, one ADU higher each; in the third, panel 1 is 8 ADU higher than that."""
    store = init_store(store_place, "0" * 32)
    for number in range(3):
        pedestals = np.full(SHAPE, 2000 + number, np.float32)
        if number == 2:
            pedestals[0, 1] += 8
        constants: dict[str, Any] = {"pedestals": pedestals, "pixel_rms": np.full(SHAPE, 4.0)}
        put_version(store, REF, {OF: constants})
        np.save(tmp_path / f"{number}.npy", pedestals)
    return tmp_path


def test_from_record_to_record_each_change_is_told(folder: Path) -> None:
    done = run("drift", REF, "jungfrau", "pedestals", "--run", 7, folder=folder)
    by_panel = run("drift", REF, "jung", "pedestals", "--run", 7, "--by", "panel", folder=folder)

    lines = [line.split() for line in done.out.splitlines()]
    assert [line[0] for line in lines] == ["where", f"{REF}@1", f"{REF}@2", f"{REF}@3"]
    assert lines[2][3:] == ["2001", "+1", "0.25", "100", "%"]
    assert "  panel 1" in by_panel.out
    assert "+9" in next(line for line in by_panel.out.splitlines()[::-1] if "panel 1" in line)


def test_from_range_to_range_what_runs_get_is_told(folder: Path) -> None:
    for number, runs in ((0, "5-9"), (1, "10-end")):
        place = (REF, "jungfrau", "pedestals", runs, f"{number}.npy")
        assert run("set", *place, folder=folder).code == 0

    document = json.loads(run("drift", REF, "jung", "pedestals", "--json", folder=folder).out)

    points = document["points"]
    assert [point["name"] for point in points] == ["0-4", "5-9", "10-end"]
    assert [point["median"] for point in points] == [2002, 2000, 2001]
    assert points[1]["change"]["largest"] == -10
    assert points[0]["panels"] == [2002, 2010, 2002, 2002, 2002, 2002]
    assert points[0]["change"] is None


def test_a_record_that_changed_nothing_is_no_place(folder: Path) -> None:
    np.save(folder / "gain.npy", np.ones(SHAPE, np.float32))
    assert run("set", REF, "jungfrau", "pixel_gain", "0-end", "gain.npy", folder=folder).code == 0

    done = run("drift", REF, "jungfrau", "pedestals", "--run", 7, folder=folder)

    assert f"{REF}@4" not in done.out


def test_the_plot_has_a_line_for_each_panel(folder: Path) -> None:
    words = ("drift", REF, "jungfrau", "pedestals", "--run", 7, "-o", "drift.svg")

    assert run(*words, folder=folder).code == 0

    root = ET.parse(folder / "drift.svg").getroot()
    lines = [each for each in root if each.tag.endswith("polyline")]
    heights = [[float(p.split(",")[1]) for p in each.attrib["points"].split()] for each in lines]
    assert len(lines) == 6
    assert all(line[0] > line[1] > line[2] for line in heights)
    assert heights[1][2] == min(min(line) for line in heights)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("jungfrau", "pixel_gain"), 3),
        (("jungfrau", "pixel_gain", "--run", 7), 3),
        (("epix", "pedestals"), 3),
        (("jungfrau", "pedestals", "--by", "pixel"), 5),
        (("jungfrau", "pedestals", "-o", "x.png"), 5),
    ],
)
def test_what_has_no_drift_is_said(words: tuple[Any, ...], code: int, folder: Path) -> None:
    outcome = run("drift", REF, *words, folder=folder)

    assert outcome.code == code
    assert outcome.err.startswith("calstore: ")
