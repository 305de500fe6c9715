"""From a pytree of parameters to the vector in which the search moves, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.errors import near
from jaxnmr.fitting._constraints import Constraint, Free

__all__ = ["Block", "Space", "build_space", "path_name"]

# How far one step may go in a logarithm: two decades. Further out a linear model of a line shape says nothing.
_REACH_LOG = 2 * math.log(10.0)
# ... and in a parameter with two ends: half their distance.
_REACH_INTERVAL = 0.5
# What is positive without another end is looked for within eight decades of its start, either way.
_DECADES = 8 * math.log(10.0)
# A share of a simplex is looked for within six decades of that of the last element: beyond it, it is none.
_SHARES = 6 * math.log(10.0)


class Block(NamedTuple):
    """One leaf with parameters: where it stands among the leaves, and which of its elements are free."""

    name: str
    leaf: int
    shape: tuple[int, ...]
    kind: str
    free: tuple[int, ...]
    ends: tuple[float, float]  # of its constraint, as values
    start: int  # first inner variable
    size: int  # number of inner variables
    pivot: int = -1  # of a simplex: the element that is itself the first inner variable, or none


class Space(eqx.Module):
    """The map between inner variables y (one vector) and the user's parameters.

    Linear ones are θ = offset + unit y, so that a step of one is large for each of them, whatever its unit.
    """

    treedef: Any = eqx.field(static=True)
    blocks: tuple[Block, ...] = eqx.field(static=True)
    leaves: tuple[Any, ...]
    offset: Any
    unit: Any
    lower: Any
    upper: Any
    reach: Any

    @property
    def size(self) -> int:
        """Number of inner variables."""
        return sum(block.size for block in self.blocks)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free numbers, in the order of the covariance."""
        return tuple(
            block.name if not block.shape else f"{block.name}[{', '.join(map(str, np.unravel_index(i, block.shape)))}]"
            for block in self.blocks
            for i in block.free
        )

    def inner_of(self, name: str) -> int:
        """The inner variable that moves with a named number alone, for profiles.

        Raises:
            ValueError: unknown name; an element of a simplex or an ordered array, which moves with the others.
        """
        if name not in self.names:
            raise ValueError(f"name: no parameter {name!r}{near(name, self.names)}; there are {', '.join(self.names)}.")
        position = self.names.index(name)
        for block in self.blocks:
            if position < len(block.free):
                if block.kind in ("linear", "log"):
                    return block.start + position
                if block.kind == "simplex" and (block.pivot == position or len(block.free) == 2):
                    return block.start
                raise ValueError(
                    f"name: {name!r} is tied to the other elements of {block.name!r} ({block.kind}); make the quantity "
                    "of interest a parameter of its own."
                )
            position -= len(block.free)
        raise AssertionError

    def pivoted(self, name: str) -> Space:
        """The same parameters, with one element of a simplex as an inner variable of its own, from 0 to 1, both included.

        The others share what it leaves. Where `name` is no such element, the space itself.
        """
        if name not in self.names:
            return self
        position = self.names.index(name)
        for at, block in enumerate(self.blocks):
            if position >= len(block.free):
                position -= len(block.free)
                continue
            if block.kind != "simplex" or block.pivot == position:
                return self
            i = block.start
            blocks = (*self.blocks[:at], block._replace(pivot=position), *self.blocks[at + 1 :])
            ends = ((self.lower, 0.0), (self.upper, 1.0), (self.reach, _REACH_INTERVAL))
            columns = [column.at[i].set(value) for column, value in ends]
            return Space(self.treedef, blocks, self.leaves, self.offset, self.unit, *columns)
        raise AssertionError

    def values(self, y: Any) -> Any:
        """The free numbers, in the order of `names`."""
        parts = [self._values_of(block, y) for block in self.blocks]
        return jnp.concatenate(parts) if parts else jnp.zeros((0,), y.dtype)

    def params(self, y: Any) -> Any:
        """The user's pytree."""
        return self.fill(self.values(y))

    def fill(self, values: Any, rest: float | None = None) -> Any:
        """The user's pytree with these free numbers; the others are the fixed ones, or `rest`."""
        leaves = list(self.leaves)
        if rest is not None:
            leaves = [jnp.full(jnp.shape(leaf), rest, values.dtype) if _is_number(leaf) else leaf for leaf in leaves]
        at = 0
        for block in self.blocks:
            part = values[at : at + len(block.free)]
            at += len(block.free)
            flat = jnp.ravel(jnp.asarray(leaves[block.leaf], part.dtype))
            leaves[block.leaf] = flat.at[np.asarray(block.free, int)].set(part).reshape(block.shape)
        return jax.tree.unflatten(self.treedef, leaves)

    def _values_of(self, block: Block, y: Any) -> Any:
        inner = y[block.start : block.start + block.size]
        here = slice(block.start, block.start + block.size)
        if block.kind == "log":
            return jnp.exp(inner)
        if block.kind == "simplex":
            zero = jnp.zeros((1,), inner.dtype)
            if block.pivot < 0:
                return jax.nn.softmax(jnp.concatenate([inner, zero]))
            rest = (1 - inner[0]) * jax.nn.softmax(jnp.concatenate([inner[1:], zero]))
            return jnp.concatenate([rest[: block.pivot], inner[:1], rest[block.pivot :]])
        linear = self.offset[here] + self.unit[here] * inner
        if block.kind == "ordered":
            return jnp.concatenate([linear[:1], linear[0] + jnp.cumsum(jnp.exp(inner[1:]))])
        return linear

    def inner(self, params: Any) -> np.ndarray:
        """The inner variables of a pytree of parameters with known values."""
        leaves = self.treedef.flatten_up_to(params)
        out = [self._inner_of(block, np.ravel(np.asarray(leaves[block.leaf], np.float64))) for block in self.blocks]
        return np.concatenate(out) if out else np.zeros(0)

    def _inner_of(self, block: Block, values: np.ndarray) -> np.ndarray:
        theta = values[list(block.free)]
        here = slice(block.start, block.start + block.size)
        offset, unit = np.asarray(self.offset[here], np.float64), np.asarray(self.unit[here], np.float64)
        if block.kind == "log":
            return np.log(theta)
        if block.kind == "simplex":
            first, rest = np.zeros(0), theta
            if block.pivot >= 0:
                first, rest = theta[block.pivot : block.pivot + 1], np.delete(theta, block.pivot)
            rest = np.maximum(rest, 1e-300)
            return np.concatenate([first, np.clip(np.log(rest[:-1] / rest[-1]), -_SHARES, _SHARES)])
        if block.kind == "ordered":
            return np.concatenate([(theta[:1] - offset[:1]) / unit[:1], np.log(np.diff(theta))])
        return (theta - offset) / unit


