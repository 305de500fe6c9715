"""What is to be made small, and by what it is judged: for potentials and for tensor models."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._domain import Domain, distance
from jaxnmr.potential._evaluate import Network, derivatives
from jaxnmr.potential._irreps import Chunks
from jaxnmr.potential._model import species_of
from jaxnmr.potential._property import Property
from jaxnmr.potential._tensor_network import (
    PropertyScale,
    TensorConfig,
    backbone_chunks,
    committee,
    property_values,
    root_mean_square,
    scalars_of,
    spread,
    typical_size,
)
from jaxnmr.potential._weights import EnergyScale
from jaxnmr.potential.training._batches import FeatureBatch, StructureBatch
from jaxnmr.potential.training._settings import Settings
from jaxnmr.structure import Graph

__all__ = ["EnergyTask", "Measure", "Sums", "TensorTask"]


class Measure(NamedTuple):
    """An error that is reported: its name and unit."""

    name: str
    unit: str


class Sums(NamedTuple):
    """Sums over a batch, to be added up over others.

    Attributes:
        loss: of the loss, ().
        weight: number of structures, atoms or labels that it counts, ().
        absolute: of absolute errors for each measure, (measure,).
        square: of squared errors.
        count: of numbers compared.
    """

    loss: Float[Array, ""]
    weight: Float[Array, ""]
    absolute: Float[Array, " measure"]
    square: Float[Array, " measure"]
    count: Float[Array, " measure"]


class EnergyTask(eqx.Module):
    """Energies, forces and stresses.

    Args:
        config: the network.
        scale: of the energies.
        settings: weights.
    """

    config: BackboneConfig = eqx.field(static=True)
    scale: EnergyScale
    settings: Settings = eqx.field(static=True)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is reported."""
        return Measure("energy", "eV/atom"), Measure("forces", "eV/angstrom"), Measure("stress", "eV/angstrom^3")

    def sums(self, params: dict, batch: StructureBatch) -> Sums:
        """Loss and errors of a batch.

        Args:
            params: "backbone" and "energy".
            batch: structures.
        """
        each, forces, virial = derivatives(
            Network(self.config, params, self.scale), batch.positions, batch.cell, batch.graph
        )
        dtype, owner, real = each.dtype, jnp.asarray(batch.graph.structure), jnp.asarray(batch.graph.is_atom)
        unit, count = jnp.asarray(self.scale.scale, dtype), batch.graph.n_structures
        atoms = jnp.maximum(jnp.asarray(batch.atoms, dtype), 1.0)
        energy = jax.ops.segment_sum(jnp.where(real, each, 0.0) * unit, owner, count)
        volume = jnp.abs(jnp.linalg.det(jnp.asarray(batch.cell, dtype)))

        energy, has_energy = _compared(energy, batch.energy)
        forces, has_forces = _compared(forces, batch.forces)
        stress, has_stress = _compared(virial / volume[:, None, None], batch.stress)
        has_forces = has_forces.all(axis=-1)
        settings, loss = self.settings, jnp.zeros(count, dtype)
        loss += settings.energy_weight * _rho((energy / atoms / unit) ** 2, settings)
        norm = _rho(jnp.sum((forces / unit) ** 2, axis=-1) / 3, settings)
        loss += settings.forces_weight * jax.ops.segment_sum(norm, owner, count) / atoms
        norm = jnp.mean((stress * (volume / atoms / unit)[:, None, None]) ** 2, axis=(1, 2))
        loss += settings.stress_weight * _rho(norm, settings)
        errors = energy / atoms, forces, stress
        there = has_energy, has_forces, has_stress.all(axis=(1, 2))
        return Sums(loss.sum(), (jnp.asarray(batch.atoms, dtype) > 0).sum().astype(dtype), *_added(errors, there))


