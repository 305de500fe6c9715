"""Neighbour lists that are kept up to date under jit, and say when they have become too short."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxnmr.compiling import exact_products
from jaxnmr.structure._elements import ELEMENTS
from jaxnmr.structure._graph import Graph, Numbers, bucket
from jaxnmr.structure._graph_build import as_structure, neighbor_graph, neighbor_pairs
from jaxnmr.structure._graph_search import images_within, reciprocal, search_neighbors
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
    r"""A neighbour graph that follows the atoms inside jit, scan and while loops.

    `update` renews the list once atoms or cell have moved by more than the skin allows, in arrays of the same size. With
    $\varepsilon = \mathbf h^{-1}(\mathbf h' - \mathbf h)$, the strain of the lattice vectors that repeat, and
    $\mathbf u_i = \mathbf r_i' - \mathbf r_i(1 + \varepsilon)$, what an atom has moved besides, no pair has come from beyond
    the list's reach to within the cutoff, through whatever image, as long as

    $$2\max_i|\mathbf u_i| + (1 - \sigma)\,(\mathrm{cutoff} + \mathrm{skin}) < \mathrm{skin},$$

    where $\sigma \le 1$ is a lower bound of what the strain leaves of a length. Where a row is too short for the neighbours
    found, or a cell has become so small or so oblique that images beyond those foreseen matter, `overflowed` turns true and
    stays true: the graph then lacks edges and what is computed from it is wrong. The list then stays that of the place where
    this happened, wherever atoms and cell go from there. Look at it on the Python side after each stretch of steps, and take
    up again from the state before with `grow`:

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
        reference: positions at the last renewal, Å, (atom, 3); those of the overflow where there was one.
        cell: lattice vectors at the last renewal, likewise, Å; the identity where nothing repeats.
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
        longest = _longest(structure, reach)
        width = bucket(longest + math.isqrt(longest)) if n_neighbors is None else n_neighbors
        if width < longest:
            raise ValueError(f"n_neighbors: got {width}, but an atom has {longest}; give at least that.")
        graph = neighbor_graph(structure, reach, n_atoms=bucket(len(structure)), n_neighbors=width)
        graph = jax.tree.map(jnp.asarray, graph)
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
        width = bucket(_longest(structure, self.cutoff))
        return NeighborList.allocate(structure, self.cutoff, skin=0.0, n_neighbors=width)

    def grow(self, positions: Float[Numbers, "atom 3"], cell: Float[Numbers, "3 3"] | None = None) -> NeighborList:
        """A list that is long enough, made on the Python side when `overflowed` has turned true.

        It has room for the neighbours and the images of the given place, and for those of the place where this list
        overflowed, which a run may have left again. Neither rows nor images become fewer than they are.

        Args:
            positions: Å, where the stretch ended, or wherever else the list was too short.
            cell: Å; that of the last renewal unless given, so hand it over where it moves.

        Raises:
            ValueError: lists of several systems at once, or as `allocate`.
        """
        if np.ndim(self.overflowed):
            raise ValueError(
                f"grow: a list of {np.shape(self.overflowed)} systems came; grow that of one which overflowed, "
                "jax.tree.map(lambda x: x[k], neighbors), and use it for all."
            )
        places = [(positions, cell)] + ([(self.reference, self.cell)] if self.overflowed else [])
        grown = [NeighborList.allocate(self._structure(*place), self.cutoff, skin=self.skin) for place in places]
        width = max(each.graph.n_neighbors for each in (self, *grown))
        a, b, c = np.max([each.images for each in (self, *grown)], axis=0).tolist()
        if (width, a, b, c) == (self.graph.n_neighbors, *self.images):
            # Enough at all places known: a row was too short at another, in a list of which this one is the beginning.
            width = bucket(width + 1)
        longer = grown[0]
        if longer.graph.n_neighbors < width:
            longer = NeighborList.allocate(self._structure(*places[0]), self.cutoff, skin=self.skin, n_neighbors=width)
        return dataclasses.replace(longer, images=(a, b, c))

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

        def found(positions: Array, cell: Array, state: _State) -> _State:
            lost = state[2]
            neighbors, shifts, counts = self._search(positions, cell)
            # Indices beyond the real atoms mean that there is none; those of the graph end at its own number.
            neighbors = jnp.where(neighbors < self.n_atoms, neighbors, self.graph.n_atoms)
            neighbors = jnp.pad(neighbors, ((0, 0), *filled), constant_values=self.graph.n_atoms)
            shifts = jnp.pad(shifts, ((0, 0), *filled, (0, 0)))
            beyond = jax.vmap(images_within, (0, None, None))(cell, self.cutoff + self.skin, self.pbc)
            short = jnp.any(beyond > jnp.asarray([self.images], jnp.int32), axis=-1) | jnp.any(
                counts > self.graph.n_neighbors, axis=-1
            )
            # A list that has overflowed stays as it was there: `grow` looks at the place.
            after = (neighbors, shifts, lost | short, positions, cell)
            kept = lambda old, new: jnp.where(lost.reshape(-1, *[1] * (new.ndim - 1)), old, new)  # noqa: E731
            return jax.tree.map(kept, state, after)

        @jax.custom_batching.custom_vmap
        def renewed(needed: Array, positions: Array, cell: Array, state: _State) -> _State:
            # One condition for all systems: under a plain vmap it would be a choice between both, each made every time.
            renew = lambda state: found(positions, cell, state)  # noqa: E731
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


def _longest(structure: Structure, reach: float) -> int:
    # Counted a little further: rounding under jit must not find one more at the edge.
    i, *_ = neighbor_pairs(structure, reach + 1e-4)
    return int(np.bincount(i, minlength=1).max())


@eqx.filter_jit
@exact_products
def _updated(old: NeighborList, positions: Float[Array, "real 3"], cell: Float[Array, "3 3"]) -> NeighborList:
    # A pair's vector r becomes r (1 + strain) + u_j - u_i, whatever its image. Shifts of the pairs listed are no measure of
    # that: in an oblique cell, or where atoms have gone far, images that come near are not next to any of them.
    repeats = jnp.asarray(old.pbc)[:, None]
    strain = reciprocal(old.cell).T @ jnp.where(repeats, cell - old.cell, 0.0)
    besides = positions - old.reference - old.reference @ strain
    moved = jnp.sqrt(jnp.max(jnp.sum(besides**2, axis=-1)))
    # |r (1 + strain)| >= (1 + lowest) |r| with the lowest eigenvalue of the symmetric part, which is at least the mean less
    # the root of two thirds of the squares of the rest: equal for one strain in all directions, or along one.
    symmetric = (strain + strain.T) / 2
    mean = jnp.trace(symmetric) / 3
    rest = symmetric - mean * jnp.eye(3, dtype=symmetric.dtype)
    shrunk = jnp.maximum(jnp.sqrt(jnp.sum(rest**2) * 2 / 3) - mean, 0.0)
    needed = 2 * moved + shrunk * (old.cutoff + old.skin) >= old.skin
    return old._renewed(needed & ~old.overflowed, positions, cell)
