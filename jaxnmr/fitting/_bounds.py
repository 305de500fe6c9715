"""Parameters that the data hardly determine: intervals and one-sided bounds from their profiles."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from jaxnmr.fitting._profile import Walk, optimum_from, value_at, walk
from jaxnmr.fitting._report import continued
from jaxnmr.fitting._result import Bound, FitResult, quantile
from jaxnmr.fitting._status import Code, FitStatus

__all__ = ["doubtful", "limits_of"]

_LEVEL = 0.95
# Standard error of a logarithm, and of a fraction of an interval, above which a parabola is no picture of chi2.
_WIDE = {"log": 0.3, "simplex": 0.5, "linear": 0.15}

# How often the search goes on from a lower point that a profile found.
_RESTARTS = 3


def limits_of(result: FitResult) -> FitResult:
    """The result with profiles of its doubtful parameters, and a status that names those without an interval.

    Where a profile comes to a lower chi2 than the search did, the search goes on from there.
    """
    for _ in range(_RESTARTS + 1):
        limits, open_ended, at_end, better = [], [], [], None
        for name in doubtful(result):
            i = result.problem.space.inner_of(name)
            low, high = (walk(result, i, sign, quantile(_LEVEL)) for sign in (-1.0, 1.0))
            better = low.better if low.better is not None else high.better
            if better is not None:
                break
            limit, closed = _bound(result, name, low, high)
            limits.append((name, limit))
            if not closed:
                y, space = result.inner[i], result.problem.space
                pinned = result._kind(name) == "linear" and bool((y <= space.lower[i]) | (y >= space.upper[i]))
                (at_end if pinned else open_ended).append(name)
        if better is None:
            break
        result = continued(result, optimum_from(result, better))
    result = dataclasses.replace(result, limits=tuple(limits))
    if open_ended or at_end:
        result = _told(result, open_ended, at_end)
    return result


def doubtful(result: FitResult) -> list[str]:
    """Names whose standard error is no good description of what is known."""
    space, names = result.problem.space, []
    z = quantile(_LEVEL)
    for name in result.names:
        try:
            i = space.inner_of(name)
        except ValueError:
            continue
        y, low, high = float(result.inner[i]), float(space.lower[i]), float(space.upper[i])
        sigma = math.sqrt(max(float(result.inner_covariance[i, i]) * result.variance, 0.0))
        kind = result._kind(name)
        bounded = kind != "linear" or math.isfinite(high - low)
        # Without ends the scale is the start's size: an error beyond it says that nothing holds the parameter.
        wide = sigma > (_WIDE[kind] if bounded else 1.0)
        if bool(result.blind[i]) or wide or y - z * sigma <= low or y + z * sigma >= high:
            names.append(name)
    return names


def _bound(result: FitResult, name: str, low: Walk, high: Walk) -> tuple[Bound, bool]:
    """Interval if the rise closes on both sides, else a one-sided bound where it does on one."""
    ends = result._ends(name)
    both, one = quantile(_LEVEL), quantile(2 * _LEVEL - 1)
    if low.closed(both) and high.closed(both):
        return Bound(value_at(result, name, low.root(both)), value_at(result, name, high.root(both)), _LEVEL), True
    # The side that rises higher sets the bound; a rise that only just clears it on the other side says nothing.
    tops = [max(root for _, root, _ in side.points) for side in (low, high)]
    if tops[0] >= one and tops[0] >= tops[1]:
        return Bound(value_at(result, name, low.root(one)), ends[1], _LEVEL), False
    if tops[1] >= one:
        return Bound(ends[0], value_at(result, name, high.root(one)), _LEVEL), False
    return Bound(*ends, _LEVEL), False


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
