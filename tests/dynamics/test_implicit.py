"""Derivatives of minima in the parameters, against minima found anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxnmr.dynamics import LBFGS, Surface, dimer, minimise, neb, stationary
from tests.dynamics.test_minimise import Row, pulled
from tests.dynamics.test_neb import bistable
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


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_second_derivatives(dtype):
    """A bond of length l along an axis, and turned: l² has the second derivative 2, through rigid motions."""
    bond = lambda length, r: 15 * (jnp.sqrt(jnp.sum((r[1] - r[0]) ** 2)) - length) ** 2  # noqa: E731
    digits = 1e-9 if dtype == np.float64 else 1e-4

    def squared(length, at):
        r = stationary(Surface(Partial(bond, length)), at)
        return jnp.sum((r[1] - r[0]) ** 2)

    once, back, forth = jax.grad(squared), jax.grad(jax.grad(squared)), jax.jacfwd(jax.jacfwd(squared))
    derivatives = jax.jit(lambda length, at: (once(length, at), back(length, at), forth(length, at)))
    for end in ([1.2, 0, 0], [0.3, 0.4, np.sqrt(1.44 - 0.25)]):
        found = derivatives(jnp.asarray(1.2, dtype), np.array([[0, 0, 0], end], dtype))
        np.testing.assert_allclose(found, [2.4, 2.0, 2.0], rtol=digits)


def test_soft_modes_follow_in_single_precision():
    """A spring 3e-5 of the stiffest, below the root of float32's precision, still holds what is tied to it."""
    tied = lambda a, r: 50 * r[0, 0] ** 2 + 1.5e-3 * (r[0, 1] - a) ** 2  # noqa: E731
    where = lambda a: stationary(Surface(Partial(tied, a)), np.array([[0.0, 1.0]], np.float32))[0, 1]  # noqa: E731
    np.testing.assert_allclose(jax.grad(where)(jnp.float32(1.0)), 1.0, rtol=1e-5)


def test_held_atoms_and_planes_leave_their_own_rigid_motions():
    """A bond in a plane, free or with one end held: what turns about that end does not hinder the derivative."""
    bond = lambda length, r: (jnp.sqrt(jnp.sum((r[1] - r[0]) ** 2)) - length) ** 2  # noqa: E731
    for at, fixed in (([[0.0, 0], [0.6, 0.8]], None), ([[0.0, 0, 0], [0, 0.6, 0.8]], [True, False])):

        def end(length, at=at, fixed=fixed):
            r = stationary(Surface(Partial(bond, length), fixed=fixed), np.array(at))
            return jnp.sum((r[1] - r[0]) ** 2), jnp.sum(jnp.abs(r[0]))

        apart, moved = jax.jacfwd(end)(1.0)
        np.testing.assert_allclose(apart, 2.0, rtol=1e-9)
        assert fixed is None or moved == 0


def test_a_list_made_elsewhere_is_renewed():
    """Neighbours that came into reach on the way down count in the derivative; without room for them there is none."""
    away = np.array([[0.0, 0, 0], [2.5, 0, 0], [0, 3.2, 0], [0, 0, 3.4], [-3.6, 0, 0]])
    energy = lambda a, r, h, g: pulled(r, h, g) + a * jnp.sum((r - away) ** 2)  # noqa: E731
    wide = Row(jnp.full(4, 5), jnp.asarray(False))  # as for atoms far apart: room, and nobody in it
    surface = lambda a, row: Surface(Partial(energy, a), neighbors=row)  # noqa: E731
    low = minimise(surface(0.3, wide), away, max_force=1e-8).positions
    assert np.linalg.norm(low[1:] - low[:1], axis=1).max() < 2
    reach = lambda r: jnp.sum((r[2:] - r[:1]) ** 2 * jnp.asarray([[1.0, 2.0, 3.0]]))  # noqa: E731
    through = jax.grad(lambda a: reach(minimise(surface(a, wide), low, max_force=1e-6).positions))(0.3)
    after = jax.grad(lambda a: reach(stationary(surface(a, wide), low)))(0.3)
    assert abs(float(after)) > 1e-3
    np.testing.assert_allclose(after, through, rtol=1e-6)
    short = Row(jnp.full(2, 5), jnp.asarray(False))
    assert np.isnan(np.asarray(jax.jit(lambda r: stationary(surface(0.3, short), r))(low))).all()
    with pytest.raises(ValueError, match=r"positions: got shape .* one point"):
        stationary(surface(0.3, wide), np.stack([low, low]))


def test_the_barrier_of_a_band_in_its_parameters():
    """The climbing image's and the end's own derivative, with no unrolling; a second derivative is refused with advice."""
    amplitudes = jnp.asarray(MULLER_BROWN["A"])
    ends = [np.array([MB_MINIMA[name][0]]) for name in "AC"]
    settings = dict(images=5, max_force=0.5, climb_below=20.0, optimiser=LBFGS(max_step=0.05, curvature=1000.0))

    def barrier(a):
        return neb(Surface(Partial(muller_brown_of, a)), *ends, end_force=None, **settings).barrier

    at = lambda name, known: jax.grad(muller_brown_of)(amplitudes, jnp.asarray([known[name][0]]))  # noqa: E731
    exact = at("ts1", MB_SADDLES) - at("A", MB_MINIMA)
    # A force of 0.5 leaves 1e-3 of the place.
    np.testing.assert_allclose(jax.grad(barrier)(amplitudes), exact, atol=5e-3 * np.abs(exact).max())
    with pytest.raises(NotImplementedError, match=r"first derivatives only; differentiate `dimer` at `path.top`"):
        jax.hessian(barrier)(amplitudes)


def test_a_saddle_in_space_in_its_parameters():
    """Three atoms: energy and shape of the saddle between two bonds, against saddles searched anew."""
    start = np.array([[1.3, 0.25, 0.1], [0.0, 0, 0], [2.6, 0, 0.05]])
    across = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]])

    energy = lambda d, r: bistable(r) + d * jnp.sum((r[0] - r[1]) ** 2)  # noqa: E731

    def observed(depth):
        surface = Surface(Partial(energy, depth))
        top = dimer(surface, start, across, max_force=1e-9, sides=False)
        apart = jnp.sqrt(jnp.sum((top.positions[:1] - top.positions[1:]) ** 2, axis=1))
        return jnp.concatenate([top.energy[None], apart])

    exact = jax.jacfwd(observed)(0.05)
    differences = (observed(0.051) - observed(0.049)) / 2e-3
    # h² of third derivatives, and the directions in which nothing but rigid motion leads do not matter.
    np.testing.assert_allclose(exact, differences, rtol=2e-4)
    back = jax.grad(lambda d: observed(d)[1])(0.05)
    np.testing.assert_allclose(back, exact[1], rtol=1e-9)
