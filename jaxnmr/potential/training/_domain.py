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


def fit_domain(learnt: Seen, n_elements: int, held: Seen | None = None) -> Domain:
    """Means, scatter and ends of learnt atoms.

    Learnt atoms are nearer than others of their kind, because mean and scatter were made to fit them, and the more so the
    fewer they are. Where atoms like them end is therefore asked of those that were held out, or of one half of the samples
    by the other.

    Args:
        learnt: atoms with labels.
        n_elements: how many elements the model knows.
        held: atoms that were held out.

    Returns:
        In double precision. Ends are NaN of elements of which fewer than ten atoms, or atoms of one sample alone, are there.
    """
    learnt = thinned(learnt)
    found = _fitted(learnt, n_elements)
    end = found.end.copy()
    others = [] if held is None else [(learnt, found, thinned(held))]
    told = set() if held is None else {z for z in np.unique(held.species) if np.sum(held.species == z) >= _LEAST}
    samples = np.random.default_rng(0).permutation(np.unique(learnt.owner))
    if samples.size > 1 and not set(np.unique(learnt.species)) <= told:
        first = np.isin(learnt.owner, samples[: samples.size // 2])
        halves = [Seen(*(part[rows] for part in learnt)) for rows in (first, ~first)]
        others += [(one, _fitted(one, n_elements), two) for one, two in (halves, halves[::-1])]
    for z in np.flatnonzero(~np.isnan(end)):
        away = [
            _away(domain, Seen(*(part[seen.species == z] for part in seen)))
            for known, domain, seen in (others[:1] if z in told else others)
            if z in known.species
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
