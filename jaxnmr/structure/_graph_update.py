"""Neighbour lists that are kept up to date under jit, and say when they have become too short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxnmr.errors import missing_extra
from jaxnmr.structure._elements import ELEMENTS
from jaxnmr.structure._graph import Graph, Numbers, bucket
from jaxnmr.structure._graph_build import as_structure, neighbor_graph
from jaxnmr.structure._structure import Structure

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["NeighborList"]


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

    Atoms may leave the cell; nobody has to wrap them. The search compares all pairs of atoms, so time and memory grow
    as their square, times the number of images. Beyond some thousand atoms build graphs on the host (`neighbor_graph`).

    Args:
        graph: the neighbours at the last renewal, within cutoff + skin.
        overflowed: whether edges have been lost since the list was allocated.
        reference: positions at the last renewal, Å, (atom, 3).
        cell: lattice vectors at the last renewal, Å; the identity where nothing repeats.
        cutoff: Å.
        skin: by how much the list reaches beyond the cutoff, Å.
        pbc: along which lattice vectors the atoms repeat.
    """

    graph: Graph
    overflowed: Bool[Array, ""]
    reference: Float[Array, "real 3"]
    cell: Float[Array, "3 3"]
    _search: Any  # jax-md's list: its images to look at and its compiled search; None only while it is made
    cutoff: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)
    pbc: tuple[bool, bool, bool] = eqx.field(static=True)

    @classmethod
    def allocate(
        cls, atoms: Structure | Atoms, cutoff: float, *, skin: float = 0.5, n_neighbors: int | None = None
    ) -> NeighborList:
        """A list with room for a quarter more neighbours than there are now.

        Args:
            atoms: where the atoms are at first; composition and periodicity stay from then on.
            cutoff: Å.
            skin: Å; 0 renews the list at every step.
            n_neighbors: length of a row; the `bucket` after 5/4 of the longest unless given.

        Raises:
            ValueError: as `neighbor_graph`, a negative skin, or a row shorter than needed at once.
            ImportError: jax-md or vesin is not installed.
        """
        if not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"skin: got {skin}; give a distance in angstrom, or 0 to renew the list at every step.")
        structure = as_structure(atoms)
        graph = neighbor_graph(structure, cutoff + skin)
        longest = int(np.asarray(graph.is_edge).sum(axis=1).max())
        width = bucket(longest + longest // 4) if n_neighbors is None else n_neighbors
        if width < longest:
            raise ValueError(f"n_neighbors: got {width}, but an atom has {longest}; give at least that.")
        positions = jnp.asarray(structure.positions)
        cell = jnp.asarray(np.eye(3) if structure.cell is None else structure.cell)
        wrapped, _ = _wrap(positions, cell, structure.pbc)
        search = _allocate(wrapped, cell, structure.pbc, cutoff + skin, width - longest)
        # Its own count of the longest row decides, should rounding at the cutoff make it differ.
        graph = neighbor_graph(structure, cutoff + skin, n_neighbors=max(search.max_occupancy, longest))
        empty = cls(graph, jnp.asarray(False), positions, cell, search, float(cutoff), float(skin), structure.pbc)
        return empty._renewed(positions, cell)

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
        cell = self.cell if cell is None else jnp.asarray(cell, self.cell.dtype)
        # A distance changes by what both atoms have moved and by what the cell adds to the image's lattice vector.
        moved = jnp.sqrt(jnp.max(jnp.sum((positions - self.reference) ** 2, axis=-1)))
        images = jnp.asarray(self.graph.shifts).astype(cell.dtype) @ (cell - self.cell)
        deformed = jnp.sqrt(jnp.max(jnp.sum(images**2, axis=-1)))
        arrays, static = eqx.partition(self, eqx.is_array)

        def renew(arrays: NeighborList) -> NeighborList:
            renewed = eqx.combine(arrays, static)._renewed(positions, cell)
            return eqx.filter(renewed, eqx.is_array)

        arrays = jax.lax.cond(2 * moved + deformed >= self.skin, renew, lambda same: same, arrays)
        return eqx.combine(arrays, static)

    def grow(self, positions: Float[Numbers, "atom 3"], cell: Float[Numbers, "3 3"] | None = None) -> NeighborList:
        """A list that is long enough, made on the Python side when `overflowed` has turned true.

        Args:
            positions: Å, where the list was too short.
            cell: Å; the cell of the last renewal unless given.
        """
        numbers = np.asarray(self.graph.numbers)[: self.n_atoms]
        cell = self.cell if cell is None else cell
        structure = Structure(
            [ELEMENTS[number - 1] for number in numbers],
            np.asarray(positions)[: self.n_atoms],
            np.asarray(cell) if any(self.pbc) else None,
            self.pbc,
        )
        grown = NeighborList.allocate(structure, self.cutoff, skin=self.skin)
        if grown.graph.n_neighbors >= self.graph.n_neighbors:
            return grown
        # Only the images were too few: the length that was compiled before still does.
        return NeighborList.allocate(structure, self.cutoff, skin=self.skin, n_neighbors=self.graph.n_neighbors)

    def _renewed(self, positions: Float[Array, "real 3"], cell: Float[Array, "3 3"]) -> NeighborList:
        wrapped, moved = _wrap(positions, cell, self.pbc)
        with _permissive():
            found = self._search.update(wrapped, box=cell.T)
        n, width = self.graph.n_atoms, self.graph.n_neighbors
        here = found.idx < self.n_atoms
        senders = jnp.where(here, found.idx, 0)
        # From images of the wrapped atoms to those of the atoms as they are.
        shifts = found.shifts.astype(jnp.int32) + moved[:, None, :] - moved[senders]
        neighbors = _filled(jnp.where(here, found.idx, n).astype(jnp.int32), (n, width), n)
        shifts = _filled(jnp.where(here[..., None], shifts, 0), (n, width, 3), 0)
        graph = Graph(
            jnp.asarray(self.graph.numbers), neighbors, shifts, jnp.asarray(self.graph.structure), self.cutoff + self.skin
        )
        overflowed = self.overflowed | found.did_buffer_overflow
        return NeighborList(graph, overflowed, positions, cell, self._search, self.cutoff, self.skin, self.pbc)


def _wrap(
    positions: Float[Array, "real 3"], cell: Float[Array, "3 3"], pbc: tuple[bool, bool, bool]
) -> tuple[Float[Array, "real 3"], Int[Array, "real 3"]]:
    """Positions inside of the cell, and the lattice vectors that were subtracted: jax-md's images start from there."""
    # Solved as h^T s = r, without an inverse.
    fractional = jnp.linalg.solve(cell.T, positions.T).T
    moved = jnp.where(jnp.asarray(pbc)[None, :], jnp.floor(fractional), 0)
    return positions - moved @ cell, moved.astype(jnp.int32)


def _allocate(
    positions: Float[Array, "real 3"], cell: Float[Array, "3 3"], pbc: tuple[bool, bool, bool], reach: float, spare: int
) -> Any:
    with _permissive():  # it computes while it is imported, too
        try:
            from jax_md.custom_partition import neighbor_list_multi_image
            from jax_md.partition import Dense
        except ImportError:
            raise missing_extra("jax-md", "atoms") from None
        # The plain list of jax-md sees the nearest image only; this one sees them all.
        make = neighbor_list_multi_image(
            None,
            cell.T,  # lattice vectors in columns there
            reach,
            capacity_multiplier=1.0,
            pbc=jnp.asarray(pbc),
            fractional_coordinates=False,
            format=Dense,
        )
        return make.allocate(positions, extra_capacity=spare)


def _filled(array: Array, shape: tuple[int, ...], value: int) -> Array:
    """An array grown to a shape with a value at its ends."""
    array = array[: shape[0], : shape[1]]
    grow = [(0, to - now) for to, now in zip(shape, array.shape, strict=True)]
    return jnp.pad(array, grow, constant_values=value)


@contextmanager
def _permissive() -> Iterator[None]:
    """Jax-md mixes ranks and dtypes, which users may have forbidden."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield
