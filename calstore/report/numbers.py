"""Numbers of a difference as people read them."""

from __future__ import annotations

from collections.abc import Iterator

from calstore.checks.numbers import Numbers
from calstore.model.detectors import STATUS_BITS, modes_of_kind
from calstore.repository.diff_numbers import ConstantNumbers, Displacement
from calstore.views.difference import ConstantDifference

_WORST = 5
_MOST_ELEMENTS = 12


def numbers_text(difference: ConstantDifference, numbers: ConstantNumbers) -> Iterator[str]:
    """Lines about one changed constant."""
    yield f"{difference.detector[1]} {difference.type_name}"
    unit = f" {numbers.unit}" if numbers.unit else ""
    if numbers.arrays is not None:
        total, panels = numbers.arrays.total, numbers.arrays.panels
        yield f"  {_pixels_text(total, unit)}"
        worst = sorted(range(len(panels)), key=lambda n: -abs(panels[n].median))[:_WORST]
        for number in worst if len(panels) > 1 else ():
            if panels[number].changed:
                where = _panel(difference, number, len(panels))
                yield f"  {where}: {_pixels_text(panels[number], unit)}"
    for bit, (gained, lost) in numbers.bits.items():
        meaning = STATUS_BITS.get(bit, "not known")
        yield f"  bit {bit} ({meaning}): gained by {gained}, lost by {lost}"
    for each in numbers.displaced[:_MOST_ELEMENTS]:
        yield f"  {_element_text(each)}"
    if len(numbers.displaced) > _MOST_ELEMENTS:
        yield f"  and {len(numbers.displaced) - _MOST_ELEMENTS} more elements"
    for cause in numbers.causes:
        yield f"  {cause}"


def _pixels_text(numbers: Numbers, unit: str) -> str:
    text = (
        f"{numbers.changed} of {numbers.pixels} pixels ({100 * numbers.fraction:.3g} %), median "
        f"{numbers.median:+.4g}{unit}, 1 to 99 %: {numbers.low:+.4g} to {numbers.high:+.4g}, "
        f"at most {numbers.largest:+.4g}"
    )
    if numbers.in_noise is not None:
        middle, high = numbers.in_noise
        text += f"; {middle:.3g} of the noise, 99 %: {high:.3g}"
    return text


def _panel(difference: ConstantDifference, number: int, count: int) -> str:
    """Which panel it is: a gain mode and a segment where the detector has such."""
    group, source = difference.detector
    from calstore.model.conventions import device_of

    device = device_of(source)
    kind = group if "::" not in group else "" if device is None else device.name
    modes = modes_of_kind(kind)
    if modes is None or count % len(modes.names):
        return f"panel {number}"
    mode, segment = divmod(number, count // len(modes.names))
    return f"{modes.names[mode]} segment {segment}"


def _element_text(each: Displacement) -> str:
    if each.moved_um is None or each.turned is None:
        return f"{each.element}: on one side alone"
    moved = ", ".join(f"{length:+.4g}" for length in each.moved_um)
    turned = ", ".join(f"{angle:+.4g}" for angle in each.turned)
    return f"{each.element}: moved by {moved} µm, turned by {turned}°"
