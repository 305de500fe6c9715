"""Minima of surfaces that are known, fixed atoms, free cells, neighbour lists, and how failures are reported."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import FIRE, NPT, SearchError, Status, Surface, from_ase, from_jax_md, md, minimise, neb
from jaxnmr.structure import NeighborList, Structure
from tests.systems.surfaces import (
    LJ7_MINIMA,
    MB_MINIMA,
    cut_lennard_jones,
    cut_lennard_jones_of_all,
    lennard_jones,
    muller_brown,
)


def test_muller_brown_minima():
    """All three in one batch, each stopped on its own, to the eleven digits that are known."""
    known = np.array([[x] for x, _ in MB_MINIMA.values()])
    found = minimise(muller_brown, known + 0.05, max_force=1e-8)
    # Curvatures are above 50: a force of 1e-8 leaves 2e-10 of a position.
    np.testing.assert_allclose(found.positions, known, atol=1e-9)
    np.testing.assert_allclose(found.energy, [v for _, v in MB_MINIMA.values()], atol=1e-9)
    assert found.status is Status.CONVERGED
    assert len(set(found.evaluations.tolist())) > 1


@pytest.mark.parametrize("optimiser", [None, FIRE(dt=0.02, max_dt=0.1)], ids=["L-BFGS", "FIRE"])
def test_clusters_of_seven(optimiser):
    """From random starts only the four minima of LJ7 are found, and each of them."""
    starts = np.random.default_rng(0).normal(size=(16, 7, 3))
    found = minimise(lennard_jones, starts, max_force=1e-5, max_steps=3000, optimiser=optimiser)
    distance = np.abs(np.asarray(found.energy)[:, None] - np.array(LJ7_MINIMA))
    assert distance.min(axis=1).max() < 1e-5
    assert set(distance.argmin(axis=1)) == {0, 1, 2, 3}


def test_fixed_atoms_stay():
    """Two of three atoms held far apart: the third settles on one of them, and nothing else moves."""
    surface = Surface(lennard_jones, fixed=[True, True, False])
    start = np.array([[0.0, 0, 0], [8.0, 0, 0], [1.3, 0.2, 0]])
    found = minimise(surface, start, max_force=1e-8)
    np.testing.assert_array_equal(found.positions[:2], start[:2])
    # The pair's minimum at 2^(1/6), moved by the far atom's pull by less than 1e-4.
    assert abs(np.linalg.norm(found.positions[2]) - 2 ** (1 / 6)) < 1e-4
    assert not np.asarray(found.forces[:2]).any()


def test_ase_calculator_with_free_cell():
    """Copper of EMT through the callback: the lattice constant where a scan with ASE alone has its minimum."""
    ase_build = pytest.importorskip("ase.build")
    from ase.calculators.emt import EMT
    from scipy.optimize import minimize_scalar

    def energy(a):
        atoms = ase_build.bulk("Cu", "fcc", a=a)
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    best = minimize_scalar(energy, bracket=(3.5, 3.7), tol=1e-10).x
    atoms = ase_build.bulk("Cu", "fcc", a=3.65)
    strained = np.eye(3) + 0.02 * np.array([[1.0, 0.5, 0], [0.5, -1.0, 0], [0, 0, 0]])
    atoms.set_cell(atoms.cell @ strained, scale_atoms=True)
    found = minimise(from_ase(atoms, calculator=EMT()), atoms.positions, max_force=1e-4, max_stress=1e-6)
    # Pressure 1e-6 over a bulk modulus near 0.9 eV/Å³ leaves 1e-6 of the volume.
    assert abs((4 * abs(np.linalg.det(found.cell))) ** (1 / 3) - best) < 1e-4
    np.testing.assert_allclose(np.linalg.norm(found.cell, axis=1), best / np.sqrt(2), atol=1e-4)


def test_cell_gradient_of_an_ase_calculator():
    """With forces on the atoms: the gradient at held positions equals differences of ASE's own energies."""
    pytest.importorskip("ase")
    from ase import Atoms
    from ase.calculators.emt import EMT

    cell = np.array([[3.5, 0, 0], [0.3, 3.6, 0], [0, 0.1, 3.7]])
    positions = np.array([[0.0, 0, 0], [1.7, 1.9, 1.6]])
    gradient = jax.grad(from_ase(Atoms("Cu2", positions, cell=cell, pbc=True), calculator=EMT()).energy, argnums=1)

    def energy(h):
        return EMT().get_potential_energy(Atoms("Cu2", positions, cell=h, pbc=True))

    change = 1e-4 * np.outer(np.eye(3)[0], np.eye(3)[1])
    difference = (energy(cell + change) - energy(cell - change)) / 2e-4
    found = gradient(jnp.asarray(positions), jnp.asarray(cell))
    # Only the symmetric part of a stress is known, which is all there is for a potential that turns with the atoms.
    assert abs(difference) > 1e-2 and abs(float(found[0, 1]) - difference) < 1e-4


