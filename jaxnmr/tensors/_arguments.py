"""Arguments of this room: brought to one type and shape, and refused early where their values are known."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.errors import is_concrete
from jaxnmr.rotations import Numeric, as_floats

__all__ = ["Euler", "as_tensor", "check_finite", "check_range", "common", "split_euler"]

Euler = Numeric
"""Three angles, each a number or an array, or one array (..., 3)."""

# Angles and asymmetries that come back from an eigenvalue analysis in float32 carry this much rounding.
_SLACK = 1e-5


def split_euler(euler: Euler) -> tuple[Numeric, Numeric, Numeric]:
    """The three angles, of a sequence of three or of an array with last axis 3."""
    if isinstance(euler, Sequence):
        if len(euler) == 3:
            return euler[0], euler[1], euler[2]
        came = f"a sequence of {len(euler)}"
    else:
        array = jnp.asarray(euler)
        if array.ndim and array.shape[-1] == 3:
            return array[..., 0], array[..., 1], array[..., 2]
        came = f"shape {array.shape}"
    raise ValueError(f"euler: got {came}; give (alpha, beta, gamma) in radians, or an array (..., 3).")


def common(**named: Numeric) -> tuple[Array, ...]:
    """Finite arrays of one type, broadcast against each other; the keys are the names for messages."""
    arrays = as_floats(*named.values())
    for name, value in named.items():
        check_finite(name, value)
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        came = ", ".join(f"{name} {array.shape}" for name, array in zip(named, arrays, strict=True))
        raise ValueError(f"{', '.join(named)}: shapes do not broadcast: {came}.") from None
    return tuple(jnp.broadcast_to(array, shape) for array in arrays)


def as_tensor(name: str, value: Numeric) -> Array:
    """Finite Cartesian tensors (..., 3, 3)."""
    (array,) = as_floats(value)
    if array.shape[-2:] != (3, 3):
        raise ValueError(f"{name}: got shape {array.shape}; give Cartesian tensors (..., 3, 3).")
    check_finite(name, value)
    return array


def check_finite(name: str, value: Numeric) -> None:
    """Refuse NaN and infinities in values that are known.

    Give what the user gave: inside `jit` a constant is known only until JAX has touched it.
    """
    if is_concrete(value):
        known = np.asarray(value)
        if not np.isfinite(known).all():
            bad = known[~np.isfinite(known)].flat[0]
            raise ValueError(f"{name}: got {bad}; give finite numbers.")


def check_range(name: str, value: Numeric, low: int | float, high: int | float, advice: str) -> None:
    """Refuse known values outside [low, high], but for rounding; as given, for the reason above."""
    if is_concrete(value):
        known = np.asarray(value, dtype=np.float64)
        outside = (known < low - _SLACK) | (known > high + _SLACK)
        if outside.any():
            raise ValueError(f"{name}: got {known[outside].flat[0]:g}, outside {low:g} to {high:g}; {advice}.")