def build_space(start: Any, constraints: Mapping[str, Constraint] | None, fixed: Sequence[str]) -> tuple[Space, np.ndarray]:
    """Names, checks and scales from the user's start.

    Returns:
        The space and the start in its variables.

    Raises:
        ValueError: nothing to fit, values that are not finite, unknown names, a start outside its constraint.
    """
    paths, treedef = jax.tree_util.tree_flatten_with_path(start)
    dtype = jnp.result_type(float)
    names = [path_name(path) for path, _ in paths]
    numbers = {name: leaf for name, (_, leaf) in zip(names, paths, strict=True) if _is_number(leaf)}
    constraints = dict(constraints or {})
    fixed = (fixed,) if isinstance(fixed, str) else tuple(fixed)
    _check_names("constraints", constraints, numbers)
    _check_names("fixed", fixed, numbers)

    blocks: list[Block] = []
    leaves: list[Any] = []
    offset: list[float] = []
    unit: list[float] = []
    lower: list[float] = []
    upper: list[float] = []
    reach: list[float] = []
    for index, (name, (_, leaf)) in enumerate(zip(names, paths, strict=True)):
        if name not in numbers:
            leaves.append(leaf)
            continue
        values = np.asarray(leaf, np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"start: {name!r} is {values.tolist()}; give finite numbers.")
        constraint = _constraint(name, constraints)
        free = tuple(i for i, element in enumerate(_elements(name, values.shape)) if not _fixes(fixed, element))
        if not free:
            leaves.append(leaf)
            continue
        leaves.append(jnp.asarray(values, dtype))
        if constraint.whole and (len(free) != values.size or values.ndim != 1):
            raise ValueError(
                f"constraints: {name!r} is {constraint}, which ties all elements of a one-dimensional array, but it has "
                f"shape {values.shape} and {values.size - len(free)} of its elements are fixed."
            )
        theta = values.ravel()[list(free)]
        if fault := constraint.fault(theta):
            raise ValueError(f"start: {name!r} = {theta.tolist()} {fault}; start inside, or change its constraint.")
        size = len(free) - 1 if constraint.kind == "simplex" else len(free)
        blocks.append(Block(name, index, values.shape, constraint.kind, free, constraint.ends(), len(unit), size))
        _scales(constraint, theta[:size], offset, unit, lower, upper, reach)
    if not blocks:
        raise ValueError("start: nothing to fit; it has no numbers, or all are named in `fixed`.")
    arrays = (jnp.asarray(column, dtype) for column in (offset, unit, lower, upper, reach))
    space = Space(treedef, tuple(blocks), tuple(leaves), *arrays)
    return space, space.inner(start)


