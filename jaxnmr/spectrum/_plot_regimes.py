"""A map of regimes: which motions are slow, intermediate or fast, against the field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.exchange import ExchangeModel
from jaxnmr.spectrum._experiments import MAS, Static
from jaxnmr.spectrum._plot_style import COLOURS, COLUMN, INK, SMALL, TEXT, axes, bare
from jaxnmr.spectrum._regimes import regimes
from jaxnmr.spins import Sites

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_regimes"]

# Pale enough for the lines on them; blue to orange keeps its order for the colour-blind.
_SHADES = {"slow": "#cfe3f1", "intermediate": "#f4f1de", "fast": "#f6d5bd"}
_STYLES = {"isotropic": (COLOURS[0], "-"), "anisotropic": (COLOURS[1], "-"), "rotor": (COLOURS[2], "--"),
           "linewidth": (COLOURS[3], ":"), "Larmor": (INK, "-.")}  # fmt: skip


def plot_regimes(
    sites: Sites,
    experiment: Static | MAS,
    fields: ArrayLike | Sequence[float],
    *,
    pair: tuple[int, int] = (0, 1),
    linewidth: ArrayLike | Sequence[float],
    gaussian: float = 0.0,
    rates: tuple[float, float] = (1.0, 1e12),
    ax: Axes | None = None,
) -> Axes:
    r"""Draw where jumps between two sites are slow, intermediate and fast, against rate and field.

    Shades compare $k_{ex} = k_{01} + k_{10}$ with $2\pi\,\delta\nu$, δν the largest splitting over all orientations of the
    sample at rest: slow below a tenth of it, fast above ten times. Lines show where $k_{ex}$ meets each scale of
    `jaxnmr.regimes`: $2\pi$ times a frequency, $\pi$ times the linewidth.

    Args:
        sites: tensors, with known values.
        experiment: `Static` or `MAS`; its field is replaced by each of `fields`.
        fields: tesla, at least two.
        pair: the two sites, by their position.
        linewidth: Lorentzian FWHM, Hz, one for all sites or one each.
        gaussian: Gaussian FWHM, Hz.
        rates: ends of the axis of $k_{ex}$, $s^{-1}$.
        ax: matplotlib axes; a new figure's of one column's width by default.

    Returns:
        The axes.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: fewer than two fields, rates that are not rising and positive, a pair that is not there, and as
            `jaxnmr.regimes`.
    """
    tesla = np.sort(np.asarray(fields, dtype=np.float64).reshape(-1))
    if len(tesla) < 2:
        raise ValueError(f"fields: got {len(tesla)}; give at least two, in tesla.")
    low, high = rates
    if not 0 < low < high < np.inf:
        raise ValueError(f"rates: got ({low:g}, {high:g}); give the lowest and the highest k_ex in 1/s, > 0.")
    first, second = pair
    if first == second or not (0 <= first < len(sites) and 0 <= second < len(sites)):
        raise ValueError(f"pair: got {pair}; give two different sites of {len(sites)}, 0 to {len(sites) - 1}.")
    # The scales do not depend on the rate, so any will do.
    hops = ExchangeModel.from_rates({(first, second): 1.0}, n_sites=len(sites))
    alone = eqx.tree_at(lambda s: s.weights, sites, None, is_leaf=lambda leaf: leaf is None)
    reports = [
        regimes(alone, _at(experiment, field), exchange=hops, linewidth=linewidth, gaussian=gaussian) for field in tesla
    ]
    whole = 2 * np.pi * np.array([report.splitting[0] for report in reports])
    own = ax is None
    ax = axes(ax, 0.85 * COLUMN)
    edges = [np.full_like(whole, low), np.clip(whole / 10, low, high), np.clip(10 * whole, low, high)]
    edges.append(np.full_like(whole, high))
    for name, left, right in zip(_SHADES, edges[:-1], edges[1:], strict=True):
        ax.fill_betweenx(tesla, left, right, color=_SHADES[name], linewidth=0, zorder=0)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_ylim(tesla[0], tesla[-1])
    for name in [scale.name for scale in reports[0].scales]:
        at = [next(scale for scale in report.scales if scale.name == name) for report in reports]
        # The report's ratio is k_ex over the scale as a rate, here for its k_ex.
        meets = np.array(
            [
                report.k_ex[0] / scale.ratio[0] if scale.ratio[0] < np.inf else np.nan
                for report, scale in zip(reports, at, strict=True)
            ]
        )
        if np.isfinite(meets).any():
            colour, stroke = _STYLES[name]
            ax.plot(meets, tesla, color=colour, linestyle=stroke, linewidth=1.1, label=name)
    for name, left, right in zip(_SHADES, edges[:-1], edges[1:], strict=True):
        centre, width = np.sqrt(left[-1] * right[-1]), np.log10(right[-1] / left[-1])
        if width > 1:  # decades: room for the word
            ax.text(centre, 1.01, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=SMALL)
    ax.set_xlabel("$k_{\\mathrm{ex}}$ / s$^{-1}$", fontsize=TEXT, color=INK)
    ax.set_ylabel("field / T", fontsize=TEXT, color=INK)
    bare(ax)
    if own:  # below the axes, where it hides nothing
        figure = ax.get_figure()
        assert figure is not None
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    else:
        ax.legend(fontsize=SMALL, loc="lower right")
    return ax


def _at(experiment: Static | MAS, field: float) -> Static | MAS:
    if isinstance(experiment, MAS):
        return MAS(field, experiment.rate, experiment.angle, experiment.transition)
    return Static(field, experiment.transition)
