"""Unmodified psana 2 as a client, runs by its own writer, and versions for them to read."""

from __future__ import annotations

import grp
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from builders import stamp

from calstore.model.arrays import ArrayReference
from calstore.model.manifests import Constant, DetectorManifest, SetManifest
from calstore.model.names import RefName
from calstore.model.runs import RunRange
from calstore.repository.change import put_set
from calstore.repository.commit import commit
from calstore.repository.store import Store
from calstore.store import arrays, logs, objects

PSANA: Final = os.environ.get("CALSTORE_PSANA_PYTHON")
with_psana = pytest.mark.skipif(
    PSANA is None, reason="CALSTORE_PSANA_PYTHON does not name a Python that has psana"
)


def _has_group() -> bool:
    """Whether psana's tools run: each asks for this group."""
    try:
        grp.getgrnam("ps-users")
    except KeyError:
        return False
    return True


with_tools = pytest.mark.skipif(
    PSANA is None or not _has_group(),
    reason="no psana, or no group ps-users, without which its tools do not run",
)
ONE_PROCESS: Final = {
    "PS_PARALLEL": "none",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
READER: Final = """
import sys
import numpy as np
from psana import DataSource
out, how, names, *files = sys.argv[1:]
words = {"use_calib_cache": True, "fetch_calib_cache_max_retries": 1} if how == "cache" else {}
run = next(DataSource(files=files, **words).runs())
found = {}
detectors = {name: run.Detector(name) for name in names.split(",")}
event = next(run.events())
for name, detector in detectors.items():
    for ctype, (data, document) in detector.calibconst.items():
        found[f"{name} {ctype}"] = np.array(data)
    found[f"{name} calib"] = detector.raw.calib(event)
np.savez(out, **{key: value for key, value in found.items() if value is not None})
"""
"""Keeps the constants of each detector that stdin names, and its first calibrated frame."""


def write_runs(*plans: Mapping[str, Any]) -> None:
    """Make files of LCLS-II; see ``xtc2_files``."""
    assert PSANA is not None
    script = Path(__file__).with_name("xtc2_files.py")
    words = [PSANA, str(script), *(json.dumps(plan) for plan in plans)]
    subprocess.run(words, env={**os.environ, **ONE_PROCESS}, check=True, capture_output=True)


def reader_words(folder: Path, out: str, names: str, *files: Path, how: str = "") -> list[str]:
    """A command that reads detectors as an analysis does; ``how`` is ``cache`` for a pickle."""
    assert PSANA is not None
    script = folder / "reader.py"
    script.write_text(READER)
    return [PSANA, str(script), str(folder / out), how, names, *map(str, files)]


def constants_read(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Detector → type → what psana had of it."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as kept:
        for key in kept:
            name, type_name = key.split(" ")
            found.setdefault(name, {})[type_name] = kept[key]
    return found


def put_version(
    store: Store,
    ref: str,
    detectors: Mapping[tuple[str, str, tuple[str, ...]], Mapping[str, np.ndarray | str]],
    runs: str = "0-end",
) -> str:
    """A version with these constants: kind, source and serials → type → array or text."""
    manifests = {}
    for (kind, source, serials), constants in detectors.items():
        by_type = {}
        for name, value in constants.items():
            content: Any
            if isinstance(value, str):
                content = objects.put(store.backend, objects.BLOBS, value.encode())
            else:
                content = arrays.put(store.backend, value)
                assert isinstance(content, ArrayReference)
            by_type[name] = {RunRange.parse(runs): Constant(content, serials=serials)}
        manifest = DetectorManifest(by_type)
        manifests[kind, source] = objects.put(store.backend, objects.MANIFESTS, manifest.encoded())
    name = RefName(ref)
    record = commit(
        store,
        name,
        put_set(store, SetManifest(manifests, {})),
        base=logs.head(store.backend, name.log),
        stamp=stamp(),
        operation="set",
        what="constants for a test",
    )
    return record.name
