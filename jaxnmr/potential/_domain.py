r"""Where a tensor model has learnt, and how far from there an atom is.

A committee of heads cannot see an error that all its members share, and where no label has ever been they share most. The
features tell what the heads do not: with the scalars x of an atom, their mean $\mu_Z$ over the learnt atoms of its element
and their scatter C about it,

$$d^2 = \tfrac1N (x - \mu_Z)^T (C + \epsilon)^{-1} (x - \mu_Z),$$

where N makes the mean square of the learnt atoms one. Errors of atoms unlike any learnt ones were found to grow as d (see
benchmarks/README.md); the uncertainty follows it from where 99 of 100 learnt atoms of the element end.

References:
    K. Lee, K. Lee, H. Lee and J. Shin, NeurIPS 2018, arXiv:1807.03888 (distances with one scatter of all classes).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

__all__ = ["NOVEL", "Domain", "distance", "excess"]

# From here on an atom is called unlike the learnt: in novelty, of which one in a hundred like them lies beyond 1.
NOVEL = 2.0
Numbers = Array | np.ndarray


class Domain(NamedTuple):
    """The learnt atoms' scalar features, in few numbers.

    Attributes:
        mean: of each element, (element, channel).
        size: by which the channels are divided first, (channel,).
        directions: along which they scatter most, orthonormal, (channel, direction).
        scatter: mean square along each, with what regularises it, N included, (direction,).
        rest: the same across all other directions.
        end: distance below which 99 of 100 atoms like the learnt ones of each element lie, (element,); NaN where too few
            were learnt to tell.
    """

    mean: Float[Numbers, "element channel"]
    size: Float[Numbers, " channel"]
    directions: Float[Numbers, "channel direction"]
    scatter: Float[Numbers, " direction"]
    rest: Float[Numbers, ""]
    end: Float[Numbers, " element"]


def distance(
    domain: Domain, scalars: Float[Array, "atom channel"], species: Int[Array, " atom"]
) -> tuple[Float[Array, " atom"], Float[Array, " atom"]]:
    """How far each atom is from the learnt ones of its element, in their root mean square; and where those end.

    Args:
        domain: of the learnt atoms.
        scalars: of all layers.
        species: each atom's place among the elements.
    """
    mean, size, directions, scatter, rest, end = (jnp.asarray(part, scalars.dtype) for part in domain)
    away = (scalars - mean[species]) / size[None]
    along = jnp.matmul(away, directions, precision="highest")
    across = away - jnp.matmul(along, directions.T, precision="highest")
    square = jnp.sum(along**2 / scatter[None], axis=-1) + jnp.sum(across**2, axis=-1) / rest
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0), end[species]


def excess(away: Float[Array, " _"], end: Float[Array, " _"], error: Float[Numbers, ""]) -> Float[Array, " _"]:
    r"""Variance that comes beyond the end of the learnt atoms, in squares of a property's size S.

    $$g^2 / (1 + g^2),\quad g^2 = e^2 (d^2 - d_{end}^2)$$

    It is zero up to there and where no end is known, grows with the distance, and ends at one: of what is unlike everything
    learnt only the size of the property is known.

    Args:
        away: distances, d.
        end: where the learnt atoms end.
        error: root mean square error for a distance of one, in S, e.
    """
    known = ~jnp.isnan(end)
    past = jnp.maximum(away**2 - jnp.where(known, end, 0.0) ** 2, 0.0)
    growth = jnp.asarray(error, away.dtype) ** 2 * jnp.where(known, past, 0.0)
    return growth / (1 + growth)
