"""The page of a difference shows it, and asks nobody for anything."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import run
from PIL import Image
from psana2_client import put_version

from calstore.repository.store import init_store

REF = "mfx/main"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHAPE = (3, 2, 64, 96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A jungfrau whose second panel is 50 ADU higher in G1, in the second version."""
    folder = tmp_path_factory.mktemp("page")
    store = init_store(folder / ".calstore", "0" * 32)
    pedestals = np.random.default_rng(1).normal(2000, 5, SHAPE).astype(np.float32)
    higher = pedestals.copy()
    higher[1, 1] += 50
    of = ("jungfrau", "a <b> & 'c'", ("1", "2"))
    first: dict[str, Any] = {"pedestals": pedestals, "pixel_gain": np.ones(SHAPE, np.float32)}
    second = {"pedestals": higher, "pixel_gain": np.full(SHAPE, np.nan, np.float32)}
    put_version(store, REF, {of: first})
    put_version(store, REF, {of: second})
    done = run("diff", f"{REF}@1", REF, "--report", "page.html", folder=folder)
    assert done.code == 1, done.err
    return folder


def pictures(page: str) -> dict[str, np.ndarray]:
    """The images of the pedestals, by what is said of them."""
    part = page[page.index("pedestals</h2>") :].partition("<h2>")[0]
    found = re.findall(r"<img alt='([^']*)' src='data:image/png;base64,([^']*)'", part)
    return {
        label: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        for label, data in found
    }


def test_only_the_mode_that_differs_is_shown_and_the_panel_is_seen_in_it(folder: Path) -> None:
    found = pictures((folder / "page.html").read_text())

    assert list(found) == ["G1 A", "G1 B", "G1 B − A"]
    change = found["G1 B − A"]
    assert change.shape == (128, 96, 3)
    assert change[:64].min() > 235
    assert (change[64:, :, 0] > change[64:, :, 2] + 60).all()
    assert np.array_equal(found["G1 A"][:64], found["G1 B"][:64])
    assert found["G1 B"][64:].mean() > found["G1 A"][64:].mean() + 60


def test_the_words_are_there_and_names_cannot_be_markup(folder: Path) -> None:
    page = (folder / "page.html").read_text()

    assert "G1 segment 1: 6144 of 6144 pixels (100 %), median +50 ADU" in page
    assert "a &lt;b&gt; &amp; &#x27;c&#x27; pedestals" in page
    assert "<b>" not in page
    assert "1, 1, " in page
    assert len(re.findall("<svg", page)) >= 1


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    page = (folder / "page.html").read_text()

    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert set(re.findall(r"src='(\w+):", page)) == {"data"}
    assert "default-src 'none'" in page


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_browser_shows_it_without_a_complaint(folder: Path) -> None:
    assert CHROMIUM is not None
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1200"]
    words += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"]
    words += [f"--user-data-dir={folder / 'profile'}", f"--screenshot={folder / 'page.png'}"]

    done = subprocess.run(
        [CHROMIUM, *words, (folder / "page.html").as_uri()],
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert b"CONSOLE" not in done.stderr
    with Image.open(folder / "page.png") as picture:
        seen = np.asarray(picture.convert("RGB")).astype(int)
    is_red = (seen[..., 0] > 140) & (seen[..., 1] < 60) & (seen[..., 2] < 70)
    assert is_red.sum() > 3000
    assert (seen.min(axis=2) > 250).mean() > 0.3


def test_what_is_no_page_is_refused(folder: Path) -> None:
    outcome = run("diff", f"{REF}@1", REF, "--report", "page.txt", folder=folder)

    assert outcome.code == 5
    assert ".html" in outcome.err
