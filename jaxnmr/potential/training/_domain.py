"""From the features of learnt atoms to where they lie."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxnmr.potential._domain import Domain, distance

__all__ = ["fit_domain"]

# Directions that are told apart; all others count as one. Of 512 channels 32 are as good as all.
_DIRECTIONS = 64
# Added to the scatter along each direction, in that of the largest: features hardly ever changed by the learnt atoms would
# make everything else infinitely far.
_RIDGE = 1e-3
# Of the learnt atoms of an element that lie within its end.
_WITHIN = 0.99


def fit_domain(
    scalars: np.ndarray, species: np.ndarray, n_elements: int, held: tuple[np.ndarray, np.ndarray] | None = None
) -> Domain:
    """Means, scatter and ends of learnt atoms.

    Args:
        scalars: their features, (atom, channel).
        species: their places among the elements, (atom,).
        n_elements: how many elements the model knows.
        held: features and places of atoms that were held out. Of few learnt atoms, which are near because the scatter was
            made to fit them, these tell where such atoms really end.

    Returns:
        In double precision. An element that was not learnt has the mean of all others, and no end.
    """
    x, n_channels = np.asarray(scalars, np.float64), scalars.shape[1]
    learnt = np.unique(species)
    mean = np.broadcast_to(x.mean(axis=0), (n_elements, n_channels)).copy()
    for z in learnt:
        mean[z] = x[species == z].mean(axis=0)
    away = x - mean[species]
    size = np.sqrt(np.mean(away**2, axis=0))
    # Channels that hardly change are not made large; a single atom of each element has no scatter at all.
    least = 0.05 * np.sqrt(np.mean(size**2))
    size = np.maximum(size, least if least > 0 else 1.0)
    away = away / size
    values, vectors = np.linalg.eigh(away.T @ away / len(away))
    values, vectors = values[::-1], vectors[:, ::-1]
    ridge = _RIDGE * values[0] if values[0] > 0 else 1.0
    directions, scatter = vectors[:, :_DIRECTIONS], np.maximum(values[:_DIRECTIONS], 0.0) + ridge
    along = away @ directions
    across = np.maximum(np.sum(away**2, axis=1) - np.sum(along**2, axis=1), 0.0)
    square = np.sum(along**2 / scatter, axis=1) + across / ridge
    n = float(square.mean()) or 1.0
    end = np.zeros(n_elements)
    for z in learnt:
        end[z] = np.quantile(np.sqrt(square[species == z] / n), _WITHIN)
    found = Domain(mean, size, directions, n * scatter, np.asarray(n * ridge), end)
    if held is not None:
        away = np.asarray(distance(found, jnp.asarray(held[0]), jnp.asarray(held[1]))[0], np.float64)
        for z in np.intersect1d(learnt, held[1]):
            end[z] = max(end[z], np.quantile(away[held[1] == z], _WITHIN))
    return found._replace(end=end)
