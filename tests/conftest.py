"""What several tests stand on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import small_files, write_files
from commandline import calstore, camera_tree, plain_environment  # noqa: F401
from hypothesis import settings
from object_store import kept_place, s3, store_place  # noqa: F401

# Machines are slow at times; what must be fast is measured in benchmarks/, not here.
settings.register_profile("calstore", deadline=None)
settings.load_profile("calstore")


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """A tiny calib directory."""
    return write_files(tmp_path / "calib", small_files())


@pytest.fixture(scope="module")
def memory_path() -> Iterator[Path]:
    """A directory in memory where there is one: for tests that write thousands of files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield Path(path)
