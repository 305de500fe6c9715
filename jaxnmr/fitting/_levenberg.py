"""Levenberg-Marquardt with scaled columns, within ends that the search can reach and leave."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx

__all__ = ["Box", "Ended", "LevenbergMarquardt", "forward_jacobian", "possible_fall"]

CONVERGED, STALLED, NOT_FINITE = 0, 1, 2

# A step is taken if it brings this part of what the linear model promised (Nielsen's rule for the damping).
_ACCEPT = 1e-4
# Starts are poor: with a first step half of Gauss and Newton's, 95 % of random starts of an exchanging doublet on a sloping
# base came to the best optimum, with a hundredth of this damping 83 %, in more steps.
_DAMPING = 1.0
_SLIGHT, _HOPELESS = 1.0, 1e10
# Columns' norms are remembered for the scale, but not for ever: along a valley in ln k they shrink with 1/k.
_MEMORY = 0.3
# Ends of coarse searches: along a profile they take 40 % off the steps.
_COARSE_RTOL, _COARSE_OFFSET = 1e-3, 1e-2
# Derivatives of a spectrum side by side: more fall out of the cache, and 28 cost more than finite differences.
_COLUMNS = 8
# Exchanges of all variables on the wrong side of their ends at once, before one at a time, which always ends.
_BLOCKS = 3


class Box(eqx.Module):
    """Ends of the inner variables, how far one step may go, after how many steps to stop short (None: never).

    `damping` is that of the first step: little for a start that is near its optimum. `coarse` searches end where chi2 is
    known to a hundredth of the noise's variance. Both are arrays, so that a fit and its profiles are one program.
    """

    lower: Any
    upper: Any
    reach: Any
    limit: Any
    damping: Any
    coarse: Any

    def __init__(self, lower: Any, upper: Any, reach: Any, limit: Any = None, damping: Any = _DAMPING, coarse: Any = False):
        self.lower, self.upper, self.reach, self.limit = lower, upper, reach, limit
        self.damping, self.coarse = jnp.asarray(damping, lower.dtype), jnp.asarray(coarse)


class Ended(eqx.Module):
    """The state of the search.

    Attributes:
        cost: half the sum of squares.
        code: CONVERGED, STALLED or NOT_FINITE, once `done`.
        steps: evaluations of the model.
    """

    first: Any
    done: Any
    code: Any
    steps: Any
    trial: Any
    predicted: Any
    residual: Any
    jacobian: Any
    evaluation: Any
    cost: Any
    scale: Any
    damping: Any
    growth: Any


class LevenbergMarquardt(optx.AbstractLeastSquaresSolver):
    r"""Damped least squares with the exact Jacobian.

    Each step solves $\min_d |\mathbf r + \mathbf J d|^2 + \lambda |\mathbf D d|^2$, with D the largest norms of the
    columns of J so far, so that no unit matters. A point where anything is not finite counts as a failed step. The search
    ends where the residual's part in the range of J, in units of its statistical expectation, falls below `offset`
    (Bates and Watts): the optimum is then nearer than that part of a standard error.

    It is a solver of `optimistix.least_squares`. That library's own has no ends: from 200 random starts of two exchanging
    lines on a sloping base both came to the best optimum in 95 %, this one in 18 steps, that in 22 (benchmarks/fit.py).

    Args:
        rtol: ends too where a step promises, and the last one brought, less than this part of the noise's variance, as the
            residual shows it: steps that no longer matter, along a valley without end.
        offset: of the relative offset criterion.
        max_steps: most evaluations of the model.
        jacobian: "forward" or "reverse" differentiation; "auto" takes forward where there are fewer parameters than
            points.

    Raises:
        ValueError: tolerances that are not > 0, no step, another mode.

    References:
        Marquardt, J. SIAM 11, 431 (1963); Moré, Lect. Notes Math. 630, 105 (1978); Nielsen, IMM-REP-1999-05 (1999);
        Bates and Watts, Technometrics 23, 179 (1981); Portugal, Júdice and Vicente, Math. Comput. 63, 625 (1994).
    """

    # The first three are what optimistix asks of every solver.
    rtol: float
    atol: float
    norm: Any
    offset: float
    max_steps: int
    jacobian: Literal["auto", "forward", "reverse"]

    def __init__(
        self,
        rtol: float = 1e-5,
        offset: float = 1e-3,
        max_steps: int = 100,
        jacobian: Literal["auto", "forward", "reverse"] = "auto",
    ):
        self.rtol, self.atol, self.norm = float(rtol), 0.0, optx.max_norm
        self.offset, self.max_steps, self.jacobian = float(offset), int(max_steps), jacobian

    def __check_init__(self):
        if not (self.rtol > 0 and self.offset > 0):
            raise ValueError(f"rtol, offset: got {self.rtol:g} and {self.offset:g}; both are > 0.")
        if self.max_steps < 1:
            raise ValueError(f"max_steps: got {self.max_steps}; give at least 1.")
        if self.jacobian not in ("auto", "forward", "reverse"):
            raise ValueError(f"jacobian: got {self.jacobian!r}; give 'auto', 'forward' or 'reverse'.")

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        """An empty state; the first step evaluates the start, so that the model stands in the program once."""
        residual = jnp.zeros(f_struct.shape, f_struct.dtype)
        zero, one = jnp.zeros((), y.dtype), jnp.ones((), y.dtype)
        return Ended(
            first=jnp.asarray(True),
            done=jnp.asarray(False),
            code=jnp.asarray(CONVERGED),
            steps=jnp.asarray(0),
            trial=y,
            predicted=zero,
            residual=residual,
            jacobian=jnp.zeros((residual.shape[0], y.shape[0]), y.dtype),
            evaluation=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), aux_struct),
            cost=zero,
            scale=jnp.zeros_like(y),
            damping=one * args.damping,
            growth=one * 2,
        )

    def step(self, fn, y, args, options, state, tags):
        """Evaluate the trial, take it or not, and propose the next."""
        box = args
        residual, jacobian, evaluation = self._evaluate(fn, state.trial, args)
        cost = 0.5 * residual @ residual
        finite = jnp.isfinite(cost) & jnp.isfinite(jacobian).all()
        brought = state.cost - cost
        accept = finite & (state.first | ((brought > 0) & (brought >= _ACCEPT * state.predicted)))
        take = accept | state.first
        y = jnp.where(take, state.trial, y)
        residual, jacobian, evaluation, cost = jax.tree.map(
            lambda new, old: jnp.where(take, new, old),
            (residual, jacobian, evaluation, cost),
            (state.residual, state.jacobian, state.evaluation, state.cost),
        )
        lost = state.first & ~finite
        # What is not finite must not reach the linear algebra, though its result is not used.
        safe_residual = jnp.where(lost, 0.0, residual)
        safe_jacobian = jnp.where(lost, 0.0, jacobian)

        damping, growth = _damping(state, accept, brought, finite)
        columns = jnp.sqrt(jnp.sum(safe_jacobian**2, axis=0))
        scale = jnp.where(take, jnp.maximum(_MEMORY * state.scale, columns), state.scale)
        eps = jnp.finfo(y.dtype).eps
        d, (predicted, possible, promised) = _steps(safe_residual, safe_jacobian, scale, y, box, damping)

        points, size = jacobian.shape
        # Half of a squared residual.
        unit = cost / max(points - size, 1)
        offset = jnp.where(box.coarse, max(self.offset, _COARSE_OFFSET), self.offset)
        rtol = jnp.where(box.coarse, max(self.rtol, _COARSE_RTOL), self.rtol)
        near = possible <= offset**2 * size * unit
        slight = jnp.maximum(rtol * unit, 4 * eps * cost)
        flat = accept & (promised <= slight) & (brought <= slight)
        still = jnp.all(jnp.abs(d) <= eps**0.6 * (1 + jnp.abs(y)))
        settled = (near | ((flat | still) & (damping <= _SLIGHT)) | (cost <= 0)) & take
        # Rounding: no step can be seen to improve, but none is called for either.
        hopeless = (damping > _HOPELESS) | ((damping > _SLIGHT) & (promised <= 10 * eps * cost))
        stalled = hopeless & ~(possible <= 2.5e-3 * size * unit)
        code = jnp.where(lost, NOT_FINITE, jnp.where(settled | ~stalled, CONVERGED, STALLED))
        state = Ended(
            first=jnp.asarray(False),
            done=settled | hopeless | lost,
            code=code,
            steps=state.steps + 1,
            trial=jnp.clip(y + d, box.lower, box.upper),
            predicted=predicted,
            residual=residual,
            jacobian=jacobian,
            evaluation=evaluation,
            cost=cost,
            scale=scale,
            damping=damping,
            growth=growth,
        )
        return y, state, evaluation

    def terminate(self, fn, y, args, options, state, tags):
        """Whether the search has ended; how is in the state."""
        short = False if args.limit is None else state.steps >= args.limit
        return state.done | short, optx.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        """Nothing."""
        return y, aux, {}

    def _evaluate(self, fn, y, args):
        def twice(y):
            residual, aux = fn(y, args)
            return residual, (residual, aux)

        points = jax.eval_shape(lambda y: fn(y, args)[0], y).shape[0]
        forward = self.jacobian == "forward" or (self.jacobian == "auto" and y.shape[0] <= points)
        derive = forward_jacobian if forward else partial(jax.jacrev, has_aux=True)
        jacobian, (residual, aux) = derive(twice)(y)
        return residual, jacobian, aux

    def search(self, problem, y, box):
        """The search from y: the point it ended at, and its `Ended`."""
        fn = lambda y, _: problem(y)  # noqa: E731
        solution = optx.least_squares(fn, self, y, args=box, has_aux=True, max_steps=self.max_steps, throw=False)
        return solution.value, solution.state


def forward_jacobian(function):
    """As `jax.jacfwd(function, has_aux=True)`, with few columns at a time, one group after the other."""

    def derive(y):
        size = y.shape[0]
        groups = -(-size // _COLUMNS)
        width = -(-size // groups)
        basis = jnp.eye(groups * width, size, dtype=y.dtype).reshape(groups, width, size)

        def one(tangent):
            _, column, beside = jax.jvp(function, (y,), (tangent,), has_aux=True)
            return column, beside

        columns, beside = jax.lax.map(jax.vmap(one, out_axes=(-1, None)), basis)
        jacobian = jnp.moveaxis(columns, 0, -2).reshape(*columns.shape[1:-1], groups * width)[..., :size]
        return jacobian, jax.tree.map(lambda leaf: leaf[0], beside)

    return lambda y: derive(y) if y.shape[0] > _COLUMNS else jax.jacfwd(function, has_aux=True)(y)


def _damping(state, accept, brought, finite):
    """Nielsen's rule: down by what the step was worth, up ever faster while steps fail."""
    # A step cut at the box may promise nothing and yet bring something: then the damping stays.
    ratio = jnp.where(state.predicted > 0, brought / jnp.where(state.predicted > 0, state.predicted, 1.0), 0.5)
    down = state.damping * jnp.clip(1 - (2 * jnp.clip(ratio, 0.0, 2.0) - 1) ** 3, 1 / 3, 2.0)
    up = state.damping * jnp.where(finite, state.growth, 10.0)
    damping = jnp.where(state.first, state.damping, jnp.where(accept, down, up))
    growth = jnp.where(state.first | accept, jnp.full_like(state.growth, 2.0), state.growth * 2)
    return jnp.maximum(damping, jnp.finfo(damping.dtype).tiny ** 0.25), growth