class TensorTask(eqx.Module):
    """Properties of atoms and structures.

    Args:
        config: backbone, heads, properties.
        scales: of each property.
        settings: form of the loss.
    """

    config: TensorConfig = eqx.field(static=True)
    scales: tuple[PropertyScale, ...]
    settings: Settings = eqx.field(static=True)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is reported: errors of the committee's mean, of single elements."""
        return tuple(Measure(prop.name, prop.unit) for prop in self.config.properties)

    def sums(self, params: dict, batch: StructureBatch | FeatureBatch) -> Sums:
        r"""Loss (mean over the heads) and errors (of the mean over the heads) of a batch.

        Each label counts once, be it of an atom or of a structure. But where some properties are of atoms and others of
        whole structures, the labels of atoms would drown those of structures, and the more so the larger these are. Then
        each property of a structure counts once, that of its atoms with the mean over those with a label:

        $$L = \frac{\sum_{s p} \langle\rho\rangle_{s p}}{\sum_{s p} 1}$$

        over the structures s and the properties p of which s has a label.

        Args:
            params: "standard" and "heads"; "backbone" for structures.
            batch: structures, or features of atoms.
        """
        mixed = len({prop.pooling == "none" for prop in self.config.properties}) == 2
        every, species, owner, _ = self.values(params, batch)
        loss, weight = jnp.zeros((), every[0].dtype), jnp.zeros((), every[0].dtype)
        errors, there = [], []
        for prop, scale, each, given in zip(self.config.properties, self.scales, every, batch.values, strict=True):
            dtype = each.dtype
            size = typical_size(prop, scale).astype(dtype)
            size = size[species] if prop.pooling == "none" else jnp.broadcast_to(size[0], each.shape[1:2])
            if prop.pooling != "none" and owner is not None:
                # The size is that of an atom's part: n of them add up to its root of n, and a mean is an n-th of that.
                root = jnp.sqrt(jnp.maximum(owner, 1.0))
                size = size * root if prop.pooling == "sum" else size / root
            wrong, has = _compared(each, jnp.broadcast_to(jnp.asarray(given, dtype), each.shape))
            has = has[0].reshape(has.shape[1], -1).all(axis=-1) & _known(prop, scale, species, batch)
            square = jnp.square(wrong).reshape(*each.shape[:2], -1).mean(axis=-1) / jnp.square(size)[None]
            rows, counted = jnp.where(has[None], _rho(square, self.settings), 0.0).mean(axis=0), has
            if mixed and prop.pooling == "none" and isinstance(batch, StructureBatch):
                rows, counted = _mean_of_each(rows, has, batch.graph)
            loss += rows.sum()
            weight += counted.sum().astype(dtype)
            errors.append(wrong.mean(axis=0))
            there.append(has)
        return Sums(loss, weight, *_added(tuple(errors), tuple(there)))

    def spreads(
        self, params: dict, batch: StructureBatch | FeatureBatch, domain: Domain | None = None
    ) -> tuple[tuple[Float[Array, " _"], Float[Array, " _"], Float[Array, " _"], Float[Array, " _"]], ...]:
        """For each property: error of the mean (root mean square over its elements), spread, size, distance.

        The error is NaN without a label, and where the model has learnt nothing of an element; the distance, from the learnt
        atoms, without a domain.
        """
        every, species, _, chunks = self.values(params, batch)
        found, away = [], jnp.full(species.shape, jnp.nan, every[0].dtype)
        if domain is not None:
            away, _ = distance(domain, scalars_of(self.config.network, chunks), jnp.maximum(species, 0))
        for prop, scale, each, given in zip(self.config.properties, self.scales, every, batch.values, strict=True):
            size = typical_size(prop, scale).astype(each.dtype)
            size = size[species] if prop.pooling == "none" else jnp.broadcast_to(size[0], each.shape[1:2])
            wrong = (each.mean(axis=0) - jnp.asarray(given, each.dtype)).reshape(each.shape[1], -1)
            error = jnp.where(_known(prop, scale, species, batch), jnp.sqrt(jnp.mean(wrong**2, axis=-1)), jnp.nan)
            mine = away
            if prop.pooling != "none" and isinstance(batch, StructureBatch):
                mine = root_mean_square(away, jnp.asarray(batch.graph.is_atom), batch.graph)
            found.append((error, spread(each), size, mine))
        return tuple(found)

    def values(
        self, params: dict, batch: StructureBatch | FeatureBatch
    ) -> tuple[tuple[Array, ...], Array, Array | None, Chunks]:
        """Values of each property by each member, species, atoms of each structure, and features."""
        config, dtype = self.config, jax.tree.leaves(params)[0].dtype
        if isinstance(batch, FeatureBatch):
            chunks, graph, atoms = tuple(jnp.asarray(chunk, dtype) for chunk in batch.chunks), None, None
            species = jnp.asarray(batch.species)
        else:
            graph, atoms, species = batch.graph, jnp.asarray(batch.atoms, dtype), species_of(config.network, batch.graph)
            vectors = graph.vectors(jnp.asarray(batch.positions, dtype), jnp.asarray(batch.cell, dtype))
            chunks = backbone_chunks(config.network, params["backbone"], vectors, graph)
        numbers = committee(config, params, chunks, species)
        return property_values(config, self.scales, numbers, species, graph), species, atoms, chunks


def _known(prop: Property, scale: PropertyScale, species: Array, batch: StructureBatch | FeatureBatch) -> Array:
    """Of which atoms, or structures with all their atoms, the model predicts anything: their elements had labels.

    Others have a mean of zero and a size of one, so that a single one would outweigh all that is judged.
    """
    known = jnp.asarray(scale.count)[jnp.maximum(species, 0)] > 0
    if prop.pooling == "none" or isinstance(batch, FeatureBatch):
        return known
    strangers = (jnp.asarray(batch.graph.is_atom) & ~known).astype(jnp.int32)
    return jax.ops.segment_sum(strangers, jnp.asarray(batch.graph.structure), batch.graph.n_structures) == 0


def _mean_of_each(rows: Array, has: Array, graph: Graph) -> tuple[Array, Array]:
    """Mean over the atoms with a label of each structure, zero of one that has none; and which have any."""
    owner, count = jnp.asarray(graph.structure), graph.n_structures
    labels = jax.ops.segment_sum(has.astype(rows.dtype), owner, count)
    return jax.ops.segment_sum(rows, owner, count) / jnp.maximum(labels, 1.0), labels > 0


def _compared(found: Array, given: Array | np.ndarray) -> tuple[Array, Array]:
    """Difference, zero where there is no label, and where there is one."""
    label = jnp.asarray(given, found.dtype)
    has = ~jnp.isnan(label)
    return jnp.where(has, found - jnp.where(has, label, 0.0), 0.0), has


def _rho(square: Array, settings: Settings) -> Array:
    """The loss of a squared error; of whole tensors, so that it turns with none."""
    if settings.loss == "mse":
        return square
    delta = settings.huber_delta**2
    return 2 * delta * (jnp.sqrt(1 + square / delta) - 1)


def _added(errors: tuple[Array, ...], there: tuple[Array, ...]) -> tuple[Array, Array, Array]:
    """Sums of absolute and squared errors, and their numbers."""
    rows = []
    for error, has in zip(errors, there, strict=True):
        flat = error.reshape(error.shape[0], -1)
        kept = jnp.where(has[:, None], flat, 0.0)
        rows.append((jnp.abs(kept).sum(), jnp.square(kept).sum(), has.sum().astype(flat.dtype) * flat.shape[-1]))
    absolute, square, count = (jnp.stack(column) for column in zip(*rows, strict=True))
    return absolute, square, count
