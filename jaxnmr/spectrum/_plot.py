"""Drawing one spectrum, or a stack of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.spectrum._plot_style import COLUMN, INK, SMALL, TEXT, abscissa, axes, dress, numbers, ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxnmr.spectrum._spectrum import Spectrum

__all__ = ["plot_spectrum", "plot_stack"]

# More rows than this are not all labelled.
_LABELS = 12


def plot_spectrum(spectrum: Spectrum, ax: Axes | None, unit: str, line: dict) -> Axes:
    """See `Spectrum.plot`."""
    x = abscissa(spectrum, unit)
    ax = axes(ax, 0.6 * COLUMN)
    style = {"lw": 1.0, "label": spectrum.label or None} | line
    ax.plot(x, np.asarray(spectrum.intensity), **style)
    dress(ax, [spectrum], unit)
    return ax


def plot_stack(
    spectra: Sequence[Spectrum],
    values: ArrayLike | Sequence[float | int],
    *,
    name: str = "$k$ / s$^{-1}$",
    unit: str = "ppm",
    overlap: float = 1.6,
    same_scale: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw spectra above each other, each named by the rate, temperature or field that it belongs to.

    Rows are equally far apart, in the order given, the first at the bottom. A row hides what is behind it.

    Args:
        spectra: at least one; they may have different axes.
        values: one number for each, for the labels.
        name: of the values, with their unit, as "T / K".
        unit: of the frequencies, "ppm" or "hz".
        overlap: height of the tallest line, in distances between rows.
        same_scale: one scale for all, so that equal areas look equal; otherwise each row is as tall as the others.
        ax: matplotlib axes; a new figure's of one column's width by default.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: no spectra, another number of values, an overlap that is not positive, another unit.
    """
    if not spectra:
        raise ValueError("spectra: got none; give at least one.")
    labels = np.asarray(values, dtype=np.float64)
    if labels.shape != (len(spectra),):
        raise ValueError(f"values: got shape {labels.shape} for {len(spectra)} spectra; give one number for each.")
    if not overlap > 0:
        raise ValueError(f"overlap: got {overlap}; give the height of a line in distances between rows, > 0.")
    points = [abscissa(spectrum, unit) for spectrum in spectra]
    rows = [np.asarray(spectrum.intensity, dtype=np.float64) for spectrum in spectra]
    count = len(rows)
    ax = axes(ax, COLUMN * min(0.35 + 0.11 * (count + overlap), 2.2))
    heights = [max(np.abs(row).max(), np.finfo(float).tiny) for row in rows]
    scales = [overlap / (max(heights) if same_scale else height) for height in heights]
    for level, (x, row, scale, colour) in enumerate(zip(points, rows, scales, ramp(count), strict=True)):
        order = 2 + 2 * (count - level)  # lower rows stand in front
        curve = level + scale * row
        ax.fill_between(x, level, curve, color="white", alpha=0.85, linewidth=0, zorder=order)
        ax.plot(x, curve, color=colour, linewidth=0.9, zorder=order + 1)
    dress(ax, spectra, unit, left=True)
    shown = range(0, count, -(-count // _LABELS))
    ax.set_yticks(list(shown), [numbers(labels)[level] for level in shown])
    ax.set_ylabel(name, fontsize=TEXT, color=INK)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0, labelsize=SMALL)
    top = max(level + scale * row.max() for level, (scale, row) in enumerate(zip(scales, rows, strict=True)))
    bottom = min(level + scale * row.min() for level, (scale, row) in enumerate(zip(scales, rows, strict=True)))
    ax.set_ylim(min(bottom, 0.0) - 0.15, max(top, count - 1.0) + 0.1)
    return ax