def _steps(residual, jacobian, scale, y, box, damping):
    """The best step within the box and one reach, and by how much half the sum of squares should fall.

    With it stand the promises of the best steps of any length within the box, without damping and with it: zero at an
    optimum, on the box' sides too.
    """
    eps = jnp.finfo(y.dtype).eps
    largest = jnp.max(scale)
    # A column without any effect takes no step, whatever its scale.
    scale = jnp.maximum(scale, jnp.where(largest > 0, eps * largest, 1.0))
    q, r = jnp.linalg.qr(jacobian / scale[None, :])
    q = q.T @ residual
    low, high = box.lower - y, box.upper - y
    near = jnp.maximum(low, -box.reach), jnp.minimum(high, box.reach)
    lows, highs = jnp.stack([near[0], low, low]), jnp.stack([near[1], high, high])
    dampings = jnp.stack([damping, jnp.full_like(damping, 100 * eps), damping])

    def one(damping, low, high):
        matrix = jnp.concatenate([r, jnp.sqrt(damping) * jnp.eye(low.shape[0], dtype=low.dtype)])
        s = _bounded(matrix, jnp.concatenate([-q, jnp.zeros_like(low)]), low * scale, high * scale)
        left = q + r @ s
        return s / scale, 0.5 * (q @ q - left @ left)

    steps, promises = jax.vmap(one)(dampings, lows, highs)
    return steps[0], promises


