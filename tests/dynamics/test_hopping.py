"""Minima hopping: known global minima, what counts as one structure, and what is written down on the way."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import Status, Surface, fingerprint, minima_hopping, minimise
from jaxnmr.dynamics._escape import hop
from jaxnmr.dynamics._hopping import _in_one_piece, _widest_gap
from jaxnmr.structure import NeighborList, Structure
from tests.systems.surfaces import (
    LJ7_MINIMA,
    MB_MINIMA,
    cut_lennard_jones,
    cut_lennard_jones_of_all,
    lennard_jones,
    muller_brown,
)


def cluster(n, seed):
    return 1.3 * np.random.default_rng(seed).normal(size=(n, 3))


def test_four_minima_of_seven_atoms():
    """All four, each once, with who leads to whom; nothing else, and no cluster that fell apart."""
    starts = np.stack([cluster(7, seed) for seed in range(4)])
    found = minima_hopping(lennard_jones, starts, hops=30, max_steps=3000)
    np.testing.assert_allclose(found.energies, LJ7_MINIMA, atol=1e-5)
    assert found.path.shape == (30, 4) and set(found.path.ravel()) <= set(range(4))
    # An escape is a visit; those that came back to their own minimum join nothing.
    assert found.visits.sum() <= 4 * 31 and found.connections[:, 2].sum() <= found.visits.sum()
    assert (found.connections[:, 0] != found.connections[:, 1]).all()
    apart = np.abs(found.fingerprints[:, None] - found.fingerprints[None]).max(axis=-1)[np.triu_indices(4, 1)]
    # The documented threshold, 5e-3, is far below what divides them.
    assert apart.min() > 2e-2
    again = minima_hopping(lennard_jones, starts, hops=30, max_steps=3000)
    np.testing.assert_array_equal(again.path, found.path)
    # From the minima themselves: a walker that goes on leaves behind what it stood on.
    more = minima_hopping(lennard_jones, found.positions, hops=5, max_steps=3000)
    kept = [float(lennard_jones(jnp.asarray(positions))) for positions in more.positions]
    np.testing.assert_allclose(kept, more.energies, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(k, marks=pytest.mark.slow) for k in range(2, 20))])
def test_thirteen_atoms(seed):
    """The icosahedron of LJ13 from anywhere."""
    found = minima_hopping(lennard_jones, cluster(13, seed), hops=400, target=-44.3268, seed=seed, max_steps=3000)
    low = minimise(lennard_jones, found.positions[0], max_force=1e-6)
    assert abs(float(low.energy) + 44.32680142) < 1e-8
    assert 0 < found.found_after[0] <= found.evaluations
    assert found.energies[0] == found.energies.min() and len(found.path) < 400


def test_fingerprint_knows_its_structure():
    """Renamed, turned, mirrored and shifted: the same; another minimum, or two elements exchanged: not."""
    rng = np.random.default_rng(0)
    r = np.asarray(minimise(lennard_jones, cluster(7, 0), max_force=1e-6).positions)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    plain = fingerprint(jnp.asarray(r), 1.1)
    moved = fingerprint(jnp.asarray(r[rng.permutation(7)] @ turn + 3.0), 1.1)
    np.testing.assert_allclose(moved, plain, atol=1e-12)
    weights = np.ones(7)
    weights[0] = 1.3
    first = np.argsort(np.linalg.norm(r - r.mean(axis=0), axis=1))[[0, -1]]
    prints = []
    for k in first:
        w = np.ones(7)
        w[k] = 1.3
        prints.append(fingerprint(jnp.asarray(r), 1.1, w))
    assert np.abs(prints[0] - prints[1]).max() > 1e-2
    cell = np.array([[4.0, 0, 0], [1.0, 4.5, 0], [0.3, -0.4, 5.0]])
    inside = fingerprint(jnp.asarray(r), 1.1, None, cell)
    hopped = r + rng.integers(-2, 3, size=(7, 3)) @ cell + 0.7
    np.testing.assert_allclose(fingerprint(jnp.asarray(hopped), 1.1, None, cell), inside, atol=1e-9)
    assert np.abs(inside - plain).max() > 1e-2


def test_a_plane():
    """One particle finds all three wells."""
    found = minima_hopping(muller_brown, np.array([MB_MINIMA["C"][0]]), hops=25, kinetic=30.0, difference=50.0, seed=1)
    np.testing.assert_allclose(sorted(found.energies), sorted(v for _, v in MB_MINIMA.values()), atol=1e-3)


def test_what_is_bound_at_a_distance_is_one_piece():
    """Pieces count as apart beyond the widest gap of the start, not beyond twice the nearest distance."""
    pair = np.array([[0.0, 0, 0], [1.1, 0, 0]])
    both = np.concatenate([pair, pair + np.array([4.4, 0, 0])])
    assert abs(_widest_gap(both) - 3.3) < 1e-12
    assert _in_one_piece(both, 1.2 * _widest_gap(both)) and not _in_one_piece(both, 2.2)


@pytest.mark.slow
def test_a_list_that_is_too_short():
    """Atoms with a neighbour list lose no neighbour on the way."""
    start = minimise(lennard_jones, cluster(13, 3), max_force=1e-2).positions
    start = np.asarray(start) * 1.02
    neighbors = NeighborList.allocate(Structure(["Ar"] * 13, 3 * start), 3.0, skin=0.3, n_neighbors=8)
    found = minima_hopping(Surface(cut_lennard_jones, neighbors=neighbors), start, hops=3, max_steps=2000)
    for r, energy in zip(found.positions, found.energies, strict=True):
        np.testing.assert_allclose(energy, cut_lennard_jones_of_all(r), rtol=1e-12)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"hops: got 0"):
        minima_hopping(lennard_jones, cluster(7, 0), hops=0)
    with pytest.raises(ValueError, match=r"threshold, same_energy"):
        minima_hopping(lennard_jones, cluster(7, 0), threshold=0.0)
    with pytest.raises(ValueError, match=r"walker 0 did not come down to a minimum in 2 steps"):
        minima_hopping(lennard_jones, cluster(7, 0), max_steps=2)
    with pytest.raises(ValueError, match=r"dt: got -1"):
        minima_hopping(lennard_jones, cluster(7, 0), dt=-1.0, max_steps=3000)


class Loose(eqx.Module):
    """Neighbours of a surface that needs none."""

    graph: None = None
    overflowed: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(False))

    def update(self, positions, cell=None):
        return self

    def grow(self, positions, cell=None):
        return self


def test_hops_made_again_are_counted(monkeypatch):
    """What a list too short has cost belongs to the evaluations."""
    spent = []

    def overflowing(*args):
        low, prints, cost = hop(*args)
        spent.append(int(np.sum(cost)))
        if len(spent) == 1:
            low = eqx.tree_at(lambda m: m.code, low, jnp.full_like(low.code, int(Status.OVERFLOW)))
        return low, prints, cost

    monkeypatch.setattr("jaxnmr.dynamics._hopping.hop", overflowing)
    surface = Surface(lambda r, h, g: lennard_jones(r), neighbors=Loose())
    start = minimise(surface, cluster(4, 0), max_force=1e-4, max_steps=3000)
    found = minima_hopping(surface, start.positions, hops=1)
    assert len(spent) == 2 and found.evaluations == sum(spent) + 1
