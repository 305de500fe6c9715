"""Which model: information criteria, and whether a residual is noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np

from jaxnmr.fitting._result import FitResult

__all__ = ["Comparison", "ResidualTest", "compare", "residual_test"]


# Of the largest number: data that went through single precision differ by 1e-7 of it, noise by far more.
_SAME = 1e-6


class Comparison(eqx.Module):
    """Fits of the same data by different models; `print` shows a table.

    Attributes:
        labels: of the fits.
        parameters: fitted numbers of each, linear ones included.
        chi2: weighted sums of squares.
        aic: Akaike's criterion; aicc, the same corrected for few points.
        bic: Bayes' criterion.
        weights: Akaike weights by AICc, the odds of the models; they sum to one.
        best: label of the lowest AICc.
    """

    labels: tuple[str, ...] = eqx.field(static=True)
    parameters: tuple[int, ...] = eqx.field(static=True)
    chi2: np.ndarray
    aic: np.ndarray
    aicc: np.ndarray
    bic: np.ndarray
    weights: np.ndarray

    @property
    def best(self) -> str:
        """The fit with the lowest AICc."""
        return self.labels[int(np.argmin(self.aicc))]

    def __repr__(self) -> str:
        """One row for each fit, differences from the lowest."""
        lines = [f"{'model':<16} {'k':>3} {'chi2':>12} {'dAIC':>9} {'dAICc':>9} {'dBIC':>9} {'weight':>7}"]
        for i, label in enumerate(self.labels):
            rise = (column[i] - column.min() for column in (self.aic, self.aicc, self.bic))
            aic, aicc, bic = (f"{x:9.2f}" for x in rise)
            lines.append(
                f"{label:<16} {self.parameters[i]:3d} {self.chi2[i]:12.6g} {aic} {aicc} {bic} {self.weights[i]:7.3f}"
            )
        return "\n".join(lines)


def compare(*results: FitResult, labels: Sequence[str] | None = None) -> Comparison:
    r"""Compare fits of the same data: one site or two, exchange or not.

    $\mathrm{AIC} = 2k - 2\ln L$, $\mathrm{BIC} = k\ln n - 2\ln L$, with n the effective number of points. A difference of
    10 is strong evidence; criteria say which model is better, not that it is right: see `residual_test`.

    Args:
        *results: of `fit`, the same spectra, weights and noise.
        labels: names for the table.

    Raises:
        ValueError: fewer than two fits, other data or noise, another number of labels.

    References:
        Burnham and Anderson, Model Selection and Multimodel Inference (Springer 2002); Schwarz, Ann. Stat. 6, 461 (1978).
    """
    if len(results) < 2:
        raise ValueError(f"results: got {len(results)}; give at least two fits.")
    first = results[0]
    for result in results[1:]:
        old, new = first.problem.data, result.problem.data
        same = [
            _equal(np.asarray(x, np.float64), np.asarray(y, np.float64))
            for x, y in zip(
                jax.tree.leaves((old.intensity, old.weight)), jax.tree.leaves((new.intensity, new.weight)), strict=False
            )
        ]
        if len(old.intensity) != len(new.intensity) or not all(same) or first.noise_given != result.noise_given:
            raise ValueError("results: fits of different data, weights or noise; criteria compare models on the same data.")
    names = tuple(labels) if labels is not None else tuple(f"model {i + 1}" for i in range(len(results)))
    if len(names) != len(results):
        raise ValueError(f"labels: got {len(names)} for {len(results)} fits.")
    aic, aicc, bic, chi2 = (np.array([getattr(r, name) for r in results]) for name in ("aic", "aicc", "bic", "chi2"))
    weights = np.exp(-0.5 * (aicc - aicc.min()))
    return Comparison(names, tuple(r.parameters for r in results), chi2, aic, aicc, bic, weights / weights.sum())


def _equal(x: np.ndarray, y: np.ndarray) -> bool:
    """Up to single precision, in whatever unit: an absolute tolerance would take small numbers for equal."""
    return x.shape == y.shape and bool(np.abs(x - y).max(initial=0.0) <= _SAME * np.abs(x).max(initial=0.0))


class ResidualTest(NamedTuple):
    """Whether neighbouring residuals know of each other; p-values are two-sided.

    Attributes:
        runs: number of stretches of one sign.
        runs_p: probability of so odd a number under independent noise (Wald and Wolfowitz).
        durbin_watson: sum of squared differences over the sum of squares; 2 for independent residuals, towards 0 for a
            misfit.
        autocorrelation: at lag one.
        autocorrelation_p: its probability under independent noise.
        correlation: points over which residuals are correlated, the sum of the autocorrelation over the first lags
            that are significant; what `noise_correlation` would be if the residual is noise.
    """

    runs: int
    runs_p: float
    durbin_watson: float
    autocorrelation: float
    autocorrelation_p: float
    correlation: float


def residual_test(result: FitResult) -> ResidualTest:
    """Test the residual of a fit for structure: what the model lacks, or noise that is correlated.

    Weighted residuals of the points that count, spectrum by spectrum. Zero-filled or apodised data have correlated noise and
    fail the tests though nothing is wrong; compare `correlation` with that of an empty region.

    Args:
        result: of `fit`.

    References:
        Wald and Wolfowitz, Ann. Math. Stat. 11, 147 (1940); Durbin and Watson, Biometrika 37, 409 (1950).
    """
    data = result.problem.data
    residuals = jax.tree.leaves(result.residual)
    series = []
    for residual, weight in zip(residuals, data.weight, strict=True):
        row, w = np.asarray(residual, np.float64), np.asarray(weight, np.float64)
        series.append((row * w)[w > 0])
    series = [row / max(float(np.std(row)), 1e-300) for row in series]
    runs = sum(1 + int((np.diff(np.signbit(row)) != 0).sum()) for row in series)
    mean = variance = 0.0
    for row in series:
        up = int((~np.signbit(row)).sum())
        down, n = len(row) - up, len(row)
        mean += 1 + 2 * up * down / n
        variance += 2 * up * down * (2 * up * down - n) / (n * n * max(n - 1, 1))
    total = sum(float(row @ row) for row in series)
    points = sum(len(row) for row in series)
    watson = sum(float(np.sum(np.diff(row) ** 2)) for row in series) / total
    lags = min(50, min(len(row) for row in series) - 1)
    rho = [sum(float(row[lag:] @ row[:-lag]) for row in series) / total for lag in range(1, lags + 1)]
    significant = next((i for i, r in enumerate(rho) if r < 2 / math.sqrt(points)), len(rho))
    return ResidualTest(
        runs=runs,
        runs_p=_two_sided((runs - mean) / math.sqrt(variance)) if variance > 0 else 0.0,
        durbin_watson=watson,
        autocorrelation=rho[0],
        autocorrelation_p=_two_sided(rho[0] * math.sqrt(points)),
        correlation=1 + 2 * sum(rho[:significant]),
    )


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))
