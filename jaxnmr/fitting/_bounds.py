"""Parameters that the data hardly determine: intervals and one-sided bounds from their profiles."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnmr.fitting._levenberg import Box
from jaxnmr.fitting._profile import Walk, optimum_from, others_of, pivoted, value_at, walk
from jaxnmr.fitting._report import NO_SHARE, continued
from jaxnmr.fitting._result import Bound, FitResult
from jaxnmr.fitting._solve import solve
from jaxnmr.fitting._status import Code, FitStatus

__all__ = ["doubtful", "limits_of"]

_LEVEL = 0.95
# Standard error of a logarithm, and of a fraction of an interval, above which a parabola is no picture of chi2.
_WIDE = {"log": 0.2, "simplex": 0.5, "linear": 0.15}
# In a linear model nothing moves by more than half its interval along another's profile; what does is profiled too.
_FOLLOWED = 1.15
# Points of earlier profiles that the next is tried from.
_SEEN = 4
# Rise of chi2, in noise variances, below which two optima draw one spectrum.
_SAME = 1e-3
# How often the search goes on from a lower point that a profile found.
_RESTARTS = 3


class _Better(Exception):
    """A point below the optimum, as parameters."""

    def __init__(self, params: Any):
        super().__init__()
        self.params = params


def limits_of(result: FitResult) -> FitResult:
    """The result with profiles of its doubtful parameters, and a status that names those without an interval.

    Where a profile comes to a lower chi2 than the search did, the search goes on from there. Other optima of a multi-start
    whose chi2 the data cannot tell from the best are part of what is possible: intervals reach around them too.
    """
    for _ in range(_RESTARTS):
        try:
            return _limited(result)
        except _Better as better:
            y = result.problem.space.inner(better.params)
            result = continued(result, optimum_from(result, y))
    try:
        return _limited(result)
    except _Better:
        return result


def _limited(result: FitResult) -> FitResult:
    z = result.quantile(_LEVEL)
    rivals = _rivals(result, z)
    limits: dict[str, Bound] = {}
    open_ended, at_end = [], []
    # The outermost points of the profiles so far: where one was led, another may have to go.
    seen: list[Any] = []
    queue = doubtful(result)
    queue += [name for k, name in enumerate(result.names) if name not in queue and _apart(result, name, k, rivals)]
    while queue:
        name = queue.pop(0)
        here, k = pivoted(result, name), result.names.index(name)
        if not _profiled(here, name):
            continue
        pool = others_of(here) + [here.problem.space.inner(params) for params in seen[-_SEEN:]]
        low, high, points = _ends(here, name, here.inner, 0.0, z, pool)
        for params, root, values in rivals:
            if _inside(result, name, float(values[k])) and low <= values[k] <= high:
                continue
            y = jnp.asarray(here.problem.space.inner(params), here.inner.dtype)
            more = _ends(here, name, y, root, z, pool)
            low, high, points = min(low, more[0]), max(high, more[1]), points + more[2]
        if points:
            i = here.problem.space.inner_of(name)
            ends = [choose(points, key=lambda point: point[i]) for choose in (min, max)]
            seen += [here.problem.space.params(jnp.asarray(point, here.inner.dtype)) for point in ends]
        limits[name] = Bound(low, high, _LEVEL)
        # What follows a parameter along its profile has no more of a parabola than that one.
        queue += [other for other in _followers(here, name, points) if other not in queue and other not in limits]
        where = _where(here, name, low, high)
        if where is not None:
            (at_end if where == "end" else open_ended).append(name)
    ordered = tuple((name, limits[name]) for name in result.names if name in limits)
    result = dataclasses.replace(result, limits=ordered)
    return _told(result, open_ended, at_end) if open_ended or at_end else result


def _where(result: FitResult, name: str, low: float, high: float) -> str | None:
    """How a parameter that its profile does not close is told of: "end" or "open", None for an interval."""
    floor, ceiling = result._ends(name)
    if low > floor and high < ceiling:
        return None
    i, y, kind = result.problem.space.inner_of(name), result.inner, result._kind(name)
    space = result.problem.space
    linear = kind == "linear" or (kind == "simplex" and math.isfinite(float(space.upper[i])))
    slack = NO_SHARE if kind == "simplex" else 0.0
    if linear and bool((y[i] <= space.lower[i] + slack) | (y[i] >= space.upper[i] - slack)):
        return "end"
    # Near an end of what is possible the error still says how wide the rest is; a rate's logarithm has no such end.
    return None if linear and (low > floor or high < ceiling) else "open"


def _followers(result: FitResult, name: str, points: list[np.ndarray]) -> list[str]:
    """Which others leave their own interval's middle while this one moves within its interval."""
    space, z = result.problem.space, result.quantile(_LEVEL)
    y, own = np.asarray(result.inner, np.float64), space.inner_of(name)
    sigma = np.sqrt(np.maximum(np.diag(np.asarray(result.inner_covariance, np.float64)) * result.variance, 0.0))
    moved = np.max(np.abs(np.stack([y, *points]) - y), axis=0)
    found = []
    for other in result.names:
        try:
            i = space.inner_of(other)
        except ValueError:
            continue
        if i != own and not result.blind[i] and moved[i] > _FOLLOWED * z * sigma[i]:
            found.append(other)
    return found


