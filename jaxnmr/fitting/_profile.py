"""Profile likelihood: how chi2 rises as one parameter is held away from its optimum."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxnmr.errors import warn
from jaxnmr.fitting._levenberg import Box
from jaxnmr.fitting._report import continued
from jaxnmr.fitting._result import FitResult
from jaxnmr.fitting._solve import solve
from jaxnmr.fitting._status import FitWarning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Profile", "Walk", "others_of", "pivoted", "profile", "walk"]

# Next point where the signed root of the rise is about this much further; it is nearly straight, so few points do.
_STRIDE = 0.7
_MOST = 30
# A parameter without ends is followed this far: eight decades of a logarithm, fifty times its size else.
_FAR = {"log": 8 * math.log(10.0), "simplex": 12.0, "linear": 50.0}
# Other optima that a profile is tried from.
_POOL = 4
# Damping where the others' way is foretold: the first step is then all but Gauss and Newton's.
_FORETOLD = 1e-3
# How often the search goes on from a lower point.
_RESTARTS = 3
# Roots are found to this part of a standard deviation.
_ROOT = 0.01


class Profile(eqx.Module):
    r"""The profile of one parameter.

    Attributes:
        name: which.
        values: (point,), at which it was held, ascending.
        rise: (point,), $\Delta\chi^2$ over the noise's variance: 1 at one standard error where the model is linear.
        others: (point, P), all numbers re-optimised, in the order of `FitResult.names`.
        interval: where the rise crosses the level on both sides; the constraint's end, or infinite, where it does not.
        level: its confidence.
        threshold: the rise at its ends, z² of Student's distribution where the noise comes from the residual.
        closed: whether the rise crosses it below, and above.
    """

    name: str = eqx.field(static=True)
    values: np.ndarray
    rise: np.ndarray
    others: np.ndarray
    interval: tuple[float, float]
    level: float
    threshold: float
    closed: tuple[bool, bool]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rise of chi2, the level of the interval and, shaded, the interval.

        Args:
            ax: matplotlib axes; a new figure's by default.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is missing.
        """
        from jaxnmr.fitting._plot import plot_profile

        return plot_profile(self, ax)


def profile(result: FitResult, name: str, *, level: float = 0.95) -> Profile:
    r"""Hold one parameter at a series of values and optimise all others each time.

    The interval is where $\chi^2_\text{min}(\theta_i) - \chi^2_\text{min} < z^2 \tau s^2$; unlike the covariance it does not
    ask that the model be linear in θ, and is the same in any variable. Each point starts from its neighbour.

    Args:
        result: of `fit`.
        name: as in `result.names`.
        level: confidence of the interval.

    Returns:
        The profile, 10 to 30 points.

    Raises:
        ValueError: unknown name; an element of an ordered array; a level outside 0..1; a fit without optimum.

    Warns:
        FitWarning: chi2 falls below that of the result; the profile is then of the optimum that is found from there.

    References:
        Bates and Watts, Nonlinear Regression Analysis and Its Applications (Wiley 1988), chapter 6.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}; give a confidence between 0 and 1, such as 0.95.")
    if not result.status.ok:
        raise ValueError(f"result: {result.status}")
    given, z = result, result.quantile(level)
    result, sides = _sides(given, name, z)
    for _ in range(_RESTARTS):
        better = [side.better for side in sides if side.better is not None]
        if not better:
            break
        given = _went_on(given, result, name, better[0])
        result, sides = _sides(given, name, z)
    i, at = result.problem.space.inner_of(name), result.names.index(name)
    points = [*reversed(sides[0].points[1:]), *sides[1].points]
    others = np.stack([np.asarray(result.problem.space.values(jnp.asarray(y, result.inner.dtype))) for _, _, y in points])
    ends = result._ends(name)
    interval = tuple(
        _value(result, i, at, side.root(z)) if side.closed(z) else end for side, end in zip(sides, ends, strict=True)
    )
    rise = np.array([math.copysign(s * s, s) for _, s, _ in points])
    closed = sides[0].closed(z), sides[1].closed(z)
    return Profile(name, others[:, at], rise, others, (interval[0], interval[1]), level, z * z, closed)


def _sides(result: FitResult, name: str, z: float) -> tuple[FitResult, list[Walk]]:
    """The result in variables of which `name` is one, and its profile below and above."""
    result = pivoted(result, name)
    i, pool = result.problem.space.inner_of(name), others_of(result)
    return result, [walk(result, i, sign, z, pool=pool) for sign in (-1.0, 1.0)]


def _went_on(given: FitResult, result: FitResult, name: str, better: np.ndarray) -> FitResult:
    """The search goes on from a lower point of a profile, and says so; `result` is `given` in the profile's variables."""
    params = result.problem.space.params(jnp.asarray(better, result.inner.dtype))
    found = continued(given, optimum_from(given, given.problem.space.inner(params)))
    warn(
        f"profile: along {name!r} chi2 falls from {given.objective:.6g} to {found.objective:.6g}, below the result's; the "
        "profile is of that optimum. Fit again from there, or with starts=MultiStart().",
        FitWarning,
    )
    return found


