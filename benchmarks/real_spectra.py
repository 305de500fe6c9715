"""Fits of published measured spectra, and what their models lack.

    python benchmarks/real_spectra.py [--only vanadium bromide diamantane] [--data ../shared/data] [--out FOLDER]

51V of a vanadium compound at two spinning rates; 79Br of KBr at three; second moments of 1H lines of diamantane at three
temperatures. The first two are the data of Spinach's examples vanadium_csa_nqi and bromide_csa_nqi, the third of CCP-NC's
dipolar_averages; none is distributed here. Writes results/real_spectra.json, numbers only; pictures, which hold the measured
spectra, go to results/scratch/, which git ignores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _bromide
import _vanadium
import jax
import numpy as np
from _measure import environment

import jaxnmr as jn
from jaxnmr.fitting import FitResult, LevenbergMarquardt, Linear, MultiStart, fit, profile, residual_test
from jaxnmr.spectrum import processing

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("JAXNMR_DATA", HERE.parents[1] / "shared" / "data"))
PARTS = ("vanadium", "bromide", "diamantane")


def vanadium(data: Path, scratch: Path, screened: int = 48, polished: int = 8) -> dict[str, Any]:
    """Three starts, each with others drawn around it; the best, with profiles of its coupling."""
    spectra, sigma, correlation, late = _vanadium.measured(data)
    model = _vanadium.model(spectra, late)
    options = {"constraints": _vanadium.LIMITS, "noise": sigma, "noise_correlation": correlation, "bounds": False}
    found = []
    for number, start in enumerate(_vanadium.STARTS):
        search = MultiStart(screened, polished, seed=number, ranges=_vanadium.RANGES)
        optimiser = LevenbergMarquardt(max_steps=150)
        found.append(timed(lambda s=start, m=search, o=optimiser: fitted(model, s, spectra, options, o, m)))
    best = min((result for result, _ in found), key=lambda result: result.chi2)
    intervals = {}
    for name in ("c_q", "eta_q") if best.status.ok else ():
        curve = profile(best, name)
        intervals[name] = {"interval": [finite(end) for end in curve.interval], "closed": curve.closed}
    draw(scratch / "vanadium.png", spectra, best, [None] * 2)
    return {
        "starts": [described(result, seconds) | _vanadium.misfit(result, sigma, late) for result, seconds in found],
        "profiles_95": intervals,
        "noise_correlation": correlation,
        "residual_correlation_points": residual_test(best).correlation,
    }


def bromide(data: Path, scratch: Path) -> dict[str, Any]:
    """Three starts of the distribution; and the same with satellites as narrow as the central line."""
    spectra, sigma = _bromide.measured(data)
    nodes = _bromide.decays(spectra)
    linear = Linear(scale="each", baseline=12, phase=True)
    options = {
        "constraints": _bromide.LIMITS,
        "linear": linear,
        "noise": sigma,
        "noise_correlation": 1.3,  # of the empty regions, 1.0 to 1.3
        "bounds": False,
    }
    count = len(_bromide.NODES)
    starts = {"even": np.ones(count), "weak couplings": 2.0 ** -np.arange(count), "strong": 2.0 ** np.arange(count)}
    model, optimiser = _bromide.model(spectra, nodes), LevenbergMarquardt(max_steps=300)
    found = {
        name: timed(lambda w=weights: fitted(model, _bromide.start(w), spectra, options, optimiser))
        for name, weights in starts.items()
    }
    tied = timed(
        lambda: fitted(
            _bromide.model(spectra, nodes, tied=True),
            _bromide.start(starts["even"]),
            spectra,
            options | {"fixed": ("offset", "linewidth_st", "gaussian_st", "central")},
            optimiser,
        )
    )
    best = min((result for result, _ in found.values()), key=lambda result: result.chi2)
    draw(scratch / "bromide.png", spectra, best, [(-0.05, 0.13)] * 3)
    return {
        "couplings_hz": _bromide.NODES.tolist(),
        "starts": {name: described(*pair) for name, pair in found.items()},
        "where": _bromide.misfit(best, sigma, spectra),
        "satellites as the central line": described(*tied) | {"where": _bromide.misfit(tied[0], sigma, spectra)},
    }


# Diamantane

TEMPERATURES = ("-30", "100", "160")
CUTS = (20e3, 30e3, 40e3, 60e3)  # Hz from the reference


def diamantane_moments(data: Path, temperature: str, cut: float):
    """Moments of the line within `cut`, on a base fitted beyond 160 kHz."""
    path = data / "dipolar_averages" / "di_spectra_3.csv"
    spectrum = jn.Spectrum.read(path, isotope="1H", column=temperature)
    base = processing.mask(spectrum, hz=[(160e3, 239e3), (-239e3, -160e3)])
    return processing.moments(spectrum, processing.mask(spectrum, hz=(-cut, cut)), base=base)


def diamantane(data: Path, scratch: Path) -> dict[str, Any]:
    """Second moments with the noise's error, at several cuts: how far the wings are followed matters more."""
    rows, changes = [], []
    found = {(t, cut): diamantane_moments(data, t, cut) for t in TEMPERATURES for cut in CUTS}
    for (temperature, cut), m in found.items():
        values = {"second_khz2": float(m.second) / 1e6, "stderr_khz2": float(m.second_stderr) / 1e6}
        shape = {"centre_hz": float(m.centre), "fourth_over_second_squared": float(m.fourth / m.second**2)}
        rows.append({"celsius": float(temperature), "cut_khz": cut / 1e3} | values | shape)
    for cut in CUTS:
        for low, high in itertools.pairwise(TEMPERATURES):
            a, b = found[low, cut], found[high, cut]
            error = float(np.hypot(a.second_stderr, b.second_stderr)) / 1e6
            change = {"change_khz2": float(b.second - a.second) / 1e6, "stderr_khz2": error}
            changes.append({"from_celsius": float(low), "to_celsius": float(high), "cut_khz": cut / 1e3} | change)
    return {"moments": rows, "changes": changes}


