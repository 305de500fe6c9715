"""Fits of published measured spectra, drawn with their residuals.

    python benchmarks/real_spectra.py [--only vanadium bromide diamantane] [--data ../shared/data] [--out FOLDER]

51V of a vanadium compound at two spinning rates, all transitions, quadrupole and shift tensor, one model for both; 79Br of
KBr at three rates, one model; second moments of 1H lines of diamantane at three temperatures. The first two are the data
of Spinach's examples vanadium_csa_nqi and bromide_csa_nqi, the third of CCP-NC's dipolar_averages; none is distributed
here. Each optimum is printed as it comes, and written as a line of JSON with its start.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxnmr as jn
from jaxnmr.fitting import FitResult, Interval, LevenbergMarquardt, Linear, Positive, Simplex, Unit, fit
from jaxnmr.spectrum import processing

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("JAXNMR_DATA", HERE.parents[1] / "shared" / "data"))
PARTS = ("vanadium", "bromide", "diamantane")
# The spectrometer's reference, from the published example; of 79Br the files say it.
VANADIUM_LARMOR = 157.7815e6


def binned(spectrum: jn.Spectrum, size: int) -> jn.Spectrum:
    """Means of neighbours: the points are much denser than the lines, and their noise is correlated."""
    count = len(spectrum.ppm) // size * size
    ppm, hz, intensity = (
        np.asarray(x)[:count].reshape(-1, size).mean(1) for x in (spectrum.ppm, spectrum.hz, spectrum.intensity)
    )
    rate = spectrum.rate
    return jn.Spectrum(ppm, hz, intensity, spectrum.label, isotope=spectrum.isotope, field=spectrum.field, rate=rate)


# Vanadium


def vanadium_data(data: Path) -> tuple[dict[str, jn.Spectrum], dict[str, float]]:
    """Both spectra over the satellites' range, and their noise far from all lines."""
    spectra, sigma = {}, {}
    for name in ("29", "33"):
        path = data / "spinach" / f"v12_{name}_dec15.spc"
        whole = binned(jn.Spectrum.read(path, isotope="51V", larmor_frequency=VANADIUM_LARMOR, unit="ppm"), 4)
        spectra[name] = processing.crop(whole, ppm=(-4500, 3000))
        sigma[name] = processing.noise(whole, (11000, 14500)).sigma
    return spectra, sigma


VANADIUM_START = {
    "delta": -669.0,
    "zeta": -564.0,
    "eta": 0.255,
    "alpha": np.radians(63.0),
    "beta": np.radians(165.0),
    "c_q": 3.72e6,
    "eta_q": 0.62,
    "linewidth": 5e3,
    "gaussian": 18e3,
    "rate": np.array([34e3, 38.5e3]),
}
VANADIUM_STARTS = (
    VANADIUM_START,
    VANADIUM_START | {"c_q": 3.2e6, "eta_q": 0.9, "zeta": -450.0, "eta": 0.6, "beta": np.radians(140.0)},
    VANADIUM_START | {"c_q": 4.3e6, "eta_q": 0.3, "delta": -650.0, "zeta": -650.0, "gaussian": 12e3},
)
VANADIUM_LIMITS = {
    "eta": Unit(),
    "eta_q": Unit(),
    "c_q": Interval(1e6, 8e6),
    "linewidth": Interval(500.0, 3e4),
    "gaussian": Interval(500.0, 4e4),
    "rate": Interval(3e4, 4.5e4),
}


def vanadium_model(spectra: dict[str, jn.Spectrum]):
    """One site; the spinning rates are parameters, because the files do not say them."""
    axis, field = spectra["29"].axis, float(spectra["29"].field)
    sizes = jn.Resolution(orientations=600, phases=80, samples=640)

    def model(p):
        # With beta near pi only the sum of the other two angles shows: gamma is left at zero.
        shift = jn.shift_tensor(p["delta"], p["zeta"], p["eta"], (p["alpha"], p["beta"], 0.0))
        sites = jn.Sites("51V", shift, jn.quadrupole_tensor(p["c_q"], p["eta_q"]))
        width = {"linewidth": p["linewidth"], "gaussian": p["gaussian"], "resolution": sizes}
        rates = zip(spectra, p["rate"], strict=True)
        return {name: jn.simulate(sites, jn.MAS(field, rate, transition="all"), axis, **width) for name, rate in rates}

    return model