def pivoted(result: FitResult, name: str) -> FitResult:
    """The result in variables of which `name` is one: another than `result` for an element of a simplex."""
    space = result.problem.space.pivoted(name)
    if space is result.problem.space:
        return result
    problem = eqx.tree_at(lambda p: p.space, result.problem, space)
    y = jnp.asarray(space.inner(result.params), space.lower.dtype)
    solved = solve(problem, result.optimiser, y, Box(space.lower, space.upper, space.reach))
    return dataclasses.replace(
        result, problem=problem, inner=solved.y, inner_covariance=solved.inner_covariance, blind=solved.blind
    )


def others_of(result: FitResult) -> list[np.ndarray]:
    """The other optima of a multi-start, the best first, in the variables of this result."""
    found = [result.problem.space.inner(optimum.params) for optimum in result.starts[1 : 1 + _POOL]]
    return [y for y in found if np.isfinite(y).all()]


class Walk:
    """One side of a profile: (inner value, root of the rise, all inner variables) from the optimum outwards."""

    def __init__(self, result: FitResult, i: int, sign: float, y: Any, root: float):
        self._result, self._i, self.sign = result, i, sign
        y = np.asarray(y, np.float64)
        self.points: list[tuple[float, float, np.ndarray]] = [(float(y[i]), root, y)]
        self.better: np.ndarray | None = None

    def go(self, value: float) -> float:
        """Optimise the others with this variable held; the root of the rise, negative where it fell."""
        root, y = self._from(value, self._foretold(value), _FORETOLD)
        self.points.append((value, root, y))
        self.points.sort(key=lambda point: self.sign * point[0])
        return root

    def _foretold(self, value: float) -> np.ndarray:
        """Where the others should be: on the line through the two nearest points, or along the covariance of the first."""
        near = sorted(self.points, key=lambda point: abs(point[0] - value))[:2]
        at, _, y = near[0]
        if len(near) == 2 and near[1][0] != at:
            slope = (near[1][2] - y) / (near[1][0] - at)
        else:
            covariance = np.asarray(self._result.inner_covariance, np.float64)
            variance = covariance[self._i, self._i]
            slope = covariance[:, self._i] / variance if variance > 0 else np.zeros_like(y)
        # No further than a step of the search may go.
        reach = np.asarray(self._result.problem.space.reach, np.float64)
        return y + np.clip(slope * (value - at), -reach, reach)

    def again(self, value: float, pool: Sequence[np.ndarray]) -> float:
        """The same from other points: followed from its optimum, a profile can miss a branch that is lower by now."""
        at = next(k for k, point in enumerate(self.points) if point[0] == value)
        for y in pool:
            root, y = self._from(value, y)
            if root < self.points[at][1]:
                self.points[at] = (value, root, y)
        return self.points[at][1]

    def _from(self, value: float, y: np.ndarray, damping: float = 1.0) -> tuple[float, np.ndarray]:
        y = np.asarray(y, np.float64).copy()
        y[self._i] = value
        space = self._result.problem.space
        dtype, i = space.lower.dtype, self._i
        ends = space.lower.at[i].set(value), space.upper.at[i].set(value)
        # A point's rise is wanted to a hundredth.
        box = Box(*ends, space.reach, damping=damping, coarse=True)
        solved = solve(self._result.problem, self._result.optimiser, jnp.asarray(y, dtype), box)
        rise = (2 * float(solved.cost) - self._result.objective) / self._result.variance
        if not math.isfinite(rise):
            rise = math.inf
        root = math.copysign(math.sqrt(abs(rise)), rise)
        y = np.asarray(solved.y, np.float64)
        if rise < -0.05 and self.better is None:
            self.better = y
        return root, y

    def closed(self, z: float) -> bool:
        """Whether the rise crosses z² on this side."""
        return any(root >= z for _, root, _ in self.points)

    def root(self, z: float) -> float:
        """The inner value where it does."""
        for _ in range(6):
            k = next(k for k, point in enumerate(self.points) if point[1] >= z)
            (a, low, _), (b, high, _) = self.points[k - 1], self.points[k]
            if high - z < _ROOT:
                return b
            if z - low < _ROOT:
                return a
            part = (z - low) / (high - low) if math.isfinite(high) else 0.5
            middle = a + (b - a) * min(max(part, 0.05), 0.95)
            if abs(b - a) < 1e-9 * (1 + abs(b)):
                return middle
            self.go(middle)
        return middle


