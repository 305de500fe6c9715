"""Disordered solids by mrsimulator: its own Czjzek models on a grid of (C_Q, eta), every point a spin system.

Its sigma is the standard deviation of five components of which the zz element is twice the first, half of the published
density's and of ours. Its extended model has no closed form there: random tensors, seeded, are sorted into a histogram.
eta_0 = 0 is not used: mrsimulator 1.0.0 then takes the norm of the mean tensor, and with it the disorder, to be zero.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import mrsim
from .cases import Case, Site

DATA = Path(__file__).parent / "data" / "glass.npz"

Real = NDArray[np.float64]

# Half of each moves a Czjzek spectrum by 2e-3 and an extended one, whose bins smooth it, by 8e-3: a quarter of it is left.
GRID = (41, 16)
SAMPLES = 400_000
DENSITY = 40  # orientations on an octant's edge; a distribution smooths what is left


@dataclass(frozen=True)
class Glass:
    """One disordered solid.

    Attributes:
        name: in tests and in the stored data.
        isotope: one of `cases.SPIN`.
        field: tesla.
        rate: spinning rate, Hz; 0 is static.
        sigma: Hz, of the published density; of a Czjzek distribution, else 0.
        mean: (C_Q in Hz, eta, epsilon) of an extended one.
        axis: from, to in Hz and points.
        linewidth: Lorentzian full width, Hz.
    """

    name: str
    isotope: str
    field: float
    rate: float
    sigma: float
    mean: tuple[float, float, float] | None
    axis: tuple[float, float, int]
    linewidth: float


GLASSES = (
    Glass("27Al Czjzek static", "27Al", 14.1, 0.0, 2.0e6, None, (-40e3, 15e3, 512), 400.0),
    Glass("27Al Czjzek MAS", "27Al", 14.1, 20e3, 2.0e6, None, (-45e3, 25e3, 1024), 300.0),
    Glass("23Na Czjzek static", "23Na", 9.4, 0.0, 0.8e6, None, (-30e3, 15e3, 512), 300.0),
    Glass("23Na Czjzek MAS", "23Na", 9.4, 15e3, 0.8e6, None, (-35e3, 20e3, 1024), 250.0),
    Glass("27Al extended static", "27Al", 14.1, 0.0, 0.0, (5.0e6, 0.3, 0.4), (-35e3, 15e3, 512), 400.0),
    Glass("27Al extended MAS", "27Al", 14.1, 20e3, 0.0, (5.0e6, 0.3, 0.4), (-45e3, 25e3, 1024), 300.0),
)


def distribution(glass: Glass, grid: tuple[int, int] = GRID) -> tuple[Real, Real, Real]:
    """C_Q > 0 in Hz, eta and share of the points that matter, by mrsimulator's own model."""
    from mrsimulator.models import CzjzekDistribution, ExtCzjzekDistribution

    eta = np.linspace(0, 1, grid[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if glass.mean is None:
            model = CzjzekDistribution(sigma=glass.sigma / 2e6)
            c_q = np.linspace(0, 5.2e-6 * glass.sigma, grid[0])  # MHz
            share = np.asarray(model.pdf(pos=[c_q, eta])[2])
        else:
            mean, eta_0, epsilon = glass.mean
            model = ExtCzjzekDistribution({"Cq": 1e-6 * mean, "eta": eta_0}, eps=epsilon)
            state = np.random.get_state()
            np.random.seed(20)
            couplings, asymmetries = model.rvs(SAMPLES)
            np.random.set_state(state)
            c_q = np.linspace(0, 2.4e-6 * mean, grid[0])
            share = histogram(np.abs(couplings), asymmetries, c_q, eta)
    couplings, asymmetries = np.meshgrid(1e6 * c_q, eta)
    kept = share > 1e-7 * share.sum()
    share = share[kept] / share[kept].sum()
    return couplings[kept], asymmetries[kept], share


def histogram(x: Real, y: Real, x_grid: Real, y_grid: Real) -> Real:
    """Samples shared bilinearly by the four grid points around each, so that means stay, (y, x)."""
    out = np.zeros((len(y_grid), len(x_grid)))
    place_x, place_y = x / x_grid[1], y / y_grid[1]
    left, low = (np.minimum(p.astype(int), len(g) - 2) for p, g in ((place_x, x_grid), (place_y, y_grid)))
    right, high = np.clip(place_x - left, 0, 1), place_y - low
    for i, share_x in ((0, 1 - right), (1, right)):
        for j, share_y in ((0, 1 - high), (1, high)):
            np.add.at(out, (low + j, left + i), share_x * share_y)
    return out


def case(glass: Glass, grid: tuple[int, int] = GRID) -> Case:
    """The glass as a list of sites."""
    sites = tuple(
        Site(c_q=float(c), eta_q=float(e), weight=float(w)) for c, e, w in zip(*distribution(glass, grid), strict=True)
    )
    return Case(glass.name, glass.isotope, glass.field, glass.rate, sites, "central", glass.axis, glass.linewidth)


def spectrum(glass: Glass, grid: tuple[int, int] = GRID) -> Real:
    """Per Hz, unit area over all frequencies, at the points of the glass' axis."""
    return mrsim.mrsim_spectrum(case(glass, grid), density=DENSITY)


def stored_spectrum(glass: Glass) -> Real:
    """What `data/make_glass.py` stored."""
    with np.load(DATA) as file:
        return file[glass.name].astype(np.float64)
