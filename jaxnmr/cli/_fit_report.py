"""The report of a fit: one JSON file of everything, tables, and figures."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxnmr as jn
from jaxnmr.cli._fit_data import Measured
from jaxnmr.cli._fit_folder import RESULT, savefig
from jaxnmr.cli._fit_model import Stated
from jaxnmr.fitting import FitResult, Profile, Samples, residual_test

__all__ = ["described", "parameters", "plain", "rates", "write"]


def plain(value: Any) -> Any:
    """Something that JSON has: infinite and undefined numbers are null."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    array = np.asarray(value)
    if array.ndim:
        return [plain(each) for each in array.tolist()]
    return float(array) if math.isfinite(float(array)) else None


def parameters(result: FitResult, units: Mapping[str, str], start: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each number, the fixed ones too."""
    free = {}
    bounds = result.bounds
    for name, value, error in zip(result.names, result.values, result.errors, strict=True):
        low, high = result.interval(name)
        free[name] = {
            "value": value,
            "error": error,
            "low": low,
            "high": high,
            "determined": name not in bounds or math.isfinite(error),
        }
    rows = []
    for name in start:
        values = np.asarray(result.params[name], np.float64)
        for index in np.ndindex(values.shape):
            label = f"{name}[{', '.join(map(str, index))}]" if index else name
            found = free.get(label, {"value": values[index], "error": 0.0, "low": None, "high": None, "determined": True})
            rows.append(plain({"name": label, "unit": units[name], "fixed": label not in free, **found}))
    return rows


def rates(result: FitResult, problem: Stated, spectra: tuple[Measured, ...]) -> list[dict[str, float]]:
    """What the law says at each temperature, with the standard error of its logarithm from the covariance."""
    if problem.rate is None:
        return []
    rows = []
    for spectrum in spectra:
        assert spectrum.temperature is not None
        law, temperature = problem.rate, spectrum.temperature

        def log_rate(values: Any, law: Any = law, temperature: float = temperature) -> Any:
            return jax.numpy.log10(law(result.problem.space.fill(values), temperature))

        values = jax.numpy.asarray(result.values)
        slope = np.asarray(jax.jacfwd(log_rate)(values), np.float64)
        covariance = np.asarray(result.covariance, np.float64)
        # A number that the law does not see may be known to no precision at all.
        seen = slope != 0
        variance = float(slope[seen] @ covariance[np.ix_(seen, seen)] @ slope[seen])
        log_k = float(log_rate(values))
        error = math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else math.inf
        rows.append(plain({"temperature_k": temperature, "k_per_s": 10**log_k, "lg_k_error": error}))
    return rows


def described(
    result: FitResult,
    problem: Stated,
    spectra: tuple[Measured, ...],
    profiles: Mapping[str, Profile],
    samples: Samples | None,
    noise: Any,
) -> dict[str, Any]:
    """Everything that was found, in numbers with units."""
    test = residual_test(result)
    linear = result.linear
    out: dict[str, Any] = {
        "status": {
            "code": result.status.code.value,
            "converged": result.status.ok,
            "message": result.status.message,
            "advice": result.status.advice,
        },
        "parameters": parameters(result, problem.units, problem.start),
        "rates": rates(result, problem, spectra),
        "bounds": {name: {"low": b.low, "high": b.high, "level": b.level} for name, b in result.bounds.items()},
        "correlation": {"names": list(result.names), "matrix": result.correlation},
        "chi2": result.chi2,
        "reduced_chi2": result.reduced_chi2,
        "degrees_of_freedom": result.dof,
        "effective_points": result.points,
        "noise": {"of": "residual" if noise is None else "given", "sigma": result.noise if noise is None else noise},
        "aic": result.aic,
        "bic": result.bic,
        "residual_test": {
            "runs_p": test.runs_p,
            "durbin_watson": test.durbin_watson,
            "autocorrelation": test.autocorrelation,
            "correlation_points": test.correlation,
        },
        "steps": result.steps,
        "optima": [{"chi2": each.chi2, "hits": each.hits, "parameters": each.params} for each in result.starts],
        "spectra": [
            {
                "name": each.name,
                "label": each.spectrum.label,
                "isotope": each.spectrum.isotope,
                "points": len(each.spectrum.ppm),
                "larmor_hz": float(each.spectrum.larmor_frequency),
                "field_t": float(each.experiment.field),
                "rate_hz": float(each.experiment.rate) if isinstance(each.experiment, jn.MAS) else 0.0,
                "temperature_k": each.temperature,
                "scale": linear.scale[i],
                "phase_deg": math.degrees(float(linear.phase[i])),
                "baseline": linear.baseline[i],
            }
            for i, each in enumerate(spectra)
        ],
        "profiles": {
            name: {"values": p.values, "rise": p.rise, "interval": p.interval, "level": p.level, "closed": p.closed}
            for name, p in profiles.items()
        },
    }
    if samples is not None:
        out["samples"] = {
            name: {
                "interval": samples.interval(name),
                "median": float(np.median(samples.values[:, :, i])),
                "r_hat": samples.r_hat[i],
                "effective": samples.effective[i],
            }
            for i, name in enumerate(samples.names)
        } | {"divergences": samples.divergences}
    return plain(out)


def write(
    folder: Path,
    report: Mapping[str, Any],
    result: FitResult,
    spectra: tuple[Measured, ...],
    profiles: Mapping[str, Profile],
    samples: Samples | None,
    suffix: str,
) -> None:
    """All files into a folder that exists."""
    (folder / RESULT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    columns = ("name", "value", "error", "low", "high", "unit", "fixed", "determined")
    with (folder / "parameters.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(report["parameters"])
    fits = jax.tree.leaves(result.spectrum, is_leaf=lambda x: isinstance(x, jn.Spectrum))
    residuals = jax.tree.leaves(result.residual)
    for each, fit, residual, weight in zip(spectra, fits, residuals, result.problem.data.weight, strict=True):
        parts = (each.spectrum.ppm, each.spectrum.hz, each.spectrum.intensity, fit.intensity, residual)
        rows = np.column_stack([np.asarray(part, np.float64) for part in (*parts, np.asarray(weight) > 0)])
        header = "ppm,hz,measured,fit,residual,used"
        form = ["%.10g"] * 5 + ["%d"]
        np.savetxt(folder / f"{each.name}.csv", rows, delimiter=",", header=header, comments="", fmt=form)
    savefig(result.plot, folder / f"fit.{suffix}")
    if len(result.names) > 1:
        side = max(3.0, 0.28 * len(result.names) + 1.0)
        path = folder / f"correlation.{suffix}"
        savefig(lambda figure: result.plot_correlation(figure.add_subplot()), path, (1.1 * side, side))
    for name, profile in profiles.items():
        safe = name.replace("[", "-").replace("]", "").replace(", ", "-")
        savefig(lambda figure, p=profile: p.plot(figure.add_subplot()), folder / f"profile-{safe}.{suffix}")
    if samples is not None:
        marks = dict(zip(result.names, map(float, result.values), strict=True))
        savefig(lambda figure: samples.plot(figure=figure, marks=marks), folder / f"corner.{suffix}")
