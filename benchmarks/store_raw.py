"""What calstore is compared with: the least that has to be done, each in a fresh Python."""

import os
import sys
from pathlib import Path

import xxhash


def files_below(root: str) -> list[Path]:
    """All files, in order."""
    return sorted(path for path in Path(root).rglob("*") if path.is_file())


def read(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read()


def write_once(folder: str, data: bytes) -> None:
    """Write bytes under their hash unless they are there; no fsync."""
    path = Path(folder, xxhash.xxh3_128_hexdigest(data))
    if not path.exists():
        with path.open("wb", buffering=0) as file:
            file.write(data)


def store(tree: str, folder: str) -> None:
    """Read and hash every file, write each unique content once."""
    Path(folder).mkdir(exist_ok=True)
    for path in files_below(tree):
        write_once(folder, read(path))


def hash_only(tree: str) -> None:
    """Read and hash every file."""
    for path in files_below(tree):
        xxhash.xxh3_128_digest(read(path))


def load(file: str) -> None:
    """``np.load`` of one file, and the hash of its array."""
    import numpy as np

    xxhash.xxh3_128_digest(np.load(file))


def save(tree: str, dest: str, durable: str = "") -> None:
    """``np.load`` and ``np.save`` of every array; with an fsync of each file if ``durable``."""
    import numpy as np

    for path in files_below(tree):
        target = dest / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            np.save(file, np.load(path))
            if durable:
                file.flush()
                os.fsync(file.fileno())


def parse(tree: str, folder: str) -> None:
    """`store` for a tree of text, and each text parsed by calstore's parser."""
    from calstore.formats import psana_text

    Path(folder).mkdir(exist_ok=True)
    for path in files_below(tree):
        data = read(path)
        write_once(folder, data)
        group, _, type_name, name = path.relative_to(tree).parts
        if name.endswith(".data"):
            psana_text.read(data, group=group, type_name=type_name)


TASKS = {task.__name__: task for task in (store, hash_only, load, save, parse)}

if __name__ == "__main__":
    TASKS[sys.argv[1]](*sys.argv[2:])