def test_pressure_is_that_of_the_cell():
    """Under pressure the cell is smaller, where -dE/dV of an analytic energy equals it."""
    bulk, v0, p = 0.5, 30.0, 0.02
    surface = Surface(
        lambda r, h, g: 0.5 * bulk / v0 * (jnp.abs(jnp.linalg.det(h)) - v0) ** 2 + 0 * r.sum(), cell=3 * np.eye(3)
    )
    found = minimise(surface, np.zeros((1, 3)), max_stress=1e-8, pressure=p)
    volume = float(jnp.linalg.det(found.cell))
    assert abs(volume - v0 * (1 - p / bulk)) < 1e-4
    np.testing.assert_allclose(found.energy, 0.5 * bulk / v0 * (volume - v0) ** 2, rtol=1e-6)
    np.testing.assert_allclose(found.enthalpy - found.energy, p * volume, rtol=1e-12)


class Row(eqx.Module):
    """Neighbours of the first atom in a row of one length, which says when it is too short."""

    graph: jax.Array  # indices; the number of atoms where there is none
    overflowed: jax.Array

    def update(self, positions, cell=None):
        n, width = len(positions), len(self.graph)
        near = jnp.sum((positions - positions[:1]) ** 2, axis=-1) < 9.0
        found = jnp.nonzero(near.at[0].set(False), size=n, fill_value=n)[0][:width]
        return Row(found, self.overflowed | (near.sum() - 1 > width))

    def grow(self, positions, cell=None):
        return Row(jnp.full(len(self.graph) + 2, len(positions)), jnp.asarray(False)).update(positions)


def pulled(positions, cell, graph):
    """The first atom pulls its neighbours to a distance of one; all are held to the origin, weakly."""
    near = graph < len(positions)
    apart = positions[jnp.where(near, graph, 0)] - positions[:1]
    d2 = jnp.where(near, jnp.sum(apart**2, axis=-1), 1.0)
    # Smooth where an atom comes into reach, at 3.
    return 0.1 * jnp.sum(positions**2) - 20 * jnp.sum(jnp.where(near, (1 - ((d2 - 1) / 8) ** 2) ** 2, 0.0))


def test_an_overflow_is_grown_and_gone_on_from():
    """Four atoms come into reach one after the other of a list with room for two; none is lost."""
    start = np.array([[0.0, 0, 0], [2.5, 0, 0], [0, 3.2, 0], [0, 0, 3.4], [-3.6, 0, 0]])
    surface = Surface(pulled, neighbors=Row(jnp.full(2, 5), jnp.asarray(False)))
    found = minimise(surface, start, max_force=1e-6)
    assert len(found.neighbors.graph) == 4 and not bool(found.neighbors.overflowed)
    # On a sphere about the first: 2.5 d (d² - 1) + 0.2 d = 0 near 1, once the first sits at rest.
    distance = np.linalg.norm(np.asarray(found.positions[1:] - found.positions[:1]), axis=1)
    assert np.abs(distance - 1).max() < 0.1
    # The same list along a band: each image has its own, all as long as the longest needs.
    loose = {"end_force": None, "least_distance": 0.0, "interpolation": "straight"}
    path = neb(surface, found.positions, start, images=4, max_steps=6, throw=False, **loose)
    assert path.neighbors.graph.shape[1] >= 4 and not path.neighbors.overflowed.any()


