"""Figures of fits: measured and fitted lines with their residuals, correlations, profiles, samples."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxnmr.errors import missing_extra, near
from jaxnmr.fitting._data import is_spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jaxnmr.fitting._profile import Profile
    from jaxnmr.fitting._result import FitResult
    from jaxnmr.fitting._sample import Samples

__all__ = ["plot_correlation", "plot_fit", "plot_profile", "plot_samples"]

COLUMN = 85 / 25.4  # inches: one column of a journal
TEXT, SMALL = 8.0, 7.0  # points
INK, GREY, FIT, BAND = "#1b1b1b", "#8a8a8a", "#D55E00", "#0072B2"
# Of the panels of one spectrum; panels side by side.
_HEIGHTS, _ABREAST = (3.2, 1.0), 3
# Residuals beyond this many deviations are cut off in the figure: one bad point must not flatten the rest.
_MOST = 12.0
# Names beyond this many are not readable in one figure.
_CORNERS = 8


def plot_fit(result: FitResult, figure: Figure | None, unit: str) -> Figure:
    """See `FitResult.plot`."""
    if unit not in ("ppm", "hz"):
        raise ValueError(f"unit: got {unit!r}; use 'ppm' or 'hz'.")
    fits = jax.tree.leaves(result.spectrum, is_leaf=is_spectrum)
    residuals, data = jax.tree.leaves(result.residual), result.problem.data
    count = len(fits)
    columns = min(count, _ABREAST)
    rows = -(-count // columns)
    figure = _figure(figure, (COLUMN if count == 1 else 0.72 * COLUMN * columns, 0.78 * COLUMN * rows))
    outer = figure.add_gridspec(rows, columns)
    for i, (fit, residual, weight, where) in enumerate(zip(fits, residuals, data.weight, data.labels, strict=True)):
        cell = outer[i // columns, i % columns].subgridspec(2, 1, height_ratios=_HEIGHTS, hspace=0.05)
        upper, lower = figure.add_subplot(cell[0]), figure.add_subplot(cell[1])
        x = np.asarray(fit.ppm) if unit == "ppm" else np.asarray(fit.hz) / 1e3
        line, left, w = (np.asarray(y, np.float64) for y in (fit.intensity, residual, weight))
        used = w > 0
        upper.plot(x, line + left, color=INK, lw=0.7, label="measured")
        upper.plot(x, np.where(used, line, np.nan), color=FIT, lw=1.0, label="fit")
        if not used.all():
            upper.plot(x, np.where(used, np.nan, line), color=FIT, lw=0.7, ls=(0, (1, 1.5)))
        scaled = np.where(used, left * w / result.noise, np.nan)
        lower.axhspan(-2, 2, color=BAND, alpha=0.12, lw=0)
        lower.plot(x, scaled, color=BAND, lw=0.6)
        top = min(max(float(np.nanmax(np.abs(scaled))) * 1.1, 3.0), _MOST)
        lower.set_ylim(-top, top)
        for ax in (upper, lower):
            ax.set_xlim(x.max(), x.min())
            _bare(ax)
        # The axes share their ends; the upper one needs no numbers.
        upper.tick_params(labelbottom=False)
        upper.set_yticks([])
        upper.spines["left"].set_visible(False)
        if name := fit.label or re.sub(r"[\[\]'\"]", "", where):
            upper.set_title(name, fontsize=TEXT, color=INK, loc="left")
        if i == 0:
            upper.legend(frameon=False, fontsize=SMALL, loc="upper right", handlelength=1.2)
        if i % columns == 0:
            lower.set_ylabel("residual / $\\sigma$", fontsize=SMALL, color=INK)
        if i >= count - columns:
            what = "chemical shift / ppm" if unit == "ppm" else "frequency / kHz"
            lower.set_xlabel(f"{_nucleus(fit.isotope)}{what}", fontsize=TEXT, color=INK)
    return figure


def plot_correlation(result: FitResult, ax: Axes | None) -> Axes:
    """See `FitResult.plot_correlation`."""
    names, size = result.names, len(result.names)
    ax = _axes(ax, (max(COLUMN, 0.28 * size + 1.0), max(COLUMN * 0.85, 0.26 * size + 0.8)))
    values = result.correlation
    image = ax.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    if size <= 12:
        for i, j in np.ndindex(size, size):
            if i != j:
                colour = "white" if abs(values[i, j]) > 0.6 else INK
                text = f"{values[i, j]:.2f}".replace("0.", ".").replace("-.00", ".00")
                ax.text(j, i, text, ha="center", va="center", fontsize=5.5, color=colour)
    ax.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=SMALL)
    ax.set_yticks(range(size), names, fontsize=SMALL)
    ax.tick_params(length=0)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.03, ticks=[-1, 0, 1])
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label("correlation", fontsize=SMALL, color=INK)
    return ax


def plot_profile(profile: Profile, ax: Axes | None) -> Axes:
    """See `Profile.plot`."""
    ax = _axes(ax, (COLUMN, 0.62 * COLUMN))
    values, rise = np.asarray(profile.values), np.asarray(profile.rise)
    threshold = profile.threshold
    # Points of the walk are few; the root of the rise is nearly straight between them, the rise is not.
    root = np.sqrt(np.maximum(rise, 0.0))
    best = int(np.argmin(rise))
    signed = np.where(np.arange(len(root)) < best, -root, root)
    fine = np.concatenate([np.linspace(a, b, 12) for a, b in itertools.pairwise(values)])
    ax.plot(fine, np.interp(fine, values, signed) ** 2, color=INK, lw=1.0)
    ax.plot(values, rise, ls="", marker="o", ms=2.5, color=INK)
    ax.axhline(threshold, color=GREY, lw=0.7, ls="--")
    low, high = profile.interval
    ax.axvspan(max(low, values.min()), min(high, values.max()), color=BAND, alpha=0.12, lw=0)
    if (values > 0).all() and values.max() > 30 * values.min():
        ax.set_xscale("log")
    ax.set_ylim(-0.03 * threshold, 2.2 * threshold)
    ax.annotate(f"{100 * profile.level:g} %", (0.99, threshold), xycoords=("axes fraction", "data"), xytext=(0, 2),
                textcoords="offset points", ha="right", fontsize=SMALL, color=GREY)  # fmt: skip
    ax.set_xlabel(profile.name, fontsize=TEXT, color=INK)
    ax.set_ylabel(r"$\Delta\chi^2 / \sigma^2$", fontsize=TEXT, color=INK)
    _bare(ax)
    return ax


def plot_samples(samples: Samples, names: Sequence[str] | None, figure: Figure | None, marks: Any) -> Figure:
    """See `Samples.plot`."""
    chosen = tuple(samples.names[:_CORNERS] if names is None else names)
    for name in chosen:
        if name not in samples.names:
            raise ValueError(
                f"names: no parameter {name!r}{near(name, samples.names)}; there are {', '.join(samples.names)}."
            )
    draws = samples.values.reshape(-1, len(samples.names))
    columns, titles = [], []
    for name in chosen:
        x = draws[:, samples.names.index(name)]
        wide = bool((x > 0).all() and x.max() > 30 * x.min())
        columns.append(np.log10(x) if wide else x)
        titles.append(f"lg {name}" if wide else name)
    size = len(chosen)
    figure = _figure(figure, (max(0.6 * COLUMN, 0.42 * COLUMN * size), max(0.6 * COLUMN, 0.42 * COLUMN * size)))
    grid: Any = figure.subplots(size, size, squeeze=False)
    given = {} if marks is None else dict(marks)
    for i, j in np.ndindex(size, size):
        ax = grid[i][j]
        if j > i:
            ax.set_axis_off()
            continue
        _bare(ax)
        if i == j:
            ax.hist(columns[i], bins=40, color=BAND, alpha=0.5, lw=0)
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        else:
            ax.plot(columns[j], columns[i], ls="", marker=".", ms=1.2, color=INK, alpha=0.25, rasterized=True)
            _sides(ax.set_ylim, columns[i])
        _sides(ax.set_xlim, columns[j])
        for name, draw in ((chosen[j], ax.axvline), (chosen[i], ax.axhline)):
            if name in given and not (i == j and draw == ax.axhline):
                value = float(given[name])
                draw(math.log10(value) if titles[chosen.index(name)].startswith("lg ") else value, color=FIT, lw=0.8)
        ax.locator_params(nbins=3)
        ax.tick_params(labelsize=6)
        if i == size - 1:
            ax.set_xlabel(titles[j], fontsize=SMALL, color=INK)
            ax.tick_params(axis="x", labelrotation=45)
        else:
            ax.tick_params(labelbottom=False)
        if j == 0 and i > 0:
            ax.set_ylabel(titles[i], fontsize=SMALL, color=INK)
        elif i != j:
            ax.tick_params(labelleft=False)
    return figure


def _sides(limits: Any, values: np.ndarray) -> None:
    """All but the last thousandth of the draws, with a little room."""
    low, high = np.quantile(values, [5e-4, 1 - 5e-4])
    room = 0.06 * (high - low) or 1.0
    limits(low - room, high + room)


def _figure(figure: Figure | None, size: tuple[float, float]) -> Figure:
    if figure is not None:
        # What is empty takes the size of what comes into it; parts of other figures keep theirs.
        if hasattr(figure, "set_size_inches") and not figure.axes:
            figure.set_size_inches(*size)
        return figure
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise missing_extra("matplotlib", "plot") from None
    return plt.figure(figsize=size, layout="constrained")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return ax if ax is not None else _figure(None, size).add_subplot()


def _bare(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for spine in ax.spines.values():
        spine.set_linewidth(0.7)
    ax.tick_params(which="both", labelsize=SMALL, width=0.7, length=3, labelcolor=INK)


def _nucleus(isotope: str | None) -> str:
    match = None if isotope is None else re.fullmatch(r"(\d+)(\D+)", isotope)
    return "" if match is None else f"$^{{{match[1]}}}${match[2]} "
