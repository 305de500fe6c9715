"""The same fit of many spectra, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.fitting._assemble import assemble, box_of, check_start
from jaxnmr.fitting._bounds import limits_of
from jaxnmr.fitting._constraints import Constraint
from jaxnmr.fitting._data import is_spectrum
from jaxnmr.fitting._levenberg import NOT_FINITE, LevenbergMarquardt
from jaxnmr.fitting._linear import Linear
from jaxnmr.fitting._problem import Prior, Problem
from jaxnmr.fitting._report import covariance_of, result_of, variance_of
from jaxnmr.fitting._result import FitResult, code_of
from jaxnmr.fitting._solve import Solved, solve_each
from jaxnmr.fitting._space import build_space, path_name
from jaxnmr.fitting._status import Code
from jaxnmr.spectrum import Spectrum

__all__ = ["FitBatch", "fit_many"]


class FitBatch(eqx.Module):
    """Results of `fit_many`; `batch[i]` is the `FitResult` of one spectrum.

    Attributes:
        params: as the start, each leaf with a leading axis.
        names: of the free numbers.
        values: (fit, P), in the order of `names`.
        stderr: (fit, P), inf where not determined.
        covariance: (fit, P, P).
        chi2: (fit,), weighted sum of squares of data and priors.
        codes: how each search ended, before parameters are looked at (`batch[i].status` does that).
        steps: (fit,), evaluations.
    """

    params: Any
    names: tuple[str, ...] = eqx.field(static=True)
    values: np.ndarray
    stderr: np.ndarray
    covariance: np.ndarray
    chi2: np.ndarray
    codes: tuple[Code, ...] = eqx.field(static=True)
    steps: np.ndarray
    solved: Solved
    problem: Problem
    optimiser: Any
    measured: Any
    noise_given: bool = eqx.field(static=True)
    correlation: float = eqx.field(static=True)

    def __len__(self) -> int:
        """Number of fits."""
        return len(self.chi2)

    def result(self, i: int, bounds: bool = True) -> FitResult:
        """One fit, with profiles of its doubtful parameters if `bounds`.

        Args:
            i: which.
            bounds: as in `fit`.
        """
        problem, solved, measured = _one(self.problem, self.solved, self.measured, i)
        result = result_of(problem, self.optimiser, solved, measured, self.noise_given, self.correlation)
        return limits_of(result) if bounds and result.status.ok else result

    def __getitem__(self, i: int) -> FitResult:
        """One fit, without profiles."""
        return self.result(i, bounds=False)


def fit_many(
    model: Callable[..., Any],
    start: Any,
    measured: Any,
    *,
    batched_start: bool = False,
    constraints: Mapping[str, Constraint] | None = None,
    fixed: Sequence[str] = (),
    priors: Sequence[Prior] = (),
    linear: Linear | None = None,
    noise: Any = None,
    noise_correlation: float = 1.0,
    weights: Any = None,
    regions: Any = None,
    optimiser: Any = None,
    batch_size: int | None = None,
) -> FitBatch:
    """Fit each of many spectra (or series) with the same model, in one compiled program.

    Nothing is raised for a fit that does not converge: see `codes`.

    Args:
        model: parameters -> spectra.
        start: one start for all, or with `batched_start` a pytree whose leaves have a leading axis, one entry per fit.
        measured: what one fit takes, with a leading axis on the arrays (as `vmap` makes them); or a list of such things.
        batched_start: whether `start` has one entry per fit.
        constraints: as in `fit`.
        fixed: as in `fit`.
        priors: as in `fit`; `noise` must then be given.
        linear: as in `fit`.
        noise: as in `fit`, for one fit, the same for all.
        noise_correlation: as in `fit`.
        weights: as in `fit`, for one fit.
        regions: as in `fit`.
        optimiser: as in `fit`.
        batch_size: how many are computed at a time; by default one on a CPU, 64 elsewhere.

    Returns:
        All results.

    Raises:
        ValueError: as `fit`; entries on different axes; priors without noise.
    """
    optimiser = LevenbergMarquardt() if optimiser is None else optimiser
    stacked, count = _stacked(measured)
    template = jax.tree.map(lambda leaf: leaf[0], stacked)
    starts = _starts(start, count) if batched_start else [start]
    if priors and noise is None:
        raise ValueError("noise: fit_many weighs priors by it; give the standard deviation of a point (Spectrum.noise).")
    problem, y0 = assemble(
        model, starts[0], template, constraints, fixed, priors, linear, noise, noise_correlation, weights, regions
    )
    dtype = problem.space.unit.dtype
    weight = noise_correlation**0.5
    problem = eqx.tree_at(lambda p: p.prior_weight, problem, jnp.asarray(weight, dtype))
    ys = np.broadcast_to(y0, (count, *y0.shape))
    if batched_start:
        _check_fixed(starts, problem)
        ys = np.stack([_inner_start(problem, each, i, constraints, fixed) for i, each in enumerate(starts)])
    leaves = jax.tree.leaves(stacked, is_leaf=is_spectrum)
    _check_batch(leaves, problem)
    intensity = tuple(
        jnp.where(w > 0, jnp.asarray(s.intensity, dtype), 0.0) for s, w in zip(leaves, problem.data.weight, strict=True)
    )
    weights_all = tuple(jnp.broadcast_to(w, (count, *w.shape)) for w in problem.data.weight)
    size = batch_size or (1 if jax.default_backend() == "cpu" else 64)
    solved = solve_each(
        problem, optimiser, jnp.asarray(ys, dtype), box_of(problem), intensity, weights_all, min(size, count)
    )
    # One broken start is that entry's; where all break it is the model.
    broken = np.asarray(solved.code) == NOT_FINITE
    first = _one(problem, solved, stacked, int(np.argmin(broken)))
    check_start(problem, first[1])
    return _batch(problem, optimiser, solved, stacked, noise is not None, noise_correlation)


def _batch(problem: Problem, optimiser: Any, solved: Solved, measured: Any, given: bool, correlation: float) -> FitBatch:
    total = 2 * np.asarray(solved.cost, np.float64)
    data = total - np.asarray(solved.evaluation.prior, np.float64) * float(problem.prior_weight) ** 2
    _, variance = variance_of(problem, data, given, correlation)
    turn = np.asarray(jax.vmap(jax.jacfwd(problem.space.values))(solved.y))
    covariance = covariance_of(problem, solved, turn, variance)
    codes = tuple(code_of(int(c), bool(d)) for c, d in zip(np.asarray(solved.code), np.asarray(solved.done), strict=True))
    return FitBatch(
        params=jax.vmap(problem.space.params)(solved.y),
        names=problem.space.names,
        values=np.asarray(solved.values),
        stderr=np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)),
        covariance=covariance,
        chi2=total,
        codes=codes,
        steps=np.asarray(solved.steps),
        solved=solved,
        problem=problem,
        optimiser=optimiser,
        measured=measured,
        noise_given=given,
        correlation=float(correlation),
    )


def _stacked(measured: Any) -> tuple[Any, int]:
    """A batch with leading axes, and its length."""
    leaves = jax.tree.leaves(measured, is_leaf=is_spectrum)
    if not leaves or not all(isinstance(leaf, Spectrum) for leaf in leaves):
        raise ValueError("measured: give jn.Spectrum with a leading axis on its arrays, or a list of spectra.")
    if all(leaf.intensity.ndim == 2 for leaf in leaves):
        counts = {leaf.intensity.shape[0] for leaf in leaves}
        if len(counts) != 1:
            raise ValueError(f"measured: its spectra have {sorted(counts)} entries; give each fit one of every kind.")
        return measured, counts.pop()
    if not isinstance(measured, list | tuple):
        raise ValueError("measured: got one spectrum; give several with a leading axis, or a list.")
    try:
        return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *measured), len(measured)
    except ValueError as error:
        raise ValueError(
            "measured: the entries differ in structure, points, label, isotope or in what is known of them; give spectra of "
            f"one kind ({str(error).splitlines()[0]})."
        ) from None


def _starts(start: Any, count: int) -> list[Any]:
    """One start for each fit."""
    for leaf in jax.tree.leaves(start):
        if np.ndim(leaf) < 1 or np.shape(leaf)[0] != count:
            raise ValueError(f"start: with batched_start each leaf needs {count} entries; one has shape {np.shape(leaf)}.")
    return [jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], start) for i in range(count)]


def _check_fixed(starts: list[Any], problem: Problem) -> None:
    """One program has one value of what is fixed."""
    free = {block.leaf: block.free for block in problem.space.blocks}
    paths = jax.tree_util.tree_flatten_with_path(starts[0])[0]
    for k, (path, first) in enumerate(paths):
        kept = np.delete(np.ravel(first), free.get(k, ()))
        for i, each in enumerate(starts):
            other = np.delete(np.ravel(jax.tree.leaves(each)[k]), free.get(k, ()))
            if not np.array_equal(kept, other):
                raise ValueError(
                    f"start: {path_name(path)!r} is fixed, but its entries 0 and {i} differ; fixed values are those of all "
                    "fits: give one value, or fit the spectra one by one."
                )


def _inner_start(problem: Problem, start: Any, i: int, constraints: Any, fixed: Sequence[str]) -> np.ndarray:
    """Entry i in the variables of the search, checked as a start of its own."""
    try:
        build_space(start, constraints, fixed)
    except ValueError as error:
        raise ValueError(f"entry {i} of {error}") from None
    return problem.space.inner(start)


def _check_batch(leaves: list[Spectrum], problem: Problem) -> None:
    for where, spectrum, ppm, weight in zip(problem.data.labels, leaves, problem.data.ppm, problem.data.weight, strict=True):
        if not np.allclose(np.asarray(spectrum.ppm), np.asarray(ppm)[None, :], rtol=1e-6, atol=1e-9):
            raise ValueError(f"measured{where}: the entries have different axes; bring them to one, or fit them one by one.")
        larmor = np.asarray(jax.vmap(lambda s: s.larmor_frequency)(spectrum))
        if not np.allclose(larmor, larmor[0], rtol=1e-4, atol=0.0, equal_nan=True):
            far = int(np.argmax(np.abs(larmor / larmor[0] - 1)))
            raise ValueError(
                f"measured{where}: the entries have different Larmor frequencies, {larmor[0]:.6g} Hz of entry 0 and "
                f"{larmor[far]:.6g} Hz of entry {far}; fit the spectra of each field by themselves."
            )
        finite = np.isfinite(np.asarray(spectrum.intensity)[:, np.asarray(weight) > 0]).all(axis=1)
        if not finite.all():
            raise ValueError(f"measured{where}: entry {int(np.argmin(finite))} has points that are not finite numbers.")


def _one(problem: Problem, solved: Solved, measured: Any, i: int) -> tuple[Problem, Solved, Any]:
    solved = jax.tree.map(lambda leaf: leaf[i], solved)
    measured = jax.tree.map(lambda leaf: leaf[i], measured)
    leaves = jax.tree.leaves(measured, is_leaf=is_spectrum)
    dtype = problem.space.unit.dtype
    intensity = tuple(
        jnp.where(w > 0, jnp.asarray(s.intensity, dtype), 0.0) for s, w in zip(leaves, problem.data.weight, strict=True)
    )
    return eqx.tree_at(lambda p: p.data.intensity, problem, intensity), solved, measured