def vanadium(data: Path, out: Path) -> None:
    """Three starts; the residuals of the two spectra against each other."""
    spectra, sigma = vanadium_data(data)
    model = vanadium_model(spectra)
    options = {"constraints": VANADIUM_LIMITS, "linear": Linear(scale="each", baseline=10), "noise": sigma}
    best = fits("vanadium", model, VANADIUM_STARTS, spectra, options, out)
    left = [np.asarray(spectra[name].intensity - best.spectrum[name].intensity) for name in spectra]
    shared = float(np.corrcoef(left[0], left[1])[0, 1])
    report(out, {"part": "vanadium", "correlation of the two residuals": shared})
    draw(out / "vanadium.png", spectra, best, [None] * 2)


# Bromide


def bromide_data(data: Path) -> tuple[dict[str, jn.Spectrum], dict[str, float]]:
    """Every fourth point, as many as were recorded; heights of one."""
    spectra, sigma = {}, {}
    for rate in (2, 5, 10):
        path = data / "spinach" / f"KBr_400MHz_{rate}kHz.txt"
        whole = jn.Spectrum.read(path, isotope="79Br", rate=rate * 1e3)
        ppm, hz, y = (np.asarray(x)[::4] for x in (whole.ppm, whole.hz, whole.intensity / whole.intensity.max()))
        spectra[str(rate)] = jn.Spectrum(ppm, hz, y, isotope="79Br", field=whole.field, rate=whole.rate)
        sigma[str(rate)] = processing.noise(spectra[str(rate)], degree=5).sigma
    return spectra, sigma


BROMIDE_START = {
    "delta": np.array([60.30, 60.36, 60.35]),
    "c_q": np.array([90e3, 50e3, 15e3]),
    "weights": np.array([0.4, 0.32, 0.28]),
    "linewidth": np.full(3, 55.0),
    "gaussian": np.array([68.0, 50.0, 35.0]),
    "rate": np.array([2e3, 5e3, 1e4]),
    "tilt": np.full(3, 1e-3),
}
BROMIDE_STARTS = (
    BROMIDE_START,
    BROMIDE_START | {"c_q": np.array([150e3, 70e3, 30e3]), "weights": np.full(3, 1 / 3)},
)
BROMIDE_LIMITS = {
    "c_q": Positive(),
    "weights": Simplex(),
    "linewidth": Positive(),
    "gaussian": Positive(),
    "tilt": Interval(0.0, 0.02),
}


def bromide_model(spectra: dict[str, jn.Spectrum]):
    """Three strained environments; shift (by heating), width, rate and rotor angle of each run.

    Strain has no preferred asymmetry: 0.6, the mean of a random tensor, stands for all.
    """
    axis, field = spectra["2"].axis, float(spectra["2"].field)
    magic = float(jn.spectrum.MAGIC_ANGLE)
    sizes = {
        "2": jn.Resolution(orientations=1500, phases=80, samples=80 * 64),
        "5": jn.Resolution(orientations=800, phases=32, samples=32 * 154),
        "10": jn.Resolution(orientations=600, phases=16, samples=16 * 304),
    }

    def one(p, i, name):
        coupling = jn.quadrupole_tensor(p["c_q"], 0.6)
        shift = p["delta"][i] * jnp.broadcast_to(jnp.eye(3), (3, 3, 3))
        experiment = jn.MAS(field, p["rate"][i], angle=magic + p["tilt"][i], transition="all")
        return jn.simulate(
            jn.Sites("79Br", shift, coupling, p["weights"]),
            experiment,
            axis,
            linewidth=p["linewidth"][i],
            gaussian=p["gaussian"][i],
            resolution=sizes[name],
        )

    return lambda p: {name: one(p, i, name) for i, name in enumerate(spectra)}


def bromide(data: Path, out: Path) -> None:
    """Two starts; a zero-order phase and a smooth base of each spectrum are solved with the scale."""
    spectra, sigma = bromide_data(data)
    linear = Linear(scale="each", baseline=12, phase=True)
    options = {"constraints": BROMIDE_LIMITS, "linear": linear, "noise": sigma, "noise_correlation": 1.3}
    best = fits("bromide", bromide_model(spectra), BROMIDE_STARTS, spectra, options, out)
    draw(out / "bromide.png", spectra, best, [(-0.05, 0.13)] * 3)


# Diamantane

TEMPERATURES = ("-30", "100", "160")
CUTS = (20e3, 30e3, 40e3, 60e3)  # Hz from the reference


