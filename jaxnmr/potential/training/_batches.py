"""Batches of structures of different size in few shapes, and of features that are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._irreps import Chunks
from jaxnmr.potential._prepare import prepared
from jaxnmr.potential._property import Property
from jaxnmr.potential.training._samples import Sample
from jaxnmr.potential.training._scales import composition
from jaxnmr.structure import Graph, bucket

__all__ = ["FeatureBatch", "FeatureBatches", "StructureBatch", "StructureBatches"]

Numbers = Array | np.ndarray
# A group's largest structure has at most so many times the atoms of its smallest: between filling up and compiling.
_SPREAD = 1.6


class StructureBatch(eqx.Module):
    """Structures with their labels, NaN where there is none.

    Attributes:
        graph: the neighbours.
        positions: Å.
        cell: Å, of each structure.
        atoms: number of atoms of each structure, zero for one that fills up.
        energy: without the elements' references, eV.
        forces: eV/Å.
        stress: eV/Å³.
        values: of each property.
    """

    graph: Graph
    positions: Float[Numbers, "atom 3"]
    cell: Float[Numbers, "structure 3 3"]
    atoms: Float[Numbers, " structure"]
    energy: Float[Numbers, " structure"]
    forces: Float[Numbers, "atom 3"]
    stress: Float[Numbers, "structure 3 3"]
    values: tuple[Numbers, ...]


class FeatureBatch(eqx.Module):
    """Features of single atoms with their labels, NaN where there is none.

    Attributes:
        chunks: features of all layers.
        species: each atom's place among the elements.
        values: of each property.
    """

    chunks: Chunks | tuple[np.ndarray, ...]
    species: Int[Numbers, " atom"]
    values: tuple[Numbers, ...]


@dataclass(frozen=True)
class _Item:
    """A sample with its own graph."""

    graph: Graph
    sample: Sample
    energy: float

    @property
    def n(self) -> int:
        return len(self.sample.structure)

    @property
    def width(self) -> int:
        return int(np.asarray(self.graph.is_edge).sum(axis=1).max(initial=0))


class StructureBatches:
    """All samples with their graphs, and how they come together.

    Args:
        config: cutoff and elements.
        properties: what the samples' values are.
        samples: at least one.
        size: structures of a batch.
        references: energies of the elements, to be subtracted; zero unless given.

    Raises:
        ValueError: atoms that the network does not know, or too near.
    """

    def __init__(
        self,
        config: BackboneConfig,
        properties: Sequence[Property],
        samples: Sequence[Sample],
        size: int,
        references: np.ndarray | None = None,
    ):
        self._properties, self._size = tuple(properties), min(size, max(len(samples), 1))
        known = np.zeros(len(config.elements)) if references is None else references
        self._items = []
        for sample in samples:
            try:
                graph = prepared(config, "", [sample.structure]).graph
            except ValueError as error:
                raise ValueError(f"{sample.source}: {error}") from None
            energy = sample.energy - float(composition(config, [sample])[0] @ known)
            self._items.append(_Item(graph, sample, energy))
        self._groups = self._grouped()
        self.count = sum(-(-len(group) // self._size) for group in self._groups)

    def epoch(self, seed: int, epoch: int) -> Iterator[StructureBatch]:
        """All batches of an epoch, in an order that the two numbers fix."""
        rng = np.random.default_rng([seed, epoch])
        plan = []
        for g, group in enumerate(self._groups):
            order = rng.permutation(group)
            plan += [(g, order[k : k + self._size]) for k in range(0, len(order), self._size)]
        for k in rng.permutation(len(plan)):
            yield self._batch(*plan[k])

    def ordered(self) -> Iterator[tuple[np.ndarray, StructureBatch]]:
        """All batches once, each with its samples' numbers."""
        for g, group in enumerate(self._groups):
            for k in range(0, len(group), self._size):
                members = np.asarray(group[k : k + self._size])
                yield members, self._batch(g, members)

    def _grouped(self) -> list[list[int]]:
        groups: list[list[int]] = []
        for k in sorted(range(len(self._items)), key=lambda k: self._items[k].n):
            if groups and self._items[k].n <= _SPREAD * self._items[groups[-1][0]].n:
                groups[-1].append(k)
            else:
                groups.append([k])
        return groups

    def _batch(self, group: int, members: np.ndarray) -> StructureBatch:
        everyone = [self._items[k] for k in self._groups[group]]
        size, n = self._size, bucket(self._size * max(item.n for item in everyone))
        width = bucket(max(item.width for item in everyone))
        items = [self._items[k] for k in members]
        numbers, owner = np.zeros(n, np.int32), np.zeros(n, np.int32)
        neighbors, shifts = np.full((n, width), n, np.int32), np.zeros((n, width, 3), np.int32)
        positions, cells = np.zeros((n, 3)), np.tile(np.eye(3), (size, 1, 1))
        atoms, energy, stress = np.zeros(size), np.full(size, np.nan), np.full((size, 3, 3), np.nan)
        forces = np.full((n, 3), np.nan)
        values = [np.full((n if prop.pooling == "none" else size, *prop.shape), np.nan) for prop in self._properties]
        start = 0
        for s, item in enumerate(items):
            here, own = slice(start, start + item.n), slice(0, item.n)
            w = min(width, item.graph.n_neighbors)
            there = np.asarray(item.graph.neighbors)[own, :w]
            numbers[here], owner[here] = np.asarray(item.graph.numbers)[own], s
            neighbors[here, :w] = np.where(there < item.graph.n_atoms, there + start, n)
            shifts[here, :w] = np.asarray(item.graph.shifts)[own, :w]
            positions[here] = np.asarray(item.sample.structure.positions)
            if item.sample.structure.cell is not None:
                cells[s] = np.asarray(item.sample.structure.cell)
            atoms[s], energy[s], stress[s] = item.n, item.energy, item.sample.stress
            if not all(item.sample.structure.pbc):  # no volume, no stress
                stress[s] = np.nan
            forces[here] = item.sample.forces
            for prop, array, given in zip(self._properties, values, item.sample.values, strict=True):
                array[here if prop.pooling == "none" else s] = given
            start += item.n
        graph = Graph(numbers, neighbors, shifts, owner, self._items[0].graph.cutoff, size)
        return StructureBatch(graph, positions, cells, atoms, energy, forces, stress, tuple(values))


