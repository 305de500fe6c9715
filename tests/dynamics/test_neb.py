"""Paths on known surfaces, the names of like atoms, and endpoints that cannot be joined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxnmr.dynamics import (
    LBFGS,
    SearchError,
    Spring,
    Status,
    String,
    Surface,
    dimer,
    fingerprint,
    idpp,
    match_endpoints,
    minimise,
    neb,
)
from jaxnmr.dynamics._band_search import lowest_of, relaxed
from tests.systems.surfaces import MB_MINIMA, MB_SADDLES, lennard_jones, muller_brown

A, B, C = (np.array([MB_MINIMA[name][0]]) for name in "ABC")
# Curvatures reach 3000 in these units, far above an atom's.
STIFF = LBFGS(max_step=0.05, curvature=1000.0)


def bistable(positions):
    """A hydrogen that hops between two like atoms held by their distances: three atoms, the middle one moves."""
    h, left, right = positions
    a, b = (jnp.sqrt(jnp.sum((h - end) ** 2)) for end in (left, right))
    well = lambda d: (1 - jnp.exp(-2.0 * (d - 1.0))) ** 2  # noqa: E731
    # The softer of the two bonds: a smooth minimum of two Morse wells.
    apart = jnp.sqrt(jnp.sum((left - right) ** 2))
    return -0.1 * jnp.logaddexp(-well(a) / 0.1, -well(b) / 0.1) + 5 * (apart - 2.6) ** 2 + 0.5 * (a + b - 2.6) ** 2


@pytest.mark.parametrize("method", [Spring(), String()], ids=["NEB", "string"])
def test_muller_brown_path(method):
    """The climbing image stands on the saddle; from there a dimer needs few steps to eight digits."""
    path = neb(muller_brown, A, C, images=9, max_force=0.5, climb_below=20.0, optimiser=STIFF, method=method)
    position, energy = MB_SADDLES["ts1"]
    # Curvature 600 there: a force of 0.5 is an energy of 2e-4.
    assert abs(float(path.barrier) + MB_MINIMA["A"][1] - energy) < 1e-3
    np.testing.assert_allclose(path.top[0], position, atol=2e-3)
    assert int(path.evaluations) == 9 + 7 * int(path.steps) < 400
    if isinstance(method, String):
        gaps = np.diff(np.asarray(path.arc))
        top = int(np.argmax(path.energies))
        for part in (gaps[:top], gaps[top:]):
            # Respaced before the last evaluation only: equal to what curvature leaves of the polygon.
            assert np.ptp(part) < 0.1 * part.mean()


def test_several_steps_lead_to_the_saddle():
    """A path's top and tangent are what `dimer` needs."""
    path = neb(muller_brown, A, C, images=9, max_force=0.5, climb_below=20.0, optimiser=STIFF)
    found = dimer(muller_brown, path.top, path.tangent, max_force=1e-8, sides=False)
    np.testing.assert_allclose(found.positions[0], MB_SADDLES["ts1"][0], atol=1e-9)
    assert path.plot() is not None


def test_idpp_goes_around():
    """Two atoms that change places pass each other; straight images would meet."""
    start = np.array([[0.0, 0, 0], [2.0, 0, 0], [1.0, 3.0, 0]])
    end = start[[1, 0, 2]]
    weights = np.linspace(0, 1, 7)[:, None, None]
    straight = (1 - weights) * start + weights * end + np.array([0, 0, 0.02])[None, None] * (weights * (1 - weights))
    straight[1:-1, 0, 1] += 0.01
    found = np.asarray(idpp(jnp.asarray(straight)))
    shortest = lambda p: np.linalg.norm(p[:, 0] - p[:, 1], axis=-1).min()  # noqa: E731
    assert shortest(straight) < 0.05 and shortest(found) > 1.5
    np.testing.assert_array_equal(found[[0, -1]], straight[[0, -1]])


