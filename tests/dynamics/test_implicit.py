"""Derivatives of minima in the parameters, against minima found anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxnmr.dynamics import Surface, dimer, minimise
from tests.systems.surfaces import MB_MINIMA, MB_SADDLES, MULLER_BROWN, muller_brown_of


def test_minimum_in_its_parameters():
    """Forward and reverse mode through `minimise` equal differences of re-minimised positions."""
    amplitudes = jnp.asarray(MULLER_BROWN["A"])
    weights = jnp.asarray([[1.0, -2.0]])

    def observed(a):
        surface = Surface(Partial(muller_brown_of, a))
        return jnp.sum(weights * minimise(surface, np.array([MB_MINIMA["A"][0]]), max_force=1e-9).positions)

    reverse = jax.grad(observed)(amplitudes)
    _, forward = jax.jvp(observed, (amplitudes,), (jnp.asarray([0.0, 1.0, 0, 0]),))
    h = 1e-3
    differences = [float(observed(amplitudes + h * e) - observed(amplitudes - h * e)) / (2 * h) for e in jnp.eye(4)]
    # h² of the third derivatives is 1e-9 of the largest.
    np.testing.assert_allclose(reverse, differences, atol=1e-7 * np.abs(differences).max())
    np.testing.assert_allclose(forward, reverse[1], rtol=1e-9)


def test_a_barrier_in_its_parameters():
    """Of two minima searched side by side and of the saddle: energies and places, against searches anew."""
    amplitudes = jnp.asarray(MULLER_BROWN["A"])
    starts = np.array([[MB_MINIMA["A"][0]], [MB_MINIMA["C"][0]]])

    def observed(a):
        surface = Surface(Partial(muller_brown_of, a))
        low = minimise(surface, starts, max_force=1e-9)
        top = dimer(surface, np.array([MB_SADDLES["ts1"][0]]) + 0.01, max_force=1e-9, sides=False)
        return jnp.stack([top.energy - low.energy[0], low.positions[1, 0, 0], top.positions[0, 1]])

    way = jnp.asarray([0.0, 1.0, 0.0, 2.0])
    _, exact = jax.jvp(observed, (amplitudes,), (way,))
    differences = (observed(amplitudes + 1e-3 * way) - observed(amplitudes - 1e-3 * way)) / 2e-3
    np.testing.assert_allclose(exact, differences, rtol=1e-5, atol=1e-9)
    back = jax.grad(lambda a: observed(a)[0])(amplitudes)
    np.testing.assert_allclose(back @ way, exact[0], rtol=1e-9)


def test_a_free_cell_is_not_differentiated_to_zero():
    energy = lambda a, r, h, g: a * (jnp.abs(jnp.linalg.det(h)) - 30.0) ** 2 + 0 * r.sum()  # noqa: E731

    def volume(a):
        surface = Surface(Partial(energy, a), cell=3 * np.eye(3))
        return jnp.linalg.det(minimise(surface, np.zeros((1, 3)), max_stress=1e-6).cell)

    assert abs(float(volume(0.1)) - 30) < 1e-3
    with pytest.raises(NotImplementedError, match=r"no derivatives where the cell moves"):
        jax.grad(volume)(0.1)


def test_cell_moves_the_minimum():
    """Two atoms held by springs to points of the cell: the minimum's derivative in the cell is analytic."""
    energy = lambda r, h, g: jnp.sum((r - h[:1] * jnp.asarray([[0.25], [0.75]])) ** 2)  # noqa: E731

    def where(length):
        surface = Surface(energy, cell=jnp.diag(jnp.stack([length, length, length])))
        return minimise(surface, np.zeros((2, 3)), max_force=1e-9).positions[:, 0]

    np.testing.assert_allclose(jax.jacobian(where)(jnp.asarray(4.0)), [0.25, 0.75], rtol=1e-9)
