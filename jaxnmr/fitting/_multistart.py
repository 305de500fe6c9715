"""Many starts: a seeded global stage, then the best of them polished together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.errors import near
from jaxnmr.fitting._levenberg import NOT_FINITE, Box
from jaxnmr.fitting._problem import Problem
from jaxnmr.fitting._result import Optimum
from jaxnmr.fitting._solve import Solved, mapped, solve_each
from jaxnmr.fitting._space import Block, Space

__all__ = ["MultiStart", "best_of"]


# The first chi2 says little of the last one: so many times `best` are searched for a few steps before the choice.
_ROUNDS, _SHORT = 3, 6
_ENDLESS = 10**7


class MultiStart(eqx.Module):
    """Latin hypercube of starts, screened by chi2; many searched for a few steps, the best and most different to the end.

    Each parameter is drawn evenly over its range in the variable of the search: of a rate evenly in its logarithm, one
    start in each of `n` equal parts. Ranges are those of `LogRate`, `Unit` and `Interval`; elsewhere the start's value
    times 1/10 to 10 (positive ones), or plus and minus half of it, unless `ranges` says otherwise.

    Args:
        n: how many starts are screened, the given one included.
        best: how many of them are polished.
        seed: of the random numbers.
        ranges: by name, (low, high) to draw from.
        batch: how many are computed at a time; by default one on a CPU, all that are polished elsewhere.

    Raises:
        ValueError: not 1 <= best <= n, a range without extent.
    """

    n: int = eqx.field(static=True, default=64)
    best: int = eqx.field(static=True, default=6)
    seed: int = eqx.field(static=True, default=0)
    ranges: tuple[tuple[str, float, float], ...] = eqx.field(static=True, default=())
    batch: int | None = eqx.field(static=True, default=None)

    def __init__(
        self,
        n: int = 64,
        best: int = 6,
        seed: int = 0,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        batch: int | None = None,
    ):
        self.n, self.best, self.seed, self.batch = int(n), int(best), int(seed), batch
        self.ranges = tuple((name, float(low), float(high)) for name, (low, high) in (ranges or {}).items())

    def __check_init__(self):
        if not 1 <= self.best <= self.n:
            raise ValueError(f"best: got {self.best} of n = {self.n} starts; give 1 <= best <= n.")
        for name, low, high in self.ranges:
            if not low < high:
                raise ValueError(f"ranges: {name!r} has ({low:g}, {high:g}); give low < high.")

    def draw(self, problem: Problem, y: Any) -> np.ndarray:
        """(n, inner variable); the given start is the first.

        Raises:
            ValueError: a range of an unknown name, or outside its constraint.
        """
        low, high = self._ranges(problem, np.asarray(y, np.float64))
        rng = np.random.default_rng(self.seed)
        size = problem.space.size
        strata = np.stack([rng.permutation(self.n) for _ in range(size)], axis=1)
        cube = (strata + rng.random((self.n, size))) / self.n
        drawn = low + (high - low) * cube
        drawn[0] = np.asarray(y)
        return drawn

    def _ranges(self, problem: Problem, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        space = problem.space
        low, high = np.asarray(space.lower, np.float64).copy(), np.asarray(space.upper, np.float64).copy()
        for block in space.blocks:
            for i in range(block.start, block.start + block.size):
                spread = {"log": math.log(10.0), "simplex": 2.0}.get(block.kind, 0.5 * max(abs(y[i]), 1e-3))
                if block.kind == "ordered" and i > block.start:
                    spread = math.log(3.0)
                if not math.isfinite(high[i] - low[i]):
                    low[i], high[i] = max(low[i], y[i] - spread), min(high[i], y[i] + spread)
        for name, first, last in self.ranges:
            if name not in space.names:
                raise ValueError(
                    f"ranges: no parameter {name!r}{near(name, space.names)}; there are {', '.join(space.names)}."
                )
            i, (begin, end) = _inner_range(space, name, first, last)
            low[i], high[i] = max(begin, float(space.lower[i])), min(end, float(space.upper[i]))
            if not low[i] < high[i]:
                raise ValueError(f"ranges: {name!r} has ({first:g}, {last:g}), outside its constraint.")
        return low, high


def _inner_range(space: Space, name: str, first: float, last: float) -> tuple[int, tuple[float, float]]:
    """The inner variable of a named number, and a range of the number as one of that variable."""
    try:
        i = space.inner_of(name)
    except ValueError:
        raise ValueError(
            f"ranges: {name!r} is tied to the other elements of its array; only an element of a simplex of two, or a number "
            "of its own, can have a range."
        ) from None
    block = next(b for b in space.blocks if b.start <= i < b.start + b.size)
    if block.kind == "simplex":
        if first < 0 or last > 1:
            raise ValueError(f"ranges: {name!r} has ({first:g}, {last:g}), but it is a share; give 0 <= low < high <= 1.")
        # The variable is the logarithm of the first over the second.
        ends = _logit(first), _logit(last)
        return i, ends if space.names.index(name) == _position(space, block) else (-ends[1], -ends[0])
    if block.kind == "log":
        if first <= 0:
            raise ValueError(f"ranges: {name!r} has ({first:g}, {last:g}), but it is positive; give low > 0.")
        return i, (math.log(first), math.log(last))
    offset, unit = float(space.offset[i]), float(space.unit[i])
    return i, ((first - offset) / unit, (last - offset) / unit)


def _logit(share: float) -> float:
    if share in (0.0, 1.0):
        return math.copysign(math.inf, share - 0.5)
    return math.log(share / (1 - share))


def _position(space: Space, block: Block) -> int:
    """Where the block's first number stands among the names."""
    return sum(len(b.free) for b in space.blocks[: space.blocks.index(block)])


