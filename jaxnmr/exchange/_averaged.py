r"""Jumps too fast to follow: of each group of sites only the mean coherence is kept.

The generator $\mathbf L$ of all sites is projected on the stationary modes of the groups,

$$L_{ab}(\mathbf n) = \sum_{i\in a}\sum_{j\in b} L_{ij}(\mathbf n)\,p_j/p_b .$$

Frequencies become population-weighted means, of the second order too. That is taken at the true rates: the mean of the
sites' second-order shifts where jumps are slow beside the Larmor frequency, the shift of the mean tensor where they are
fast, and between them what lies between, with its broadening. What is left out is the residual width of motional narrowing.
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.exchange._liouvillian import Liouvillian, exchange_populations, site_liouvillian
from jaxnmr.exchange._merge import lump, partition
from jaxnmr.exchange._model import ExchangeModel, Group
from jaxnmr.exchange._modes import motional_modes
from jaxnmr.spins import Sites

__all__ = ["AveragedExchange", "liouvillian"]


class AveragedExchange(ExchangeModel):
    """Jumps of which some are averaged over: as many sites as the tensors, as many lines as groups.

    Attributes:
        averaged: every site in one group; of each group the mean is followed.
    """

    averaged: tuple[Group, ...] = eqx.field(static=True, default=())

    def lines(self, values: Float[Array, " site"]) -> Float[Array, " line"]:
        """What belongs to sites, summed over each group."""
        return jnp.stack([values[np.asarray(group)].sum() for group in self.averaged])

    @classmethod
    def over(cls, exchange: ExchangeModel, groups: Sequence[Sequence[int]]) -> AveragedExchange:
        """Average over the jumps within groups of sites; sites in none stay as they are.

        Raises:
            ValueError: an index out of range or in two groups, a group whose sites no jump joins.
        """
        final = partition(groups, exchange)
        return cls(exchange.rates, exchange.populations, exchange.groups, exchange.given, final)


def liouvillian(
    sites: Sites,
    model: ExchangeModel,
    m: float,
    field: Float[Array, ""],
    linewidth: Float[Array, " site"] | None,
) -> Liouvillian:
    """Assemble the generator of the transition (m, m - 1) in the basis of the motion's modes.

    Args:
        sites: tensors of the N sites.
        model: their jumps.
        m: upper level.
        field: tesla.
        linewidth: Lorentzian FWHM of each site, Hz, where they differ; None where one width is applied afterwards.

    Returns:
        The generator; quadrupolar nuclei carry the second-order term of moving sites. Of an `AveragedExchange` it is that of
        the groups.
    """
    if not isinstance(model, AveragedExchange):
        return site_liouvillian(sites, model, m, field, linewidth)
    whole = site_liouvillian(sites, model, m, field, None)
    lumped = lump(model, exchange_populations(sites, model), model.averaged)
    modes = motional_modes(lumped.exchange, lumped.exchange.populations)
    up = modes.to_modes @ lumped.members @ whole.to_sites
    down = whole.to_modes @ lumped.shares.T @ modes.to_sites
    # Rates and widths are lumped as they stand: beside the fast rates of `whole` the slow ones would be rounding.
    relaxation = modes.rates
    if linewidth is not None:
        relaxation = relaxation - jnp.pi * modes.transform((lumped.shares @ linewidth)[None, :])[0]
    project = lambda part: jnp.einsum("ai,rij,jb->rab", up, part, down, precision="highest")  # noqa: E731
    f = whole.precession
    precession = jax.lax.complex(project(f.real), project(f.imag)) if jnp.iscomplexobj(f) else project(f)
    return Liouvillian(relaxation, precession, modes.state, modes.rates, modes.to_modes, modes.to_sites, whole.ranks)
