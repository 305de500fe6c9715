"""What a fit returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import numpy as np

from jaxnmr.errors import near
from jaxnmr.fitting._levenberg import NOT_FINITE, STALLED
from jaxnmr.fitting._linear import Coefficients
from jaxnmr.fitting._problem import Problem
from jaxnmr.fitting._space import Block
from jaxnmr.fitting._status import Code, FitStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bound", "FitResult", "Optimum", "code_of", "quantile"]


class Bound(NamedTuple):
    """What is known of a parameter that the data do not determine: it lies between `low` and `high`.

    An end that the data do not set is the constraint's, or infinite. The values are those whose chi2 is within the level of
    a two-sided interval, so that the confidence is `level` or, where one end is the constraint's, a little more.
    """

    low: float
    high: float
    level: float = 0.95


class Optimum(NamedTuple):
    """One of the distinct minima that several starts found.

    Attributes:
        params: the parameters.
        chi2: weighted sum of squares, data and priors.
        hits: how many starts ended here.
    """

    params: Any
    chi2: float
    hits: int


class FitResult(eqx.Module):
    r"""Fitted parameters with their errors; `print` shows a table.

    Attributes:
        params: as `start`, with fitted values.
        stderr: standard errors in the structure of `params`; 0 for what was fixed, inf for what the data do not
            determine.
        covariance: (P, P), of the parameters in the order of `names`: $\tau s^2 (\mathbf J^\top\mathbf J)^{-1}$ with s² the
            given noise or that of the residual, and τ the noise's correlation in points.
        spectrum: the best fit, scale and baseline included, in the structure of `measured`.
        status: how the search ended, with advice.
        names: of the free numbers, "site.c_q", "delta[1]".
        residual: measured minus fit, in the structure of `measured`, in its units.
        chi2: weighted sum of squared residuals of the data; of variance-one residuals where the noise is known.
        reduced_chi2: chi2 over its degrees of freedom.
        noise: standard deviation of a residual of weight one: the residual's, or 1 where the noise was given and chi2 counts
            in its units.
        dof: degrees of freedom, effective points minus fitted numbers.
        points: effective number of points, those that count over `noise_correlation`.
        linear: fitted scale, phase and baseline.
        steps: evaluations of model and Jacobian.
        starts: the distinct optima of a multi-start, the best first; of a single start, one.
        limits: (name, `Bound`) of parameters whose interval was taken from the profile; see `bounds`.
    """

    params: Any
    stderr: Any
    covariance: Any
    spectrum: Any
    status: FitStatus
    names: tuple[str, ...] = eqx.field(static=True)
    residual: Any
    chi2: float
    reduced_chi2: float
    noise: float
    dof: float
    points: float
    linear: Coefficients
    steps: int
    starts: tuple[Optimum, ...]
    limits: tuple[tuple[str, Bound], ...]
    # For profile, sample and interval, which go on from here.
    problem: Problem
    optimiser: Any
    inner: Any
    inner_covariance: Any
    blind: Any
    objective: float
    variance: float
    noise_given: bool = eqx.field(static=True)

    @property
    def values(self) -> np.ndarray:
        """The free numbers, in the order of `names`."""
        return np.asarray(self.problem.space.values(self.inner))

    @property
    def errors(self) -> np.ndarray:
        """Standard errors in the order of `names`; inf where not determined."""
        return np.sqrt(np.diag(np.asarray(self.covariance)))

    @property
    def correlation(self) -> np.ndarray:
        """(P, P), the covariance over the errors; 0 beside what is not determined."""
        covariance = np.asarray(self.covariance)
        sigma = np.sqrt(np.diag(covariance))
        safe = np.where(np.isfinite(sigma) & (sigma > 0), sigma, np.inf)
        out = np.where(np.isfinite(covariance), covariance, 0.0) / np.outer(safe, safe)
        np.fill_diagonal(out, 1.0)
        return out

    @property
    def bounds(self) -> Mapping[str, Bound]:
        """By name, what is known of parameters without an interval inside their constraint: bounds of the profile."""
        at_ends = {name: bound for name, bound in self.limits if not self._two_sided(name, bound)}
        return MappingProxyType(at_ends)

    @property
    def parameters(self) -> int:
        """All fitted numbers: parameters, and linear coefficients."""
        return len(self.names) + self.problem.linear.count(len(self.problem.data.intensity))

    @property
    def log_likelihood(self) -> float:
        """Logarithm of the likelihood of the data, up to a constant that depends on the data alone."""
        if self.noise_given:
            return -0.5 * self.chi2 * self.points / self.problem.data.points
        return -0.5 * self.points * math.log(max(self.chi2, 1e-300) / self.problem.data.points)

    @property
    def aic(self) -> float:
        """Akaike's criterion; compare fits of the same data only."""
        return 2 * self._counted - 2 * self.log_likelihood

    @property
    def aicc(self) -> float:
        """Akaike's criterion corrected for few points."""
        k = self._counted
        return self.aic + (2 * k * (k + 1) / (self.points - k - 1) if self.points > k + 1 else math.inf)

    @property
    def bic(self) -> float:
        """Bayes' criterion (Schwarz); compare fits of the same data only."""
        return self._counted * math.log(max(self.points, 1.0)) - 2 * self.log_likelihood

    @property
    def _counted(self) -> int:
        # An estimated noise is one more number.
        return self.parameters + (not self.noise_given)

    def quantile(self, level: float) -> float:
        """How many standard errors an interval reaches either way: Student's where the noise comes from the residual."""
        return quantile(level, math.inf if self.noise_given else self.dof)

    def _two_sided(self, name: str, bound: Bound) -> bool:
        low, high = self._ends(name)
        return bound.low > low and bound.high < high

    def _ends(self, name: str) -> tuple[float, float]:
        """What the constraint allows, as values of the parameter."""
        return self._block(name).ends

    def _kind(self, name: str) -> str:
        return self._block(name).kind

    def _block(self, name: str) -> Block:
        at = self.names.index(name)
        for block in self.problem.space.blocks:
            if at < len(block.free):
                return block
            at -= len(block.free)
        raise AssertionError

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval of one parameter.

        From the covariance, in the variable in which the search moved (so that of a rate is symmetric in its logarithm), or
        from the profile where `fit` had to take it, at the level 0.95.

        Args:
            name: as in `names`.
            level: confidence.

        Raises:
            ValueError: unknown name, a level outside 0..1.
        """
        if name not in self.names:
            raise ValueError(f"name: no parameter {name!r}{near(name, self.names)}; there are {', '.join(self.names)}.")
        if not 0 < level < 1:
            raise ValueError(f"level: got {level}; give a confidence between 0 and 1, such as 0.95.")
        known = dict(self.limits)
        if name in known and abs(level - known[name].level) < 1e-12:
            return known[name].low, known[name].high
        z, at = self.quantile(level), self.names.index(name)
        space = self.problem.space
        try:
            i = space.inner_of(name)
        except ValueError:  # an element that is tied to others
            return float(self.values[at] - z * self.errors[at]), float(self.values[at] + z * self.errors[at])
        sigma = math.sqrt(max(float(self.inner_covariance[i, i]) * self.variance, 0.0))
        if bool(self.blind[i]) or not math.isfinite(sigma):
            return self._ends(name)
        ends = [np.clip(float(self.inner[i]) + s * z * sigma, float(space.lower[i]), float(space.upper[i])) for s in (-1, 1)]
        # Of a simplex of two, the second falls as their one variable rises.
        low, high = sorted(float(np.asarray(space.values(self.inner.at[i].set(end)))[at]) for end in ends)
        return low, high

    def table(self) -> str:
        """Name, value, error and 95 % interval of each parameter, as text."""
        bounds = self.bounds
        rows = [("parameter", "value", "error", "95 % interval")]
        for name, value, error in zip(self.names, self.values, self.errors, strict=True):
            low, high = self.interval(name)
            # A number at the end of its constraint has an error all the same.
            known = "one side only" if math.isfinite(error) else "not determined"
            note = f"  {known}" if name in bounds else ""
            rows.append((name, *_rounded(float(value), float(error)), f"{low:.5g} ... {high:.5g}{note}"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{r[0]:<{widths[0]}}  {r[1]:>{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]}" for r in rows]
        return "\n".join(lines)

    def plot(self, figure: Figure | None = None, unit: str = "ppm") -> Figure:
        r"""Draw each measured spectrum with its fit, and below it the residual over the noise.

        Frequencies descend, as NMR draws them; points left out by regions or weights are dotted, and have no residual. The
        band is two standard deviations wide either way.

        Args:
            figure: a matplotlib Figure (sized here, if it is empty) or SubFigure; by default a new one, a journal's column
                wide for one spectrum.
            unit: "ppm" or "hz".

        Returns:
            The figure.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: another unit.
        """
        from jaxnmr.fitting._plot import plot_fit

        return plot_fit(self, figure, unit)

    def plot_correlation(self, ax: Axes | None = None) -> Axes:
        """Draw the correlation of all parameters.

        Args:
            ax: matplotlib axes; a new figure's by default.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is missing.
        """
        from jaxnmr.fitting._plot import plot_correlation

        return plot_correlation(self, ax)

    def __repr__(self) -> str:
        """The table with how the fit ended."""
        return (
            f"{self.table()}\n"
            f"chi2 {self.chi2:.6g}, reduced {self.reduced_chi2:.4g}, degrees of freedom {self.dof:.0f}, "
            f"noise {self.noise:.3g}, steps {self.steps}\n{self.status}"
        )


def quantile(level: float, dof: float = math.inf) -> float:
    """Z with `level` of Student's distribution within ± z; of the normal one for infinite degrees of freedom."""
    from scipy.special import ndtri, stdtrit  # scipy comes with jax

    part = 0.5 + 0.5 * level
    return float(stdtrit(max(dof, 1.0), part) if math.isfinite(dof) else ndtri(part))


def _rounded(value: float, error: float) -> tuple[str, str]:
    """Value and error to two digits of the error, as in a paper."""
    if not (math.isfinite(error) and error > 0):
        return f"{value:.6g}", "fixed" if error == 0 else "inf"
    size = math.floor(math.log10(error)) - 1
    if abs(value) >= 1e7 or (abs(value) < 1e-4 and value != 0) or size > 3:
        power = math.floor(math.log10(abs(value) or error))
        digits = max(power - size, 0)
        return f"{value / 10**power:.{digits}f}e{power}", f"{error / 10**power:.{digits}f}e{power}"
    return f"{value:.{max(-size, 0)}f}", f"{error:.{max(-size, 0)}f}"


def code_of(ended: int, done: bool) -> Code:
    """The status' code of a search, before parameters are looked at."""
    if ended == NOT_FINITE:
        return Code.NOT_FINITE
    if not done:
        return Code.MAX_STEPS
    return Code.STALLED if ended == STALLED else Code.CONVERGED
