"""Who listens hears how far a search is, and gets the same result."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.dynamics import LBFGS, Spring, Surface, dimer, minimise, neb, vibrations
from jaxnmr.dynamics._band_search import relaxed
from tests.dynamics.test_minimise import Row, pulled
from tests.systems.surfaces import MB_MINIMA, MB_SADDLES, lennard_jones, muller_brown

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
    """Three steps of the band at a time; the best band's force comes down to the goal."""
    heard = []
    how = {"images": 9, "max_force": 0.5, "climb_below": 20.0, "optimiser": STIFF}
    loud = neb(muller_brown, A, B, **how, progress=lambda *now: heard.append(now))
    still = neb(muller_brown, A, B, **how)
    np.testing.assert_array_equal(loud.positions, still.positions)
    assert int(loud.evaluations) == int(still.evaluations)
    assert len(heard) == -(-int(still.steps) // 3) > 6
    assert heard[-1] == (int(still.steps), 500, float(still.max_force))


def test_the_best_of_several_bands_is_heard():
    """The force told is that of the band with the lowest top, not of a broken one, nor of one that lies higher."""
    ring = lambda r: 10 * (jnp.sqrt(jnp.sum(r[0] ** 2)) - 1) ** 2 + r[0, 1] ** 2 * (1 + 0.5 * r[0, 1])  # noqa: E731
    angles = np.linspace(0, np.pi, 7)[:, None]
    bands = jnp.asarray([np.stack([x * np.cos(angles), y * np.sin(angles)], -1) for x, y in ((1, 1), (1, -1), (1, np.nan))])
    goals, heard = (jnp.asarray(1e-3), jnp.asarray(1e-2)), []
    given = (Spring(), LBFGS(unexplored="mean"), goals, jnp.asarray(9), True, "none", lambda *now: heard.append(now))
    found = relaxed(Surface(ring), None, bands, jnp.zeros((3, 2)), *given, 5)
    forces = np.asarray(found.max_force)
    assert heard[-1][2] == forces[1] != forces[0] and np.isnan(forces[2])
    assert [now[:2] for now in heard] == [(8, 14), (11, 14), (14, 14)]


def test_a_saddle_is_heard():
    """Ten moves at a time, then both ways down; the saddle is the same."""
    heard, start = [], np.array([MB_SADDLES["ts1"][0]]) + 0.3
    loud = dimer(muller_brown, start, max_force=1e-8, max_step=0.01, progress=lambda *now: heard.append(now))
    still = dimer(muller_brown, start, max_force=1e-8, max_step=0.01)
    np.testing.assert_array_equal(loud.positions, still.positions)
    moves = [now for now in heard if now[1] == 500]
    made = int(still.evaluations) // 6
    assert [now[0] for now in moves] == [*range(10, made, 10), made] and moves[-1][2] == float(still.max_force)
    assert heard[len(moves) :][-1][:2] == (int(still.sides.evaluations.max()), 5000)


def test_what_was_made_before_a_list_grew_is_told():
    """Taken up again with more room, a search counts on; steps and evaluations are those of all of it."""
    start = np.array([[0.0, 0, 0], [2.5, 0, 0], [0, 3.2, 0], [0, 0, 3.4], [-3.6, 0, 0]])
    surface, heard = Surface(pulled, neighbors=Row(jnp.full(2, 5), jnp.asarray(False))), []
    found = minimise(surface, start, max_force=1e-6, progress=lambda *now: heard.append(now))
    made, most, _ = zip(*heard, strict=True)
    assert made[-1] == int(found.evaluations) and set(most) == {1000} and list(made) == sorted(made)
    heard.clear()
    how = {"images": 4, "throw": False, "end_force": None, "least_distance": 0.0, "interpolation": "straight"}
    for limit in (1, 6):
        path = neb(surface, found.positions, start, max_steps=limit, progress=lambda *now: heard.append(now), **how)
        made, most, _ = zip(*heard, strict=True)
        assert made[-1] == int(path.steps) <= limit and set(most) == {limit} and list(made) == sorted(made)
        assert int(path.evaluations) == 4 + 2 * int(path.steps)
        heard.clear()
    # Rows grow by two: for the longest from what all had, not from image to image.
    assert path.neighbors.graph.shape[1] == 4
    heard.clear()
    near = 0.85 * start + 0.01 * np.arange(15).reshape(5, 3)
    top = dimer(surface, near, max_steps=25, sides=False, throw=False, progress=lambda *now: heard.append(now))
    made, most, _ = zip(*heard, strict=True)
    assert made[-1] == int(top.evaluations) // 6 <= 25 and set(most) == {25} and list(made) == sorted(made)
    assert len(top.neighbors.graph) > 2


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