def _scales(
    constraint: Constraint, theta: np.ndarray, offset: list, unit: list, lower: list, upper: list, reach: list
) -> None:
    low, high = constraint.ends()
    for i, value in enumerate(theta):
        if constraint.kind == "linear" and math.isfinite(high - low):
            row = low, high - low, 0.0, 1.0, _REACH_INTERVAL
        elif constraint.kind == "linear":
            size = abs(value) or 1.0
            row = 0.0, size, low / size, high / size, math.inf
        elif constraint.kind == "ordered" and i == 0:
            row = 0.0, abs(value) or 1.0, -math.inf, math.inf, math.inf
        elif constraint.kind == "log":
            ends = (math.log(low) if low > 0 else -math.inf), (math.log(high) if high < math.inf else math.inf)
            around = math.log(value)
            row = 0.0, 1.0, max(ends[0], around - _DECADES), min(ends[1], around + _DECADES), _REACH_LOG
        elif constraint.kind == "simplex":
            row = 0.0, 1.0, -_SHARES, _SHARES, _REACH_LOG
        else:
            row = 0.0, 1.0, -math.inf, math.inf, _REACH_LOG
        for column, number in zip((offset, unit, lower, upper, reach), row, strict=True):
            column.append(number)


def _is_number(leaf: Any) -> bool:
    if isinstance(leaf, bool | np.bool_):
        return False
    if isinstance(leaf, int | float):
        return True
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer))


def path_name(path: Sequence[Any]) -> str:
    """("site", 0, "c_q") -> "site[0].c_q"; a start that is one number is called "parameter"."""
    name = ""
    for key in path:
        if isinstance(key, jax.tree_util.SequenceKey | jax.tree_util.FlattenedIndexKey):
            name += f"[{key.idx if isinstance(key, jax.tree_util.SequenceKey) else key.key}]"
        else:
            word = str(getattr(key, "key", getattr(key, "name", key)))
            name += f".{word}" if name else word
    return name or "parameter"


def _elements(name: str, shape: tuple[int, ...]) -> list[str]:
    return [f"{name}[{', '.join(map(str, i))}]" for i in np.ndindex(shape)] if shape else [name]


def _covers(pattern: str, name: str) -> bool:
    """Whether a name is the pattern, or lies below it."""
    return name == pattern or (name.startswith(pattern) and name[len(pattern)] in ".[")


def _fixes(fixed: Sequence[str], element: str) -> bool:
    return any(_covers(pattern, element) for pattern in fixed)


def _constraint(name: str, constraints: Mapping[str, Constraint]) -> Constraint:
    fitting = [pattern for pattern in constraints if _covers(pattern, name)]
    return constraints[max(fitting, key=len)] if fitting else Free()


def _check_names(argument: str, patterns: Sequence[str] | Mapping[str, Constraint], numbers: Mapping[str, Any]) -> None:
    for pattern in patterns:
        known = [n for name, leaf in numbers.items() for n in (name, *_elements(name, np.shape(leaf)))]
        if argument == "constraints":
            known = list(numbers)
            constraint = patterns[pattern]  # type: ignore[index]
            if not isinstance(constraint, Constraint):
                raise ValueError(
                    f"constraints: {pattern!r} has {constraint!r}; give a constraint such as Positive() or Interval(0, 1)."
                )
        if not any(_covers(pattern, name) for name in known):
            raise ValueError(
                f"{argument}: no parameter {pattern!r}{near(pattern, numbers)}; there are {', '.join(numbers) or 'none'}."
            )
