"""What is compiled: a network's numbers, energies and derivatives for padded coordinates and a graph."""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._features import NodeFeatures
from jaxnmr.potential._model import node_features, node_numbers, species_of
from jaxnmr.potential._prepare import check_graph
from jaxnmr.potential._weights import EnergyScale
from jaxnmr.structure import Batch, Graph

__all__ = [
    "Cell",
    "Network",
    "Numbers",
    "atom_energies",
    "atom_features",
    "check_batch",
    "derivatives",
    "edge_derivatives",
    "edge_vectors",
    "filled",
    "network_numbers",
]

Numbers = Array | np.ndarray
# Of one structure, or of each in a batch.
Cell = Float[Numbers, "3 3"] | Float[Numbers, "structure 3 3"]


class Network(eqx.Module):
    """What a potential computes with; models that differ in nothing of `config` share what is compiled."""

    config: BackboneConfig = eqx.field(static=True)
    params: Any
    scale: EnergyScale

    @property
    def dtype(self) -> np.dtype:
        """Precision of the parameters."""
        return jax.tree.leaves(self.params)[0].dtype


def filled(
    positions: Numbers, cell: Numbers | None, graph: Graph, dtype: np.dtype
) -> tuple[Float[Array, "atom 3"], Cell | None]:
    """Coordinates in the network's precision, as many as the graph has atoms."""
    positions = jnp.asarray(positions).astype(dtype)
    positions = jnp.pad(positions, ((0, graph.n_atoms - positions.shape[0]), (0, 0)))
    return positions, None if cell is None else jnp.asarray(cell).astype(dtype)


def check_batch(config: BackboneConfig, batch: Batch) -> None:
    """Refuses a batch that was prepared for another network: of a smaller cutoff, or with other elements."""
    try:
        check_graph(config, batch.positions, batch.graph)
    except ValueError as error:
        text = str(error).removeprefix("graph: ")
        raise ValueError(f"batch: {text} Make it by this model's `prepare`.") from None


def edge_vectors(batch: Batch, dtype: np.dtype) -> Float[np.ndarray, "atom neighbor 3"]:
    """`Graph.vectors` by NumPy in double precision, rounded only then.

    In single precision a position of 15 Å is rounded by 5e-7 Å, which stiff bonds turn into 1e-5 of all forces; the vector
    to a neighbour is shorter.
    """
    graph, positions = batch.graph, np.asarray(batch.positions, np.float64)
    neighbors, is_edge = np.asarray(graph.neighbors), np.asarray(graph.is_edge)
    cells = np.asarray(batch.cell, np.float64)[np.asarray(graph.structure)]
    here = np.arange(graph.n_atoms)[:, None]
    vectors = positions[np.where(is_edge, neighbors, here)] - positions[:, None] + np.asarray(graph.shifts) @ cells
    away = np.array([2.0 * graph.cutoff, 0.0, 0.0])
    return np.where(is_edge[..., None], vectors, away).astype(dtype)


@partial(jax.jit, static_argnames="references")
def atom_energies(
    network: Network, positions: Float[Array, "atom 3"], cell: Cell | None, graph: Graph, *, references: bool = True
) -> Float[Array, " atom"]:
    """Scale included, shift and references as asked for; zero for atoms that fill up."""
    dtype, scale = network.dtype, network.scale
    numbers = node_numbers(network.config, network.params, graph.vectors(positions, cell), graph)
    species = species_of(network.config, graph)
    energies = numbers * jnp.asarray(scale.scale, dtype)
    if references:
        energies = energies + jnp.asarray(scale.shift, dtype) + jnp.asarray(scale.references, dtype)[species]
    return jnp.where(graph.is_atom, jnp.where(species >= 0, energies, jnp.nan), 0.0)


@jax.jit
def atom_features(
    network: Network, positions: Float[Array, "atom 3"], cell: Cell | None, graph: Graph
) -> tuple[NodeFeatures, ...]:
    return node_features(network.config, network.params, graph.vectors(positions, cell), graph)


@jax.jit
def network_numbers(network: Network, vectors: Numbers, graph: Graph) -> Float[Array, " atom"]:
    return node_numbers(network.config, network.params, jnp.asarray(vectors), graph)


@jax.jit
def derivatives(
    network: Network, positions: Array, cell: Array, graph: Graph
) -> tuple[Float[Array, " atom"], Float[Array, "atom 3"], Float[Array, "structure 3 3"]]:
    """The network's number for each atom, forces, and dE/dstrain of each structure."""
    return edge_derivatives(network, graph.vectors(*filled(positions, cell, graph, network.dtype)), graph)


@jax.jit
def edge_derivatives(
    network: Network, vectors: Numbers, graph: Graph
) -> tuple[Float[Array, " atom"], Float[Array, "atom 3"], Float[Array, "structure 3 3"]]:
    """The same from the vectors of edges."""
    vectors = jnp.asarray(vectors)
    scale = jnp.asarray(network.scale.scale, network.dtype)

    def total(vectors: Array) -> tuple[Array, Array]:
        each = node_numbers(network.config, network.params, vectors, graph)
        return scale * jnp.where(graph.is_atom, each, 0.0).sum(), each

    (_, each), slopes = jax.value_and_grad(total, has_aux=True)(vectors)
    slopes = jnp.where(graph.is_edge[..., None], slopes, 0.0)
    # Of the edge i -> j, +dE/dr belongs to i's force and -dE/dr to j's.
    onto = jnp.zeros((graph.n_atoms, 3), slopes.dtype).at[jnp.asarray(graph.neighbors)].add(slopes, mode="drop")
    forces = slopes.sum(axis=1) - onto
    # Strain turns each vector r into (1 + e) r, so dE/de is the sum of dE/dr r^T.
    virial = jnp.einsum("akx,aky->axy", vectors, slopes, precision="highest")
    virial = jax.ops.segment_sum(virial, jnp.asarray(graph.structure), graph.n_structures)
    return each, forces, (virial + jnp.swapaxes(virial, -1, -2)) / 2
