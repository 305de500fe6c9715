"""Where a spectrum is evaluated."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxnmr.errors import is_concrete

__all__ = ["Axis"]


class Axis(eqx.Module):
    r"""Equally spaced points, both ends included, in either direction.

    Args:
        ppm: (from, to), ppm from the reference; NMR's habit is descending, (260, 20).
        hz: (from, to), Hz from the reference, instead of `ppm`; $\mathrm{hz} = 10^{-6}\,|\nu_0|\,\mathrm{ppm}$.
        points: how many, at least 2.

    Raises:
        ValueError: both or neither unit given, ends that are equal or not finite, fewer than two points.
    """

    ends: Float[Array, " ends"] | Float[np.ndarray, " ends"]
    unit: str = eqx.field(static=True)
    points: int = eqx.field(static=True)

    def __init__(
        self,
        *,
        ppm: tuple[ArrayLike, ArrayLike] | None = None,
        hz: tuple[ArrayLike, ArrayLike] | None = None,
        points: int = 2048,
    ):
        if (ppm is None) == (hz is None):
            raise ValueError("Axis: give either ppm=(from, to) or hz=(from, to).")
        self.unit = "ppm" if hz is None else "hz"
        ends = ppm if hz is None else hz
        assert ends is not None
        if len(ends) != 2:
            raise ValueError(f"{self.unit}: got {len(ends)} numbers; give (from, to).")
        dtype = jnp.result_type(float)
        concrete = is_concrete(ends)
        self.ends = np.asarray(ends, dtype) if concrete else jnp.stack([jnp.asarray(end, dtype) for end in ends])
        self.points = int(points)

    def __check_init__(self):
        if self.points < 2:
            raise ValueError(f"points: got {self.points}; an axis has at least 2.")
        if is_concrete(self.ends):
            start, stop = np.asarray(self.ends)
            if not np.isfinite([start, stop]).all() or start == stop:
                raise ValueError(f"{self.unit}: got ({start:g}, {stop:g}); give two different finite ends.")

    def in_hz(self, larmor: Float[Array, ""]) -> Float[Array, " ends"]:
        r"""The ends in Hz, for $|\nu_0|$ in Hz."""
        ends = jnp.asarray(self.ends)
        return ends if self.unit == "hz" else ends * (1e-6 * larmor)

    def values(self) -> Float[Array, " points"]:
        """The points, in the axis' own unit."""
        # linspace by hand: symmetric about the centre, so that no end drifts in float32.
        fraction = jnp.asarray(np.linspace(0, 1, self.points), self.ends.dtype)
        ends = jnp.asarray(self.ends)
        return ends[0] * (1 - fraction) + ends[1] * fraction
