"""What a run of molecular dynamics leaves, and what to do where it went wrong."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxnmr.dynamics._block import Series
from jaxnmr.dynamics._observe import Observable, Sums, mean_error
from jaxnmr.dynamics._system import Ending, MDState, System
from jaxnmr.errors import warn

__all__ = ["MDResult", "Observed", "advice", "result_of"]


class Observed(eqx.Module):
    """What was observed, in the shape of the observable, replicas first.

    Attributes:
        mean: over the samples.
        stderr: standard error of the mean, from blocks long enough to be independent.
        variance: of one sample.
        effective: how many independent samples would know the mean as well.
        time: correlation time, fs: half the time between independent samples.
        sure: whether blocks long enough were seen; if not, the error is too small and the run too short.
        covariance: matrix over all values in a row, (*replica, value, value); None unless asked for.
        correlation: autocovariance at lags 0, 1 ... samples, lags first; None unless asked for.
        values: every sample, samples first; None unless asked for.
        count: of samples.
    """

    mean: Any
    stderr: Any
    variance: Any
    effective: Any
    time: Any
    sure: Any
    covariance: Any
    correlation: Any
    values: Any
    count: int = eqx.field(static=True)


class MDResult(eqx.Module):
    """A run of molecular dynamics, (sample, *replica).

    Attributes:
        state: the last good one; `state.positions` and `state.velocities` start another run.
        time: of the samples, fs.
        energy: potential energy, eV.
        kinetic: kinetic energy, eV.
        temperature: from it, K.
        conserved: the energy that exact motion would conserve, eV.
        volume: Å³; None without a cell.
        dof: degrees of freedom.
        observed: what was observed; None if nothing was.
        code: an `Ending`, as a number.
        thermal: largest kT of the run, eV, to which drifts compare.
    """

    state: MDState
    time: np.ndarray
    energy: np.ndarray
    kinetic: np.ndarray
    temperature: np.ndarray
    conserved: np.ndarray
    volume: np.ndarray | None
    dof: int = eqx.field(static=True)
    observed: Observed | None
    code: int
    thermal: float

    @property
    def ending(self) -> Ending:
        """How it ended."""
        return Ending(self.code)

    @property
    def drift(self) -> Any:
        """Slope of the conserved energy for each degree of freedom, eV/fs, by least squares, (*replica,)."""
        if len(self.time) < 2:
            return np.full(self.conserved.shape[1:], np.nan)
        away = self.time - self.time.mean()
        return np.tensordot(away, self.conserved, 1) / (away**2).sum() / self.dof

    def mean(self, name: str = "temperature") -> tuple[Any, Any, Any]:
        """Mean, standard error and effective number of samples of one of the series, (*replica,) each.

        Raises:
            ValueError: a series that is not there, or too few samples.
        """
        known = ("energy", "kinetic", "temperature", "conserved", "volume")
        series = getattr(self, name) if name in known else None
        if series is None:
            raise ValueError(f"name: got {name!r}; give one of {', '.join(known)}, volume only with a cell.")
        return mean_error(np.moveaxis(series, 0, -1))


def result_of(
    system: System,
    state: MDState,
    series: Series,
    sums: Sums | None,
    watched: Observable | None,
    code: int,
    spacing: float,
    batched: bool,
    method: Any,
) -> MDResult:
    """The run so far."""
    observed = None
    if sums is not None and watched is not None:
        observed = _observed(sums, watched, state, series, spacing, batched)
    kinetic = np.asarray(series.kinetic)
    scale = float(system.dof) * float(system.boltzmann)
    return MDResult(
        state=state,
        time=spacing * (1 + np.arange(len(series.energy))),
        energy=series.energy,
        kinetic=kinetic,
        temperature=2 * kinetic / scale,
        conserved=series.conserved,
        volume=None if state.cell is None else series.volume,
        dof=int(system.dof),
        observed=observed,
        code=code,
        thermal=float(2 * kinetic.max() / float(system.dof)) if kinetic.size else 0.0,
    )


def _observed(sums: Sums, watched: Observable, state: MDState, series: Series, spacing: float, batched: bool) -> Observed:
    one = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, state) if batched else state
    leaves, treedef = jax.tree.flatten(eqx.filter_eval_shape(watched.function, one))
    ends = np.cumsum([math.prod(leaf.shape) for leaf in leaves])[:-1]

    def shaped(flat: np.ndarray) -> Any:
        parts = np.split(flat, ends, axis=-1)
        return jax.tree.unflatten(
            treedef, [p.reshape((*p.shape[:-1], *leaf.shape)) for p, leaf in zip(parts, leaves, strict=True)]
        )

    n, variance = int(sums.count), sums.variance()
    error, sure = sums.standard_error()
    effective = np.divide(variance, error**2, out=np.full_like(variance, float(n)), where=error > 0)
    effective = np.where(np.isnan(error), np.nan, np.minimum(effective, n))
    lagged = sums.correlation()
    return Observed(
        mean=shaped(sums.average()),
        stderr=shaped(error),
        variance=shaped(variance),
        effective=shaped(effective),
        time=shaped(spacing * n / effective / 2),
        sure=shaped(sure),
        covariance=sums.covariance(),
        correlation=None if lagged is None else shaped(lagged),
        values=shaped(series.kept) if watched.keep and len(series.kept) else None,
        count=n,
    )


# By how much, and by how many standard errors, the mean temperature may be off the bath's.
_COLD, _ERRORS = 0.05, 5.0


def check_temperature(result: MDResult, method: Any, dt: float) -> None:
    """Warn where a stochastic bath does not reach its temperature, over all replicas.

    Too large a step leaves the velocities cold or hot, in second order of it, long before anything explodes. Looked at
    from five times the bath's slowest relaxation on, and only where three times as much has been seen by then.
    """
    slowest = min(float(np.min(np.asarray(g))) for g in (method.friction, getattr(method, "cell_friction", method.friction)))
    late = result.time > 5 / slowest
    if not len(result.time) or result.time[-1] < 20 / slowest or late.sum() < 8:
        return
    ratio = np.moveaxis(result.temperature[late] / np.asarray(method.target, np.float64), 0, -1)
    mean, error, _ = mean_error(ratio)
    off, error = float(np.mean(mean)) - 1, float(np.sqrt(np.sum(np.square(error)))) / np.size(error)
    if abs(off) > max(_COLD, _ERRORS * error):
        side = "above" if off > 0 else "below"
        warn(
            f"md: the mean temperature is {100 * abs(off):.1f} % {side} the bath's, with a standard error of "
            f"{100 * error:.1f} %: dt, {dt:g}, is too large for the fastest motion; take about half of it, and look whether "
            "forces are continuous."
        )


_CAUSES = {
    Ending.OVERFLOW: "a neighbour list stayed too short however often it grew; look for atoms that fall together",
    Ending.DRIFT: "the energy that should be conserved drifts; take a smaller dt, or a surface with continuous forces",
    Ending.HOT: "the temperature explodes; take a smaller dt, minimise first, or raise max_temperature if it is meant",
    Ending.NOT_FINITE: "an energy is not finite or atoms meet; take a smaller dt, or minimise first",
}


def advice(result: MDResult, dt: float, replica: int | None = None) -> str:
    """A sentence on a run that was stopped, and by which replica."""
    which = "" if replica is None else f" by replica {replica}"
    at = f"after {result.time[-1]:g} fs" if len(result.time) else "before its first sample"
    warm = ""
    if len(result.time):
        last = result.temperature[-1] if replica is None else result.temperature[-1, replica]
        warm = f", {np.max(last):.4g} K there"
    return (
        f"md: stopped{which} {at}{warm}: {_CAUSES[result.ending]} (dt is {dt:g}). What was good so far is kept in the "
        "error's `result`, in trajectory and checkpoint; throw=False returns it."
    )
