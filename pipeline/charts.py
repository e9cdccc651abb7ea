"""Charts and images of the report as SVG and PNG text, drawn in the page's own colours so that both themes work."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

__all__ = ["bars", "curve", "image_source"]


def bars(rows: Sequence[tuple[str, float, str]], *, low: float = 0.0, high: float = 1.0) -> str:
    """Return horizontal bars: rows of (name, value, label); the axis runs from ``low`` to ``high``."""
    width, left, right, step = 860, 150, 140, 26
    span = width - left - right
    parts = [f'<svg viewBox="0 0 {width} {step * len(rows) + 4}" role="img">']
    for index, (name, value, label) in enumerate(rows):
        y = index * step + 4
        length = span * min(max((value - low) / (high - low), 0.0), 1.0)
        parts.append(
            f'<text class="name" x="{left - 10}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="track" x="{left}" y="{y + 2}" width="{span}" height="14" rx="4"/>'
            f'<rect class="bar" x="{left}" y="{y + 2}" width="{length:.1f}" height="14" rx="4"/>'
            f'<text class="value" x="{width - right + 10}" y="{y + 13}">{escape(label)}</text>'
        )
    return "".join([*parts, "</svg>"])


def curve(values: Sequence[float], *, title: str, percent: bool = False) -> str:
    """Return a line over the epochs with its first, last and extreme values marked on the axis."""
    width, height, left, top, bottom, right = 320, 170, 46, 24, 24, 10
    low, high = (0.0, 1.0) if percent else (0.0, max(values))
    spread = (high - low) or 1.0

    def text(value: float) -> str:
        return f"{100 * value:.0f} %" if percent else f"{value:.2f}"

    def x(index: int) -> float:
        return left + (width - left - right) * index / max(len(values) - 1, 1)

    def y(value: float) -> float:
        return height - bottom - (height - top - bottom) * (value - low) / spread

    points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(values))
    grid = "".join(
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text class="tick" x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{text(v)}</text>'
        for v in (low, low + spread / 2, high)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img">'
        f'<text class="name" x="{left}" y="14">{escape(title)}</text>{grid}<polyline class="line" points="{points}"/>'
        f'<circle class="dot" cx="{x(len(values) - 1):.1f}" cy="{y(values[-1]):.1f}" r="4"/>'
        f'<text class="value" x="{width - right}" y="14" text-anchor="end">{text(values[-1])}</text>'
        f'<text class="tick" x="{left}" y="{height - 6}">epoch 1</text>'
        f'<text class="tick" x="{width - right}" y="{height - 6}" text-anchor="end">{len(values)}</text></svg>'
    )


def image_source(image: NDArray[np.float32]) -> str:
    """Return an image, float ``[C, H, W]`` in [0, 1] with C = 1 or 3, as the data URI of a PNG."""
    from PIL import Image

    pixels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
