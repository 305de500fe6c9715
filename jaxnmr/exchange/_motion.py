"""A rigid group's positions and its jumps between them, and their effect on one site."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.errors import is_concrete
from jaxnmr.exchange._model import ExchangeModel
from jaxnmr.rotations import Numeric, as_floats
from jaxnmr.spins import Sites

__all__ = ["Motion", "Moving"]


class Moving(NamedTuple):
    """One nucleus on its way through the positions of a motion: `sites`, and their `exchange`."""

    sites: Sites
    exchange: ExchangeModel


class Motion(eqx.Module):
    r"""Positions of a rigid group and the jumps between them.

    `outer @ inner` is the product of two independent motions: the inner one goes on in a frame that the outer one
    carries along, $R_{ab} = R_a^{outer} R_b^{inner}$, and the rates add, $\mathbf K = \mathbf K_{outer} \otimes 1 + 1
    \otimes \mathbf K_{inner}$, with populations $p_a p_b$. Axes of the inner motion are those of the group in position 0
    of the outer one. Position (a, b) is number a n_inner + b.

    Args:
        rotations: $R_j$, (position, 3, 3), orthogonal, of the crystal frame. A reflection does as well: inversion changes
            no shift or quadrupole tensor.
        exchange: the jumps.

    Raises:
        ValueError: shapes that do not fit, a matrix that is not orthogonal.
    """

    rotations: Float[Array, "position 3 3"]
    exchange: ExchangeModel

    def __init__(self, rotations: Numeric, exchange: ExchangeModel):
        (self.rotations,) = as_floats(rotations)
        self.exchange = exchange

    def __check_init__(self):
        n = len(self.exchange)
        if self.rotations.shape != (n, 3, 3):
            raise ValueError(
                f"rotations: got shape {self.rotations.shape} for an exchange of {n} positions; give ({n}, 3, 3)."
            )
        if is_concrete(self.rotations):
            r = np.asarray(self.rotations, dtype=np.float64)
            error = np.abs(r @ np.swapaxes(r, 1, 2) - np.eye(3)).max(axis=(1, 2))
            if not error.max() < 1e-4:
                raise ValueError(
                    f"rotations: matrix {int(error.argmax())} is not orthogonal (R R^T is off by {error.max():.1e}); "
                    "build it with jaxnmr.rotations.euler_to_matrix."
                )

    def __len__(self) -> int:
        """Number of positions."""
        return len(self.exchange)

    def __call__(self, site: Sites) -> Moving:
        r"""Set one site moving: its tensors $R_j T R_j^\top$ in every position, and the jumps.

        Linear in the tensors, and smooth in them, the rotations, rates and populations.

        Raises:
            ValueError: more sites than one.
        """
        if len(site) != 1:
            raise ValueError(
                f"site: got {len(site)} sites; a motion carries one nucleus through its positions. Give one site and add "
                "the spectra."
            )
        r = self.rotations.astype(site.shift.dtype)
        turned = lambda t: jnp.einsum("jab,bc,jdc->jad", r, t[0], r, precision="highest")  # noqa: E731
        quadrupole = None if site.quadrupole is None else turned(site.quadrupole)
        return Moving(Sites(site.isotope, turned(site.shift), quadrupole), self.exchange)

    def __matmul__(self, inner: Motion) -> Motion:
        """The product with an independent inner motion that this one carries along."""
        if not isinstance(inner, Motion):
            return NotImplemented
        outer_r, inner_r = as_floats(self.rotations, inner.rotations)
        rotations = jnp.einsum("aij,bjk->abik", outer_r, inner_r, precision="highest").reshape(-1, 3, 3)
        a, b = self.exchange, inner.exchange
        rates_a, rates_b, p_a, p_b = as_floats(a.rates, b.rates, a.populations, b.populations)
        eye_a, eye_b = jnp.eye(len(a), dtype=rates_a.dtype), jnp.eye(len(b), dtype=rates_a.dtype)
        groups = tuple(tuple(i * len(b) + j for i in first for j in second) for first in a.groups for second in b.groups)
        rates = jnp.kron(rates_a, eye_b) + jnp.kron(eye_a, rates_b)
        return Motion(rotations, ExchangeModel(rates, jnp.kron(p_a, p_b), groups, a.given or b.given))