def test_matching_finds_the_permutation_and_the_image():
    """Renamed, turned and shifted atoms come back; through a cell's wall too; many by assignment."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(6, 3)) * 2
    species = ["C", "O", "O", "O", "H", "H"]
    order = np.array([0, 3, 1, 2, 5, 4])
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    best, second = match_endpoints(start, start[order] @ turn + 1.0, species, count=2)
    np.testing.assert_allclose(best.positions, start, atol=1e-9)
    np.testing.assert_array_equal(order[best.order], np.arange(6))
    assert second.distance > 0.5
    cell = np.array([[6.0, 0, 0], [3.0, 5.0, 0], [0, 0, 7.0]])
    for screen in (5040, 1):
        (near,) = match_endpoints(start, start[order] + np.array([1, -1, 2]) @ cell, species, cell, screen=screen)
        np.testing.assert_allclose(near.positions, start, atol=1e-9)
    with pytest.raises(ValueError, match=r"both ends need the same"):
        match_endpoints(start, start[:5], species)


def test_matching_within_neb_keeps_the_lowest_path():
    """The end with its two oxygens named crosswise: the path with names put right is that of the plain ends."""
    surface = Surface(bistable, species=("H", "O", "O"))
    start = np.asarray(minimise(surface, np.array([[1.0, 0.05, 0], [0.0, 0, 0], [2.6, 0, 0]]), max_force=1e-5).positions)
    # Reflected through the middle of the two like atoms: the hydrogen sits on the other one.
    end = np.stack([start[1] + start[2] - start[0], start[1], start[2]])
    plain = neb(surface, start, end, images=7, max_force=0.01)
    # Half way, the softest of two equal Morse bonds at 1.3: 0.204 - 0.1 ln 2 above the well.
    assert abs(float(plain.barrier) - 0.134) < 0.02
    crossed = neb(surface, start, end[[0, 2, 1]], images=7, max_force=0.01, match=2)
    assert abs(float(crossed.barrier) - float(plain.barrier)) < 1e-3
    assert crossed.order is not None and sorted(crossed.order.tolist()) == [0, 1, 2]


def test_images_of_a_molecule_do_not_wander():
    """Shifts and turns of whole images, which cost no energy, stay out of tangents: each goal is reached in few steps."""
    surface = Surface(bistable, species=("H", "O", "O"))
    near = np.array([[1.0, 0.1, 0], [0.0, 0, 0], [2.6, 0, 0.1]])
    far = np.stack([near[1] + near[2] - near[0], near[1], near[2]])
    ends = [minimise(surface, r, max_force=0.01).positions for r in (near, far)]
    for max_force in (0.02, 0.003):
        path = neb(surface, *ends, images=7, max_force=max_force)
        # With them (rigid="none") L-BFGS leaves for 2e4 eV and FIRE needs 145 steps.
        assert int(path.steps) < 40
    top = dimer(surface, path.top, path.tangent, sides=False)
    assert abs(float(path.barrier + path.energies[0] - top.energy)) < 1e-3


def test_an_end_that_was_wrapped_into_the_cell_is_near():
    """A particle that hops over a face of the cell: the same path as for one that was not put back."""
    cell = 4.0 * np.eye(3)
    waves = lambda r, h, g: 0.1 * jnp.sum(1 - jnp.cos(2 * jnp.pi * r / 2.0))  # noqa: E731 - wells every 2 Å
    surface, start = Surface(waves, cell=cell), np.array([[2.0, 0, 0]])
    settings = dict(images=5, max_steps=50, climb=False, interpolation="straight")
    for x in (4.0, 0.0, -4.0):
        path = neb(surface, start, np.array([[x, 0.0, 0.0]]), **settings)
        assert abs(float(path.arc[-1]) - 2) < 1e-9 and abs(float(path.barrier) - 0.2) < 1e-6


def test_bad_endpoints_are_named():
    with pytest.raises(ValueError, match=r"start, end: got shapes"):
        neb(lennard_jones, np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"end: is no minimum, a force is .*minimise it first"):
        neb(muller_brown, A, C + 0.05)
    with pytest.raises(ValueError, match=r"atoms 0 and 1 come within .*idpp"):
        pair = np.array([[0.0, 0, 0], [1.2, 0, 0], [5, 0, 0]])
        neb(lennard_jones, pair, pair[[1, 0, 2]], images=5, interpolation="straight", end_force=None)
    with pytest.raises(ValueError, match=r"images: got 2"):
        neb(muller_brown, A, C, images=2)
    with pytest.raises(ValueError, match=r"are one point .* fell into one minimum"):
        neb(muller_brown, A, A + 1e-4)
    with pytest.raises(ValueError, match=r"match: needs elements"):
        neb(muller_brown, A, C, match=1)
    with pytest.raises(SearchError, match=r"neb: max_steps reached") as caught:
        neb(muller_brown, A, C, max_force=0.5, max_steps=2)
    assert caught.value.result.energies.shape == (9,)
    with pytest.raises(ValueError, match=r"Spring.constant"):
        Spring(0.0)


def test_a_band_that_is_beaten_is_given_up():
    """Two ways around a ring, the upper one higher and too rough to converge: it ends soon after the lower one has."""

    def ring(r):
        x, y = r[0, 0], r[0, 1]
        angle, rough = jnp.arctan2(y, x), 0.02 * jnp.sin(150 * x) * jnp.exp(-((y - 1) ** 2) / 0.1)
        return 10 * (jnp.sqrt(x**2 + y**2) - 1) ** 2 + jnp.sin(angle) ** 2 * (1 + 0.5 * jnp.sin(angle)) + rough

    angles = np.linspace(0, np.pi, 9)[:, None]
    bands = jnp.asarray([np.stack([np.cos(angles), s * np.sin(angles)], axis=-1) for s in (1, -1)])
    goals = (jnp.asarray(0.02), jnp.asarray(0.2))
    method, optimiser = Spring(), LBFGS(unexplored="mean")
    surface, ends = Surface(ring), jnp.zeros((2, 2))
    found = relaxed(surface, None, bands, ends, method, optimiser, goals, jnp.asarray(500), True, "none")
    assert found.code.tolist() == [int(Status.MAX_STEPS), int(Status.CONVERGED)]
    assert abs(float(found.energies[1].max()) - 0.5) < 1e-2
    assert int(found.steps[1]) < int(found.steps[0]) <= 2 * int(found.steps[1]) + 12
    # Alone it would go on to its last step.
    alone = relaxed(surface, None, bands[:1], ends[:1], method, optimiser, goals, jnp.asarray(100), True, "none")
    assert int(alone.steps[0]) == 100


def test_an_end_that_is_the_start_renamed_is_no_way():
    """A hydrogen on either of two like atoms: renamed and turned both ends are one, which is no way; the hop stays."""
    surface = Surface(bistable, species=("H", "O", "O"))
    start = np.asarray(minimise(surface, np.array([[1.0, 0.05, 0], [0.0, 0, 0], [2.6, 0, 0]]), max_force=1e-5).positions)
    with pytest.raises(ValueError, match=r"match: with like atoms renamed the end is the start itself"):
        neb(surface, start, start + 2.0, match=1, among=[0])
    assert abs(float(neb(surface, start, start[[0, 2, 1]] + 2.0, images=7, max_force=0.01, match=2).barrier) - 0.124) < 1e-3


def test_the_lowest_band_that_converged_is_chosen():
    """A band that did not converge may look lower than it is; it counts only where none converged."""
    tops = jnp.asarray([[0.2], [0.5], [0.3], [0.1]])
    done, stopped, broken = int(Status.CONVERGED), int(Status.MAX_STEPS), int(Status.NOT_FINITE)
    assert lowest_of(tops, jnp.asarray([stopped, done, done, broken])) == 2
    assert lowest_of(tops, jnp.asarray([stopped, stopped, stopped, broken])) == 0


def test_a_slab_has_no_images_in_its_vacuum():
    """Across the vacuum the far side is far: in paths, first guesses, names and fingerprints."""
    cell, pbc = 4.0 * np.eye(3), (True, True, False)
    waves = lambda r, h, g: 0.1 * jnp.sum(1 - jnp.cos(2 * jnp.pi * r / 2.0))  # noqa: E731 - wells every 2 Å
    settings = dict(images=5, max_steps=1, climb=False, interpolation="straight", throw=False)
    start, end = np.zeros((1, 3)), np.array([[4.0, 0.0, 4.0]])
    path = neb(Surface(waves, cell=cell, pbc=pbc), start, end + np.array([[2.0, 0, 0]]), **settings)
    np.testing.assert_allclose(np.abs(path.positions[-1]), [[2.0, 0, 4.0]], atol=1e-9)
    (named,) = match_endpoints(start, end, ["H"], cell, pbc=pbc)
    np.testing.assert_allclose(named.positions, [[0, 0, 4.0]], atol=1e-9)
    pair = np.array([[0.0, 0, 0], [0.0, 0, 3.0]])
    mirrored = np.array([[0.0, 0, 0], [0.0, 0, 1.0]])
    prints = [np.asarray(fingerprint(jnp.asarray(r), 1.0, None, cell, pbc)) for r in (pair, mirrored)]
    assert np.abs(prints[0] - prints[1]).max() > 0.1
    wide = np.stack([pair + k * np.array([[0.0, 0, 0], [0, 0, 0.1]]) for k in range(4)])
    # Straight and even already: distances of 3.0 to 3.3 are interpolated, not those of 1.0 to 0.7.
    np.testing.assert_allclose(idpp(wide, cell, pbc=pbc), wide, atol=1e-4)


def test_fingerprints_are_differentiable():
    """In positions and cell, against differences; not zero."""
    rng = np.random.default_rng(0)
    r, cell, w = rng.normal(size=(4, 3)), 4 * np.eye(3) + 0.3 * rng.normal(size=(3, 3)), np.array([1.0, 0.7, -0.4, 0.2])
    of = lambda r, cell: jnp.dot(jnp.asarray(w), fingerprint(jnp.asarray(r), 1.2, None, cell))  # noqa: E731
    check_grads(of, (r, cell), order=1, modes=("fwd", "rev"))
    assert np.abs(jax.grad(of)(jnp.asarray(r), jnp.asarray(cell))).max() > 1e-2