def doubtful(result: FitResult) -> list[str]:
    """Names whose standard error is no good description of what is known."""
    space, names = result.problem.space, []
    z = result.quantile(_LEVEL)
    for k, name in enumerate(result.names):
        kind = result._kind(name)
        try:
            i = space.inner_of(name)
        except ValueError:
            value, error = float(result.values[k]), float(result.errors[k])
            if kind == "simplex" and not (value - z * error > 0 and value + z * error < 1 and error < _WIDE["linear"]):
                names.append(name)
            continue
        y, low, high = float(result.inner[i]), float(space.lower[i]), float(space.upper[i])
        sigma = math.sqrt(max(float(result.inner_covariance[i, i]) * result.variance, 0.0))
        bounded = kind != "linear" or math.isfinite(high - low)
        # Without ends the scale is the start's size: an error beyond it says that nothing holds the parameter.
        wide = sigma > (_WIDE[kind] if bounded else 1.0)
        if bool(result.blind[i]) or wide or y - z * sigma <= low or y + z * sigma >= high:
            names.append(name)
    return names


def _profiled(result: FitResult, name: str) -> bool:
    """Whether one variable of the search is this number."""
    try:
        result.problem.space.inner_of(name)
    except ValueError:
        return False
    return True


def _inside(result: FitResult, name: str, value: float) -> bool:
    low, high = result.interval(name)
    return low <= value <= high


def _apart(result: FitResult, name: str, k: int, rivals: list[tuple[Any, float, np.ndarray]]) -> bool:
    return any(not _inside(result, name, float(values[k])) for _, _, values in rivals)


def _rivals(result: FitResult, z: float) -> list[tuple[Any, float, np.ndarray]]:
    """Other optima of the same search that the data allow: parameters, root of the rise of chi2, values."""
    space, found = result.problem.space, []
    box = Box(space.lower, space.upper, space.reach)
    for optimum in result.starts[1:]:
        y = space.inner(optimum.params)
        if not np.isfinite(y).all() or optimum.chi2 - result.objective > 4 * z * z * result.variance:
            continue
        # Searched again: noise and priors may have been weighed anew since.
        solved = solve(result.problem, result.optimiser, jnp.asarray(y, space.lower.dtype), box)
        rise = (2 * float(solved.cost) - result.objective) / result.variance
        if rise < -0.05:
            raise _Better(space.params(solved.y))
        values = np.asarray(solved.values, np.float64)
        # The same spectrum from sites that changed places is the same answer under other names.
        if rise < z * z and not (rise <= _SAME and _relabelled(result, values)):
            found.append((space.params(solved.y), math.sqrt(max(rise, 0.0)), values))
    return found


def _relabelled(result: FitResult, values: np.ndarray) -> bool:
    """Whether numbers of the optimum stand in each other's places: those of sites that were exchanged.

    Others may follow in their own way, as the share p does by 1 - p.
    """
    own = np.asarray(result.values, np.float64)
    near = np.where(np.isfinite(result.errors), 0.1 * result.errors, 0.0) + 1e-3 * np.abs(own)
    same = np.abs(values[:, None] - own[None, :]) <= near[None, :]
    moved = ~np.diag(same)
    return int((moved & (same & moved[None, :]).any(axis=1)).sum()) > 1


def _ends(
    result: FitResult, name: str, y: Any, root: float, z: float, pool: list[np.ndarray]
) -> tuple[float, float, list[np.ndarray]]:
    """Where the rise passes z² on either side of an optimum, as values; the constraint's end where it does not.

    With them come the points of the profile between.

    The level is that of two sides even where only one closes. Were it that of one side as soon as the other is open,
    the data would choose their own level, and between the two cases intervals would hold in 92.5 % only.
    """
    space = result.problem.space
    i, ends, points = space.inner_of(name), list(result._ends(name)), []
    for side, sign in enumerate((-1.0, 1.0)):
        walked: Walk = walk(result, i, sign, z, y, root, pool)
        if walked.better is not None:
            raise _Better(space.params(jnp.asarray(walked.better, y.dtype)))
        if walked.closed(z):
            ends[side] = value_at(result, name, walked.root(z))
        points += [point for _, rise, point in walked.points if rise <= z]
    return ends[0], ends[1], points


def _told(result: FitResult, open_ended: list[str], at_end: list[str]) -> FitResult:
    """Infinite errors and a status for what has no interval."""
    bounds = dict(result.limits)
    said = [f"{name} lies between {bounds[name].low:.4g} and {bounds[name].high:.4g}" for name in open_ended + at_end]
    covariance = np.array(result.covariance)
    for name in open_ended:
        k = result.names.index(name)
        covariance[k, :] = covariance[:, k] = 0.0
        covariance[k, k] = np.inf
    covariance = jnp.asarray(covariance, jnp.asarray(result.covariance).dtype)
    errors = jnp.sqrt(jnp.diag(covariance))
    code = Code.NOT_DETERMINED if open_ended else Code.AT_BOUND
    status = FitStatus.of(code, f"{'; '.join(said)} (95 %).")
    stderr = result.problem.space.fill(errors, rest=0.0)
    return dataclasses.replace(result, covariance=covariance, stderr=stderr, status=status)
