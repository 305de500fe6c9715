r"""Sites that became one: averaged tensors, and the rates between what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxnmr.exchange._liouvillian import exchange_populations
from jaxnmr.exchange._model import ExchangeModel
from jaxnmr.exchange._modes import shares
from jaxnmr.spins import Sites

__all__ = ["Lumped", "Reduced", "lump", "merge", "partition"]

Groups = Sequence[Sequence[int]]


class Reduced(NamedTuple):
    """A problem with fewer sites, each argument under its name in `jaxnmr.simulate`.

    Attributes:
        sites: averaged tensors; without exchange they carry their weights.
        exchange: jumps between them; None where none is left.
        linewidth: Hz, as it came, or (site,) where it came site by site.
        groups: which of the former sites share each line; each site stands for one of them, but under an `AveragedExchange`.
    """

    sites: Sites
    exchange: ExchangeModel | None
    linewidth: Float[Array, " site"] | Float[Array, ""]
    groups: tuple[tuple[int, ...], ...]


def merge(sites: Sites, exchange: ExchangeModel, groups: Groups, *, linewidth: ArrayLike | Sequence[float] = 0.0) -> Reduced:
    r"""Replace groups of sites by one site each, whatever that costs; `jaxnmr.reduce` knows when it costs nothing.

    Tensors and linewidths become means over the group, weighted by population $p_j$; rates are lumped, so that detailed
    balance stays:

    $$K_{ab} = \sum_{i\in a}\sum_{j\in b} K_{ij}\,p_j/p_b,\qquad p_b = \sum_{j\in b} p_j$$

    Quadrupolar nuclei get the second-order shift of the mean tensor, that of jumps far above the Larmor frequency. Smooth
    in tensors, rates, populations and linewidth; the groups are static, so this runs under `jit`.

    Args:
        sites: tensors.
        exchange: their jumps.
        groups: indices of sites that become one; sites in none stay as they are. New sites stand in the order of their
            lowest index.
        linewidth: Lorentzian FWHM, Hz, one number or (site,).

    Raises:
        ValueError: an index out of range or in two groups, a group whose sites no jump joins, a linewidth of another
            shape.

    References:
        Kemeny and Snell, Finite Markov Chains (1960), for lumping.
    """
    p = exchange_populations(sites, exchange)
    final = partition(groups, exchange)
    lumped = lump(exchange, p, final)
    mean = lumped.shares
    shift = jnp.einsum("gs,sab->gab", mean, sites.shift, precision="highest")
    quadrupole = None
    if sites.quadrupole is not None:
        quadrupole = jnp.einsum("gs,sab->gab", mean, sites.quadrupole, precision="highest")
    width = jnp.asarray(linewidth, p.dtype)
    if width.ndim:
        if width.shape != p.shape:
            raise ValueError(f"linewidth: got shape {width.shape}; give one number or one per site, ({len(sites)},).")
        width = mean @ width
    model = lumped.exchange
    if all(len(group) == 1 for group in model.groups):
        return Reduced(Sites(sites.isotope, shift, quadrupole, model.populations), None, width, final)
    return Reduced(Sites(sites.isotope, shift, quadrupole), model, width, final)


class Lumped(NamedTuple):
    """Jumps between groups: `exchange`, with `members` of ones and `shares` of populations, both (group, site)."""

    exchange: ExchangeModel
    members: Float[Array, "group site"]
    shares: Float[Array, "group site"]


def lump(exchange: ExchangeModel, populations: Float[Array, " site"], groups: tuple[tuple[int, ...], ...]) -> Lumped:
    """The jumps between the groups of a partition, sites of a group in balance."""
    p = populations
    n = len(groups)
    member = np.array([[site in group for site in range(len(exchange))] for group in groups], dtype=float)
    member = jnp.asarray(member, p.dtype)
    share = member * shares(p, groups)[None, :]
    off = (member @ exchange.rates.astype(p.dtype) @ share.T) * (1 - jnp.eye(n, dtype=p.dtype))
    index = {site: g for g, group in enumerate(groups) for site in group}
    connected = tuple(tuple(sorted({index[site] for site in group})) for group in exchange.groups)
    return Lumped(ExchangeModel(off - jnp.diag(off.sum(axis=0)), member @ p, connected, True), member, share)


def partition(groups: Groups, exchange: ExchangeModel) -> tuple[tuple[int, ...], ...]:
    """The groups, with every other site as a group of one, by lowest index."""
    n = len(exchange)
    chosen = [tuple(sorted(int(i) for i in group)) for group in groups if len(group)]
    named = [i for group in chosen for i in group]
    for i in named:
        if not 0 <= i < n:
            raise ValueError(f"groups: got site {i}; sites count from 0 to {n - 1}.")
        if named.count(i) > 1:
            raise ValueError(f"groups: site {i} came twice; a site becomes part of one site.")
    for group in chosen:
        if not any(set(group) <= set(whole) for whole in exchange.groups):
            raise ValueError(f"groups: no jumps join all of the sites {group}; only sites that exchange become one.")
    rest = [(i,) for i in range(n) if i not in named]
    return tuple(sorted(chosen + rest))
