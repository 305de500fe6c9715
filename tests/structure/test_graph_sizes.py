"""How often a new structure means a new compilation, counted, and what is computed in vain for it."""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.structure import NeighborList, Structure, batch_graphs, bucket, neighbor_graph, neighbor_pairs, read_all

DATA = Path(os.environ.get("JAXNMR_DATA", Path(__file__).parents[3] / "shared" / "data"))
CUTOFF = 6.0


class Compiled:
    """A function under jit that counts for how many shapes of graphs it was compiled."""

    def __init__(self):
        self.times = 0
        self.function = jax.jit(self._edges)

    def _edges(self, graph):
        self.times += 1  # when traced, so once for each program
        return jnp.sum(graph.is_edge)

    def counted(self, structures):
        """Whether each structure was compiled for, and the places of its graph per place that it needs."""
        new, room, needed = [], [], []
        for structure in structures:
            graph = neighbor_graph(structure, CUTOFF)
            before = self.times
            assert int(self.function(graph)) == graph.n_edges
            new.append(self.times > before)
            room.append(graph.n_atoms * graph.n_neighbors)
            needed.append(len(structure) * int(graph.is_edge.sum(axis=1).max()))
        assert sum(new) == self.times
        return np.array(new), sum(room) / sum(needed)


def crystals(count):
    """Oblique crystals of 1 to 300 atoms on the places of a rattled grid, 0.03 to 0.12 atoms a cubic angstrom."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        n, density = int(rng.integers(1, 301)), rng.uniform(0.03, 0.12)
        cell = np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))
        cell *= (n / density / abs(np.linalg.det(cell))) ** (1 / 3)
        edge = int(np.ceil(n ** (1 / 3) - 1e-9))
        grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3)
        places = grid[rng.permutation(len(grid))[:n]] + rng.uniform(-0.25, 0.25, (n, 3))
        yield Structure(["O"] * n, places / edge @ cell, cell)


def test_every_third_to_seventh_of_crystals_of_all_sizes_compiles():
    """Of 300 random crystals of 1 to 300 atoms 90 are compiled for, 22 of the second half, for 20 % more places.

    With eight sizes in each octave, of atoms and of rows, 202 and 82 were, for 9 %.
    """
    new, waste = Compiled().counted(crystals(300))
    assert new.sum() <= 95 and new[150:].sum() <= 25
    assert waste < 1.22


def test_silicates_compile_54_times():
    """Of 421 silicates of 6 to 192 atoms 54 are compiled for, 7 of the second half, for 21 % more places."""
    path = DATA / "_nolicence" / "matten" / "si_nmr_data.json"
    if not path.is_file():
        pytest.skip(f"no silicates at {path}; set JAXNMR_DATA")
    table = json.loads(path.read_text())["structure"].values()
    structures = [
        Structure(
            [site["species"][0]["element"] for site in crystal["sites"]],
            np.array([site["xyz"] for site in crystal["sites"]]),
            np.array(crystal["lattice"]["matrix"]),
        )
        for crystal in table
    ]
    new, waste = Compiled().counted(structures)
    assert len(new) == 421 and new.sum() <= 57 and new[211:].sum() <= 9
    assert waste < 1.23


def test_frames_of_a_run_need_two_sizes():
    """KHCO3 at 300 to 700 K, 300 frames of 24 atoms: the second size once, for the hottest, for 8 % more places."""
    path = DATA / "khco3" / "frames.extxyz"
    if not path.is_file():
        pytest.skip(f"no frames at {path}; set JAXNMR_DATA")
    new, waste = Compiled().counted(read_all(path))
    assert len(new) == 300 and new.sum() <= 2
    assert waste < 1.1


def rocksalt(rng, strain, rattle):
    """64 atoms of MgO in a cell strained at random, and each moved."""
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    eight = np.vstack([fcc, fcc + np.array([0.5, 0, 0])])
    steps = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    change = rng.uniform(-strain, strain, (3, 3))
    cell = 8.424 * (np.eye(3) + (change + change.T) / 2)
    positions = ((eight[None] + steps) / 2).reshape(-1, 3) @ cell + rattle * rng.normal(size=(64, 3))
    return Structure((["Mg"] * 4 + ["O"] * 4) * 8, positions, cell)


def test_a_cell_that_fluctuates_by_three_per_cent_needs_two_sizes():
    """300 frames of MgO, 0.1 Å rms about their sites: rows of 96 or 112 hold all; a list that follows them grows once."""
    rng = np.random.default_rng(0)
    frames = [rocksalt(rng, 0.03, 0.1) for _ in range(300)]
    new, waste = Compiled().counted(frames)
    assert new.sum() <= 2 and waste < 1.08
    update = jax.jit(lambda neighbors, positions, cell: neighbors.update(positions, cell))
    neighbors, growths = NeighborList.allocate(frames[0], CUTOFF), 0
    for frame in frames:
        followed = update(neighbors, frame.positions, frame.cell)
        if followed.overflowed:
            followed, growths = followed.grow(frame.positions, frame.cell), growths + 1
        neighbors = followed
    assert growths <= 1
    assert neighbors.graph.n_edges == len(neighbor_pairs(frames[-1], CUTOFF + neighbors.skin)[0])


def test_sizes_of_graphs_and_of_lists():
    """Graphs have four sizes in an octave, by steps of 8 atoms and 16 neighbours at least; lists and tight lists eight."""
    sizes = np.arange(1, 10_001)
    for step, count in ((8, 37), (16, 33)):
        rooms = np.array([bucket(int(size), in_octave=4, step=step) for size in sizes])
        assert np.all(rooms >= sizes) and np.all(np.diff(rooms) >= 0)
        assert np.all(rooms <= np.maximum(sizes * 1.25, sizes + step - 1))
        assert len(set(rooms)) == count
    crystal = rocksalt(np.random.default_rng(1), 0.0, 0.0)  # 64 atoms, with 92 neighbours within 6 Å
    crystal = Structure(crystal.species[:63], crystal.positions[:63], crystal.cell)
    graph, neighbors = neighbor_graph(crystal, CUTOFF), NeighborList.allocate(crystal, CUTOFF)
    longest = int(graph.is_edge.sum(axis=1).max())
    assert (graph.n_atoms, graph.n_neighbors) == (64, bucket(longest, in_octave=4, step=16))
    assert (neighbors.n_atoms, neighbors.graph.n_atoms) == (63, 64)
    assert neighbors.tight(crystal.positions).graph.n_neighbors == bucket(longest)
    batch = batch_graphs([crystal, crystal], CUTOFF)
    assert (batch.graph.n_atoms, batch.graph.n_neighbors) == (128, graph.n_neighbors)
