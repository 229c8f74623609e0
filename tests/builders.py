"""Small trees, stamps and stores to try things on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calstore.formats import psana_text_writer
from calstore.model.records import Stamp, Who
from calstore.repository.store import Store
from calstore.repository.verify import Damage, verify
from calstore.store import logs
from calstore.views import ledger, receipt
from calstore.views.tree import Tree

OPAL = "Camera::CalibV1/CxiDg1.0:Opal1000.0"
ZYLA = "Camera::CalibV1/CxiDg2.0:Zyla.1"

GEOMETRY = b"# TITLE  an imaginary camera\nIP 0 CAMERA 0 0 0 -100000 0 0 0 0.0 0.0 0.0\n"


def stamp(why: str = "") -> Stamp:
    """A stamp of one person at one time; each has its own writer."""
    who = Who("wilson", 1000, "psana0101")
    return Stamp(who, "2026-11-22T03:12:45.123456Z", why, secrets.token_bytes(8))


def small_files(seed: int = 0) -> dict[str, bytes]:
    """A tiny calib directory as path → bytes: text, an opaque file, HISTORY, a stranger."""
    random = np.random.default_rng(seed)
    pedestals = random.normal(2500, 30, (3, 4)).astype(np.float32)
    status = random.integers(0, 5, (3, 4), dtype=np.uint16)
    return {
        f"{OPAL}/pedestals/0-end.data": psana_text_writer.write(pedestals, type_name="pedestals"),
        f"{OPAL}/pedestals/HISTORY": b"file:0-end.data  copy_of:work.txt  exp:cxis0113  run:0001\n",
        f"{OPAL}/pixel_status/0-end.data": psana_text_writer.write(
            status, type_name="pixel_status"
        ),
        f"{ZYLA}/geometry/0-end.data": GEOMETRY,
        "README": b"kept by the operators\n",
    }


def write_files(dest: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a directory."""
    for path, data in files.items():
        target = dest / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return dest


def set_digest(store: Store, ref: str) -> str | None:
    """The digest of the set that a ref names; ``None`` when it is not there or deleted."""
    entry = logs.head(store.backend, f"refs/{ref}")
    if entry is None or entry.record.manifest is None:
        return None
    return str(entry.record.manifest.digest)


def damages(store: Store) -> tuple[Damage, ...]:
    """What verify finds wrong with a store."""
    return verify(store).damages


def view_files(dest: Path) -> dict[str, bytes]:
    """The files of a view, with the paths of its receipt in the receipt's place.

    HISTORY is left out: in a directory that is there it only grows; see `history_lines`.
    """
    files = {
        str(path.relative_to(dest)): path.read_bytes()
        for path in dest.rglob("*")
        if path.is_file() and path.name != "HISTORY"
    }
    with Tree(dest) as tree:
        written = ledger.read(tree, dest).receipt
    assert written is not None
    files.pop(ledger.JOURNAL, None)
    paths = sorted(path for path in written.files if not path.endswith("HISTORY"))
    listed = "\n".join([written.versions, written.parts[0].manifest, *paths])
    return {**files, receipt.NAME: listed.encode()}


def history_lines(dest: Path) -> set[tuple[str, bytes]]:
    """The lines of each HISTORY of a view."""
    return {
        (str(path.relative_to(dest)), line)
        for path in dest.rglob("HISTORY")
        for line in path.read_bytes().splitlines()
    }
