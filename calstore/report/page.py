"""Pages that need nothing but themselves: their head, and figures of images and lines."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from calstore.report.pictures import Limits, png_of

Array = np.ndarray[Any, np.dtype[Any]]

WIDE: Final = 480
END: Final = "</body></html>\n"
_STYLE: Final = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1560px; color: #222 }
h1 { font-size: 1.4em } h2 { font-size: 1.15em; margin-top: 2em; border-top: 1px solid #ccc }
figure { display: inline-block; margin: .5em 1em .5em 0; vertical-align: top }
figcaption { font-size: .85em; color: #555 } img { image-rendering: pixelated; max-width: 480px }
table { border-collapse: collapse; font-size: .85em }
td, th { padding: .1em .8em; text-align: right }
pre { white-space: pre-wrap; background: #f6f6f6; padding: .6em } svg rect { fill: #56417d }
"""
_COLOURS: Final = ("#56417d", "#e06a34")


def head(title: str) -> str:
    """The beginning of a page, which allows no request to anybody."""
    told = html.escape(title)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; "
        f"style-src 'unsafe-inline'\"><title>{told}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{told}</h1>"
    )


def figure(label: str, image: Array, limits: Limits, unit: str, *, both_ways: bool = False) -> str:
    """An image with what its colours stand for; ``unit`` begins with a blank, or is empty."""
    data = base64.b64encode(png_of(image, limits, both_ways=both_ways)).decode()
    scale = f"{limits.low:.5g} to {limits.high:.5g}{unit}"
    return (
        f"<figure><img alt='{html.escape(label)}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{html.escape(f'{label}: {scale}')}</figcaption></figure>"
    )


def curves(lines: Sequence[tuple[str, Array]], at: Array, caption: str) -> str:
    """Some lines over the same places, from the lowest value to the highest."""
    known = np.concatenate([values[np.isfinite(values)] for _, values in lines])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    span = float(at[-1] - at[0]) or 1.0
    drawn, names = [], []
    for number, (name, values) in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        places = " ".join(
            f"{WIDE * (x - float(at[0])) / span:.1f},{155 - 150 * (y - low) / (high - low):.1f}"
            for x, y in zip(at.tolist(), values.tolist(), strict=True)
            if np.isfinite(y)
        )
        drawn.append(f"<polyline fill='none' stroke='{colour}' points='{places}'/>")
        names.append(f"<span style='color:{colour}'>{html.escape(name)}</span>")
    told = f"{html.escape(f'{caption}; from {low:.5g} to {high:.5g}')}; {', '.join(names)}"
    return (
        f"<figure><svg width='{WIDE}' height='160' role='img'>{''.join(drawn)}</svg>"
        f"<figcaption>{told}</figcaption></figure>"
    )
