"""Surfaces of networks: second derivatives against extrapolated differences, motion of atoms and cell."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import NPT, Surface, md, minimise, vibrations
from jaxnmr.structure import Structure, read
from tests.potential.small import small_potential

SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture(scope="module")
def silica():
    """A few atoms of random silica in a skewed cell, settled on a random network's surface."""
    rng = np.random.default_rng(1)
    cell = np.array([[5.0, 0, 0], [0.4, 5.2, 0], [-0.3, 0.5, 5.4]])
    places = np.array([[0.1, 0.1, 0.1], [0.6, 0.1, 0.2], [0.1, 0.6, 0.3], [0.6, 0.6, 0.6]]) @ cell
    structure = Structure(["Si", "O", "O", "H"], places + 0.1 * rng.normal(size=(4, 3)), cell)
    return structure, Surface.from_potential(small_potential(dtype=np.float64), structure)


def differences(surface, positions, step):
    """Rows of the Hessian by central differences of forces."""
    gradient = jax.jit(lambda r: surface.gradient(r, surface.renew(surface.neighbors, r)))
    flat, rows = np.asarray(positions).ravel(), []
    for unit in np.eye(flat.size):
        up, down = (np.asarray(gradient(jnp.asarray((flat + s * step * unit).reshape(-1, 3)))) for s in (1, -1))
        rows.append((up - down).ravel() / (2 * step))
    return np.array(rows)


def test_hessian_is_the_limit_of_differences(silica):
    """Differences of 0.01 Å miss by their own h², a quarter of it at 0.005; extrapolated they meet the derivatives."""
    structure, surface = silica
    found = np.asarray(vibrations(surface, structure.positions, rigid="crystal").hessian)
    coarse, fine = (differences(surface, structure.positions, h) for h in (0.01, 0.005))
    size = np.linalg.norm(found)
    missed = [np.linalg.norm(rows - found) / size for rows in (coarse, fine)]
    assert 3.8 < missed[0] / missed[1] < 4.2 and missed[0] > 1e-6
    # What is left is h⁴, and rounding of forces over h: both below 1e-7.
    assert np.linalg.norm((4 * fine - coarse) / 3 - found) / size < 1e-6


def test_atoms_and_cell_move_on_a_network(silica):
    """Enthalpy and heat balance while the cell more than doubles: gradient and strain's pull belong to one energy."""
    structure, surface = silica
    method = NPT(1000.0, 0.0, friction=0.001, period=200.0, cell_friction=0.001)
    run = md(surface, structure.positions, method, steps=120, dt=0.2, every=2, max_temperature=1e6)
    assert run.volume[-1] > 2 * run.volume[0] and np.ptp(run.kinetic) > 0.1
    # A fourth part of it at half the step; 0.25 eV go from the atoms to the cell.
    assert np.ptp(run.conserved) < 1e-4 * np.ptp(run.kinetic)


def khco3():
    model = SHARED / "weights" / "nequix-oam-1.nqx"
    crystal = Path(os.environ.get("JAXNMR_DATA", SHARED / "data")) / "khco3" / "khco3_experimental.extxyz"
    for path in (model, crystal):
        if not path.exists():
            pytest.skip(f"{path.name} is not there")
    return model, read(crystal)


@pytest.mark.slow
def test_hessian_of_a_foundation_potential():
    """KHCO3, 24 atoms: products of the Hessian with random directions, against extrapolated differences of forces."""
    import jaxnmr as jn

    model, crystal = khco3()
    surface = Surface.from_potential(jn.load_potential(model).astype(np.float64), crystal)
    low = minimise(surface, crystal.positions, max_force=0.05, max_steps=60, throw=False)
    r = low.positions
    gradient = jax.jit(lambda x: surface.gradient(x, surface.renew(surface.neighbors, x)))
    product = jax.jit(lambda x, v: surface.hessian_product(x, v, surface.renew(surface.neighbors, x)))
    rng = np.random.default_rng(0)
    for _ in range(2):
        v = jnp.asarray(rng.normal(size=r.shape))
        v = v / jnp.linalg.norm(v)
        found = product(r, v)
        coarse, fine = ((gradient(r + h * v) - gradient(r - h * v)) / (2 * h) for h in (0.02, 0.01))
        size = float(jnp.linalg.norm(found))
        assert float(jnp.linalg.norm((4 * fine - coarse) / 3 - found)) < 1e-5 * size
