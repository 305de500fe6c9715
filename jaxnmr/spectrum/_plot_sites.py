"""A spectrum taken apart: the line of each site, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.spectrum._assemble import Experiment
from jaxnmr.spectrum._axis import Axis
from jaxnmr.spectrum._plot_style import COLOURS, COLUMN, INK, SMALL, abscissa, axes, dress
from jaxnmr.spectrum._resolution import Resolution
from jaxnmr.spectrum._simulate import resolve, simulate
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spins import Sites

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_sites", "site_spectra"]


def site_spectra(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike = 0.0,
    resolution: Resolution | None = None,
    labels: Sequence[str] | None = None,
) -> tuple[Spectrum, ...]:
    r"""The line of each site at rest, weighted by its share.

    $$S(\nu) = \sum_i S_i(\nu),\qquad \int S_i\,d\nu = w_i$$

    with S what `simulate` gives without exchange, but for the error of the sizes.

    Arguments as `simulate`.

    Args:
        sites: tensors and weights.
        experiment: `Static` or `MAS`.
        axis: where to evaluate.
        linewidth: Lorentzian FWHM, Hz, one for all sites or one each.
        gaussian: Gaussian FWHM, Hz.
        resolution: sizes; by default those that all sites together ask for.
        labels: one for each; "site 0" and so on by default.

    Returns:
        One spectrum a site; each integrates to the site's weight.

    Raises:
        ValueError: as `simulate`; another number of labels.
    """
    if labels is not None and len(labels) != len(sites):
        raise ValueError(f"labels: got {len(labels)} for {len(sites)} sites; give one for each.")
    names = [f"site {i}" for i in range(len(sites))] if labels is None else list(labels)
    # The same sizes for all: one compilation, and lines that add up to the whole.
    sizes = resolve(sites, experiment, axis, linewidth=linewidth, gaussian=gaussian, resolution=resolution)
    lines = []
    for i, name in enumerate(names):
        coupling = None if sites.quadrupole is None else sites.quadrupole[i : i + 1]
        alone = Sites(sites.isotope, sites.shift[i : i + 1], coupling)
        width = linewidth if np.ndim(linewidth) == 0 else jnp.asarray(linewidth)[i]
        line = simulate(alone, experiment, axis, linewidth=width, gaussian=gaussian, resolution=sizes)
        intensity = sites.populations[i].astype(line.intensity.dtype) * line.intensity
        lines.append(Spectrum(line.ppm, line.hz, intensity, name, isotope=line.isotope, field=line.field, rate=line.rate))
    return tuple(lines)


def plot_sites(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike = 0.0,
    resolution: Resolution | None = None,
    labels: Sequence[str] | None = None,
    unit: str = "ppm",
    ax: Axes | None = None,
) -> Axes:
    """Draw the lines of all sites at rest and their sum above them.

    Args:
        sites: as in `site_spectra`.
        experiment: likewise.
        axis: likewise.
        linewidth: likewise.
        gaussian: likewise.
        resolution: likewise.
        labels: likewise, for the legend.
        unit: of the frequencies, "ppm" or "hz".
        ax: matplotlib axes; a new figure's of one column's width by default.

    Returns:
        The axes; its first line is the sum.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: as `site_spectra`; another unit.
    """
    parts = site_spectra(
        sites, experiment, axis, linewidth=linewidth, gaussian=gaussian, resolution=resolution, labels=labels
    )
    x = abscissa(parts[0], unit)
    ax = axes(ax, 0.7 * COLUMN)
    rows = np.stack([np.asarray(part.intensity) for part in parts])
    whole = rows.sum(axis=0)
    # The parts hang below the sum, so that neither covers the other.
    below = 1.08 * max(rows.max(), 0.3 * whole.max())
    ax.plot(x, whole, color=INK, linewidth=1.0, label="sum")
    for i, (row, part) in enumerate(zip(rows, parts, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        # Past the colours, the strokes differ.
        dashes = ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
        ax.fill_between(x, -below, row - below, color=colour, alpha=0.15, linewidth=0)
        ax.plot(x, row - below, color=colour, linewidth=0.9, linestyle=dashes, label=part.label)
    dress(ax, parts, unit)
    ax.legend(fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.4)
    return ax
