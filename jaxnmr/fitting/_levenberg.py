"""Levenberg-Marquardt with scaled columns, within ends that the search can reach and leave."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx

__all__ = ["Box", "Ended", "LevenbergMarquardt"]

CONVERGED, STALLED, NOT_FINITE = 0, 1, 2

# A step is taken if it brings this part of what the linear model promised (Nielsen's rule for the damping).
_ACCEPT = 1e-4
_DAMPING = 1e-2
_SLIGHT, _HOPELESS = 1.0, 1e10
# Rounds of solving again with the variables that would leave the box held at its sides.
_ROUNDS = 3


class Box(eqx.Module):
    """Ends of the inner variables, and how far one step may go."""

    lower: Any
    upper: Any
    reach: Any


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
        Bates and Watts, Technometrics 23, 179 (1981).
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
            damping=one * _DAMPING,
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
        scale = jnp.where(take, jnp.maximum(state.scale, columns), state.scale)
        eps = jnp.finfo(y.dtype).eps
        step = _Step(safe_residual, safe_jacobian, scale, y, box)
        d, predicted = step(damping)
        possible, promised = step.unbounded(jnp.full_like(damping, 100 * eps)), step.unbounded(damping)

        points, size = jacobian.shape
        # Half of a squared residual.
        unit = cost / max(points - size, 1)
        near = possible <= self.offset**2 * size * unit
        slight = jnp.maximum(self.rtol * unit, 4 * eps * cost)
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
        return state.done, optx.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        """Nothing."""
        return y, aux, {}

    def _evaluate(self, fn, y, args):
        def twice(y):
            residual, aux = fn(y, args)
            return residual, (residual, aux)

        points = jax.eval_shape(lambda y: fn(y, args)[0], y).shape[0]
        forward = self.jacobian == "forward" or (self.jacobian == "auto" and y.shape[0] <= points)
        derive = jax.jacfwd if forward else jax.jacrev
        jacobian, (residual, aux) = derive(twice, has_aux=True)(y)
        return residual, jacobian, aux

    def search(self, problem, y, box):
        """The search from y: the point it ended at, and its `Ended`."""
        fn = lambda y, _: problem(y)  # noqa: E731
        solution = optx.least_squares(fn, self, y, args=box, has_aux=True, max_steps=self.max_steps, throw=False)
        return solution.value, solution.state


def _damping(state, accept, brought, finite):
    """Nielsen's rule: down by what the step was worth, up ever faster while steps fail."""
    # A step cut at the box may promise nothing and yet bring something: then the damping stays.
    ratio = jnp.where(state.predicted > 0, brought / jnp.where(state.predicted > 0, state.predicted, 1.0), 0.5)
    down = state.damping * jnp.clip(1 - (2 * jnp.clip(ratio, 0.0, 2.0) - 1) ** 3, 1 / 3, 2.0)
    up = state.damping * jnp.where(finite, state.growth, 10.0)
    damping = jnp.where(state.first, state.damping, jnp.where(accept, down, up))
    growth = jnp.where(state.first | accept, jnp.full_like(state.growth, 2.0), state.growth * 2)
    return jnp.maximum(damping, jnp.finfo(damping.dtype).tiny ** 0.25), growth


class _Step:
    """The damped step within the box, from one QR decomposition."""

    def __init__(self, residual, jacobian, scale, y, box):
        eps = jnp.finfo(y.dtype).eps
        largest = jnp.max(scale)
        # A column without any effect takes no step, whatever its scale.
        self.scale = jnp.maximum(scale, jnp.where(largest > 0, eps * largest, 1.0))
        q, self.r = jnp.linalg.qr(jacobian / self.scale[None, :])
        self.q = q.T @ residual
        self.y, self.box = y, box
        slope = self.r.T @ self.q
        self.held = ((y <= box.lower) & (slope > 0)) | ((y >= box.upper) & (slope < 0)) | (box.lower >= box.upper)

    def __call__(self, damping):
        """The step within the box and one reach, and what it promises: by how much half the sum of squares should fall."""
        y, box = self.y, self.box
        low, high = jnp.maximum(box.lower - y, -box.reach), jnp.minimum(box.upper - y, box.reach)
        free, d = ~self.held, jnp.zeros_like(y)
        for _ in range(_ROUNDS):
            pinned = jnp.where(free, 0.0, d)
            solved = self._solve(free, pinned, damping)
            outside = free & ((solved < low) | (solved > high))
            d = jnp.where(free, jnp.clip(solved, low, high), pinned)
            free = free & ~outside
        return d, self._promise(d)

    def unbounded(self, damping):
        """What the step would promise were there no ends but those already reached: never negative, zero at an optimum."""
        return self._promise(self._solve(~self.held, jnp.zeros_like(self.y), damping))

    def _promise(self, d):
        left = self.q + self.r @ (d * self.scale)
        return 0.5 * (self.q @ self.q - left @ left)

    def _solve(self, free, pinned, damping):
        size = pinned.shape[0]
        eye = jnp.eye(size, dtype=pinned.dtype)
        matrix = jnp.concatenate([jnp.where(free[None, :], self.r, 0.0), jnp.sqrt(damping) * eye])
        right = jnp.concatenate([-(self.q + self.r @ (pinned * self.scale)), jnp.zeros_like(pinned)])
        solved = lx.linear_solve(lx.MatrixLinearOperator(matrix), right, lx.QR(), throw=False).value
        return solved / self.scale
