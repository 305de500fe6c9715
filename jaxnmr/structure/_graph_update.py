"""Neighbour lists that are kept up to date under jit, and say when they have become too short."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxnmr.structure._elements import ELEMENTS
from jaxnmr.structure._graph import Graph, Numbers, bucket
from jaxnmr.structure._graph_build import as_structure, neighbor_graph, neighbor_pairs
from jaxnmr.structure._graph_search import images_within, search_neighbors
from jaxnmr.structure._structure import Structure

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["NeighborList"]

# A list foresees images to a reach longer by this part than what `update` asks for. In a cell whose height divides twice
# the reach the two would differ by rounding alone, under jit and on the host, and growing would foresee the same again.
# Asked for a shorter reach instead, `update` could miss pairs.
_SLACK = 1e-4

# Neighbours, shifts, whether a row was too short, positions and cell of the last renewal; a leading axis of systems.
_State = tuple[Array, Array, Array, Array, Array]


class NeighborList(eqx.Module):
    """A neighbour graph that follows the atoms inside jit, scan and while loops.

    `update` renews the list once atoms or cell have moved by more than the skin allows, in arrays of the same size.
    Where a row is too short for the neighbours found, or a cell has become so small that images beyond those foreseen
    matter, `overflowed` turns true and stays true: the graph then lacks edges and what is computed from it is wrong. Look
    at it on the Python side after each stretch of steps, and take up again from the state before with `grow`:

        neighbors = NeighborList.allocate(atoms, cutoff=6.0)
        new_state, neighbors = stretch(state, neighbors)        # jitted; calls neighbors.update(positions, cell)
        if neighbors.overflowed:
            neighbors = neighbors.grow(positions, cell)         # of `new_state`; run the stretch from `state` again

    Atoms may leave the cell; nobody has to wrap them. The search compares all pairs of atoms, so its time grows as their
    square, times the number of images; for 10⁴ atoms build graphs on the host (`neighbor_graph`). Under `vmap` all lists are
    renewed together as soon as one of them has to be, and none of them otherwise.

    Args:
        graph: the neighbours at the last renewal, within cutoff + skin.
        overflowed: whether edges have been lost since the list was allocated.
        reference: positions at the last renewal, Å, (atom, 3).
        cell: lattice vectors at the last renewal, Å; the identity where nothing repeats.
        cutoff: Å.
        skin: by how much the list reaches beyond the cutoff, Å.
        pbc: along which lattice vectors the atoms repeat.
        images: how many cells beyond a pair's nearest image the search looks at along each of them.
    """

    graph: Graph
    overflowed: Bool[Array, ""]
    reference: Float[Array, "real 3"]
    cell: Float[Array, "3 3"]
    cutoff: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)
    pbc: tuple[bool, bool, bool] = eqx.field(static=True)
    images: tuple[int, int, int] = eqx.field(static=True)

    @classmethod
    def allocate(
        cls, atoms: Structure | Atoms, cutoff: float, *, skin: float = 0.1, n_neighbors: int | None = None
    ) -> NeighborList:
        """A list with room for more neighbours than there are now, by the root of their number.

        A short skin pays: a longer row costs a network more at every step than the search does now and then.

        Args:
            atoms: where the atoms are at first; composition and periodicity stay from then on.
            cutoff: Å.
            skin: Å; 0 renews the list at every step.
            n_neighbors: length of a row; the `bucket` after the longest and its root unless given.

        Raises:
            ValueError: as `neighbor_graph`, a negative skin, or a row shorter than needed at once.
            ImportError: vesin is not installed.
        """
        if not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"skin: got {skin}; give a distance in angstrom, or 0 to renew the list at every step.")
        structure = as_structure(atoms)
        reach = float(cutoff + skin)
        # Counted a little further: rounding under jit must not find one more at the edge.
        i, *_ = neighbor_pairs(structure, reach + 1e-4)
        longest = int(np.bincount(i, minlength=1).max())
        width = bucket(longest + math.isqrt(longest)) if n_neighbors is None else n_neighbors
        if width < longest:
            raise ValueError(f"n_neighbors: got {width}, but an atom has {longest}; give at least that.")
        graph = jax.tree.map(jnp.asarray, neighbor_graph(structure, reach, n_neighbors=width))
        positions = jnp.asarray(structure.positions)
        cell = np.eye(3) if structure.cell is None else np.asarray(structure.cell)
        a, b, c = (int(m) for m in images_within(cell, reach * (1 + _SLACK), structure.pbc))
        return cls(
            graph,
            jnp.asarray(False),
            positions,
            jnp.asarray(cell, positions.dtype),
            cutoff=float(cutoff),
            skin=float(skin),
            pbc=structure.pbc,
            images=(a, b, c),
        )

    @property
    def n_atoms(self) -> int:
        """Number of real atoms."""
        return self.reference.shape[0]

    def update(self, positions: Float[Numbers, "atom 3"], cell: Float[Numbers, "3 3"] | None = None) -> NeighborList:
        """The list for new positions, renewed if needed; under jit.

        Args:
            positions: Å, of the real atoms, or of all atoms of the graph.
            cell: Å; the cell of the last renewal unless given.
        """
        positions = jnp.asarray(positions, self.reference.dtype)[: self.n_atoms]
        return _updated(self, positions, self.cell if cell is None else jnp.asarray(cell, self.cell.dtype))

    def tight(self, positions: Float[Numbers, "atom 3"], cell: Float[Numbers, "3 3"] | None = None) -> NeighborList:
        """The list for one place where the atoms stay, in rows as short as they may be; made on the Python side.

        Args:
            positions: Å.
            cell: Å; the cell of the last renewal unless given.
        """
        structure = self._structure(positions, cell)
        width = neighbor_graph(structure, self.cutoff + 1e-4).n_neighbors
        return NeighborList.allocate(structure, self.cutoff, skin=0.0, n_neighbors=width)

    def grow(self, positions: Float[Numbers, "atom 3"], cell: Float[Numbers, "3 3"] | None = None) -> NeighborList:
        """A list that is long enough, made on the Python side when `overflowed` has turned true.

        Args:
            positions: Å, where the list was too short.
            cell: Å; the cell of the last renewal unless given.
        """
        structure = self._structure(positions, cell)
        grown = NeighborList.allocate(structure, self.cutoff, skin=self.skin)
        # If the images were enough the rows were too short, somewhere on the way if not at these positions.
        rows_were_short = all(now <= before for now, before in zip(grown.images, self.images, strict=True))
        least = bucket(self.graph.n_neighbors + 1) if rows_were_short else self.graph.n_neighbors
        if grown.graph.n_neighbors >= least:
            return grown
        return NeighborList.allocate(structure, self.cutoff, skin=self.skin, n_neighbors=least)

    def _structure(self, positions: Any, cell: Any) -> Structure:
        numbers = np.asarray(self.graph.numbers)[: self.n_atoms]
        cell = self.cell if cell is None else cell
        return Structure(
            [ELEMENTS[number - 1] for number in numbers],
            np.asarray(positions)[: self.n_atoms],
            np.asarray(cell) if any(self.pbc) else None,
            self.pbc,
        )

    def _search(self, positions: Float[Array, "system real 3"], cell: Float[Array, "system 3 3"]) -> tuple[Array, ...]:
        reach, width = self.cutoff + self.skin, self.graph.n_neighbors
        return search_neighbors(positions, cell, reach, pbc=self.pbc, images=self.images, width=width)

    def _renewed(
        self, needed: Bool[Array, ""], positions: Float[Array, "real 3"], cell: Float[Array, "3 3"]
    ) -> NeighborList:
        filled = ((0, self.graph.n_atoms - self.n_atoms), (0, 0))

        def found(positions: Array, cell: Array, overflowed: Array) -> _State:
            neighbors, shifts, counts = self._search(positions, cell)
            # Indices beyond the real atoms mean that there is none; those of the graph end at its own number.
            neighbors = jnp.where(neighbors < self.n_atoms, neighbors, self.graph.n_atoms)
            neighbors = jnp.pad(neighbors, ((0, 0), *filled), constant_values=self.graph.n_atoms)
            shifts = jnp.pad(shifts, ((0, 0), *filled, (0, 0)))
            beyond = jax.vmap(images_within, (0, None, None))(cell, self.cutoff + self.skin, self.pbc)
            short = jnp.any(beyond > jnp.asarray([self.images], jnp.int32), axis=-1) | jnp.any(
                counts > self.graph.n_neighbors, axis=-1
            )
            return neighbors, shifts, overflowed | short, positions, cell

        @jax.custom_batching.custom_vmap
        def renewed(needed: Array, positions: Array, cell: Array, state: _State) -> _State:
            # One condition for all systems: under a plain vmap it would be a choice between both, each made every time.
            renew = lambda state: found(positions, cell, state[2])  # noqa: E731
            return jax.lax.cond(jnp.any(needed), renew, lambda state: state, state)

        @renewed.def_vmap
        def _(size: int, batched: Any, *arguments: Any) -> tuple[_State, Any]:
            def merged(array: Array, is_batched: bool) -> Array:
                array = array if is_batched else jnp.broadcast_to(array, (size, *array.shape))
                return array.reshape(-1, *array.shape[2:])

            state = renewed(*jax.tree.map(merged, arguments, tuple(batched)))
            apart = jax.tree.map(lambda array: array.reshape(size, -1, *array.shape[1:]), state)
            return apart, jax.tree.map(lambda _: True, apart)

        graph = self.graph
        state = (jnp.asarray(graph.neighbors), jnp.asarray(graph.shifts), self.overflowed, self.reference, self.cell)
        arguments = jax.tree.map(lambda array: jnp.asarray(array)[None], (needed, positions, cell, state))
        state = renewed(*jax.lax.stop_gradient(arguments))
        neighbors, shifts, overflowed, reference, cell = jax.tree.map(lambda array: array[0], state)
        graph = Graph(jnp.asarray(graph.numbers), neighbors, shifts, jnp.asarray(graph.structure), graph.cutoff)
        return NeighborList(graph, overflowed, reference, cell, self.cutoff, self.skin, self.pbc, self.images)


@eqx.filter_jit
def _updated(old: NeighborList, positions: Float[Array, "real 3"], cell: Float[Array, "3 3"]) -> NeighborList:
    # A distance changes by what both atoms have moved and by what the cell adds to the image's lattice vector; one more
    # cell than the list has along each vector is counted, for images that are not in it yet.
    moved = jnp.sqrt(jnp.max(jnp.sum((positions - old.reference) ** 2, axis=-1)))
    cells = jnp.max(jnp.abs(jnp.asarray(old.graph.shifts)), axis=(0, 1)) + jnp.asarray(old.pbc, jnp.int32)
    deformed = jnp.sum(cells.astype(cell.dtype) * jnp.sqrt(jnp.sum((cell - old.cell) ** 2, axis=-1)))
    return old._renewed(2 * moved + deformed >= old.skin, positions, cell)
