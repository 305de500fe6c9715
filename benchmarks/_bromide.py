"""79Br of KBr at three spinning rates: a distribution of couplings on a grid, with widths and shifts of the satellites' own.

The crystal is cubic, so that couplings come from strain and defects. Their distribution alone sets the intensities of the
sidebands, and these are linear in it: the spectrum of each node of a grid of couplings is simulated once, and what broadens,
shifts and weighs the nodes is fitted in their decays.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnmr as jn
from jaxnmr.fitting import FitResult, Interval, Simplex
from jaxnmr.spectrum import processing

# Hz, 5 to 640 kHz; on a grid twice as fine every other weight ended at zero, so that the data do not resolve more.
NODES = 5e3 * 2.0 ** np.arange(8)
# Asymmetries of a random tensor, at the middles of three parts of their distribution of equal weight.
ETAS = (0.35, 0.6, 0.83)
# Of the simulated nodes, Hz: what is fitted comes on top. Points are 12 Hz apart.
NARROW = 25.0
# Hz; of a fit with the rates as parameters: known to 0.01, 0.02 and 0.03.
RATES = {"2": 1999.83, "5": 5000.36, "10": 9998.21}
CENTRAL = 0.4  # of the intensity of all three lines of spin 3/2


def measured(data: Path) -> tuple[dict[str, jn.Spectrum], dict[str, float]]:
    """Every fourth point, as many as were recorded; heights of one."""
    spectra, sigma = {}, {}
    for name, rate in RATES.items():
        whole = jn.Spectrum.read(data / "spinach" / f"KBr_400MHz_{name}kHz.txt", isotope="79Br", rate=rate)
        ppm, hz, y = (np.asarray(x)[::4] for x in (whole.ppm, whole.hz, whole.intensity / whole.intensity.max()))
        spectra[name] = jn.Spectrum(ppm, hz, y, isotope="79Br", field=whole.field, rate=rate)
        sigma[name] = processing.noise(spectra[name], degree=5).sigma
    return spectra, sigma


def decays(spectra: dict[str, jn.Spectrum]) -> tuple[dict[str, Any], Any]:
    """Of each rate and node: the satellites', and of each node the central line's, at a shift of zero; (node, time)."""
    axis, field = spectra["2"].axis, float(spectra["2"].field)

    def simulated(rate: float, transition: str, sizes: jn.Resolution) -> Any:
        def one(c_q: Any) -> Any:
            coupling = jn.quadrupole_tensor(c_q, jnp.asarray(ETAS))
            sites = jn.Sites("79Br", jnp.zeros((3, 3, 3)), coupling)
            experiment = jn.MAS(field, rate, transition=transition)
            return jn.simulate(sites, experiment, axis, linewidth=NARROW, resolution=sizes).intensity

        return np.stack([np.asarray(line) for line in map(jax.jit(one), jnp.asarray(NODES))])

    # 40 samples a rotor period at 2 kHz are 80 kHz each way.
    sizes = {"2": (128, 128 * 50), "5": (48, 48 * 125), "10": (24, 24 * 250)}
    central = simulated(RATES["10"], "central", jn.Resolution(orientations=60, phases=8, samples=24 * 250))
    satellites = {}
    for name, rate in RATES.items():
        phases, samples = sizes[name]
        whole = simulated(rate, "all", jn.Resolution(orientations=400, phases=phases, samples=samples))
        satellites[name] = np.fft.rfft(whole - CENTRAL * central, axis=1)
    return satellites, np.fft.rfft(central, axis=1)


def start(weights: np.ndarray) -> dict[str, Any]:
    """Poor guesses of everything but the distribution's nodes."""
    return {
        "weights": np.asarray(weights) / np.sum(weights),
        "delta": np.full(3, 60.33),
        "offset": np.zeros(3),  # of the satellites from the central line, ppm
        "linewidth": np.full(3, 30.0),
        "gaussian": np.full(3, 40.0),
        "linewidth_st": np.full(3, 30.0),
        "gaussian_st": np.full(3, 50.0),
        "central": np.full(3, CENTRAL),
    }


LIMITS = {
    "weights": Simplex(),
    "offset": Interval(-1.0, 1.0),
    "linewidth": Interval(0.0, 500.0),
    "gaussian": Interval(0.0, 500.0),
    "linewidth_st": Interval(0.0, 500.0),
    "gaussian_st": Interval(0.0, 500.0),
    "central": Interval(0.05, 1.0),
}


def alike(p: Any) -> Any:
    """The same with satellites of the central line's shift, width and ideal share, as a first model has it."""
    same = {"linewidth_st": p["linewidth"], "gaussian_st": p["gaussian"]}
    return {**p, **same, "offset": jnp.zeros(3), "central": jnp.full(3, CENTRAL)}


def misfit(result: FitResult, sigma: dict[str, float], spectra: dict[str, jn.Spectrum]) -> dict[str, dict[str, float]]:
    """Where chi2 comes from: mean squared residual, in noise, within 250 Hz of centre and sidebands, and elsewhere."""
    out = {}
    for name, rate in RATES.items():
        hz, left = np.asarray(spectra[name].hz), np.asarray(result.residual[name])
        away = hz - 60.3e-6 * float(spectra[name].larmor_frequency)
        order = np.round(away / rate)
        near = np.abs(away - order * rate) < 250
        parts = {"centre": near & (order == 0), "sidebands": near & (order != 0), "elsewhere": ~near}
        out[name] = {part: float(np.mean((left[where] / sigma[name]) ** 2)) for part, where in parts.items()}
        # Heights are one.
        out[name]["rms_over_height"] = float(np.std(left))
    return out


def model(
    spectra: dict[str, jn.Spectrum], nodes: tuple[dict[str, Any], Any], tied: bool = False
) -> Callable[[Any], dict[str, jn.Spectrum]]:
    """Parameters -> spectra, of `decays`; `tied` as `alike`."""
    satellites, central = nodes
    first = spectra["2"]
    hz, larmor = np.asarray(first.hz), float(first.larmor_frequency)
    points = len(hz)
    step = (hz[-1] - hz[0]) / (points - 1)
    time = jnp.asarray(np.fft.rfftfreq(points, step))  # s, signed as the axis runs
    st, ct = {name: jnp.asarray(value) for name, value in satellites.items()}, jnp.asarray(central)

    def one(p: Any, i: int, name: str) -> jn.Spectrum:
        def envelope(shift: Any, lorentz: Any, gauss: Any) -> Any:
            turn = 2 * jnp.pi * shift * 1e-6 * larmor * time
            fall = jnp.pi * lorentz * jnp.abs(time) + (jnp.pi * gauss * time) ** 2 / (4 * jnp.log(2.0))
            return jnp.exp(-jax.lax.complex(fall, turn))

        weights = jax.lax.complex(p["weights"], jnp.zeros_like(p["weights"]))
        both = envelope(p["delta"][i] + p["offset"][i], p["linewidth_st"][i], p["gaussian_st"][i])
        decay = both * (weights @ st[name])
        line = envelope(p["delta"][i], p["linewidth"][i], p["gaussian"][i]) * (weights @ ct)
        share = p["central"][i]
        y = jnp.fft.irfft(decay, points) + share * jnp.fft.irfft(line, points)
        return jn.Spectrum(first.ppm, first.hz, y, isotope="79Br", field=first.field)

    def all_three(p: Any) -> dict[str, jn.Spectrum]:
        p = alike(p) if tied else p
        return {name: one(p, i, name) for i, name in enumerate(spectra)}

    return all_three