def walk(
    result: FitResult,
    i: int,
    sign: float,
    z: float,
    y: Any = None,
    root: float = 0.0,
    pool: Sequence[np.ndarray] = (),
) -> Walk:
    """From the optimum outwards until the rise passes z², or the end of the constraint is reached.

    `y` and `root` are another optimum to start from, and the root of its rise above the best one. Where the rise would pass
    z², the points of `pool` are tried as starts for the others.
    """
    space = result.problem.space
    y = result.inner if y is None else y
    start = float(y[i])
    block = next(block for block in space.blocks if block.start <= i < block.start + block.size)
    kind = "linear" if i == block.start and block.pivot >= 0 else block.kind
    end = float(space.upper[i] if sign > 0 else space.lower[i])
    limit = end if math.isfinite(end) else start + sign * _FAR[kind]
    side = Walk(result, i, sign, y, root)
    if sign * (limit - start) <= 0:
        return side
    sigma = math.sqrt(max(float(result.inner_covariance[i, i]) * result.variance, 0.0))
    reach = float(space.reach[i])
    reach = reach / 2 if math.isfinite(reach) else math.inf
    blind = bool(result.blind[i]) or sigma <= 0
    stride = (min(reach, 1.0) if blind else min(_STRIDE * sigma, reach)) * sign
    value = start
    for _ in range(_MOST):
        value = value + stride
        if sign * (value - limit) >= 0:
            value = limit
        new = side.go(value)
        if new >= z:
            new = side.again(value, pool)
        if new >= z or value == limit or side.better is not None:
            break
        gained = new - root
        stride *= min(max(_STRIDE / gained, 0.5), 3.0) if gained > 0 else 3.0
        stride = math.copysign(min(abs(stride), reach), sign)
        root = new
    return side


def _value(result: FitResult, i: int, at: int, inner: float) -> float:
    return float(np.asarray(result.problem.space.values(result.inner.at[i].set(inner)))[at])


def value_at(result: FitResult, name: str, inner: float) -> float:
    """A parameter's value for its inner variable."""
    return _value(result, result.problem.space.inner_of(name), result.names.index(name), inner)


def optimum_from(result: FitResult, y: Any) -> Any:
    """Search again, from a point that a profile found to be better."""
    space = result.problem.space
    box = Box(space.lower, space.upper, space.reach)
    return solve(result.problem, result.optimiser, jnp.asarray(y, space.lower.dtype), box)