# Common


def fitted(
    model: Any, start: Any, spectra: Any, options: dict[str, Any], optimiser: Any, starts: MultiStart | None = None
) -> FitResult:
    """One fit, printed."""
    result = fit(model, start, spectra, optimiser=optimiser, starts=starts, throw=False, **options)
    print(f"{result}\noptima: {[(round(each.chi2, 1), each.hits) for each in result.starts]}\n", flush=True)
    return result


def timed(call: Any) -> tuple[FitResult, float]:
    """A fit, and its seconds."""
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun


def described(result: FitResult, seconds: float) -> dict[str, Any]:
    """Values, standard errors and 95 % intervals by name."""
    rows = zip(result.names, result.values, result.errors, strict=True)
    return {
        "status": str(result.status),
        "chi2": result.chi2,
        "reduced_chi2": result.reduced_chi2,
        "steps": result.steps,
        "seconds": round(seconds, 1),
        "optima": [(optimum.chi2, optimum.hits) for optimum in result.starts],
        "parameters": {
            name: {"value": float(value), "error": finite(error), "interval": [finite(x) for x in result.interval(name)]}
            for name, value, error in rows
        },
    }


def finite(value: float) -> float | None:
    """As JSON has it."""
    return float(value) if np.isfinite(value) else None


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
    parser.add_argument("--out", type=Path, default=HERE / "results")
    given = parser.parse_args(arguments)
    if not given.data.is_dir():
        print(
            f"{given.data}: no such folder; the spectra are third-party data, give their place by --data.", file=sys.stderr
        )
        return 2
    jax.config.update("jax_enable_x64", True)
    scratch, path = given.out / "scratch", given.out / "real_spectra.json"
    scratch.mkdir(parents=True, exist_ok=True)
    for part in given.only:
        found = {"vanadium": vanadium, "bromide": bromide, "diamantane": diamantane}[part](given.data, scratch)
        # Parts that were not asked for keep what they have.
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        kept[part] = found | {"environment": environment()}
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"results in {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
