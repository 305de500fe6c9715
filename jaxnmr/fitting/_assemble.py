"""From the arguments of a fit to one problem, and what is refused before and after the first evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.errors import is_concrete
from jaxnmr.fitting._constraints import Constraint
from jaxnmr.fitting._data import build_data
from jaxnmr.fitting._levenberg import NOT_FINITE, Box
from jaxnmr.fitting._linear import Linear
from jaxnmr.fitting._problem import Prior, Problem
from jaxnmr.fitting._solve import Solved
from jaxnmr.fitting._space import build_space

__all__ = ["assemble", "box_of", "check_correlation", "check_start"]

# The model's axis may differ from the measured one by this part of a point, and its Larmor frequency by this part:
# nominal fields ("9.4 T") are off by some 1e-3, a wrong one by far more.
_AXIS, _LARMOR = 0.05, 0.01


def assemble(
    model: Callable[..., Any],
    start: Any,
    measured: Any,
    constraints: Mapping[str, Constraint] | None,
    fixed: Sequence[str],
    priors: Sequence[Prior],
    linear: Linear | None,
    noise: Any,
    correlation: float,
    weights: Any,
    regions: Any,
) -> tuple[Problem, np.ndarray]:
    """The arguments, checked, as one problem, and the start in its variables."""
    if not callable(model):
        raise ValueError(f"model: got {type(model).__name__}; give a function of the parameters that returns a Spectrum.")
    if not is_concrete(start, measured, noise, weights):
        raise ValueError("fit: values are traced; call it outside jit and grad, and fit_many for many spectra.")
    check_correlation(correlation)
    for prior in priors:
        if not isinstance(prior, Prior):
            raise ValueError(f"priors: got {type(prior).__name__}; give Prior(function, mean, sigma).")
    space, y0 = build_space(start, constraints, fixed)
    data = build_data(measured, noise, weights, regions)
    linear = Linear() if linear is None else linear
    numbers = space.size + linear.count(len(data.intensity))
    # Without a given noise the residual is to tell it, priors or none.
    points = data.points if noise is not None else data.points / correlation
    if points <= numbers and (noise is None or not priors):
        effective = f" ({points:.4g} independent ones, noise_correlation {correlation:g})" if points < data.points else ""
        raise ValueError(
            f"measured: {data.points} points{effective} for {numbers} fitted numbers ({space.size} parameters and "
            f"{numbers - space.size} scales and baselines); fix some, fit more points"
            + (", or give the noise." if noise is None and (priors or effective) else ".")
        )
    return Problem(model, space, data, linear, tuple(priors), jnp.ones((), space.unit.dtype)), y0


def box_of(problem: Problem) -> Box:
    """The ends that the constraints give."""
    space = problem.space
    return Box(space.lower, space.upper, space.reach)


def check_start(problem: Problem, solved: Solved) -> None:
    """Refuse what was wrong before the first step.

    Raises:
        ValueError: another field or axis, a model or a prior that is not finite.
    """
    shift, ratio = np.asarray(solved.evaluation.shift), np.asarray(solved.evaluation.larmor)
    for where, far, ratio_here, ppm in zip(problem.data.labels, shift, ratio, problem.data.ppm, strict=True):
        if abs(ratio_here - 1) > _LARMOR:
            raise ValueError(
                f"model: its Larmor frequency is {ratio_here:.4g} times that of the measured spectrum{where}; give the "
                "experiment the field and the isotope of the measurement."
            )
        if not far < _AXIS:
            ends = f"{float(ppm[0]):g} to {float(ppm[-1]):g} ppm"
            raise ValueError(
                f"model: its axis lies up to {far:.3g} points from that of the measured spectrum{where}, from {ends} "
                f"in {len(ppm)} points; simulate on `measured.axis`."
            )
    if int(solved.code) == NOT_FINITE:
        for number, prior in enumerate(problem.priors):
            _check_prior(problem, prior, f"priors[{number}]", solved.y)
        broken = [
            block.name for block in problem.space.blocks if np.asarray(solved.broken)[block.start :][: block.size].any()
        ]
        if np.isfinite(float(solved.cost)):
            raise ValueError(
                f"model: at the start its derivative by {', '.join(broken)} is not finite, though its spectrum is."
            )
        raise ValueError("model: its spectrum is not finite at the start; give a start at which it can be simulated.")


def _check_prior(problem: Problem, prior: Prior, name: str, y: Any) -> None:
    """Refuse a prior that is not finite at the start."""
    rows = lambda y: prior.rows(problem.space.params(y))  # noqa: E731
    if not np.isfinite(np.asarray(rows(y))).all():
        value = np.asarray(prior.function(problem.space.params(y)))
        raise ValueError(f"{name}: at the start its function is {value}; start where it is finite, or change it.")
    if not np.isfinite(np.asarray(jax.jacfwd(rows)(y))).all():
        raise ValueError(
            f"{name}: at the start the derivative of its function is not finite; start elsewhere, or change it."
        )


def check_correlation(correlation: float) -> None:
    if not 1 <= correlation < float("inf"):
        raise ValueError(f"noise_correlation: got {correlation}; give the number of points, 1 for independent ones.")
