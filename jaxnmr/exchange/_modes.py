r"""The motion in a basis where its stationary state stands apart.

With detailed balance $\mathbf P^{-1/2}\mathbf K\mathbf P^{1/2}$ is symmetric, and $\sqrt{\mathbf p_g}$ of each connected
group is its null vector. A Householder reflection per group makes that vector the group's first coordinate, where the row
and column of K vanish exactly. In this basis neither a fast rate nor single precision can leak into the slow coherence,
which is what an observed line consists of when k is 1e9 and its width 100 Hz.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxnmr.exchange._model import ExchangeModel

__all__ = ["Modes", "motional_modes", "shares"]


class Modes(eqx.Module):
    r"""A basis for coherences of moving sites.

    Attributes:
        to_modes: $\mathbf Q^T\mathbf P^{-1/2}$, (mode, site).
        to_sites: $\mathbf P^{1/2}\mathbf Q$, (site, mode).
        rates: $\mathbf Q^T\mathbf P^{-1/2}\mathbf K\mathbf P^{1/2}\mathbf Q$, $s^{-1}$, symmetric;
            the rows of stationary modes are exactly 0.
        state: the populations (and, by symmetry, the detector), (mode,); $\mathrm{state}\cdot\mathrm{state} = 1$.
    """

    to_modes: Float[Array, "mode site"]
    to_sites: Float[Array, "site mode"]
    rates: Float[Array, "mode mode"]
    state: Float[Array, " mode"]

    def transform(self, irreps: Array) -> Array:
        """Bring (irrep, site, site) or diagonal (irrep, site) to modes, (irrep, mode, mode)."""
        if irreps.ndim == 2:
            return jnp.einsum("ai,ri,ib->rab", self.to_modes, irreps, self.to_sites)
        if not jnp.iscomplexobj(irreps):
            return jnp.einsum("ai,rij,jb->rab", self.to_modes, irreps, self.to_sites)
        return jax.lax.complex(self.transform(irreps.real), self.transform(irreps.imag))

    def resolvents(self, omega: Float[Array, ""]) -> Complex[Array, "2 site site"]:
        r"""$\omega[-in\omega - \mathbf K]^{-1}$ for n = 1 and 2, in the basis of the sites, dimensionless.

        The stationary block is $i/n$ exactly; the rest is inverted as $(-in - \mathbf K/\omega)^{-1}$.
        """
        n = self.rates.shape[0]
        eye = jnp.eye(n, dtype=self.rates.dtype)
        inverses = []
        for order in (1, 2):
            matrix = jax.lax.complex(-self.rates / omega, -order * eye)
            inverse = jnp.linalg.inv(matrix)
            inverses.append(jax.lax.complex(self._back(inverse.real), self._back(inverse.imag)))
        return jnp.stack(inverses)

    def _back(self, matrix: Array) -> Array:
        return self.to_sites @ matrix @ self.to_modes


def motional_modes(model: ExchangeModel, populations: Float[Array, " site"]) -> Modes:
    """The basis for a model whose sites carry these populations (groups scaled to their totals)."""
    n = len(model)
    basis = jnp.zeros((n, n), populations.dtype)
    state = jnp.zeros((n,), populations.dtype)
    slow = np.zeros(n, dtype=bool)
    share = shares(populations, model.groups)
    for group in model.groups:
        members = np.asarray(group)
        total = populations[members].sum()
        empty = total <= 0
        basis = basis.at[np.ix_(members, members)].set(_reflection(jnp.sqrt(share[members])))
        state = state.at[members[0]].set(jnp.sqrt(jnp.where(empty, 0.0, jnp.where(empty, 1.0, total))))
        slow[members[0]] = True
    root = jnp.sqrt(share)  # the similarity needs only ratios within a group
    to_modes = basis.T / root[None, :]
    to_sites = root[:, None] * basis
    fast = np.outer(~slow, ~slow)
    rates = jnp.where(fast, to_modes @ model.rates @ to_sites, 0.0)
    return Modes(to_modes, to_sites, (rates + rates.T) / 2, state)


def shares(populations: Float[Array, " site"], groups: tuple[tuple[int, ...], ...]) -> Float[Array, " site"]:
    """Population of each site within its group; equal where the group has no intensity, which keeps it harmless."""
    p = populations
    for group in groups:
        members = np.asarray(group)
        total = populations[members].sum()
        empty = total <= 0
        p = p.at[members].set(jnp.where(empty, 1 / len(group), populations[members] / jnp.where(empty, 1.0, total)))
    return p


def _reflection(x: Float[Array, " site"]) -> Float[Array, "site site"]:
    """Orthogonal matrix whose first column is the unit vector x > 0, smooth in x."""
    first = jnp.eye(x.shape[0], 1, dtype=x.dtype)[:, 0]
    v = x + first  # never small, since x[0] > 0
    reflection = jnp.eye(x.shape[0], dtype=x.dtype) - jnp.outer(v, v) * (2 / (v @ v))
    # The reflection sends e_1 to -x; flip that column.
    return reflection * jnp.where(jnp.arange(x.shape[0]) == 0, -1.0, 1.0).astype(x.dtype)[None, :]
