"""What the readers of a view will not do with it, although every file of it is as it should be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from calstore.model.conventions import UNDEFINED, ami_group_of, group, group_of
from calstore.model.manifests import Detector, DetectorManifest
from calstore.views.plan import Layout

_DEAD: Final = frozenset({"iStar::CalibV1", "Alvium::CalibV1"})
"""Groups that CalibManager writes (src/ConfigParametersForApp.py:286-290) and no reader knows."""

_SOURCE: Final = re.compile(r"[A-Za-z0-9]+\.[0-9]+:[A-Za-z0-9]+\.[0-9]+")


def remarks_on(
    detectors: Mapping[Detector, DetectorManifest], layout: Layout
) -> Iterator[tuple[str, str]]:
    """Folders of a view, and what people should know of each.

    Groups of others, such as ``Xtcav::CalibV1``, are nobody's business here.
    """
    if layout != "psana":
        return
    for key, manifest in detectors.items():
        folder = "/".join(key)
        unread = _unread(key)
        if unread is not None:
            yield folder, unread
        if "pixel_mask" in manifest.constants:
            yield (
                f"{folder}/pixel_mask",
                f"psana applies the pixel_mask of {key[1]} only when it is asked to, and AMI never "
                "does; what must hold everywhere belongs into pixel_status",
            )


def _unread(key: Detector) -> str | None:
    """Why no reader looks in the folder of a detector; ``None`` where one does."""
    group_name, source = key
    if group_name not in _DEAD and group(group_name) is None:
        return None
    if _SOURCE.fullmatch(source) is None:
        return f"no reader looks for {source!r}; a source is <Det>.<n>:<Dev>.<m>, and nothing else"
    expected = group_of(source)
    if expected == UNDEFINED:
        return f"psana does not know the device of {source}, so it looks for no constants"
    if group_name in (expected, ami_group_of(source)):
        return None
    return f"nobody reads {group_name}/{source}; psana looks in {expected}/{source}"
