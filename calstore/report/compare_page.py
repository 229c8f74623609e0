"""The same frames under two versions, as one page with pictures."""

from __future__ import annotations

import html
from collections.abc import Iterator

import numpy as np

from calstore.report.page import END, WIDE, curves, figure, head
from calstore.report.pictures import robust_limits, shrunk, symmetric_limits
from calstore.repository.compare_runs import Compared


def compared_text(found: Compared) -> Iterator[str]:
    """Lines about both sides and their difference."""
    unit = found.after.unit if found.before.unit == found.after.unit else "different units"
    for label, image in (("A", found.before.image), ("B", found.after.image)):
        there = image[np.isfinite(image)]
        middle = f"median {np.median(there):.5g}" if there.size else "no value"
        yield f"{label}: {there.size} pixels, {middle}"
    alone = np.isfinite(found.before.image) != np.isfinite(found.after.image)
    yield f"masked in one alone: {int(alone.sum())} pixels"
    change = found.difference[np.isfinite(found.difference)]
    if change.size:
        low, middle, high = np.percentile(change, (1, 50, 99))
        yield (
            f"B − A: {int((change != 0).sum())} of {change.size} pixels differ, median "
            f"{middle:+.4g} {unit}, 1 to 99 %: {low:+.4g} to {high:+.4g}"
        )


def compare_page(found: Compared) -> Iterator[str]:
    """The page, in parts: both images, their difference, and the radial profile.

    Raises
    ------
    NotFound
        Where what makes pictures is not installed.
    """
    yield head("The same frames under two versions")
    yield f"<p>A {html.escape(found.before.title)}<br>B {html.escape(found.after.title)}</p>"
    yield f"<pre>{html.escape(chr(10).join(compared_text(found)))}</pre>"
    both = np.concatenate([found.before.image.ravel(), found.after.image.ravel()])
    limits = robust_limits(both)
    for label, picture in (("A", found.before), ("B", found.after)):
        unit = f" {picture.unit}" if picture.unit else ""
        yield figure(label, shrunk(picture.image, WIDE, WIDE), limits, unit)
    change = found.difference
    of_change = symmetric_limits(change[change != 0])
    yield figure("B − A", shrunk(change, WIDE, WIDE), of_change, unit, both_ways=True)
    if found.profile is not None:
        lines = (("A", found.profile.before), ("B", found.profile.after))
        at = found.profile.radius_um / 1000
        caption = f"mean by distance from the beam, {at[0]:.3g} to {at[-1]:.3g} mm"
        yield curves(lines, at, caption)
    yield END
