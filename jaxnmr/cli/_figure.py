"""The demonstration's figure and tables. matplotlib is imported when a figure is drawn."""

import math
from pathlib import Path

import numpy as np

from jaxnmr.cli._demo import ISOTOPE, SPINNING, Series

INK, GREY, MARK = "#1b2a41", "#6b7280", "#c2410c"


def draw(panels: list[Series], path: Path) -> None:
    """Stacks the spectra of each field against log10 k, one panel a field, and saves them.

    Every panel has one intensity scale for all its spectra; the areas are equal.

    Args:
        panels: one series a field.
        path: where to write; the suffix chooses the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A figure without pyplot opens no window and leaves the user's backend alone.
    figure = Figure(figsize=(4.4 * len(panels), 6.4))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", wspace=0.06)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _panel(axis, panel)
    axes[0].set_ylabel("hopping rate $k$ / s$^{-1}$", color=INK)
    figure.savefig(path, dpi=200)


def _panel(axis, panel: Series) -> None:
    from matplotlib import colormaps
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import MultipleLocator

    heights = np.log10(panel.rates)
    step = heights[1] - heights[0]
    # The tallest spectrum spans a little over one decade, so that the slow and the fast limit both read well.
    scale = max(1.3, 2.2 * step) / panel.intensity.max()
    colours = colormaps["viridis"](np.linspace(0.05, 0.8, len(heights)))
    for index, (height, trace, colour) in enumerate(zip(heights, panel.intensity, colours, strict=True)):
        order = 10 + 2 * (len(heights) - index)  # lower traces stand in front of higher ones
        curve = height + scale * trace
        axis.fill_between(panel.ppm, height, curve, color="white", alpha=0.85, linewidth=0, zorder=order)
        axis.plot(panel.ppm, curve, color=colour, linewidth=1.1, zorder=order + 1)

    marks = (
        (panel.coalescence, r"$k = \pi\,\Delta\nu/\sqrt{2}$", "coalescence"),
        (panel.second_transition, r"$k = \omega_0$", "coupling averaged"),
    )
    for rate, formula, name in marks:
        height = math.log10(rate)
        axis.axhline(height, color=MARK, linewidth=0.9, linestyle=(0, (5, 3)), zorder=200)
        for text, x, side, shift in ((formula, 0.0, "left", 3), (name, 1.0, "right", -3)):
            axis.annotate(
                text,
                (x, height),
                xycoords=("axes fraction", "data"),
                xytext=(shift, 2),
                textcoords="offset points",
                ha=side,
                va="bottom",
                fontsize=7.5,
                color=MARK,
                zorder=201,
                # A rim about the letters, where a box would cut the traces.
                path_effects=[withStroke(linewidth=2.0, foreground="white")],
            )

    axis.set_xlim(panel.ppm.max(), panel.ppm.min())  # ppm descends to the right
    axis.xaxis.set_major_locator(MultipleLocator(100.0))
    axis.xaxis.set_minor_locator(MultipleLocator(20.0))
    axis.set_ylim(heights[0] - 0.3, heights[-1] + max(1.3, 2.2 * step) + 0.2)
    decades = np.arange(math.ceil(heights[0]), math.floor(heights[-1]) + 1, 2)
    axis.set_yticks(decades, [f"$10^{{{decade}}}$" for decade in decades])
    axis.set_xlabel(f"{_superscript(ISOTOPE)} shift / ppm", color=INK)
    axis.set_title(
        f"{panel.field:g} T ({panel.larmor_frequency / 1e6:.1f} MHz), {SPINNING / 1e3:g} kHz MAS",
        fontsize=10,
        color=INK,
    )
    axis.tick_params(which="both", colors=GREY, labelcolor=INK, direction="out")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(GREY)


def _superscript(isotope: str) -> str:
    mass = isotope.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return f"$^{{{mass}}}${isotope[len(mass) :]}"


def write_table(panel: Series, folder: Path) -> Path:
    """Writes one field's spectra as CSV: ppm, Hz, then one column a rate.

    Args:
        panel: the spectra.
        folder: an existing folder.

    Returns:
        The file.
    """
    path = folder / f"jaxnmr-demo-{panel.field:g}T.csv"
    header = "ppm,hz," + ",".join(f"k={rate:.6g}" for rate in panel.rates)
    columns = np.column_stack([panel.ppm, panel.hz, panel.intensity.T])
    np.savetxt(path, columns, delimiter=",", header=header, comments="", fmt="%.7g")
    return path
