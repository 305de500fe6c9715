"""`fit`: the front of the room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxnmr.errors import warn
from jaxnmr.fitting._assemble import assemble, box_of, check_start
from jaxnmr.fitting._bounds import limits_of
from jaxnmr.fitting._constraints import Constraint
from jaxnmr.fitting._levenberg import Box, LevenbergMarquardt
from jaxnmr.fitting._linear import Linear
from jaxnmr.fitting._multistart import MultiStart, best_of
from jaxnmr.fitting._problem import Prior, Problem
from jaxnmr.fitting._report import result_of
from jaxnmr.fitting._result import FitResult, Optimum
from jaxnmr.fitting._solve import Solved, solve
from jaxnmr.fitting._status import Code, FitError, FitWarning

__all__ = ["fit"]

# How often noise and priors are weighed anew against each other, where the noise comes from the residual.
_REWEIGHTINGS = 3


def fit(
    model: Callable[..., Any],
    start: Any,
    measured: Any,
    *,
    constraints: Mapping[str, Constraint] | None = None,
    fixed: Sequence[str] = (),
    priors: Sequence[Prior] = (),
    linear: Linear | None = None,
    noise: Any = None,
    noise_correlation: float = 1.0,
    weights: Any = None,
    regions: Any = None,
    optimiser: Any = None,
    starts: MultiStart | None = None,
    bounds: bool = True,
    throw: bool = True,
) -> FitResult:
    r"""Fit the parameters of a model to one measured spectrum, or to several at once.

    Minimises $\chi^2 = \sum_i w_i\,(y_i - \mathbf B(\theta)\mathbf c)_i^2/\sigma_i^2$ plus the priors' terms, over θ by
    exact derivatives and over the linear coefficients c in closed form. Errors are those of the linearised model at
    the optimum; where that says little, the profile gives an interval or a one-sided bound.

    `model` is any function of the parameters that JAX can trace and that returns a `Spectrum` on the measured axis
    (`jn.simulate(..., measured.axis, ...)`), or a list, tuple or dict of them. It compiles once for a function, structure
    and shapes: define it outside loops. Where tensors are traced, give `jn.simulate` a `resolution`.

    Args:
        model: parameters -> spectra.
        start: the parameters to start from: numbers and arrays in dicts, lists, equinox Modules, or one number.
        measured: the spectra, in the structure that `model` returns.
        constraints: by name ("k", "site.c_q", "populations"), what each may be; a name covers all below it.
        fixed: names kept at their start; single elements as "delta[1]".
        priors: Gaussians on functions of the parameters.
        linear: scale, offset, baseline and phase fitted linearly; by default one scale for each spectrum.
        noise: standard deviation of each point, one number or an array, or one of these per spectrum; None takes it
            from the residual, the same for all spectra.
        noise_correlation: over how many points noise is correlated (the sum of its autocorrelation over all lags): 1 for
            independent points and for spectra zero-filled to twice their length, 2 with zeros to four times, more with
            apodisation; `jn.processing.noise` estimates it. It divides the number of points.
        weights: factors for single points, >= 0, in the structure of `measured`.
        regions: what to fit: (from, to) or several, in ppm, for all spectra, or such a list per spectrum.
        optimiser: `LevenbergMarquardt()` by default; `Gradient(...)` where Jacobians are too large.
        starts: `MultiStart(...)` tries many starts; by default only `start`.
        bounds: take the profile of parameters that are badly determined. Costs some ten more searches for each.
        throw: raise where the search does not end at an optimum; False returns it with its status.

    Returns:
        The result; it prints as a table.

    Raises:
        ValueError: arguments that do not fit each other, by name; a model that is not finite at the start.
        FitError: the search did not end at an optimum.

    Warns:
        FitWarning: parameters at an end of their constraint or not determined; a negative scale.
    """
    optimiser = LevenbergMarquardt() if optimiser is None else optimiser
    problem, y0 = assemble(
        model, start, measured, constraints, fixed, priors, linear, noise, noise_correlation, weights, regions
    )
    given = noise is not None
    box = box_of(problem)
    problem = eqx.tree_at(lambda p: p.prior_weight, problem, _first_weight(problem, given, noise_correlation))
    y = jnp.asarray(y0, box.lower.dtype)
    found: tuple[Optimum, ...] = ()
    if starts is not None:
        solved, found = best_of(starts, problem, optimiser, y, box)
    else:
        solved = solve(problem, optimiser, y, box)
    check_start(problem, solved)
    if priors and not given:
        problem, solved = _reweighed(problem, optimiser, solved, box, noise_correlation)
    result = result_of(problem, optimiser, solved, measured, given, noise_correlation, found)
    if throw and not result.status.ok:
        raise FitError(result.status)
    if bounds and result.status.ok:
        result = limits_of(result)
    _warn(result)
    return result


def _first_weight(problem: Problem, given: bool, correlation: float) -> Any:
    """Noise in units of the residuals: from second differences, where line shapes are smooth and noise is not."""
    if given or not problem.priors:
        return jnp.asarray(correlation**0.5, problem.prior_weight.dtype)
    # Second differences within what is fitted: points left out are zero, and tell nothing of the noise.
    rows = [
        np.diff(y * w, 2)[(w[:-2] > 0) & (w[1:-1] > 0) & (w[2:] > 0)]
        for y, w in zip(map(np.asarray, problem.data.intensity), map(np.asarray, problem.data.weight), strict=True)
    ]
    if not sum(map(len, rows)):
        return jnp.ones((), problem.prior_weight.dtype)
    sigma = np.median(np.abs(np.concatenate(rows))) / (0.6745 * 6**0.5)
    return jnp.asarray(sigma * correlation**0.5 or 1.0, problem.prior_weight.dtype)


def _reweighed(problem: Problem, optimiser: Any, solved: Solved, box: Box, correlation: float) -> tuple[Problem, Solved]:
    """Repeat with the noise of the residual until priors and data weigh as they should."""
    numbers = problem.space.size + problem.linear.count(len(problem.data.intensity))
    for _ in range(_REWEIGHTINGS):
        old = float(problem.prior_weight)
        chi2 = 2 * float(solved.cost) - float(solved.evaluation.prior) * old**2
        points = problem.data.points
        new = (correlation * chi2 / max(points - correlation * numbers, 1.0)) ** 0.5
        problem = eqx.tree_at(lambda p: p.prior_weight, problem, jnp.asarray(new, problem.prior_weight.dtype))
        solved = solve(problem, optimiser, solved.y, box)
        if abs(new / old - 1) < 1e-3:
            break
    return problem, solved


def _warn(result: FitResult) -> None:
    if result.bounds:
        said = "; ".join(f"{name} between {b.low:.4g} and {b.high:.4g}" for name, b in result.bounds.items())
        open_ended = result.status.code is Code.NOT_DETERMINED
        what = "not determined by the data" if open_ended else "known from one side only"
        warn(f"fit: {what}, 95 % bounds: {said}.", FitWarning)
    elif result.status.code is Code.AT_BOUND:
        warn(f"fit: {result.status}", FitWarning)
    scale = np.asarray(result.linear.scale)
    if result.problem.linear.scale and (scale < 0).any():
        warn(
            f"fit: the scale of {int((scale < 0).sum())} of {len(scale)} spectra is negative; the line may be upside down "
            "(phase the data), or lie elsewhere.",
            FitWarning,
        )
