"""Run by psana's python: where psana's own GeometryAccess puts the pixels of geometry files.

``psana_geometry.py FILE...`` prints for each, as JSON, the SHA-256 of x, y, z (float64) and of the
image's rows and columns (int64), or ``null`` when psana cannot place its pixels.
"""

import hashlib
import json
import sys

import numpy as np
from psana.pscalib.geometry.GeometryAccess import GeometryAccess


def digest(array, dtype):
    plain = np.ascontiguousarray(array, dtype) + np.zeros((), dtype)  # -0.0 becomes 0.0
    return hashlib.sha256(plain.tobytes()).hexdigest()


def places(path):
    try:
        geometry = GeometryAccess(path)
        coordinates = geometry.get_pixel_coords()
        indices = geometry.get_pixel_coord_indexes()
    except Exception:  # whatever psana stumbles over
        return None
    return [digest(axis, np.float64) for axis in coordinates] + [
        digest(axis, np.int64) for axis in indices
    ]


sys.stdout.write(json.dumps([places(path) for path in sys.argv[1:]]))
