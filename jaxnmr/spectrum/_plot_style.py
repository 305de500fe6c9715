"""What the figures share: sizes of one journal column, fonts, colours, axes. matplotlib is imported in functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from jaxnmr.errors import missing_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxnmr.spectrum._spectrum import Spectrum

__all__ = ["COLOURS", "COLUMN", "GREY", "INK", "SMALL", "TEXT", "abscissa", "axes", "bare", "dress", "numbers", "ramp"]

COLUMN = 85 / 25.4  # inches: one column of a journal
TEXT, SMALL = 8.0, 7.0  # points
INK, GREY = "#1b1b1b", "#8a8a8a"
# Okabe and Ito: told apart by the colour-blind, and dark enough for lines (their yellow is left out).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def axes(ax: Axes | None, height: float) -> Axes:
    """The given axes, or those of a new figure of one column's width and this height in inches."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise missing_extra("matplotlib", "plot") from None
    return plt.subplots(figsize=(COLUMN, height), layout="constrained")[1]


def ramp(count: int) -> list[tuple[float, ...]]:
    """Colours of an ordered series, dark to light, without the yellow end that paper swallows."""
    from matplotlib import colormaps

    return [tuple(colour) for colour in colormaps["viridis"](np.linspace(0.0, 0.8, count))]


def abscissa(spectrum: Spectrum, unit: str) -> np.ndarray:
    """The points, in ppm or kHz."""
    if unit not in ("ppm", "hz"):
        raise ValueError(f"unit: got {unit!r}; use 'ppm' or 'hz'.")
    return np.asarray(spectrum.ppm) if unit == "ppm" else np.asarray(spectrum.hz) / 1e3


def dress(ax: Axes, spectra: Iterable[Spectrum], unit: str, *, left: bool = False) -> None:
    """Frequencies descending, the name of the axis, and no frame but the lower line (and the left one on request)."""
    spectra = list(spectra)
    ends = [abscissa(spectrum, unit)[[0, -1]] for spectrum in spectra]
    ax.set_xlim(max(map(np.max, ends)), min(map(np.min, ends)))
    nuclei = {spectrum.isotope for spectrum in spectra}
    name = nuclei.pop() if len(nuclei) == 1 else None
    what = {"ppm": "chemical shift / ppm", "hz": "frequency / kHz"}[unit]
    ax.set_xlabel(what if name is None else f"{_nucleus(name)} {what}", fontsize=TEXT, color=INK)
    bare(ax, ("top", "right") if left else ("top", "right", "left"))
    if not left:
        ax.set_yticks([])


def bare(ax: Axes, hidden: Iterable[str] = ("top", "right")) -> None:
    """Thin lines, small ticks, and sides taken away."""
    for side in hidden:
        ax.spines[side].set_visible(False)
    for spine in ax.spines.values():
        spine.set_linewidth(0.7)
    ax.tick_params(which="both", labelsize=SMALL, width=0.7, length=3, labelcolor=INK)


def numbers(values: Iterable[float]) -> list[str]:
    """Values for labels, all in one manner: 14.1 and 0.5, or, where one is large or small, powers of ten."""
    values = [float(value) for value in values]
    plain = all(value == 0 or 1e-2 <= abs(value) < 1e4 for value in values if np.isfinite(value))
    return [f"{value:g}" if plain or value == 0 or not np.isfinite(value) else _power(value) for value in values]


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if mantissa == "1" else rf"${mantissa}\times{power}$"


def _nucleus(isotope: str) -> str:
    mass, symbol = re.fullmatch(r"(\d+)(\D+)", isotope).groups()  # type: ignore[union-attr]
    return f"$^{{{mass}}}${symbol}"
