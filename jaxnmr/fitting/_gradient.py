"""First-order search for problems whose Jacobian is too large to form at every step."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxnmr.fitting._levenberg import CONVERGED, NOT_FINITE, STALLED, LevenbergMarquardt, possible_fall

__all__ = ["Gradient"]


class Descended(eqx.Module):
    """The state of the search: where it is, and the best point so far."""

    y: Any
    memory: Any
    best: Any
    cost: Any
    lost: Any
    since: Any
    steps: Any


class Gradient(eqx.Module):
    """Minimise half the mean square with any optax transformation, by reverse-mode gradients.

    For hundreds of parameters; with fewer, `LevenbergMarquardt` needs far fewer evaluations. Steps are in the variables of
    the search, where 1 is a large change (for a logarithm a factor e), so a learning rate of 0.01 is a start. Points
    where anything is not finite are left for the best point so far. The Jacobian is formed once, at the end, for the
    covariance.

    Args:
        transformation: such as `optax.adam(0.01)`; optax comes with `jaxnmr[atoms]`, or by itself.
        max_steps: most evaluations.
        patience: ends after so many steps without an improvement ...
        rtol: ... by more than this part of the sum of squares.
        offset: the search has converged where the residual's part in the range of the Jacobian is below this part of its
            statistical expectation, as in `LevenbergMarquardt`; else it has stalled.

    Raises:
        ValueError: no optax transformation, steps or patience below 1, tolerances that are not > 0.
    """

    transformation: Any
    max_steps: int = eqx.field(static=True, default=2000)
    patience: int = eqx.field(static=True, default=50)
    rtol: float = eqx.field(static=True, default=1e-6)
    offset: float = eqx.field(static=True, default=0.1)

    def __check_init__(self):
        if not (hasattr(self.transformation, "init") and hasattr(self.transformation, "update")):
            raise ValueError(f"transformation: got {self.transformation!r}; give an optax one, such as optax.adam(0.01).")
        if self.max_steps < 1 or self.patience < 1 or not (self.rtol > 0 and self.offset > 0):
            raise ValueError(
                f"max_steps, patience, rtol, offset: got {self.max_steps}, {self.patience}, {self.rtol:g}, "
                f"{self.offset:g}; the first two are at least 1, the others > 0."
            )

    def search(self, problem: Any, y: Any, box: Any) -> tuple[Any, Any]:
        """The best point found from y, with Jacobian and status as `LevenbergMarquardt.search` gives them."""

        def objective(y: Any) -> Any:
            residual = problem(y)[0]
            return 0.5 * residual @ residual / residual.shape[0]

        def body(state: Descended) -> Descended:
            cost, slope = jax.value_and_grad(objective)(state.y)
            finite = jnp.isfinite(cost) & jnp.isfinite(slope).all()
            better = finite & (cost < state.cost)
            gained = finite & (cost < state.cost * (1 - self.rtol))
            best = jnp.where(better, state.y, state.best)
            with jax.numpy_dtype_promotion("standard"):  # optax counts steps in integers
                update, memory = self.transformation.update(jnp.where(finite, slope, 0.0), state.memory, state.y)
            # From a point that broke, back half-way to the best one, its momentum forgotten.
            moved = jnp.where(finite, state.y + update, 0.5 * (state.y + best))
            fresh = self.transformation.init(best)
            memory = jax.tree.map(lambda new, old: jnp.where(finite, new, old), memory, fresh)
            return Descended(
                y=jnp.clip(moved, box.lower, box.upper),
                memory=memory,
                best=best,
                cost=jnp.where(better, cost, state.cost),
                lost=(state.steps == 0) & ~finite,
                since=jnp.where(gained, 0, state.since + 1),
                steps=state.steps + 1,
            )

        most = self.max_steps if box.limit is None else jnp.minimum(self.max_steps, 20 * box.limit)

        def going(state: Descended) -> Any:
            return (state.steps < most) & (state.since < self.patience) & ~state.lost

        zero = jnp.asarray(0)
        start = Descended(y, self.transformation.init(y), y, jnp.full((), jnp.inf, y.dtype), jnp.asarray(False), zero, zero)
        end = jax.lax.while_loop(going, body, start)
        # One evaluation at the best point in the other's terms: residual, Jacobian and what goes with them.
        last = LevenbergMarquardt(max_steps=1)
        _, ended = last.search(problem, end.best, box)
        lost = end.lost | (ended.code == NOT_FINITE)
        # That steps of this size bring nothing more says nothing of the slope.
        points, size = ended.jacobian.shape
        jacobian = jnp.where(lost, 0.0, ended.jacobian)
        left = possible_fall(jnp.where(lost, 0.0, ended.residual), jacobian, end.best, box)
        near = left <= self.offset**2 * size * ended.cost / max(points - size, 1)
        code = jnp.where(lost, NOT_FINITE, jnp.where(near, CONVERGED, STALLED))
        return end.best, eqx.tree_at(
            lambda e: (e.done, e.code, e.steps),
            ended,
            (lost | (end.since >= self.patience), code, end.steps),
        )
