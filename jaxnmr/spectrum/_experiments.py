"""Experiments: what the spectrometer does to the sample."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.errors import is_concrete, kept
from jaxnmr.spins import Transition

__all__ = ["MAGIC_ANGLE", "MAS", "Static"]

# A number that is known stays a NumPy array, so that sizes can be chosen from it inside jit.
Scalar = Any

MAGIC_ANGLE = float(np.arctan(np.sqrt(2.0)))


class Static(eqx.Module):
    """A static powder.

    Args:
        field: tesla.
        transition: None, the central line of half-integer spins and all lines of integer spins; "central"; "all"; or
            (m, m - 1).

    Raises:
        ValueError: field <= 0.
    """

    field: Scalar
    transition: Transition = eqx.field(static=True)

    def __init__(self, field: ArrayLike, transition: Transition = None):
        self.field = _scalar("field", field)
        self.transition = _hashable(transition)

    def __check_init__(self):
        _check_field(self.field)


class MAS(eqx.Module):
    """A powder spinning about an axis inclined to the field.

    Args:
        field: tesla.
        rate: rotor frequency, Hz; `inf` for the limit without sidebands.
        angle: between rotor axis and field, radians; the magic angle by default.
        transition: as in `Static`.

    Raises:
        ValueError: field <= 0, rate <= 0 (use `Static` for 0).
    """

    field: Scalar
    rate: Scalar
    angle: Scalar
    transition: Transition = eqx.field(static=True)
    # Known when built, because it chooses the algorithm; a traced rate is finite.
    infinite: bool = eqx.field(static=True)

    def __init__(self, field: ArrayLike, rate: ArrayLike, angle: ArrayLike = MAGIC_ANGLE, transition: Transition = None):
        self.field = _scalar("field", field)
        self.rate = _scalar("rate", rate)
        self.angle = _scalar("angle", angle)
        self.transition = _hashable(transition)
        self.infinite = is_concrete(self.rate) and bool(np.isinf(self.rate))

    def __check_init__(self):
        _check_field(self.field)
        if is_concrete(self.rate) and not self.rate > 0:
            raise ValueError(
                f"rate: got {float(self.rate):g} Hz; a rotor frequency is > 0 (use Static for a rotor at rest)."
            )
        if is_concrete(self.angle) and not np.isfinite(self.angle):
            raise ValueError(f"angle: got {float(self.angle):g}; give radians between rotor axis and field.")


def _scalar(name: str, value: ArrayLike) -> Scalar:
    number = kept(value, jnp.result_type(float))
    if number.ndim:
        raise ValueError(f"{name}: got shape {number.shape}; give one number (vmap over more).")
    return number


def _hashable(transition: Transition) -> Transition:
    if transition is None or isinstance(transition, str):
        return transition
    try:
        return tuple(transition)  # type: ignore[return-value]
    except TypeError:
        raise ValueError(f"transition: got {transition!r}; use None, 'central', 'all' or a pair (m, m - 1).") from None


def _check_field(field: Scalar) -> None:
    if is_concrete(field) and not (field > 0 and np.isfinite(field)):
        raise ValueError(f"field: got {float(field):g} T; give the static field in tesla, > 0.")
