"""Run by psana's python: what psana's own functions mask.

``psana_masks.py IN.npz OUT.npz`` takes ``status`` (gain, panel, row, column), ``bad`` (panel, row,
column), ``neighbours``, ``edges`` and ``centre``, and writes the masks by each of them, the last
for two segments by name: psana 4.3.4 fails for a Jungfrau's, and has other pixels in a Cspad's.
"""

import sys

import numpy as np
from psana.detector import UtilsMask
from psana.pscalib.geometry.SegGeometryStore import sgs


def main(source, target):
    given = np.load(source)
    good = (~given["bad"]).astype(np.uint8)
    each = UtilsMask.status_as_mask(given["status"].astype(np.uint64))
    centre = {"edge_rows": 0, "edge_cols": 0, "wcenter": int(given["centre"])}
    segments = {
        f"centre-{name}": sgs.Create(segname=name).pixel_mask_array(**centre)
        for name in ("EPIX100:V1", "EPIX10KA:V1")
    }
    np.savez(
        target,
        status=UtilsMask.merge_mask_for_grinds(each, gain_range_inds=(0, 1, 2, 3, 4)),
        neighbours=UtilsMask.mask_neighbors(good, rad=int(given["neighbours"]), ptrn="s"),
        edges=UtilsMask.mask_edges(np.ones_like(good), width=int(given["edges"])),
        **segments,
    )


main(*sys.argv[1:])
