r"""The generator of an observed coherence under exchange, ready for a line-shape solver."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxnmr.compiling import exact_products
from jaxnmr.errors import is_concrete
from jaxnmr.exchange._model import ExchangeModel
from jaxnmr.exchange._modes import Modes, motional_modes
from jaxnmr.spins import PAIR_RANKS, RANKS, Sites, coupling_irreps, frequency_irreps

__all__ = ["Liouvillian", "exchange_populations", "site_liouvillian"]


class Liouvillian(eqx.Module):
    r"""$\mathbf L(\mathbf n) = \mathbf R + 2\pi i\sum_r \mathbf F_r Y_r(\mathbf n)$; the signal is
    $s(t) = \mathbf u^T\,\mathrm T\exp\!\int\!\mathbf L\,dt\;\mathbf u$.

    Attributes:
        relaxation: R, $s^{-1}$, (mode, mode), real: motion, with site-dependent line broadening.
        precession: F, Hz, (irrep, mode, mode), real, or complex where motion damps the second order.
        state: u, (mode,).
        jumps: the part of R that is motion, $s^{-1}$, (mode, mode).
        to_modes: from sites to modes, (mode, site).
        to_sites: its inverse, (site, mode).
        ranks: ranks of the irreps, static.
    """  # noqa: D205

    relaxation: Float[Array, "mode mode"]
    precession: Array
    state: Float[Array, " mode"]
    jumps: Float[Array, "mode mode"]
    to_modes: Float[Array, "mode site"]
    to_sites: Float[Array, "site mode"]
    ranks: tuple[int, ...] = eqx.field(static=True)

    def site_frequencies(self) -> Float[Array, "irrep site"]:
        """What a nucleus that starts in each site precesses by, Hz: the column sums of F in the basis of the sites."""
        real = self.precession.real if jnp.iscomplexobj(self.precession) else self.precession
        return jnp.einsum("ia,rab,bj->rj", self.to_sites, real, self.to_modes)

    def start(self, relative: Float[Array, " site"] | None = None) -> Float[Array, " site"]:
        """The start in the basis of sites, each as much as `relative` to its population, in the measure of `state`."""
        whole = self.to_sites @ self.state
        return whole if relative is None else whole * relative

    def initial_slope(self, start: Float[Array, " site"] | None = None) -> Complex[Array, ""]:
        r"""Powder mean of $\mathbf u^T\mathbf L\mathbf u$, $s^{-1}$: how a signal starts to change.

        Args:
            start: what each site starts with, beside its population; one without.
        """
        first = self.state if start is None else self.to_modes @ self.start(start)
        isotropic = (
            2
            * jnp.pi
            * (self.state.astype(self.precession.dtype) @ self.precession[0] @ first.astype(self.precession.dtype))
        )
        damped = self.state @ self.relaxation @ first
        if jnp.iscomplexobj(isotropic):
            return jax.lax.complex(damped - isotropic.imag, isotropic.real)
        return jax.lax.complex(damped, isotropic)

    def shifted(self, hz: Float[Array, ""]) -> Liouvillian:
        """Precession seen from a carrier at `hz`."""
        eye = jnp.eye(self.state.shape[0], dtype=self.precession.dtype)
        return eqx.tree_at(lambda s: s.precession, self, self.precession.at[0].add(-hz.astype(eye.dtype) * eye))


@exact_products
def exchange_populations(sites: Sites, model: ExchangeModel) -> Float[Array, " site"]:
    """Populations of sites under exchange: each connected group keeps its total from `Sites.weights`.

    Raises:
        ValueError: the model has another number of sites, or explicit weights contradict its populations.
    """
    if len(model) != len(sites):
        raise ValueError(
            f"exchange: the model has {len(model)} sites and `sites` has {len(sites)}; pass n_sites={len(sites)} if some "
            "sites do not exchange."
        )
    p, shares, dtype = model.populations, sites.weights, sites.shift.dtype
    member = np.array([[site in group for site in range(len(sites))] for group in model.groups], dtype)
    if is_concrete(p, shares):  # in NumPy, which compiles nothing
        p = np.asarray(p, dtype)
        shares = np.full(len(p), 1 / len(p), dtype) if shares is None else np.asarray(shares)
    else:
        p, shares = p.astype(dtype), sites.populations
        member = jnp.asarray(member)
    if not model.given:
        p = p * (((member @ shares) / (member @ p)) @ member)
    p = jnp.asarray(p)
    if sites.weights is not None and is_concrete(p) and is_concrete(sites.weights):
        error = np.abs(np.asarray(p) - np.asarray(sites.weights))
        if error.max() > 1e-3:
            i = int(error.argmax())
            raise ValueError(
                f"weights: site {i} has weight {float(sites.weights[i]):g}, but the exchange gives it population "
                f"{float(p[i]):g}. With exchange the populations rule: leave `weights` out, or pass populations to "
                "ExchangeModel.from_rates."
            )
    return p


def site_liouvillian(
    sites: Sites,
    model: ExchangeModel,
    m: float,
    field: Float[Array, ""],
    linewidth: Float[Array, " site"] | None,
) -> Liouvillian:
    """The generator of the transition (m, m - 1) with every jump followed; arguments as `jaxnmr.exchange.liouvillian`."""
    populations = exchange_populations(sites, model)
    modes = motional_modes(model, populations)
    relaxation = modes.rates
    if linewidth is not None:
        relaxation = relaxation - jnp.pi * modes.transform(linewidth[None, :])[0]
    first = modes.transform(frequency_irreps(sites, m, field, second_order=False))
    if sites.quadrupole is None:
        keep = 1 + 5  # no rank 4 in a shift
        precession, ranks = first[:keep], RANKS[:2]
    else:
        precession, ranks = _with_second_order(sites, modes, m, field, first), PAIR_RANKS
    return Liouvillian(relaxation, precession, modes.state, modes.rates, modes.to_modes, modes.to_sites, ranks)


def _with_second_order(sites: Sites, modes: Modes, m: float, field: Array, first: Array) -> Array:
    omega = 2 * jnp.pi * jnp.abs(sites.nucleus.larmor_frequency(field))
    second = modes.transform(coupling_irreps(sites, m, field, modes.resolvents(omega)))
    # M = 2 pi i F, so F = -i M / 2 pi.
    turned = jax.lax.complex(second.imag, -second.real) / (2 * jnp.pi)
    even = np.concatenate([np.full(2 * rank + 1, rank in RANKS) for rank in PAIR_RANKS])
    return turned.at[np.flatnonzero(even)].add(jax.lax.complex(first, jnp.zeros_like(first)))
