"""Neighbour lists in cells that shrink, stretch, shear and turn: no pair is missed, and growing foresees enough images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import NPT, REDUCED, Surface, md, minimise
from jaxnmr.structure import NeighborList, Structure, neighbor_graph, neighbor_pairs

CUTOFF, SKIN = 3.5, 0.4
# Wide: no pair is near at first. Skewed: two vectors nearly antiparallel, so that sums of several of them come near.
CELLS = {
    "small": np.array([[2.9, 0.0, 0.0], [1.3, 3.1, 0.0], [-0.8, 0.9, 4.2]]),
    "wide": np.array([[8.7, 0.0, 0.0], [3.9, 9.3, 0.0], [-2.4, 2.7, 12.6]]),
    "skewed": np.array([[10.0, 0.0, 0.0], [-20.0, 5.01, 0.0], [0.0, 0.0, 9.0]]),
}
STRAINS = {
    "shrinks": -np.eye(3),
    "shrinks along one axis": -np.diag([1.0, 0.0, 0.0]),
    "shears": np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.7, 0.4, 0.0]]),
    "shears and turns": np.array([[0.0, -1.0, 0.4], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]),
}
BULK, SLAB = (True, True, True), (True, True, False)

update = jax.jit(lambda neighbors, positions, cell: neighbors.update(positions, cell))


def pairs(positions, cell, cutoff, pbc=BULK):
    """The (i, j, S) of a list made anew."""
    i, j, shifts, _ = neighbor_pairs(Structure(["O"] * len(positions), positions, cell, pbc), cutoff)
    return set(map(tuple, np.column_stack([i, j, shifts]).tolist()))


def edges(graph):
    """The (i, j, S) of a graph."""
    here = np.asarray(graph.is_edge)
    i, _ = np.nonzero(here)
    return set(map(tuple, np.column_stack([i, np.asarray(graph.neighbors)[here], np.asarray(graph.shifts)[here]]).tolist()))


def allocated(positions, cell, pbc=BULK, cutoff=CUTOFF, skin=SKIN):
    return NeighborList.allocate(Structure(["O"] * len(positions), positions, cell, pbc), cutoff, skin=skin)


@pytest.mark.parametrize(
    ("name", "strain", "pbc", "apart", "follow"),
    [
        ("small", "shrinks", BULK, 0, True),
        ("small", "shears and turns", SLAB, 4, True),
        ("wide", "shrinks", BULK, 4, False),
        ("wide", "shrinks along one axis", BULK, 4, False),
        ("wide", "shears and turns", BULK, 0, True),
        ("skewed", "shears", BULK, 4, False),
        ("skewed", "shears", SLAB, 4, False),
        ("skewed", "shrinks", SLAB, 0, True),
    ],
)
def test_no_pair_is_missed_on_the_way(name, strain, pbc, apart, follow):
    """Steps of 1 %, by which cells shrink to a half or less: all pairs within the cutoff are listed at each, or the overflow
    is seen and the list that is grown there is that made anew. Atoms follow the cell or stay, in one cell or eight apart.
    """
    cell, repeats = CELLS[name], np.array(pbc)
    fractional = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 3)) + apart * np.array([[1], [-1]]) * repeats
    positions = fractional @ cell
    neighbors = allocated(positions, cell, pbc)
    for k in range(1, 51 if name == "small" else 61):
        deformation = np.eye(3) + 0.01 * k * STRAINS[strain]
        here = positions @ deformation if follow else positions
        now = np.where(repeats[:, None], cell @ deformation, cell)
        before, neighbors = neighbors, update(neighbors, here, now)
        if neighbors.overflowed:
            neighbors = neighbors.grow(here, now)
            assert edges(neighbors.graph) == pairs(here, now, CUTOFF + SKIN, pbc)
            assert not update(before.grow(here, now), here, now).overflowed
        assert pairs(here, now, CUTOFF, pbc) <= edges(neighbors.graph), k


def test_an_image_of_several_lattice_vectors_comes_near():
    """The image (2, 1, 0) comes from 5.01 to 3.96 Å while both vectors move by 0.35 Å, together less than a skin of 1 Å."""
    cell = CELLS["skewed"]
    neighbors = allocated(np.zeros((1, 3)), cell, cutoff=4.0, skin=1.0)
    assert not edges(neighbors.graph)
    moved = cell - np.array([[0.0, 0.35, 0.0], [0.0, 0.35, 0.0], [0.0, 0.0, 0.0]])
    found = update(neighbors, np.zeros((1, 3)), moved)
    found = found.grow(np.zeros((1, 3)), moved) if found.overflowed else found
    assert {(0, 0, 2, 1, 0), (0, 0, -2, -1, 0)} == pairs(np.zeros((1, 3)), moved, 4.0) <= edges(found.graph)


def test_atoms_that_follow_the_cell_renew_a_list_seldom():
    """A strain costs what it takes off the reach, 3.9 Å, wherever the atoms are; a turn, or a larger cell, costs nothing."""
    cell, around = CELLS["small"], np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    positions = np.random.default_rng(3).uniform(-5, 5, (4, 3)) @ cell
    neighbors = allocated(positions, cell)
    turn = np.array([[np.cos(0.2), np.sin(0.2), 0], [-np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])
    # An eighth of the skin is left: 2 % of the reach is lost where a turn by 0.2 is taken for one of cos 0.2.
    for kept in (around.T @ turn @ around, 1.1 * np.eye(3), 0.91 * np.eye(3), np.diag([0.91, 1.0, 1.0])):
        now = update(neighbors, positions @ kept, cell @ kept)
        assert np.array_equal(now.cell, cell)
        assert pairs(positions @ kept, cell @ kept, CUTOFF) <= edges(now.graph)
    for renewed in (0.89 * np.eye(3), np.diag([0.89, 1.0, 1.0])):
        assert not np.array_equal(update(neighbors, positions @ renewed, cell @ renewed).cell, cell)


def breathing(scales):
    """A stretch of steps in which the cell, and the atoms with it, take these sizes one after the other."""

    def stretch(neighbors, positions, cell):
        step = lambda n, s: (n.update(positions * s, cell * s), None)  # noqa: E731
        return jax.lax.scan(step, neighbors, jnp.asarray(scales))[0]

    return jax.jit(stretch)


@pytest.mark.parametrize("bits", [pytest.param(32, marks=pytest.mark.slow), 64])
def test_a_cell_that_was_small_on_the_way_only(bits):
    """Where the run ends neither rows nor images lack; growing there looks at the place of the overflow as well.

    Each further stage of the way down is seen in its turn: at 0.7 one more image along two vectors, at 0.5 along all.
    """
    positions = np.random.default_rng(3).uniform(-1, 1, (3, 3)) @ CELLS["small"]
    with jax.enable_x64(bits == 64):
        stretch = breathing([0.95, 0.7, 0.5, 0.7, 0.95, 1.0])
        start, growths = allocated(positions, CELLS["small"]), 0
        neighbors = start
        while (over := stretch(neighbors, positions, CELLS["small"])).overflowed:
            grown = over.grow(positions, CELLS["small"])
            assert np.all(np.array(grown.images) >= neighbors.images)
            assert edges(grown.graph) == edges(start.graph)
            neighbors, growths = grown, growths + 1
            assert growths <= 2
        small = update(neighbors, 0.5 * positions, 0.5 * CELLS["small"])
    assert np.all(np.array(neighbors.images) > start.images)
    assert edges(small.graph) == pairs(0.5 * positions, 0.5 * CELLS["small"], CUTOFF + SKIN)


def test_systems_side_by_side_keep_the_place_where_they_overflowed():
    """One of three cells breathes: its list alone is lost and stays where that happened; the others follow their atoms."""
    cell = CELLS["small"]
    positions = np.random.default_rng(3).uniform(-1, 1, (3, 3)) @ cell
    start = allocated(positions, cell)
    stretch = jax.jit(jax.vmap(lambda n, r, h: n.update(r, h), in_axes=(None, 0, 0)))
    again = jax.jit(jax.vmap(lambda n, r, h: n.update(r, h)))
    scales = np.array([0.95, 0.5, 1.02])[:, None, None]
    lists = stretch(start, scales * positions, scales * cell)
    moved = positions + 0.3 * np.array([[1.0], [-1.0], [1.0]])
    lists = again(lists, np.stack([moved] * 3), np.stack([cell] * 3))
    assert lists.overflowed.tolist() == [False, True, False]
    np.testing.assert_array_equal(lists.reference, np.stack([moved, 0.5 * positions, moved]))
    np.testing.assert_array_equal(lists.cell, np.array([1.0, 0.5, 1.0])[:, None, None] * cell)
    for k in (0, 2):
        assert edges(jax.tree.map(lambda x, k=k: x[k], lists.graph)) == pairs(moved, cell, CUTOFF + SKIN)
    with pytest.raises(ValueError, match=r"grow: a list of \(3,\) systems came"):
        lists.grow(moved, cell)
    grown = jax.tree.map(lambda x: x[1], lists).grow(moved, cell)
    assert not stretch(grown, scales * positions, scales * cell).overflowed.any()


def test_growing_takes_no_images_away():
    """A list that is grown in a small cell and then, for longer rows, in a large one, is still right in the small one."""
    cell = CELLS["small"]
    positions = np.random.default_rng(3).uniform(-1, 1, (3, 3)) @ cell
    start = allocated(positions, cell)
    small = start.grow(0.5 * positions, 0.5 * cell)
    both = small.grow(positions, cell)
    assert all(now > before for now, before in zip(small.images, start.images, strict=True))
    assert both.images == small.images and both.graph.n_neighbors >= small.graph.n_neighbors
    assert not update(both, 0.5 * positions, 0.5 * cell).overflowed


def soft(positions, cell, graph):
    """Spheres that overlap: 10 eV (1 - r²/c²)² for each pair within c = 3.5 Å."""
    length = jnp.sum(graph.vectors(positions, cell) ** 2, axis=-1) / CUTOFF**2
    return 5.0 * jnp.sum(jnp.where(graph.is_edge, jnp.maximum(1 - length, 0.0) ** 2, 0.0))


def energy_made_anew(positions, cell):
    graph = neighbor_graph(Structure(["O"] * len(positions), positions, cell), CUTOFF)
    padded = np.zeros((graph.n_atoms, 3))
    padded[: len(positions)] = positions
    return float(soft(jnp.asarray(padded), jnp.asarray(cell), graph))


@pytest.fixture(scope="module")
def loose():
    """Two soft atoms in a cell of 8 Å, where only nearest images are foreseen, and pressure that brings it to about 4 Å."""
    cell = np.array([[8.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.5, -0.5, 8.0]])
    positions = np.array([[0.1, 0.2, 0.3], [4.4, 3.7, 4.1]])
    neighbors = allocated(positions, cell, skin=0.1)
    assert neighbors.images == (0, 0, 0)

    def energy_fn(positions, cell, graph):
        filled = jnp.zeros((graph.n_atoms, 3), positions.dtype).at[: len(positions)].set(positions)
        return soft(filled, cell, graph)

    return Surface(energy_fn, np.full(2, 16.0), cell, species=["O"] * 2, neighbors=neighbors), positions


def test_a_cell_is_minimised_through_several_growths(loose):
    """Under pressure images are added as the cell shrinks; the energy of the end is that of a list made there."""
    surface, positions = loose
    found = minimise(surface, positions, max_stress=1e-4, pressure=0.3, max_force=1e-3, max_steps=300)
    assert min(found.neighbors.images) >= 1
    np.testing.assert_allclose(found.energy, energy_made_anew(found.positions, found.cell), rtol=1e-10)


@pytest.mark.slow
def test_replicas_at_constant_pressure_share_a_list_that_is_enough_for_all(loose):
    """One replica is pressed together and the other is not: after all growths each has the energy of its own list."""
    surface, positions = loose
    # So heavy and so damped a cell is pressed by 0.4 % a step at most.
    method = NPT(0.02, np.array([0.3, 0.0]), friction=0.5, period=800.0, cell_friction=5.0)
    start = np.stack([positions] * 2)
    run = md(surface, start, method, steps=600, dt=0.05, every=20, seed=1, units=REDUCED, max_temperature=1e6)
    assert min(run.state.neighbors.images) >= 1
    assert np.linalg.det(np.asarray(run.state.cell[0])) < 0.3 * np.linalg.det(surface.cell)
    for k in range(2):
        expected = energy_made_anew(np.asarray(run.state.positions[k]), np.asarray(run.state.cell[k]))
        np.testing.assert_allclose(run.state.energy[k], expected, rtol=1e-10, atol=1e-12)
