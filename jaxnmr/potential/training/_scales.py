"""Numbers that the labels fix before anything is learnt: references of energies, means and sizes of properties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._cartesian import components
from jaxnmr.potential._property import Property
from jaxnmr.potential._tensor_network import PropertyScale
from jaxnmr.potential._weights import EnergyScale
from jaxnmr.potential.training._samples import Sample
from jaxnmr.structure import atomic_numbers

__all__ = ["composition", "energy_scale", "places", "property_scale"]


def places(config: BackboneConfig, sample: Sample) -> np.ndarray:
    """Each atom's place among the elements of a model, (atom,)."""
    table = {number: k for k, number in enumerate(config.elements)}
    return np.array([table[number] for number in atomic_numbers(sample.structure).tolist()])


def composition(config: BackboneConfig, samples: Sequence[Sample]) -> np.ndarray:
    """How many atoms of each element each structure has, (sample, element)."""
    n = len(config.elements)
    return np.stack([np.bincount(places(config, sample), minlength=n) for sample in samples]).astype(np.float64)


def energy_scale(config: BackboneConfig, samples: Sequence[Sample]) -> EnergyScale:
    """References by least squares (the smallest ones, where compositions leave them open); scale the forces' size."""
    labelled = [sample for sample in samples if np.isfinite(sample.energy)]
    references = np.zeros(len(config.elements))
    if labelled:
        counts, energies = composition(config, labelled), np.array([sample.energy for sample in labelled])
        references = np.linalg.lstsq(counts, energies, rcond=1e-8)[0]
    forces = np.concatenate([np.zeros(0), *(each.forces.ravel() for each in samples if not np.isnan(each.forces).any())])
    size = float(np.sqrt(np.mean(forces**2))) if forces.size else 1.0
    return EnergyScale(references, np.float64(max(size, 1e-6)), np.float64(0.0))


def property_scale(config: BackboneConfig, prop: Property, place: int, samples: Sequence[Sample]) -> PropertyScale:
    """Mean of the even scalars and size of each kind, for each element.

    Args:
        config: whose elements count.
        prop: the property.
        place: its place among the samples' values.
        samples: the labels.

    Raises:
        ValueError: there is no label at all.
    """
    n, kinds = len(config.elements), prop.kinds
    even = sum(irrep.channels for irrep in kinds if irrep.kind == (0, 1))
    if prop.pooling != "none":
        return _pooled(config, prop, place, samples, even)
    values, species = [], []
    for sample in samples:
        there = ~np.isnan(sample.values[place].reshape(len(sample.structure), -1)).any(axis=1)
        values.append(sample.values[place][there])
        species.append(places(config, sample)[there])
    value, element = np.concatenate(values), np.concatenate(species)
    if not value.size:
        raise ValueError(f"samples: none has a label of {prop.name}; look at the names of the files' columns.")
    parts = [np.asarray(part, np.float64) for part in components(prop, value)]
    mean, scale, count = np.zeros((n, even)), np.ones((n, len(kinds))), np.bincount(element, minlength=n).astype(np.float64)
    for z in np.flatnonzero(count):
        for k, (irrep, part) in enumerate(zip(kinds, parts, strict=True)):
            mine = part[element == z]
            if irrep.kind == (0, 1):
                mean[z] = mine[:, 0, :].mean(axis=0)
                mine = mine - mine.mean(axis=0)
            scale[z, k] = np.sqrt(np.mean(mine**2))
    seen = count > 0
    # One label has no spread, and a kind that vanishes by symmetry no size: that of the other elements serves.
    for k in range(len(kinds)):
        typical = np.sqrt(np.mean(scale[seen, k] ** 2)) or 1.0
        scale[seen, k] = np.where(scale[seen, k] > 1e-4 * typical, scale[seen, k], typical)
    return PropertyScale(mean, scale, count)


def _pooled(config: BackboneConfig, prop: Property, place: int, samples: Sequence[Sample], even: int) -> PropertyScale:
    """Contributions of each element to the even scalars by least squares; one size, that of what is left."""
    n, labelled = len(config.elements), [s for s in samples if not np.isnan(s.values[place]).any()]
    if not labelled:
        raise ValueError(f"samples: none has a label of {prop.name}; look at the names of the files' columns.")
    counts = composition(config, labelled)
    total = counts.sum(axis=1, keepdims=True)
    weights = counts if prop.pooling == "sum" else counts / total
    parts = components(prop, np.stack([sample.values[place] for sample in labelled]))
    mean, scale = np.zeros((n, even)), np.ones((n, len(prop.kinds)))
    for k, (irrep, part) in enumerate(zip(prop.kinds, parts, strict=True)):
        left = np.asarray(part, np.float64)
        if irrep.kind == (0, 1):
            mean = np.linalg.lstsq(weights, left[:, 0, :], rcond=1e-8)[0]
            left = left - (weights @ mean)[:, None, :]
        # A sum over n atoms of independent numbers of size one is of the size of the root of n.
        share = left / np.sqrt(total)[:, :, None] if prop.pooling == "sum" else left * np.sqrt(total)[:, :, None]
        scale[:, k] = np.sqrt(np.mean(share**2)) or 1.0
    return PropertyScale(mean, scale, counts.sum(axis=0))
