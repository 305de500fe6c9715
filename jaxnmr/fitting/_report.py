"""From where a search ended to the result."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.fitting._data import is_spectrum
from jaxnmr.fitting._problem import Problem
from jaxnmr.fitting._result import FitResult, Optimum, code_of
from jaxnmr.fitting._solve import Solved
from jaxnmr.fitting._status import Code, FitStatus
from jaxnmr.spectrum import Spectrum

__all__ = ["NO_SHARE", "at_ends", "continued", "covariance_of", "result_of", "variance_of"]

# An element of a simplex below this is none.
NO_SHARE = 1e-5


def result_of(
    problem: Problem,
    optimiser: Any,
    solved: Solved,
    measured: Any,
    given: bool,
    correlation: float,
    found: tuple[Optimum, ...] = (),
) -> FitResult:
    """Everything that follows from where the search ended."""
    space, data = problem.space, problem.data
    total = 2 * float(solved.cost)
    chi2 = total - float(solved.evaluation.prior) * float(problem.prior_weight) ** 2
    dof, variance = variance_of(problem, np.asarray(chi2), given, correlation)
    points = data.points / correlation
    # Of N correlated residuals, tau (numbers) went into the fit.
    reduced = chi2 / (correlation * dof) if dof > 0 else float("inf")
    covariance = covariance_of(problem, solved, np.asarray(jax.jacfwd(space.values)(solved.y)), variance)
    covariance = jnp.asarray(covariance, space.unit.dtype)
    errors = jnp.sqrt(jnp.diag(covariance))
    fits = [f * 1.0 for f in solved.evaluation.fits]
    leaves = jax.tree.leaves(measured, is_leaf=is_spectrum)
    spectra = [_spectrum_like(leaf, fit) for leaf, fit in zip(leaves, fits, strict=True)]
    residual = [jnp.asarray(leaf.intensity, f.dtype) - f for leaf, f in zip(leaves, fits, strict=True)]
    return FitResult(
        params=space.params(solved.y),
        stderr=space.fill(errors, rest=0.0),
        covariance=covariance,
        spectrum=jax.tree.unflatten(data.treedef, spectra),
        status=_status(problem, solved),
        names=space.names,
        residual=jax.tree.unflatten(data.treedef, residual),
        chi2=chi2,
        reduced_chi2=reduced,
        noise=1.0 if given else float(np.sqrt(reduced)),
        dof=dof,
        points=points,
        linear=solved.evaluation.coefficients,
        steps=int(solved.steps),
        starts=found or (Optimum(space.params(solved.y), total, 1),),
        limits=(),
        problem=problem,
        optimiser=optimiser,
        inner=solved.y,
        inner_covariance=solved.inner_covariance,
        blind=solved.blind,
        objective=total,
        variance=float(variance),
        noise_given=given,
    )


def continued(result: FitResult, solved: Solved) -> FitResult:
    """The result of a search that went on from where `result` ended."""
    spectra = jax.tree.leaves(result.spectrum, is_leaf=is_spectrum)
    residuals = result.problem.data.treedef.flatten_up_to(result.residual)
    measured = [eqx.tree_at(lambda s: s.intensity, s, s.intensity + r) for s, r in zip(spectra, residuals, strict=True)]
    return result_of(
        result.problem,
        result.optimiser,
        solved,
        jax.tree.unflatten(result.problem.data.treedef, measured),
        result.noise_given,
        result.problem.data.points / result.points,
        result.starts,
    )


def _spectrum_like(measured: Spectrum, fit: Any) -> Spectrum:
    return Spectrum(
        measured.ppm,
        measured.hz,
        fit,
        measured.label,
        isotope=measured.isotope,
        field=measured.field,
        rate=measured.rate,
    )


def variance_of(problem: Problem, chi2: np.ndarray, given: bool, correlation: float) -> tuple[float, np.ndarray]:
    """Degrees of freedom, and of each fit the variance of a residual of weight one, times the noise's correlation.

    With noise that is given there may be none; else `assemble` has refused so few points.
    """
    numbers = problem.space.size + problem.linear.count(len(problem.data.intensity))
    dof = max(problem.data.points / correlation - numbers, 0.0)
    return dof, np.full_like(chi2, correlation) if given else np.asarray(chi2 / dof)


def covariance_of(problem: Problem, solved: Solved, turn: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(..., P, P), of the user's numbers; inf for those that depend on a variable that the data do not see.

    `turn` is (..., P, variable), their derivatives by the variables of the search, `variance` (...,).
    """
    covariance = np.array(solved.covariance, np.float64) * variance[..., None, None]
    unseen = lost(problem, turn, np.asarray(solved.blind))
    covariance = np.where(unseen[..., :, None] | unseen[..., None, :], 0.0, covariance)
    at = np.arange(unseen.shape[-1])
    covariance[..., at, at] = np.where(unseen, np.inf, covariance[..., at, at])
    return covariance


def lost(problem: Problem, turn: np.ndarray, blind: np.ndarray) -> np.ndarray:
    """(..., number): whether it depends on a blind variable; `turn` is (..., number, variable), `blind` (..., variable).

    An element of a simplex that has gone is blind in its own variable, and moves the others by no more than it has.
    """
    shares = np.array([block.kind == "simplex" for block in problem.space.blocks for _ in block.free], bool)
    least = np.where(shares, 10 * NO_SHARE, 0.0)
    return np.any((np.abs(turn) > least[:, None]) & blind[..., None, :], axis=-1)


def _status(problem: Problem, solved: Solved) -> FitStatus:
    code = code_of(int(solved.code), bool(solved.done))
    if code is Code.MAX_STEPS:
        return FitStatus.of(code, f"no optimum after {int(solved.steps)} steps.")
    if code is Code.STALLED:
        return FitStatus.of(code, f"after {int(solved.steps)} steps no further step lowers chi2, but its slope is not zero.")
    if code is Code.NOT_FINITE:
        return FitStatus.of(code, "the model is not finite at the start.")
    ends = at_ends(problem, solved.y)
    if ends:
        return FitStatus.of(Code.AT_BOUND, f"{', '.join(ends)} at an end of the constraint.")
    return FitStatus.of(code, f"after {int(solved.steps)} steps.")


def at_ends(problem: Problem, y: Any) -> list[str]:
    """Names of the numbers that lie at an end of their constraint."""
    space = problem.space
    near = np.array((y <= space.lower) | (y >= space.upper))
    # Where the search for a positive number ends is no end of its constraint.
    for block in space.blocks:
        if block.kind == "simplex" or (block.kind == "log" and not np.isfinite(block.ends[1])):
            near[block.start : block.start + block.size] = False
    turn, values = np.asarray(jax.jacfwd(space.values)(y)), np.asarray(space.values(y))
    # All shares move with one that has gone: only itself is at its end.
    gone = np.array([block.kind == "simplex" for block in space.blocks for _ in block.free]) & (values < NO_SHARE)
    return [name for name, row, no in zip(space.names, turn, gone, strict=True) if no or (row[near] != 0).any()]
