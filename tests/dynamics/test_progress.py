"""Who listens hears how far a search is, and gets the same result."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.dynamics import LBFGS, Surface, minimise, neb, vibrations
from tests.systems.surfaces import MB_MINIMA, lennard_jones, muller_brown

A, B = (np.array([MB_MINIMA[name][0]]) for name in "AB")
STIFF = LBFGS(max_step=0.05, curvature=1000.0)
CLUSTER = np.random.default_rng(0).normal(size=(7, 3))


def test_a_minimisation_is_heard():
    """Parts of one search go where the whole goes, to the last bit."""
    heard = []
    loud = minimise(lennard_jones, CLUSTER, max_force=1e-6, progress=lambda *now: heard.append(now))
    still = minimise(lennard_jones, CLUSTER, max_force=1e-6)
    np.testing.assert_array_equal(loud.positions, still.positions)
    assert int(loud.evaluations) == int(still.evaluations) == heard[-1][0] > 20
    made, most, forces = zip(*heard, strict=True)
    assert list(made[:2]) == [10, 20] and set(most) == {1000}
    assert forces[-1] == float(still.max_force) <= 1e-6 < forces[0]


def test_a_path_is_heard():
    """Ten steps of the band at a time; the best band's force comes down to the goal."""
    heard = []
    how = {"images": 9, "max_force": 0.5, "climb_below": 20.0, "optimiser": STIFF}
    loud = neb(muller_brown, A, B, **how, progress=lambda *now: heard.append(now))
    still = neb(muller_brown, A, B, **how)
    np.testing.assert_array_equal(loud.positions, still.positions)
    assert int(loud.evaluations) == int(still.evaluations)
    assert len(heard) == -(-int(still.steps) // 10) > 2
    assert heard[-1] == (int(still.steps), 500, float(still.max_force))


def test_a_limit_is_a_limit():
    """A search that is out of steps ends there, heard or not."""
    heard = []
    for progress in (None, lambda *now: heard.append(now)):
        found = minimise(lennard_jones, CLUSTER, max_force=1e-6, max_steps=13, throw=False, progress=progress)
        assert int(found.evaluations) == 13 and not found.converged
    assert [made for made, *_ in heard] == [10, 13]


def test_a_hessian_is_heard():
    """Batch by batch, the same rows; under a transformation nobody is told."""
    low = minimise(lennard_jones, CLUSTER, max_force=1e-8).positions
    surface, heard = Surface(lennard_jones, masses=np.ones(7)), []
    loud = vibrations(surface, low, progress=lambda *now: heard.append(now))
    still = vibrations(surface, low)
    np.testing.assert_allclose(loud.hessian, still.hessian, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(loud.wavenumbers, still.wavenumbers, rtol=1e-9, atol=1e-4)
    assert heard == [(7, 21), (14, 21), (21, 21)]

    def stiffness(scale):
        return vibrations(surface, scale * jnp.asarray(low), progress=lambda *now: heard.append(now)).log_determinant

    assert np.isfinite(jax.grad(stiffness)(1.0)) and len(heard) == 3
    # Constants are concrete inside jit too, but what is made of them is not.
    inside = jax.jit(lambda: vibrations(surface, low, progress=lambda *now: heard.append(now)).log_determinant)()
    np.testing.assert_allclose(inside, still.log_determinant, rtol=1e-9)
    assert len(heard) == 3
