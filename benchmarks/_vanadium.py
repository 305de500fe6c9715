"""51V MAS spectra at two rates, all transitions: one site with quadrupole coupling and shift anisotropy.

The decays' first microseconds are lost: the spectra dip below zero between the sidebands, as no line does. What a decay
holds before `EARLY` is taken out of measured and simulated spectra alike; the first rotor echoes come after 26 and 30 us.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnmr as jn
from jaxnmr.fitting import FitResult, Interval, Unit
from jaxnmr.spectrum import processing

# The spectrometer's reference, from the published example.
LARMOR = 157.7815e6
EARLY = 10e-6
# Polynomials below that go out as well.
BASE = 4


def measured(data: Path, early: float = EARLY) -> tuple[dict[str, jn.Spectrum], dict[str, float], float, np.ndarray]:
    """Both spectra over the satellites' range; noise far from all lines, its correlation; what takes early times out."""
    spectra, found = {}, []
    for name in ("29", "33"):
        path = data / "spinach" / f"v12_{name}_dec15.spc"
        # Points are denser than the lines.
        whole = processing.binned(jn.Spectrum.read(path, isotope="51V", larmor_frequency=LARMOR, unit="ppm"), 4)
        spectra[name] = processing.crop(whole, ppm=(-4500, 3000))
        found.append(processing.noise(whole, (11000, 14500)))
    late = without(spectra["29"], early)
    for name, spectrum in spectra.items():
        y = late @ np.asarray(spectrum.intensity)
        spectra[name] = jn.Spectrum(spectrum.ppm, spectrum.hz, y, isotope="51V", field=spectrum.field)
    sigma = {name: each.sigma for name, each in zip(spectra, found, strict=True)}
    return spectra, sigma, max(1.0, float(np.mean([each.correlation_length for each in found]))), late


def without(spectrum: jn.Spectrum, early: float) -> np.ndarray:
    """The projector onto what neither the polynomials nor a decay before `early` can draw."""
    hz = np.asarray(spectrum.hz)
    points = len(hz)
    dwell = (points - 1) / points / abs(hz[-1] - hz[0])
    x = np.linspace(-1, 1, points)
    columns = [np.cos(n * np.arccos(x)) for n in range(BASE + 1)]
    for time in dwell * np.arange(1, int(early / dwell) + 1):
        columns += [np.cos(2 * np.pi * hz * time), np.sin(2 * np.pi * hz * time)]
    u, s, _ = np.linalg.svd(np.stack(columns, axis=1), full_matrices=False)
    u = u[:, s > 1e-8 * s[0]]
    return np.eye(points) - u @ u.T


START = {
    "delta": -669.0,
    "zeta": -564.0,
    "eta": 0.255,
    "alpha": np.radians(63.0),
    "beta": np.radians(165.0),
    "gamma": 0.1,
    "c_q": 3.72e6,
    "eta_q": 0.62,
    "linewidth": 30e3,
    "rate": np.array([34e3, 38.5e3]),  # the files do not say them
}
STARTS = (
    START,
    START | {"c_q": 3.2e6, "eta_q": 0.9, "zeta": -450.0, "eta": 0.6, "beta": np.radians(140.0)},
    START | {"c_q": 4.3e6, "eta_q": 0.3, "delta": -650.0, "zeta": -650.0},
)
LIMITS = {
    "eta": Unit(),
    "eta_q": Unit(),
    "c_q": Interval(1e6, 8e6),
    "linewidth": Interval(100.0, 1e5),
    "rate": Interval(3e4, 4.5e4),
}
# Where other starts are drawn.
RANGES = {
    "delta": (-690.0, -640.0),
    "zeta": (-750.0, -350.0),
    "alpha": (0.0, np.pi),
    "beta": (0.0, np.pi),
    "gamma": (0.0, np.pi),
    "c_q": (2e6, 5.5e6),
    "linewidth": (5e3, 4e4),
    "rate[0]": (33e3, 34.5e3),
    "rate[1]": (38e3, 39.7e3),
}


def model(
    spectra: dict[str, jn.Spectrum], late: np.ndarray, orientations: int = 120
) -> Callable[[Any], dict[str, jn.Spectrum]]:
    """Both rates in one call. A Gaussian width beside the Lorentzian one came out as none."""
    first = spectra["29"]
    axis, field = first.axis, float(first.field)
    sizes = jn.Resolution(orientations=orientations, phases=80, samples=640)
    out = jnp.asarray(late)

    def both(p: Any) -> dict[str, jn.Spectrum]:
        shift = jn.shift_tensor(p["delta"], p["zeta"], p["eta"], (p["alpha"], p["beta"], p["gamma"]))
        sites = jn.Sites("51V", shift, jn.quadrupole_tensor(p["c_q"], p["eta_q"]))

        def one(rate: Any) -> Any:
            experiment = jn.MAS(field, rate, transition="all")
            return out @ jn.simulate(sites, experiment, axis, linewidth=p["linewidth"], resolution=sizes).intensity

        lines = jax.vmap(one)(jnp.asarray(p["rate"]))
        return {
            name: jn.Spectrum(first.ppm, first.hz, y, isotope="51V", field=field)
            for name, y in zip(spectra, lines, strict=True)
        }

    return both


def misfit(result: FitResult, sigma: dict[str, float], late: np.ndarray) -> dict[str, float]:
    """Chi2 for each number that is left, and how alike the residuals of both rates are: what is common is no noise."""
    left = [np.asarray(result.residual[name]) / sigma[name] for name in sigma]
    numbers = len(result.names) + 2 + 2 * round(float(len(late) - np.trace(late)))
    return {
        "chi2_over_dof": float(sum(row @ row for row in left) / (2 * len(late) - numbers)),
        "correlation_of_the_two_residuals": float(np.corrcoef(left[0], left[1])[0, 1]),
    }
