"""Predictions beside labels, for tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxnmr.potential._potential import Potential
from jaxnmr.potential._tensor_model import TensorModel
from jaxnmr.potential.training._samples import Sample
from jaxnmr.structure import Batch

__all__ = ["Comparison", "compare"]

# Structures of up to so many times the atoms of another are given the same room.
_SPREAD = 2.0


class Comparison(NamedTuple):
    """Predictions of one quantity beside their labels.

    Attributes:
        name: of the quantity.
        unit: of the numbers.
        element: to whose atoms it belongs; empty where to none.
        given: labels, (n, ...).
        found: predictions, of the same shape.
        uncertainty: standard deviation of one number of each, (n,); NaN where the model tells none.
    """

    name: str
    unit: str
    element: str
    given: np.ndarray
    found: np.ndarray
    uncertainty: np.ndarray

    @property
    def rmse(self) -> float:
        """Root mean square error of single numbers."""
        return float(np.sqrt(np.mean((self.found - self.given) ** 2)))

    @property
    def mae(self) -> float:
        """Mean absolute error of single numbers."""
        return float(np.mean(np.abs(self.found - self.given)))

    @property
    def r2(self) -> float:
        """Share of the labels' variance (about their mean, element by element of a tensor) that is explained.

        NaN where they do not vary, as a single one.
        """
        variance = float(np.sum((self.given - self.given.mean(axis=0)) ** 2))
        return float(1 - np.sum((self.found - self.given) ** 2) / variance) if variance > 0 else float("nan")

    def coverage(self, width: float = 1.0) -> float:
        """Share of single numbers whose error is within so many standard deviations; NaN without uncertainties."""
        if np.isnan(self.uncertainty).all():
            return float("nan")
        limit = width * self.uncertainty.reshape(-1, *(1,) * (self.given.ndim - 1))
        return float(np.mean(np.abs(self.found - self.given) <= limit))

    def rank_correlation(self) -> float:
        """Spearman's, of the uncertainty and the error of each value (root mean square over its numbers).

        Equal ones share the mean of their ranks. NaN where either is the same everywhere, with fewer than three values,
        and without uncertainties.
        """
        error = np.sqrt(np.mean((self.found - self.given).reshape(len(self.given), -1) ** 2, axis=1))
        if len(error) < 3 or np.isnan(self.uncertainty).any():
            return float("nan")
        ranks = [_ranks(each) for each in (error, self.uncertainty)]
        if any(np.ptp(each) == 0 for each in ranks):
            return float("nan")
        return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(numbers: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(numbers, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def compare(model: Potential | TensorModel, samples: Sequence[Sample]) -> tuple[Comparison, ...]:
    """Predictions for all labels: of a potential energies, forces and stresses; of a tensor model each property by element.

    Args:
        model: what predicts.
        samples: with labels; what has none is left out, and so are elements of which the model has learnt nothing.
    """
    if isinstance(model, Potential):
        return _of_potential(model, samples)
    found: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    for sample, batch in zip(samples, _alike(model, samples), strict=True):
        predictions = model.evaluate(batch)[0]
        for prop, given, (values, uncertainty, _) in zip(model.properties, sample.values, predictions, strict=True):
            if prop.pooling != "none":
                if not (np.isnan(given).any() or np.isnan(values).any()):
                    found.setdefault((prop.name, ""), []).append((given[None], values[None], uncertainty[None]))
                continue
            there = ~np.isnan(np.concatenate([each.reshape(len(given), -1) for each in (given, values)], axis=1)).any(axis=1)
            for symbol in sample.structure.elements:
                mine = there & np.array([s == symbol for s in sample.structure.species])
                if mine.any():
                    found.setdefault((prop.name, symbol), []).append((given[mine], values[mine], uncertainty[mine]))
    units = {prop.name: prop.unit for prop in model.properties}
    results = []
    for (name, element), parts in sorted(found.items()):
        given, values, uncertainty = (np.concatenate(each) for each in zip(*parts, strict=True))
        results.append(Comparison(name, units[name], element, given, values, uncertainty))
    return tuple(results)


def _alike(model: Potential | TensorModel, samples: Sequence[Sample]) -> Iterator[Batch]:
    """Each structure by itself, in few sizes of arrays: compiling costs more than computing a little in vain."""
    least = [model.prepare([sample.structure]) for sample in samples]
    sizes: dict[int, tuple[int, int]] = {}
    group: list[int] = []
    for k in sorted(range(len(least)), key=lambda k: least[k].graph.n_atoms):
        if group and least[k].graph.n_atoms > _SPREAD * least[group[0]].graph.n_atoms:
            group = []
        group.append(k)
        room = least[k].graph.n_atoms, max(least[each].graph.n_neighbors for each in group)
        sizes |= dict.fromkeys(group, room)
    for k, sample in enumerate(samples):
        atoms, neighbors = sizes[k]
        yield model.prepare([sample.structure], n_atoms=atoms, n_neighbors=neighbors)


def _of_potential(potential: Potential, samples: Sequence[Sample]) -> tuple[Comparison, ...]:
    energy, forces, stress = [], [], []
    for sample, batch in zip(samples, _alike(potential, samples), strict=True):
        result, n = potential.evaluate(batch)[0], len(sample.structure)
        if np.isfinite(sample.energy):
            energy.append((sample.energy / n, result.energy / n))
        if not np.isnan(sample.forces).any():
            forces.append((sample.forces, result.forces))
        if result.stress is not None and not np.isnan(sample.stress).any():
            stress.append((sample.stress, result.stress))
    results = []
    for name, unit, pairs in (
        ("energy", "eV/atom", energy),
        ("forces", "eV/angstrom", forces),
        ("stress", "eV/angstrom^3", stress),
    ):
        if pairs:
            given, found = (np.concatenate([np.atleast_1d(each) for each in column]) for column in zip(*pairs, strict=True))
            results.append(Comparison(name, unit, "", given, found, np.full(len(given), np.nan)))
    return tuple(results)
