"""From the features of learnt atoms to where they lie."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnmr.potential._domain import Domain, distance

__all__ = ["Seen", "fit_domain", "thinned"]

# Directions that are told apart; all others count as one.
_DIRECTIONS = 64
# Added to the scatter along each direction, in that of the largest: features hardly ever changed by the learnt atoms would
# make everything else infinitely far.
_RIDGE = 1e-3
# Of the atoms of an element that lie within its end.
_WITHIN = 0.99
# With fewer atoms of an element nothing is said of where they end.
_LEAST = 10
# Atoms of each element that are looked at, at most: a scatter of a few hundred channels asks for no more.
_ATOMS = 10_000


class Seen(NamedTuple):
    """Features of atoms from samples.

    Attributes:
        scalars: even scalars of all layers, (atom, channel).
        species: places among the elements, (atom,).
        owner: the sample of each, (atom,).
    """

    scalars: np.ndarray
    species: np.ndarray
    owner: np.ndarray


def thinned(seen: Seen) -> Seen:
    """Of each element no more atoms than are needed, chosen by chance: every so many-th would follow the cells' order."""
    rng, kept = np.random.default_rng(0), []
    for z in np.unique(seen.species):
        mine = np.flatnonzero(seen.species == z)
        kept.append(np.sort(rng.choice(mine, _ATOMS, replace=False)) if mine.size > _ATOMS else mine)
    rows = np.sort(np.concatenate(kept))
    return Seen(*(part[rows] for part in seen))


def fit_domain(learnt: Seen, n_elements: int) -> Domain:
    """Means, scatter and ends of learnt atoms.

    Learnt atoms are nearer than others of their kind, because mean and scatter were made to fit them, and the more so the
    fewer they are. Where atoms like them end is therefore asked of one half of the samples by the other, of a single
    sample's atoms likewise. Those that are held out have no say: they may be of another kind.

    Args:
        learnt: atoms with labels.
        n_elements: how many elements the model knows.

    Returns:
        In double precision. Ends are NaN of elements of which fewer than ten atoms are there.
    """
    learnt = thinned(learnt)
    found = _fitted(learnt, n_elements)
    owners = learnt.owner if np.ptp(learnt.owner) else np.arange(len(learnt.owner))
    samples = np.random.default_rng(0).permutation(np.unique(owners))
    first = np.isin(owners, samples[: samples.size // 2])
    halves = [Seen(*(part[rows] for part in learnt)) for rows in (first, ~first)] if samples.size > 1 else []
    fitted = [_fitted(half, n_elements) for half in halves]
    end = found.end.copy()
    for z in np.flatnonzero(~np.isnan(end)):
        away = [
            _away(domain, Seen(*(part[other.species == z] for part in other)))
            for half, domain, other in zip(halves, fitted, halves[::-1], strict=True)
            if z in half.species and z in other.species
        ]
        outside = np.concatenate([*away, np.zeros(0)])
        end[z] = max(end[z], np.quantile(outside, _WITHIN)) if outside.size >= _LEAST else np.nan
    # Atoms that are all the same end nowhere.
    return found._replace(end=np.where(end > 1e-6, end, np.nan))


def _away(domain: Domain, seen: Seen) -> np.ndarray:
    return np.asarray(distance(domain, jnp.asarray(seen.scalars), jnp.asarray(seen.species))[0], np.float64)


def _fitted(seen: Seen, n_elements: int) -> Domain:
    """Of these atoms alone, with the ends that they have themselves."""
    x, species = np.asarray(seen.scalars, np.float64), seen.species
    mean = np.broadcast_to(x.mean(axis=0), (n_elements, x.shape[1])).copy()
    for z in np.unique(species):
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
    n, end = float(square.mean()) or 1.0, np.full(n_elements, np.nan)
    for z in np.unique(species):
        mine = np.sqrt(square[species == z] / n)
        end[z] = np.quantile(mine, _WITHIN) if mine.size >= _LEAST else np.nan
    return Domain(mean, size, directions, n * scatter, np.asarray(n * ridge), end)
