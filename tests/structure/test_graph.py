"""Neighbour graphs against a count of every image by hand, in every kind of cell."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.structure import NeighborList, Structure, batch_graphs, bucket, neighbor_graph

CUTOFF = 3.5
TRICLINIC = np.array([[2.9, 0.0, 0.0], [1.3, 3.1, 0.0], [-0.8, 0.9, 4.2]])
FLAT = np.array([[9.0, 0.0, 0.0], [8.0, 1.6, 0.0], [0.3, 0.2, 7.0]])  # a height of 1.6 A: five images on each side


def atoms(cell, pbc, n=4, seed=0, spread=2.0):
    """Random atoms, many outside of the cell."""
    fractional = spread * np.random.default_rng(seed).uniform(-1, 1, (n, 3))
    return Structure(["Si", "O", "O", "H", "C", "N"][:n], fractional @ (np.eye(3) * 3 if cell is None else cell), cell, pbc)


CASES = {
    "smaller than the cutoff": atoms(TRICLINIC, True),
    "one atom": atoms(TRICLINIC, True, n=1),
    "flat": atoms(FLAT, True),
    "left-handed": atoms(TRICLINIC[[1, 0, 2]], True),
    "slab": atoms(TRICLINIC, (True, True, False)),
    "slab along a": atoms(FLAT, (False, True, True)),
    "chain": atoms(TRICLINIC, (False, True, False)),
    "cell that does not repeat": atoms(TRICLINIC, False, n=6, spread=0.5),
    "molecule": atoms(None, None, n=6, spread=0.4),
    "far apart": Structure(["H", "H"], [[0, 0, 0], [50.0, 0, 0]]),
}


def by_hand(structure, cutoff):
    """Every (i, j, S) whose distance is below the cutoff, found by trying all images that could matter."""
    positions = np.asarray(structure.positions)
    cell = np.eye(3) if structure.cell is None else np.asarray(structure.cell)
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    fractional = positions @ np.linalg.inv(cell)
    span = np.ceil(cutoff / heights + np.ptp(fractional, axis=0) + 1).astype(int)
    images = itertools.product(*[range(-s, s + 1) if p else (0,) for s, p in zip(span, structure.pbc, strict=True)])
    found = set()
    for shift in images:
        separation = positions[None] + np.array(shift) @ cell - positions[:, None]
        for i, j in np.argwhere(np.linalg.norm(separation, axis=-1) < cutoff):
            if i != j or any(shift):
                found.add((int(i), int(j), *map(int, shift)))
    return found


def edges(graph):
    """The (i, j, S) of a graph, and that none is there twice."""
    here = np.asarray(graph.is_edge)
    i, _ = np.nonzero(here)
    listed = [
        (int(a), int(b), *map(int, s))
        for a, b, s in zip(i, np.asarray(graph.neighbors)[here], np.asarray(graph.shifts)[here], strict=True)
    ]
    assert len(listed) == len(set(listed))
    return set(listed)


@pytest.mark.parametrize("name", CASES)
def test_pairs_equal_a_count_by_hand(name):
    """Which pairs, through which images: exact, for host lists; vectors have the lengths of these pairs."""
    structure = CASES[name]
    graph = neighbor_graph(structure, CUTOFF)
    expected = by_hand(structure, CUTOFF)
    assert edges(graph) == expected
    lengths = np.linalg.norm(np.asarray(graph.vectors(_padded(graph, structure), structure.cell)), axis=-1)
    assert np.all((lengths < CUTOFF) == np.asarray(graph.is_edge))


@pytest.mark.parametrize(
    "name",
    [
        "slab",
        "molecule",
        *[
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("smaller than the cutoff", "flat", "left-handed", "chain")
        ],
    ],
)
def test_updated_lists_equal_a_count_by_hand(name):
    """The list renewed under jit, after atoms have moved by several cells: the same pairs within its reach."""
    structure = CASES[name]
    neighbors = NeighborList.allocate(structure, CUTOFF, skin=0.4)
    assert edges(neighbors.graph) == by_hand(structure, CUTOFF + 0.4)
    moved = np.asarray(structure.positions) + 0.3 * np.random.default_rng(1).normal(size=(len(structure), 3))
    if structure.cell is not None:
        moved[0] += np.asarray(structure.pbc) @ (2 * np.asarray(structure.cell))
    neighbors = jax.jit(lambda n, r: n.update(r))(neighbors, moved)
    later = Structure(structure.species, moved, structure.cell, structure.pbc)
    assert edges(neighbors.graph) == by_hand(later, CUTOFF + 0.4)
    assert not neighbors.overflowed


def test_a_skin_keeps_the_list_until_it_is_used_up():
    """Below half the skin the list stays as it is and still holds all within the cutoff; beyond, it is renewed."""
    structure = CASES["smaller than the cutoff"]
    neighbors = NeighborList.allocate(structure, CUTOFF, skin=0.4)
    update = jax.jit(lambda n, r, h: n.update(r, h))
    cell = np.asarray(structure.cell)
    little = np.asarray(structure.positions) + 0.11 * np.array([1.0, 1.0, 1.0]) * np.array([[1], [-1], [1], [-1]])
    kept = update(neighbors, little, cell)
    assert np.array_equal(kept.reference, neighbors.reference)
    assert by_hand(Structure(structure.species, little, cell), CUTOFF) <= edges(kept.graph)
    renewed = update(neighbors, little + 0.1 * np.array([[1], [-1], [1], [-1]]), cell)
    assert not np.array_equal(renewed.reference, neighbors.reference)
    squeezed = update(neighbors, structure.positions, 0.95 * cell)  # no atom moves, only images do
    assert np.array_equal(squeezed.cell, 0.95 * cell)
    assert by_hand(Structure(structure.species, structure.positions, 0.95 * cell), CUTOFF) <= edges(squeezed.graph)


@pytest.mark.parametrize("scale", [0.8, pytest.param(0.45, marks=pytest.mark.slow)])
def test_overflow_is_seen_stays_and_is_cured(scale):
    """A cell that shrinks has more neighbours than rows hold (and, at 0.45, images that nobody looked at)."""
    structure = CASES["smaller than the cutoff"]
    start = NeighborList.allocate(structure, CUTOFF, skin=0.1)
    update = jax.jit(lambda n, r, h: n.update(r, h))
    small = np.asarray(structure.positions) * scale, np.asarray(structure.cell) * scale
    over = update(start, *small)
    assert over.overflowed
    assert update(over, structure.positions, structure.cell).overflowed  # it does not forget
    grown = over.grow(*small)
    assert not grown.overflowed
    expected = by_hand(Structure(structure.species, *small), CUTOFF + 0.1)
    assert edges(grown.graph) == expected
    assert not update(grown, *small).overflowed


def of_heights(kind, height, seed):
    """A cell whose planes are all as far apart, turned at random unless the seed is None."""
    rng = np.random.default_rng(seed)
    if kind == "oblique":
        reciprocal = rng.normal(size=(3, 3))
        return np.linalg.inv((reciprocal / np.linalg.norm(reciprocal, axis=1, keepdims=True) / height).T)
    cell = height * (np.eye(3) if kind == "cubic" else np.array([[2 / 3**0.5, 0, 0], [-1 / 3**0.5, 1, 0], [0, 0, 1]]))
    return cell if seed is None else cell @ np.linalg.qr(rng.normal(size=(3, 3)))[0]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(
    ("kind", "seed", "height", "cutoff", "skin"),
    [
        ("hexagonal", None, 8.0, 4.0, 0.0),
        ("hexagonal", None, 4.0, 6.0, 0.0),
        ("hexagonal", 15, 4.0, 6.0, 0.0),
        ("cubic", 26, 3.1, 4.65, 0.0),
        ("oblique", 21, 8.0, 4.0, 0.0),
        ("oblique", 21, 8.0, 3.9, 0.1),
    ],
)
def test_growing_once_is_enough_where_planes_divide_twice_the_reach(kind, seed, height, cutoff, skin, bits):
    """The number of images changes just there, and jit rounds otherwise than the host: without slack between the two, lists
    of these cells grow for ever, all but the first two in both precisions.
    """
    cell, species = of_heights(kind, height, seed), ["O"] * 3
    positions = np.random.default_rng(0).uniform(-1, 1, (3, 3)) @ cell
    with jax.enable_x64(bits == 64):
        update = jax.jit(lambda n, r, h: n.update(r, h))
        neighbors, growths = NeighborList.allocate(Structure(species, 1.5 * positions, 1.5 * cell), cutoff, skin=skin), 0
        # All atoms move together by more than the skin, so that the list is renewed and its pairs are the same.
        while (renewed := update(neighbors, positions + growths + 1.0, cell)).overflowed:
            growths += 1
            assert growths == 1
            neighbors = neighbors.grow(positions + growths, cell)
        assert np.array_equal(renewed.reference, (positions + growths + 1.0).astype(renewed.reference.dtype))
    assert edges(renewed.graph) == edges(neighbor_graph(Structure(species, positions, cell), cutoff + skin))


def test_lists_under_vmap_are_renewed_together_or_not_at_all():
    """Several systems: pairs as by hand, each with its own flag; nobody's list changes while no one's has to."""
    structure = CASES["slab"]
    start = NeighborList.allocate(structure, CUTOFF, skin=0.4)
    update = jax.jit(jax.vmap(lambda n, r: n.update(r), in_axes=(None, 0)))
    again = jax.jit(jax.vmap(lambda n, r: n.update(r)))
    here = np.asarray(structure.positions)
    little = np.stack([here, here + 0.1, here])
    kept = update(start, little)
    assert np.array_equal(kept.reference, np.stack([here] * 3))
    far = little + np.array([0.0, 0.0, 0.3])[:, None, None] * np.array([1.0, 1.0, -1.0])
    crushed = far * np.array([1.0, 1.0, 0.05])[:, None, None]
    renewed = again(kept, far)
    assert np.array_equal(renewed.reference, far)
    for k in range(3):
        graph = jax.tree.map(lambda leaf, k=k: leaf[k], renewed.graph)
        assert edges(graph) == by_hand(Structure(structure.species, far[k], structure.cell, structure.pbc), CUTOFF + 0.4)
    assert not renewed.overflowed.any()
    assert again(renewed, crushed).overflowed.tolist() == [False, False, True]
    # A choice between both branches would search at every step.
    assert " cond[" in str(jax.make_jaxpr(again)(renewed, far))


def test_a_tight_list_holds_what_is_near_and_no_room():
    """At the place where the atoms are now, wherever they were when the list was made."""
    structure = CASES["smaller than the cutoff"]
    roomy = NeighborList.allocate(structure, CUTOFF, skin=0.6)
    here = np.asarray(structure.positions) + 0.2 * np.random.default_rng(2).normal(size=(len(structure), 3))
    tight = roomy.tight(here)
    moved = Structure(structure.species, here, structure.cell, structure.pbc)
    assert edges(tight.graph) == by_hand(moved, CUTOFF)
    longest = int(np.asarray(tight.graph.is_edge).sum(axis=1).max())
    assert tight.graph.n_neighbors == bucket(longest) < roomy.graph.n_neighbors


def rocksalt():
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = 4.212 * np.vstack([fcc, fcc + np.array([0.5, 0, 0])])
    return Structure(["Mg"] * 4 + ["O"] * 4, positions, 4.212 * np.eye(3))


def test_rocksalt_has_448_pairs_within_five_angstrom():
    """MgO, 8 atoms: nearest images alone give 56."""
    assert neighbor_graph(rocksalt(), 5.0).n_edges == 448


def test_rocksalt_has_448_pairs_under_jit():
    """The same from the search that jit runs: all atoms moved by more than the skin, two of them out of the cell."""
    crystal = rocksalt()
    neighbors = NeighborList.allocate(crystal, 4.9, skin=0.1)
    moved = crystal.positions + np.array([0.7, -0.4, 0.9])
    moved[[1, 6]] += np.array([[2.0], [-1.0]]) * np.asarray(crystal.cell)[0]
    renewed = jax.jit(lambda n, r: n.update(r))(neighbors, moved)
    assert np.array_equal(renewed.reference, moved)
    assert renewed.graph.n_edges == 448
    assert not renewed.overflowed


def test_batches_hold_each_structure_as_it_is_alone():
    """Different sizes and cells in one graph: the vectors of each are those of its own graph, and none joins two."""
    several = [CASES[name] for name in ("slab", "molecule", "flat", "far apart")]
    batch = batch_graphs(several, CUTOFF, n_structures=6)
    vectors = np.asarray(batch.graph.vectors(batch.positions, batch.cell))
    assert batch.sizes == tuple(len(structure) for structure in several)
    start = 0
    for index, structure in enumerate(several):
        alone = neighbor_graph(structure, CUTOFF)
        expected = np.asarray(alone.vectors(_padded(alone, structure), structure.cell))[: len(structure)]
        here = slice(start, start + len(structure))
        assert np.all(batch.graph.structure[here] == index)
        for got, own, row in zip(vectors[here], expected, np.asarray(alone.is_edge), strict=False):
            np.testing.assert_allclose(got[: row.sum()], own[: row.sum()], atol=1e-12)
        joined = np.asarray(batch.graph.neighbors[here])[np.asarray(batch.graph.is_edge[here])]
        assert np.all((joined >= start) & (joined < here.stop))
        start = here.stop
    assert not np.asarray(batch.graph.is_edge)[start:].any()


def test_sizes_fall_into_few_buckets():
    """Room is never too small, and at most an eighth of it (or three places) is not used; 73 sizes up to 10^4 atoms."""
    sizes = np.arange(1, 10_001)
    rooms = np.array([bucket(int(size)) for size in sizes])
    assert np.all(rooms >= sizes)
    assert np.all(rooms <= np.maximum(np.maximum(sizes * 1.125, sizes + 3), 8))
    assert len(set(rooms)) == 73
    assert np.all(np.diff(rooms) >= 0)


def test_slabs_of_ase_keep_their_periodicity():
    """A missing lattice vector along which nothing repeats is completed; one along which it should is refused."""
    ase = pytest.importorskip("ase")
    slab = ase.Atoms("MgO", [[0, 0, 0], [1.5, 1.5, 0]], cell=[3.0, 3.0, 0.0], pbc=[True, True, False])
    full = Structure(["Mg", "O"], [[0, 0, 0], [1.5, 1.5, 0]], np.diag([3.0, 3.0, 1.0]), (True, True, False))
    assert edges(neighbor_graph(slab, CUTOFF)) == by_hand(full, CUTOFF)
    slab.pbc = True
    with pytest.raises(ValueError, match="lattice vector c is zero"):
        neighbor_graph(slab, CUTOFF)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: neighbor_graph("quartz", 3.0), "give a Structure"),
        (lambda: neighbor_graph(CASES["slab"], 0.0), "cutoff: got 0.0"),
        (lambda: neighbor_graph(CASES["slab"], np.nan), "cutoff: got nan"),
        (lambda: neighbor_graph(CASES["slab"], 3.0, n_neighbors=2), "n_neighbors: got 2, but"),
        (lambda: neighbor_graph(CASES["slab"], 3.0, n_atoms=3), "n_atoms: got 3, but 4"),
        (lambda: neighbor_graph(Structure(["H", "H"], np.zeros((2, 3))), 3.0), "H_1 and H_2 are 0 Å apart"),
        (lambda: batch_graphs([], 3.0), "got no structure"),
        (lambda: NeighborList.allocate(CASES["slab"], 3.0, skin=-1.0), "skin: got -1.0"),
    ],
)
def test_bad_input_is_refused(make, message):
    """Each message names what came."""
    with pytest.raises(ValueError, match=message):
        make()


def test_traced_positions_are_refused():
    """Lists are made of values; the message says what works under jit."""
    with pytest.raises(ValueError, match="NeighborList"):
        jax.jit(lambda r: neighbor_graph(Structure(["H", "H"], r), 3.0).numbers)(jnp.zeros((2, 3)))


def _padded(graph, structure):
    positions = np.zeros((graph.n_atoms, 3))
    positions[: len(structure)] = structure.positions
    return positions