@pytest.mark.slow
def test_neighbour_overflow_is_caught_and_repeated():
    """A string of atoms collapses: the list made for it becomes too short, and no pair is missing in the end."""
    rng = np.random.default_rng(3)
    start = np.array([[1.2 * k, 0, 0] for k in range(13)]) + 0.2 * rng.normal(size=(13, 3))
    neighbors = NeighborList.allocate(Structure(["Ar"] * 13, start), 3.0, skin=0.3)
    found = minimise(Surface(cut_lennard_jones, neighbors=neighbors), start, max_force=1e-4, max_steps=2000)
    assert found.neighbors.graph.n_neighbors > neighbors.graph.n_neighbors
    np.testing.assert_allclose(found.energy, cut_lennard_jones_of_all(np.asarray(found.positions)), rtol=1e-12)


@pytest.mark.slow
def test_jax_md_energy():
    """A potential of jax-md: the dimer's depth and distance."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        pytest.importorskip("jax_md")  # it computes while it is imported
        from jax_md import energy, space

        displacement, _ = space.free()
        lj = energy.lennard_jones_pair(displacement, r_onset=4.0, r_cutoff=5.0)
    found = minimise(from_jax_md(lj), np.array([[0.0, 0, 0], [1.4, 0, 0]]), max_force=1e-7)
    assert abs(float(found.energy) + 1) < 1e-7
    assert abs(float(found.positions[1, 0] - found.positions[0, 0]) - 2 ** (1 / 6)) < 1e-7


def test_failures_say_what_would_do():
    """Too few steps, overlap, and arguments that cannot be meant."""
    start = np.array([[0.5, 0.5]])
    with pytest.raises(SearchError, match=r"max_steps reached") as caught:
        minimise(muller_brown, start, max_steps=3)
    assert caught.value.result.positions.shape == (1, 2)
    assert minimise(muller_brown, start, max_steps=3, throw=False).status is Status.MAX_STEPS
    with pytest.raises(SearchError, match=r"not finite.*overlap"):
        minimise(lennard_jones, np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"positions: got shape \(2,\)"):
        minimise(muller_brown, np.zeros(2))
    with pytest.raises(ValueError, match=r"positions: not finite"):
        minimise(muller_brown, np.full((1, 2), np.nan))
    with pytest.raises(ValueError, match=r"positions: 2 atoms came, but the surface has 3"):
        minimise(Surface(lennard_jones, masses=np.ones(3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"max_stress: moves the cell, but the surface has none"):
        minimise(lennard_jones, np.zeros((2, 3)), max_stress=1e-4)
    with pytest.raises(ValueError, match=r"pressure: got 1.0 with a fixed cell"):
        minimise(lennard_jones, np.zeros((2, 3)), pressure=1.0)
    with pytest.raises(ValueError, match=r"energy_fn: takes"):
        Surface(lambda a, b: 0.0)
    with pytest.raises(ValueError, match=r"masses: must be > 0"):
        Surface(lennard_jones, masses=[1.0, 0.0])
    with pytest.raises(ValueError, match=r"LBFGS.max_step|FIRE.dt"):
        FIRE(dt=0.0)


def test_single_precision():
    """float32 positions stay so, and converge to what they can hold."""
    found = minimise(muller_brown, np.array([[-0.5, 1.4]], np.float32), max_force=0.01)
    assert found.positions.dtype == jnp.float32
    np.testing.assert_allclose(found.positions[0], MB_MINIMA["A"][0], atol=1e-4)


def test_a_cell_that_cannot_move_is_refused():
    """What constant pressure refuses, a search of a free cell refuses too."""
    cell, at = 3 * np.eye(3), np.zeros((2, 3))
    volume = lambda r, h, g: (jnp.abs(jnp.linalg.det(h)) - 30.0) ** 2 + 0 * r.sum()  # noqa: E731
    for surface, message in (
        (Surface(lambda r: 0 * r.sum(), cell=cell), r"does not see it"),
        (Surface(volume, cell=cell, fixed=[True, False]), r"none can be fixed; free them"),
        (Surface(volume, cell=cell, pbc=(True, True, False)), r"repeat along 2 of its three vectors .*vacuum"),
        (Surface(volume), r"the surface has none"),
    ):
        with pytest.raises(ValueError, match=r"max_stress: .*" + message):
            minimise(surface, at, max_stress=1e-3)
        with pytest.raises(ValueError, match=r"method: .*" + message):
            md(surface, at, NPT(300.0), steps=10)