def possible_fall(residual, jacobian, y, box):
    """By how much the best step of any length within the box should lower half the sum of squares."""
    columns = jnp.sqrt(jnp.sum(jacobian**2, axis=0))
    _, (_, possible, _) = _steps(residual, jacobian, columns, y, box, jnp.ones((), y.dtype))
    return possible


def _bounded(matrix, right, low, high):
    """Least squares between ends, low <= 0 <= high, by principal pivoting (Portugal, Júdice and Vicente, 1994).

    Variables are free or at one of their ends; those beyond an end, and those whose slope points inwards, change over, all
    at once while that helps and else the last one alone, until none is left.
    """
    size, eps = low.shape[0], jnp.finfo(low.dtype).eps
    slope = -(matrix.T @ right)
    faint = eps**0.75 * jnp.max(jnp.abs(slope))
    narrow = high <= low
    # -1 at the lower end, 1 at the upper one, 0 free.
    side = jnp.where((low >= 0) & (slope > 0) | narrow, -1, jnp.where((high <= 0) & (slope < 0), 1, 0))

    def solved(side):
        free = side == 0
        pinned = jnp.where(side < 0, low, jnp.where(side > 0, high, 0.0))
        pinned = jnp.where(free, 0.0, pinned)
        # Rows of their own keep the rank where columns are taken out.
        kept = jnp.diag(jnp.where(free, 0.0, 1.0).astype(low.dtype))
        columns = jnp.concatenate([jnp.where(free[None, :], matrix, 0.0), kept])
        target = jnp.concatenate([right - matrix @ pinned, jnp.zeros_like(low)])
        s = lx.linear_solve(lx.MatrixLinearOperator(columns), target, lx.QR(), throw=False).value
        return jnp.where(free, s, pinned)

    def wrong(side, s):
        slope = matrix.T @ (matrix @ s - right)
        inwards = jnp.where(side < 0, slope < -faint, slope > faint)
        beyond = (s < low) | (s > high)
        return jnp.where(side == 0, beyond, inwards & ~narrow)

    def body(state):
        side, s, least, tries, count = state
        bad = wrong(side, s)
        number = jnp.sum(bad)
        better = number < least
        tries = jnp.where(better, _BLOCKS, tries - 1)
        last = jnp.max(jnp.where(bad, jnp.arange(size), -1))
        change = bad & ((tries > 0) | (jnp.arange(size) == last))
        to = jnp.where(side == 0, jnp.where(s < low, -1, 1), 0)
        side = jnp.where(change, to, side)
        return side, solved(side), jnp.minimum(number, least), tries, count + 1

    def going(state):
        side, s, _, _, count = state
        return jnp.any(wrong(side, s)) & (count < 4 * size + 10)

    start = side, solved(side), jnp.asarray(size + 1), jnp.asarray(_BLOCKS), jnp.asarray(0)
    _, s, *_ = jax.lax.while_loop(going, body, start)
    return jnp.clip(s, low, high)
