"""What is compiled: a network's numbers, energies and derivatives for padded coordinates and a graph."""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.potential._features import NodeFeatures
from jaxnmr.potential._model import node_features, node_numbers, species_of
from jaxnmr.potential._weights import EnergyScale
from jaxnmr.potential.nequip import NequipConfig
from jaxnmr.structure import Graph

__all__ = ["Cell", "Network", "Numbers", "atom_energies", "atom_features", "derivatives", "filled", "network_numbers"]

Numbers = Array | np.ndarray
# Of one structure, or of each in a batch.
Cell = Float[Numbers, "3 3"] | Float[Numbers, "structure 3 3"]


class Network(eqx.Module):
    """What a potential computes with; models that differ in nothing of `config` share what is compiled."""

    config: NequipConfig = eqx.field(static=True)
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
def network_numbers(network: Network, positions: Array, cell: Array, graph: Graph) -> Float[Array, " atom"]:
    vectors = graph.vectors(*filled(positions, cell, graph, network.dtype))
    return node_numbers(network.config, network.params, vectors, graph)


@jax.jit
def derivatives(
    network: Network, positions: Array, cell: Array, graph: Graph
) -> tuple[Float[Array, " atom"], Float[Array, "atom 3"], Float[Array, "structure 3 3"]]:
    """The network's number for each atom, forces, and dE/dstrain of each structure."""
    positions, cells = filled(positions, cell, graph, network.dtype)
    vectors = graph.vectors(positions, cells)
    scale = jnp.asarray(network.scale.scale, network.dtype)

    def total(vectors: Array) -> tuple[Array, Array]:
        each = node_numbers(network.config, network.params, vectors, graph)
        return scale * jnp.where(graph.is_atom, each, 0.0).sum(), each

    (_, each), slopes = jax.value_and_grad(total, has_aux=True)(vectors)
    slopes = jnp.where(graph.is_edge[..., None], slopes, 0.0)
    # Of the edge i -> j, +dE/dr belongs to i's force and -dE/dr to j's.
    onto = jnp.zeros_like(positions).at[jnp.asarray(graph.neighbors)].add(slopes, mode="drop")
    forces = slopes.sum(axis=1) - onto
    # Strain turns each vector r into (1 + e) r, so dE/de is the sum of dE/dr r^T.
    virial = jnp.einsum("akx,aky->axy", vectors, slopes, precision="highest")
    virial = jax.ops.segment_sum(virial, jnp.asarray(graph.structure), graph.n_structures)
    return each, forces, (virial + jnp.swapaxes(virial, -1, -2)) / 2
