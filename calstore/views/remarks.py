"""What the readers of a view will not do with it, although every file of it is as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from calstore.model.conventions import UNDEFINED, ami_group_of, group, group_of, is_source
from calstore.model.manifests import Detector, DetectorManifest
from calstore.views.plan import Layout

_DEAD: Final = frozenset({"iStar::CalibV1", "Alvium::CalibV1"})
"""Groups that CalibManager writes (src/ConfigParametersForApp.py:286-290) and no reader knows."""


@dataclass(frozen=True, slots=True)
class ViewRemark:
    """What people should know of a folder of a view.

    Parameters
    ----------
    folder
        Below the view's root.
    text
        What readers will not do.
    is_warning
        Whether somebody will miss it; else it is how things are.
    """

    folder: str
    text: str
    is_warning: bool = True

    def __str__(self) -> str:
        return self.text


def remarks_on(
    detectors: Mapping[Detector, DetectorManifest], layout: Layout
) -> Iterator[ViewRemark]:
    """What psana, and what nobody, does with the constants of a view.

    Groups of other programs, such as ``Xtcav::CalibV1``, are theirs.
    """
    if layout != "psana":
        return
    for key, manifest in detectors.items():
        folder = "/".join(key)
        unread = unread_folder(key)
        if unread is not None:
            yield ViewRemark(folder, unread)
        if "pixel_mask" in manifest.constants:
            yield ViewRemark(
                f"{folder}/pixel_mask",
                f"psana applies the pixel_mask of {key[1]} only when it is asked to, AMI never; "
                "what must hold everywhere belongs into pixel_status: calstore mask --apply",
                is_warning=False,
            )


def unread_folder(key: Detector) -> str | None:
    """Why no reader looks in the folder of a detector; ``None`` where one does."""
    group_name, source = key
    if group_name not in _DEAD and group(group_name) is None:
        return None
    if not is_source(source):
        return f"no reader looks for {source!r}; a source is <Det>.<n>:<Dev>.<m>, and nothing else"
    expected = group_of(source)
    if expected == UNDEFINED:
        return f"psana does not know the device of {source}, so it looks for no constants"
    if group_name in (expected, ami_group_of(source)):
        return None
    return f"nobody reads {group_name}/{source}; psana looks in {expected}/{source}"