class FeatureBatches:
    """Features of all labelled atoms, and how they come together.

    Args:
        batch: all of them.
        size: atoms of a batch.
    """

    def __init__(self, batch: FeatureBatch, size: int):
        self._all = batch
        rows = int(np.shape(batch.species)[0])
        self._rows, self._size = rows, min(size, rows)
        self.count = -(-rows // self._size)

    def epoch(self, seed: int, epoch: int) -> Iterator[FeatureBatch]:
        """All batches of an epoch, in an order that the two numbers fix."""
        order = np.random.default_rng([seed, epoch]).permutation(self._rows)
        for k in range(0, self._rows, self._size):
            yield self._batch(order[k : k + self._size])

    def ordered(self) -> Iterator[tuple[np.ndarray, FeatureBatch]]:
        """All batches once, each with its atoms' numbers."""
        for k in range(0, self._rows, self._size):
            rows = np.arange(k, min(k + self._size, self._rows))
            yield rows, self._batch(rows)

    def _batch(self, rows: np.ndarray) -> FeatureBatch:
        spare = self._size - len(rows)
        filled = np.concatenate([rows, np.zeros(spare, rows.dtype)])
        values = tuple(np.array(np.asarray(each)[filled]) for each in self._all.values)
        for each in values:
            each[len(rows) :] = np.nan
        chunks = tuple(np.asarray(chunk)[filled] for chunk in self._all.chunks)
        return FeatureBatch(chunks, np.asarray(self._all.species)[filled], values)