def best_of(starts: MultiStart, problem: Problem, optimiser: Any, y: Any, box: Box) -> tuple[Solved, tuple[Optimum, ...]]:
    """Screen, polish, and sort what was found.

    Returns:
        The best search, and the distinct optima.
    """
    drawn = jnp.asarray(starts.draw(problem, y), y.dtype)
    size = starts.batch or (1 if jax.default_backend() == "cpu" else starts.best)
    costs = np.asarray(_screen(problem, drawn, size), np.float64)
    rounds = min(_ROUNDS, starts.n // starts.best)
    chosen = _spread(problem, np.asarray(drawn, np.float64), costs, rounds * starts.best)
    ys = drawn[np.asarray(chosen)]
    if rounds > 1:
        limited = dataclasses.replace(box, limit=jnp.asarray(_SHORT))
        # In batches of one size, so that all are one program.
        batches = [
            solve_each(problem, optimiser, ys[i : i + starts.best], limited, None, None, size)
            for i in range(0, len(chosen), starts.best)
        ]
        ys = jnp.concatenate([batch.y for batch in batches])
        shorts = np.concatenate([np.where(batch.code == NOT_FINITE, np.inf, batch.cost) for batch in batches])
        ys = ys[np.asarray(_spread(problem, np.asarray(ys, np.float64), shorts, starts.best, whole=True))]
    solved = solve_each(problem, optimiser, ys, dataclasses.replace(box, limit=jnp.asarray(_ENDLESS)), None, None, size)
    total = 2 * np.where(np.isfinite(np.asarray(solved.cost)), np.asarray(solved.cost, np.float64), np.inf)
    # A start at which the model breaks is no result, however small the sum it left.
    total = np.where(np.asarray(solved.code) == NOT_FINITE, np.inf, total)
    order = np.argsort(total)
    pick = lambda k: jax.tree.map(lambda leaf: leaf[k], solved)  # noqa: E731
    return pick(int(order[0])), _distinct(problem, solved, total, order)


@eqx.filter_jit
def _screen(problem: Problem, ys: Any, size: int) -> Any:
    def cost(y: Any) -> Any:
        residual = problem(y)[0]
        return jnp.sum(residual**2)

    return mapped(cost, ys, size)


def _spread(problem: Problem, drawn: np.ndarray, costs: np.ndarray, best: int, whole: bool = False) -> list[int]:
    """The lowest costs, skipping starts close to one already taken; filled up by rank.

    Optima of line shapes differ in the regime of motion: starts are close if no rate differs by a decade. Without rates, or
    if the `whole` counts, they are if they also lie near each other in their range: some optima differ in a sign.
    """
    rates = [
        i
        for block in problem.space.blocks
        if block.kind == "log" and np.isfinite(block.ends[1])
        for i in range(block.start, block.start + block.size)
    ]
    width = np.ptp(drawn, axis=0)
    scaled = drawn / np.where(width > 0, width, 1.0)
    apart = 0.15 * math.sqrt(drawn.shape[1])
    order = np.argsort(np.where(np.isfinite(costs), costs, np.inf))

    def close(k: int, j: int) -> bool:
        if rates and (np.abs(drawn[k, rates] - drawn[j, rates]) >= math.log(10.0)).any():
            return False
        return bool((rates and not whole) or np.linalg.norm(scaled[k] - scaled[j]) < apart)

    taken: list[int] = []
    for k in order:
        if len(taken) < best and not any(close(int(k), j) for j in taken):
            taken.append(int(k))
    taken += [int(k) for k in order if int(k) not in taken][: best - len(taken)]
    return taken


def _distinct(problem: Problem, solved: Solved, total: np.ndarray, order: np.ndarray) -> tuple[Optimum, ...]:
    """Optima that differ in chi2 or in parameters by more than the search's precision."""
    values = np.asarray(solved.values, np.float64)
    found: list[tuple[int, int]] = []
    for k in order:
        if not math.isfinite(total[k]):
            continue
        for n, (j, hits) in enumerate(found):
            same_cost = abs(total[k] - total[j]) <= 1e-4 * abs(total[j]) + 1e-12
            if same_cost and np.allclose(values[k], values[j], rtol=1e-2, atol=1e-9):
                found[n] = (j, hits + 1)
                break
        else:
            found.append((int(k), 1))
    return tuple(
        Optimum(problem.space.params(jax.tree.map(lambda leaf, j=j: leaf[j], solved).y), float(total[j]), hits)
        for j, hits in found
    )