def diamantane_moments(data: Path, temperature: str, cut: float):
    """Moments of the line within `cut`, on a base fitted beyond 160 kHz."""
    path = data / "dipolar_averages" / "di_spectra_3.csv"
    spectrum = jn.Spectrum.read(path, isotope="1H", column=temperature)
    base = processing.mask(spectrum, hz=[(160e3, 239e3), (-239e3, -160e3)])
    return processing.moments(spectrum, processing.mask(spectrum, hz=(-cut, cut)), base=base)


def diamantane(data: Path, out: Path) -> None:
    """Second moments with the noise's error, at several cuts: how far the wings are followed matters more."""
    found = {(t, cut): diamantane_moments(data, t, cut) for t in TEMPERATURES for cut in CUTS}
    for (temperature, cut), m in found.items():
        values = {"second_khz2": float(m.second) / 1e6, "stderr_khz2": float(m.second_stderr) / 1e6}
        shape = {"centre_hz": float(m.centre), "fourth_over_second_squared": float(m.fourth / m.second**2)}
        report(out, {"part": "diamantane", "celsius": temperature, "cut_khz": cut / 1e3} | values | shape)
    for cut in CUTS:
        for low, high in itertools.pairwise(TEMPERATURES):
            a, b = found[low, cut], found[high, cut]
            error = float(np.hypot(a.second_stderr, b.second_stderr)) / 1e6
            change = {"change_khz2": float(b.second - a.second) / 1e6, "stderr_khz2": error}
            report(out, {"part": "diamantane", "from": low, "to": high, "cut_khz": cut / 1e3} | change)


# Common


def fits(part: str, model, starts, spectra, options: dict, out: Path) -> FitResult:
    """From each start; the best."""
    best = None
    for number, start in enumerate(starts):
        begun = time.perf_counter()
        optimiser = LevenbergMarquardt(max_steps=400)
        result = fit(model, start, spectra, optimiser=optimiser, bounds=False, throw=False, **options)
        seconds = time.perf_counter() - begun
        print(f"\n{part}, start {number}, {seconds:.0f} s\n{result}")
        values = dict(zip(result.names, np.concatenate([np.ravel(x) for x in jax.tree.leaves(result.params)]), strict=True))
        errors = dict(zip(result.names, np.sqrt(np.diag(np.asarray(result.covariance))), strict=True))
        line = {"part": part, "start": number, "seconds": round(seconds), "status": str(result.status)}
        line |= {"reduced_chi2": float(result.reduced_chi2), "steps": int(result.steps)}
        line |= {"values": {k: float(v) for k, v in values.items()}, "errors": {k: float(v) for k, v in errors.items()}}
        report(out, line)
        if best is None or float(result.chi2) < float(best.chi2):
            best = result
    assert best is not None
    return best


def report(out: Path, line: dict) -> None:
    """One line of JSON, at once."""
    text = json.dumps(line)
    with (out / "real_spectra.jsonl").open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    print(text, flush=True)


def draw(path: Path, spectra: dict[str, jn.Spectrum], result: FitResult, limits: list) -> None:
    """Measured, fitted, and below them the residual."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(spectra), 1, figsize=(14, 4.5 * len(spectra)), layout="constrained")
    for ax, (name, measured), limit in zip(axes, spectra.items(), limits, strict=True):
        ppm, y, fitted = (np.asarray(x) for x in (measured.ppm, measured.intensity, result.spectrum[name].intensity))
        low = 0.35 * (limit[1] if limit else y.max())
        ax.plot(ppm, y, "k", lw=0.7, label=f"measured, {name}")
        ax.plot(ppm, fitted, "C1", lw=1.0, label="fit")
        ax.plot(ppm, y - fitted - low, "C0", lw=0.7, label="residual, moved")
        ax.set(xlim=(ppm.max(), ppm.min()), ylim=limit and (limit[0] - low / 3, limit[1]), xlabel="shift / ppm", yticks=[])
        ax.legend(loc="upper right", frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description="Fit published measured spectra.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "scratch")
    given = parser.parse_args(arguments)
    if not given.data.is_dir():
        print(
            f"{given.data}: no such folder; the spectra are third-party data, give their place by --data.", file=sys.stderr
        )
        return 2
    jax.config.update("jax_enable_x64", True)
    given.out.mkdir(parents=True, exist_ok=True)
    for part in given.only:
        {"vanadium": vanadium, "bromide": bromide, "diamantane": diamantane}[part](given.data, given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
