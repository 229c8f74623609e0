"""How ``v1`` was made, once. Not run again: zarr's codecs may write other bytes next year."""

import json
import sys
from pathlib import Path

import numpy as np

import calstore
from calstore.formats import history, psana_text_writer
from calstore.model.records import Stamp, Who

CAMERA = "Camera::CalibV1/SxrEndstation.0:Opal1000.0"
EPIX = "Epix10ka2M::CalibV1/MfxEndstation.0:Epix10ka2M.0"


def stamp(second: int, why: str) -> Stamp:
    who = Who("wilson", 1894, "psana101", "ada" if second % 2 else None)
    return Stamp(who, f"2026-11-22T03:00:{second:02d}.000000Z", why, bytes([second] * 8))


def tree(root: Path) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    arrays = {
        f"{CAMERA}/pedestals/0-end": random.normal(100, 3, (9, 11)).astype(np.float32),
        f"{CAMERA}/pedestals/137-end": random.normal(110, 3, (9, 11)).astype(np.float32),
        f"{CAMERA}/pixel_status/5-20": random.integers(0, 65536, (9, 11)).astype(np.uint16),
        f"{CAMERA}/common_mode/0-end": np.array([0.0, 10.5]),
        f"{EPIX}/pedestals/12-end": random.normal(5, 1, (7, 2, 40, 60)).astype(np.float32),
    }
    for name, array in arrays.items():
        type_name = name.split("/")[2]
        _write(root / f"{name}.data", psana_text_writer.write(array, type_name=type_name))
    extra = {
        f"{EPIX}/pixel_mask/0-end": np.ones((2, 40, 60), dtype=np.uint8),
        f"{EPIX}/odd/1-1": np.array(2.5, dtype=np.float16),
        f"{EPIX}/odd/2-2": np.zeros((3, 0, 4), dtype=np.int64),
        f"{EPIX}/odd/3-3": np.array([[True, False], [False, True]]),
        f"{EPIX}/odd/4-4": np.array([-0.0, np.nan, np.inf, 5e-324]),
        f"{EPIX}/odd/5-5": np.array([-(2**63), 2**63 - 1]),
    }
    for name, array in extra.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / f"{name}.npy", array)
    line = history.render(
        file="0-end.data",
        copy_of="pedestals-work.txt",
        experiment="sxrx1234",
        run="0000",
        comment="first light",
        user="wilson",
        host="psana101",
        time="2026-01-01T03:00:00",
        zone="PST",
    )
    _write(root / CAMERA / "pedestals" / "HISTORY", line.encode())
    _write(root / CAMERA / "geometry" / "0-end.data", b"# geometry\nIP 0 CAM 0 0 0 0 0 0 0 0 0 0\n")
    _write(root / CAMERA / "pedestals" / "0001-0002.data", b"1 2 3\n4 5 six\n")
    _write(root / "stranger.txt", b"not a constant\n")
    return {**arrays, **extra}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main(where: Path, scratch: Path) -> None:
    calib = scratch / "calib"
    arrays = tree(calib)
    store = calstore.init(where / "store", "0123456789abcdef" * 2)
    calstore.import_tree(store, calib, "sxrx1234/main", stamp(1, "as found"))
    files = {
        str(path.relative_to(calib)): path.read_bytes().hex()
        for path in sorted(calib.rglob("*"))
        if path.is_file() and path.suffix != ".npy"
    }
    (calib / "stranger.txt").unlink()
    calstore.import_tree(store, calib, "sxrx1234/main", stamp(2, ""))
    calstore.fork(store, "sxrx1234/main@1", "sxrx1234/users/ada/mask", stamp(3, "try a mask"))
    mask = np.eye(9, 11, dtype=np.uint8)
    calstore.set_constant(
        store,
        "sxrx1234/users/ada/mask",
        "Opal1000.0",
        "pixel_mask",
        calstore.RunRange.parse("5-20"),
        mask,
        stamp(4, "diagonal"),
    )
    calstore.tag(store, "sxrx1234/main@2", "sxrx1234/published", stamp(5, "for the paper"))
    calstore.fork(store, "sxrx1234/main", "detectors/opal_42/main", stamp(6, ""))
    calstore.delete_ref(store, "detectors/opal_42/main", stamp(7, "not needed"))
    expected = {
        "arrays": {
            **{
                name: {
                    "dtype": str(array.dtype),
                    "shape": list(array.shape),
                    "bytes": array.tobytes().hex(),
                }
                for name, array in arrays.items()
            },
            f"{CAMERA}/pixel_mask/5-20": {
                "dtype": "uint8",
                "shape": [9, 11],
                "bytes": mask.tobytes().hex(),
            },
        },
        "files": files,
        "digests": {f"{ref}@{n}": str(store[f"{ref}@{n}"].digest) for ref, n in VERSIONS},
    }
    (where / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


VERSIONS = (
    ("sxrx1234/main", 1),
    ("sxrx1234/main", 2),
    ("sxrx1234/users/ada/mask", 1),
    ("sxrx1234/users/ada/mask", 2),
    ("sxrx1234/published", 1),
    ("detectors/opal_42/main", 1),
)

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
