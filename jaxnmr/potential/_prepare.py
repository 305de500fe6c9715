"""From what users give to what networks compute with, checked: precision, structures, graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.errors import is_concrete
from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.structure import ELEMENTS, Batch, Graph, Structure, as_structure, atomic_numbers, batch_graphs

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["LEAST_DISTANCE", "check_graph", "precision", "prepared"]

# No two nuclei of ordinary matter come as near; a network knows nothing of such pairs and answers with anything.
LEAST_DISTANCE = 0.3


def precision(dtype: Any) -> np.dtype:
    """A precision that a user asked for, or JAX's default.

    Raises:
        ValueError: one that networks or JAX do not offer.
    """
    wanted = jnp.zeros(()).dtype if dtype is None else np.dtype(dtype)
    if wanted not in (np.dtype("float32"), np.dtype("float64")):
        raise ValueError(f"dtype: got {wanted}; give 'float32' or 'float64'.")
    if wanted == np.dtype("float64") and jnp.zeros(()).dtype != wanted:
        raise ValueError("dtype: got float64, which JAX offers after jax.config.update('jax_enable_x64', True).")
    return wanted


def prepared(
    config: BackboneConfig,
    name: str,
    atoms: Sequence[Structure | Atoms],
    n_atoms: int | None = None,
    n_neighbors: int | None = None,
) -> Batch:
    """Structures with their neighbour graph.

    Args:
        config: whose elements and cutoff count.
        name: of the model, for messages; may be empty.
        atoms: the structures.
        n_atoms: room for atoms.
        n_neighbors: room for neighbours.

    Raises:
        ValueError: an element that is not known, atoms too near, or what `jaxnmr.structure.batch_graphs` refuses.
    """
    structures = [as_structure(each) for each in atoms]
    for structure in structures:
        unknown = sorted({ELEMENTS[z - 1] for z in set(atomic_numbers(structure).tolist()) - set(config.elements)})
        if unknown:
            who, known = f"model {name!r}" if name else "this model", (ELEMENTS[z - 1] for z in config.elements)
            raise ValueError(f"atoms: {who} does not know {', '.join(unknown)}; it knows {', '.join(known)}.")
    return batch_graphs(structures, config.cutoff, n_atoms=n_atoms, n_neighbors=n_neighbors, least_distance=LEAST_DISTANCE)


def check_graph(config: BackboneConfig, positions: Array | np.ndarray, graph: Graph) -> None:
    """Refuses a graph that does not reach as far as the network, or does not fit the positions."""
    if graph.cutoff < config.cutoff:
        raise ValueError(f"graph: lists pairs up to {graph.cutoff} Å; this model needs {config.cutoff} Å.")
    if jnp.shape(positions)[0] > graph.n_atoms:
        raise ValueError(f"positions: {jnp.shape(positions)[0]} came for a graph of {graph.n_atoms} atoms.")
    if is_concrete(graph.numbers):
        unknown = set(np.asarray(graph.numbers).tolist()) - {0, *config.elements}
        if unknown:
            raise ValueError(f"graph: has {', '.join(ELEMENTS[z - 1] for z in sorted(unknown))}, which is not known.")
