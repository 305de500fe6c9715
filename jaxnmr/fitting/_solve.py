"""The compiled part of a fit: the search, and the covariance where it ended."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.fitting._levenberg import Box
from jaxnmr.fitting._problem import Evaluation, Problem

__all__ = ["Solved", "mapped", "search", "solve", "solve_each"]


class Solved(eqx.Module):
    """What the search found; arrays only.

    Attributes:
        y: inner variables.
        values: the user's free numbers.
        cost: half the sum of squared residuals, priors included.
        code: as in `Ended`.
        done: False where the steps ran out.
        steps: evaluations.
        evaluation: of the model at y.
        inner_covariance: of y, for residuals of unit variance.
        covariance: of the values, likewise.
        blind: (inner variable,), where no change of the variable changes any residual: nothing is known of it.
        broken: (inner variable,), where the derivative is not finite at a start from which nothing moved.
    """

    y: Any
    values: Any
    cost: Any
    code: Any
    done: Any
    steps: Any
    evaluation: Evaluation
    inner_covariance: Any
    covariance: Any
    blind: Any
    broken: Any


def search(problem: Problem, optimiser: Any, y: Any, box: Box) -> Solved:
    """From one start."""
    y = jnp.clip(y, box.lower, box.upper)
    y, ended = optimiser.search(problem, y, box)
    broken = ~jnp.isfinite(ended.jacobian).all(axis=0)
    jacobian = jnp.where(jnp.isfinite(ended.jacobian), ended.jacobian, 0.0)
    # Held variables are known; the others' covariance is that beside them.
    held = box.lower >= box.upper
    inner, blind = _covariance(jnp.where(held[None, :], 0.0, jacobian), held)
    turn = jax.jacfwd(problem.space.values)(y)
    values = problem.space.values(y)
    return Solved(
        y,
        values,
        ended.cost,
        ended.code,
        ended.done,
        ended.steps,
        ended.evaluation,
        inner,
        turn @ inner @ turn.T,
        blind,
        broken,
    )


solve = eqx.filter_jit(search)


@eqx.filter_jit
def solve_each(problem: Problem, optimiser: Any, ys: Any, box: Box, intensity: Any, weight: Any, size: int) -> Solved:
    """Many searches in one program, `size` at a time; `intensity` and `weight` None keep the problem's data."""

    def one(row: Any) -> Solved:
        y, data = row
        here = problem
        if data is not None:
            here = eqx.tree_at(lambda p: (p.data.intensity, p.data.weight), problem, data)
        return search(here, optimiser, y, box)

    data = None if intensity is None else (intensity, weight)
    return mapped(one, (ys, data), size)


def mapped(function: Any, rows: Any, size: int) -> Any:
    """`function` of each row, `size` rows side by side and these batches one after the other.

    (`jax.lax.map` with a batch_size cannot return arrays without elements, such as those of a baseline that is not fitted.)
    """
    if size <= 1:
        return jax.lax.map(function, rows)
    count = jax.tree.leaves(rows)[0].shape[0]
    batches = -(-count // size)
    # The last batch is filled up with copies of the last row.
    index = np.minimum(np.arange(batches * size), count - 1)
    cut = jax.tree.map(lambda leaf: leaf[index].reshape(batches, size, *leaf.shape[1:]), rows)
    out = jax.lax.map(jax.vmap(function), cut)
    return jax.tree.map(lambda leaf: leaf.reshape(batches * size, *leaf.shape[2:])[:count], out)


def _covariance(jacobian: Any, held: Any) -> tuple[Any, Any]:
    """Inverse of JᵀJ by the singular values of J with unit columns; what J does not see is left out and named."""
    eps = jnp.finfo(jacobian.dtype).eps
    norm = jnp.sqrt(jnp.sum(jacobian**2, axis=0))
    dead = norm <= eps * jnp.max(norm)
    safe = jnp.where(dead, 1.0, norm)
    _, s, vt = jnp.linalg.svd(jacobian / safe[None, :], full_matrices=False)
    seen = s > eps * jnp.maximum(jacobian.shape[0], 1) * jnp.max(s)
    root = vt.T * jnp.where(seen, 1 / jnp.where(seen, s, 1.0), 0.0)[None, :] / safe[:, None]
    # A variable with weight in an unseen direction can go anywhere.
    loose = jnp.sum(jnp.where(seen[:, None], 0.0, vt**2), axis=0) > eps**0.5
    return root @ root.T, (dead | loose) & ~held
