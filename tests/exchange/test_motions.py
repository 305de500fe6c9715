"""Ready-made motions: averages by hand, rates as they are defined, products, invariances, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxnmr as jn
from jaxnmr.exchange import Motion, cone, flip, jumps, n_site_jump, tetrahedral_jump
from jaxnmr.tensors import quadrupole_parameters

Z = (0.0, 0.0, 1.0)
TETRAHEDRAL = np.arccos(-1 / 3)  # between two bonds of sp3 carbon
COUPLING = 1.7e5  # Hz


def deuteron(theta, phi=0.0, eta=0.0):
    """A 2H site whose C-D bond stands at polar angles (theta, phi)."""
    return jn.Sites("2H", jn.shift_tensor(0.0), jn.quadrupole_tensor(COUPLING, eta, (phi, theta, 0.0)))


def average(motion, site):
    """Population-weighted quadrupole tensor, and shift."""
    sites, exchange = motion(site)
    p = np.asarray(exchange.populations)
    return tuple(np.einsum("j,jab->ab", p, np.asarray(t)) for t in (sites.quadrupole, sites.shift))


def along(direction, value=1.0):
    """Axial traceless tensor."""
    n = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    return value * (1.5 * np.outer(n, n) - 0.5 * np.eye(3))


def balanced(motion):
    k, p = np.asarray(motion.exchange.rates), np.asarray(motion.exchange.populations)
    np.testing.assert_allclose(k.sum(axis=0), 0.0, atol=1e-9 * np.abs(k).max())
    np.testing.assert_allclose(k * p, (k * p).T, rtol=1e-12, atol=0)
    np.testing.assert_allclose(p.sum(), 1.0)
    return k, p


def test_phenyl_flip():
    """Bonds at 60 degrees from the axis: 5/8 of C_Q and eta 0.6, as in every text on 2H."""
    found = quadrupole_parameters(average(flip(Z, 1e5), deuteron(np.pi / 3))[0])
    # 1e-9: rounding. Bonds at 120 degrees to each other, as a three-site jump would have, give 1/8 and eta 0.
    np.testing.assert_allclose(np.abs(found.c_q), COUPLING * 5 / 8, rtol=1e-9)
    np.testing.assert_allclose(found.eta_q, 0.6, rtol=1e-9)


def test_methyl():
    """Three positions at the tetrahedral angle: C_Q falls to a third and changes sign, axial about the axis."""
    mean, _ = average(n_site_jump(Z, 3, 1e9), deuteron(TETRAHEDRAL, 0.4))
    np.testing.assert_allclose(mean, along(Z, -COUPLING / 3), atol=1e-9 * COUPLING)


@pytest.mark.parametrize("euler", [(0.0, 0.0, 0.0), (0.3, 1.1, 2.0)])
def test_tetrahedral(euler):
    """A bond along corner 0 averages to nothing, wherever the tetrahedron stands; one elsewhere does not."""
    motion = tetrahedral_jump(1e6, euler=euler)
    mean, _ = average(motion, deuteron(euler[1], euler[0]))
    np.testing.assert_allclose(mean, 0.0, atol=1e-9 * COUPLING)
    corners = np.asarray(motion.rotations) @ np.array(
        [np.cos(euler[0]) * np.sin(euler[1]), np.sin(euler[0]) * np.sin(euler[1]), np.cos(euler[1])]
    )
    np.testing.assert_allclose(corners @ corners.T, (4 * np.eye(4) - 1) / 3, atol=1e-9)
    other, _ = average(motion, deuteron(euler[1] + 0.3, euler[0]))
    assert np.abs(other).max() > 0.1 * COUPLING


def test_corner_one():
    """Corner 1 lies where the docstring says: in the half-plane x > 0, y = 0."""
    corner = np.asarray(tetrahedral_jump(1.0).rotations)[1] @ np.array(Z)
    np.testing.assert_allclose(corner, [np.sqrt(8) / 3, 0.0, -1 / 3], atol=1e-9)


@pytest.mark.parametrize("axis", [Z, (0.0, 0.0, -2.0), (0.4, -1.0, 0.2), (1.0, 1.0, -0.3)])
def test_cone(axis):
    """(3 cos^2 theta - 1)/2 along the axis, any axis, any number of positions from five."""
    for theta, n in ((0.35, 5), (1.2, 12)):
        site = jn.Sites("2H", jn.shift_tensor(0.0), along(axis, COUPLING))
        motion = cone(axis, theta, 1e6, n=n)
        mean, _ = average(motion, site)
        np.testing.assert_allclose(mean, along(axis, COUPLING * (3 * np.cos(theta) ** 2 - 1) / 2), atol=1e-9 * COUPLING)
        tips = np.asarray(motion.rotations) @ (np.array(axis) / np.linalg.norm(axis))
        np.testing.assert_allclose(tips @ np.array(axis) / np.linalg.norm(axis), np.cos(theta), rtol=1e-9)
        np.testing.assert_allclose(np.diff(tips[:, None] @ tips[..., None], axis=0), 0.0, atol=1e-9)


def test_cone_has_no_twist():
    """Leaning without a twist takes what is across the lean to itself; and eta of the axis survives a narrow cone."""
    turns = np.asarray(cone(Z, 0.4, 1.0, n=8).rotations)
    for j in range(8):
        across = np.array([-np.sin(2 * np.pi * j / 8), np.cos(2 * np.pi * j / 8), 0.0])
        np.testing.assert_allclose(turns[j] @ across, across, atol=1e-12)
    found = quadrupole_parameters(average(cone(Z, 0.1, 1.0), deuteron(0.0, eta=0.5))[0])
    assert 0.48 < found.eta_q < 0.52  # a turn about the axis would leave 0


def test_cone_diffusion():
    """The slowest mode decays at D, and the m = 2 mode at 4 D less 9 % at n = 12."""
    rates = -np.sort(-np.linalg.eigvalsh(np.asarray(cone(Z, 0.3, 1e6).exchange.rates)))
    np.testing.assert_allclose(rates[1], -1e6 * (144 / (4 * np.pi**2)) * (2 - 2 * np.cos(2 * np.pi / 12)), rtol=1e-9)
    assert -1e6 < rates[1] < -0.97e6
    assert -0.92 * 4e6 < rates[3] < -0.90 * 4e6


def test_shift_turns_with_coupling():
    """Both tensors of a site turn by the same matrix, the antisymmetric part of the shift too."""
    shift = np.array([[10.0, 5.0, 0.0], [-3.0, 40.0, 2.0], [1.0, 0.0, 90.0]])
    sites, _ = flip((1.0, 2.0, 2.0), 1e3, angle=0.7)(jn.Sites("17O", shift, along((1, 0, 1), 7e6)))
    axis = np.array([1.0, 2.0, 2.0]) / 3
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    r = np.eye(3) + np.sin(0.7) * cross + (1 - np.cos(0.7)) * cross @ cross
    np.testing.assert_allclose(sites.shift, [shift, r @ shift @ r.T], atol=1e-9)
    np.testing.assert_allclose(sites.quadrupole[1], along(r @ np.array([1.0, 0.0, 1.0]), 7e6), atol=1e-3)


def test_rates_are_of_one_jump():
    """k of each motion is that of one jump from one position to one other."""
    k, _ = balanced(flip(Z, 3.0))
    np.testing.assert_allclose(k, [[-3, 3], [3, -3]])
    for motion, leaving in ((n_site_jump(Z, 3, 3.0), 2), (n_site_jump(Z, 6, 3.0), 2), (tetrahedral_jump(3.0), 3)):
        k, p = balanced(motion)
        np.testing.assert_allclose(np.diag(k), -3.0 * leaving)
        np.testing.assert_allclose(k[1, 0], 3.0)
        np.testing.assert_allclose(p, 1 / len(motion))
    ring, _ = balanced(n_site_jump(Z, 6, 3.0))
    assert ring[2, 0] == ring[3, 0] == 0 and ring[5, 0] == 3.0
    every, _ = balanced(jumps(np.zeros((5, 3)), 3.0))
    np.testing.assert_allclose(every[~np.eye(5, dtype=bool)], 3.0)


def test_unequal_populations():
    """Equal barrier tops: k out of position 0, k p_0 / p_i out of position i to each neighbour."""
    p = np.array([0.5, 0.3, 0.2])
    for motion in (n_site_jump(Z, 3, 10.0, populations=p), jumps(np.zeros((3, 3)), 10.0, populations=p)):
        k, found = balanced(motion)
        np.testing.assert_allclose(found, p)
        np.testing.assert_allclose(k[:, 0], [-20, 10, 10])
        np.testing.assert_allclose(k[:, 2], [25, 25, -50])
    k, _ = balanced(flip(Z, 10.0, populations=[0.8, 0.2]))
    np.testing.assert_allclose(k, [[-10, 40], [10, -40]])


def test_product_averages_in_turn():
    """A fast product averages first over the inner motion, then over the outer one; the order matters."""
    site = jn.Sites(
        "17O", jn.shift_tensor(50.0, 30.0, 0.4, (0.1, 0.5, 0.9)), jn.quadrupole_tensor(5e6, 0.3, (0.2, 1.0, 0.4))
    )
    outer = flip((0.0, 1.0, 0.3), 1e4, angle=2.0, populations=[0.7, 0.3])
    inner = n_site_jump((1.0, 0.2, 0.0), 3, 1e8)
    both = average(outer @ inner, site)
    first = average(inner, site)
    then = average(outer, jn.Sites("17O", first[1], first[0]))
    for got, expected in zip(both, then, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    other = average(inner @ outer, site)
    assert np.abs(other[0] - both[0]).max() > 0.01 * np.abs(both[0]).max()


def test_product_rates():
    """Rates of a product add: neighbours in either motion alone, at that motion's rate; populations multiply."""
    p = np.array([0.7, 0.3])
    motion = flip(Z, 2.0, populations=p) @ n_site_jump((1.0, 0.0, 0.0), 3, 5.0)
    k, found = balanced(motion)
    np.testing.assert_allclose(found, np.repeat(p / 3, 3))
    for a in range(2):
        for b in range(3):
            column = np.zeros(6)
            column[(1 - a) * 3 + b] = 2.0 * 0.7 / p[a]
            column[[a * 3 + c for c in range(3) if c != b]] = 5.0
            column[a * 3 + b] = -column.sum()
            np.testing.assert_allclose(k[:, a * 3 + b], column)
    assert motion.exchange.groups == ((0, 1, 2, 3, 4, 5),)


def test_product_without_jumps():
    """A motion at k = 0 keeps its positions joined; a list without jumps makes groups that stay apart."""
    still = Motion(np.stack([np.eye(3)] * 2), jn.ExchangeModel.from_rates({}, n_sites=2))
    assert (still @ flip(Z, 1.0)).exchange.groups == ((0, 1), (2, 3))
    assert (flip(Z, 1.0) @ still).exchange.groups == ((0, 2), (1, 3))


def test_length_and_sense_of_axis():
    """The length of an axis says nothing; turned round it reverses the turn."""
    a, b = flip((0.0, 3.0, 4.0), 1.0, angle=0.5), flip((0.0, 0.3, 0.4), 1.0, angle=0.5)
    np.testing.assert_allclose(a.rotations, b.rotations, atol=1e-12)
    back = flip((0.0, -3.0, -4.0), 1.0, angle=-0.5)
    np.testing.assert_allclose(a.rotations, back.rotations, atol=1e-12)
    # Counter-clockwise seen against the axis: x goes to y about z.
    np.testing.assert_allclose(flip(Z, 1.0, angle=np.pi / 2).rotations[1] @ np.eye(3)[0], np.eye(3)[1], atol=1e-12)


def test_euler_angles_are_rotations():
    """Angles and matrices are one list."""
    angles = np.array([[0.0, 0.0, 0.0], [0.3, 0.7, -1.0], [2.0, 0.1, 0.5]])
    matrices = jn.rotations.euler_to_matrix(*angles.T)
    np.testing.assert_allclose(jumps(angles, 1.0).rotations, matrices)
    np.testing.assert_allclose(jumps(matrices, 1.0).rotations, matrices)


@pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")
def test_spectrum_is_that_of_sites_by_hand():
    """A phenyl flip equals two bonds written down with their rate, and turning the whole crystal changes nothing."""
    axis, experiment = jn.Axis(hz=(-150e3, 150e3), points=128), jn.Static(9.4)
    resolution = jn.Resolution(512, samples=256)

    def spectrum(sites, exchange):
        found = jn.simulate(sites, experiment, axis, exchange=exchange, linewidth=4e3, resolution=resolution)
        return np.asarray(found.intensity)

    moving = flip(Z, 2e5)(deuteron(np.pi / 3))
    couplings = jn.quadrupole_tensor(COUPLING, 0.0, (np.array([0.0, np.pi]), np.pi / 3, 0.0))
    by_hand = jn.Sites("2H", jn.shift_tensor(np.zeros(2)), couplings)
    expected = spectrum(by_hand, jn.ExchangeModel.from_rates({(0, 1): 2e5, (1, 0): 2e5}))
    got = spectrum(*moving)
    np.testing.assert_allclose(got, expected, atol=1e-9 * expected.max())
    turn = np.asarray(jn.rotations.euler_to_matrix(0.3, 0.9, 1.4))
    site = jn.Sites("2H", jn.shift_tensor(0.0), turn @ np.asarray(deuteron(np.pi / 3).quadrupole[0]) @ turn.T)
    turned = spectrum(*flip(turn @ np.array(Z), 2e5)(site))
    # Half a per cent is what 512 orientations give; a rate wrong by a tenth gives 2e-2.
    assert np.linalg.norm(turned - got) < 5e-3 * np.linalg.norm(got)
    slower = spectrum(*flip(Z, 1.8e5)(deuteron(np.pi / 3)))
    assert np.linalg.norm(slower - got) > 1e-2 * np.linalg.norm(got)


def _moment(parameters):
    """One number that depends on every parameter of a product of motions."""
    q, axis, angle, k, theta = parameters
    site = jn.Sites("2H", jn.shift_tensor(0.0), jn.quadrupole_tensor(q, 0.2, (0.1, 0.8, 0.3)))
    sites, exchange = (flip(axis, k, angle=angle) @ cone(axis, theta, 3 * k, n=5))(site)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(10, 3, 3)))
    return jnp.sum(weights * sites.quadrupole) + jnp.sum(jnp.asarray(np.arange(100.0).reshape(10, 10)) * exchange.rates)


_compiled = {
    "value": jax.jit(_moment),
    "reverse": jax.jit(jax.grad(_moment)),
    "forward": jax.jit(jax.jacfwd(_moment)),
}


@pytest.mark.parametrize("axis", [Z, (0.3, -0.5, 0.7)])
def test_derivatives(axis):
    """Smooth in coupling, axis, angles and rate, both modes, against central differences."""
    at = (jnp.asarray(2.0), jnp.asarray(axis), jnp.asarray(1.3), jnp.asarray(0.7), jnp.asarray(0.5))
    value, reverse, forward = (_compiled[name] for name in ("value", "reverse", "forward"))
    flat, rebuild = ravel_pytree(at)
    steps = np.eye(flat.size) * 1e-5
    numeric = [float(value(rebuild(flat + s)) - value(rebuild(flat - s))) / 2e-5 for s in steps]
    for modes in (reverse(at), forward(at)):
        np.testing.assert_allclose(ravel_pytree(modes)[0], numeric, rtol=1e-6, atol=1e-6)


def test_single_precision():
    """Rotations follow the type of the tensors."""
    site = jn.Sites("13C", jnp.asarray(np.diag([1.0, 2.0, 3.0]), jnp.float32))
    assert flip(Z, 1.0)(site).sites.shift.dtype == jnp.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flip((0.0, 0.0, 0.0), 1.0), "axis: got"),
        (lambda: flip((0.0, 1.0), 1.0), r"axis: got shape \(2,\)"),
        (lambda: flip(Z, -1.0), "k: got -1.0"),
        (lambda: flip(Z, np.inf), "k: got inf"),
        (lambda: flip(Z, np.ones(2)), "k: got"),
        (lambda: flip(Z, 1.0, angle=np.ones(2)), "angle: got shape"),
        (lambda: flip(Z, 1.0, populations=[0.5, 0.6]), "populations: got"),
        (lambda: flip(Z, 1.0, populations=[1.0]), r"populations: got shape \(1,\)"),
        (lambda: n_site_jump(Z, 1, 1.0), "n: got 1"),
        (lambda: cone(Z, 0.3, 1.0, n=4), "n: got 4"),
        (lambda: cone(Z, 0.3, -1.0), "diffusion: got -1.0"),
        (lambda: cone(Z, np.ones(2), 1.0), "half_angle: got shape"),
        (lambda: tetrahedral_jump(1.0, euler=(np.zeros(2), 0.0, 0.0)), "euler: got shapes"),
        (lambda: jumps(np.eye(3)[:2, :2], 1.0), "rotations: got shape"),
        (lambda: jumps(np.ones((2, 3, 3)), 1.0), "matrix 0 is not orthogonal"),
        (lambda: Motion(np.eye(3)[None], flip(Z, 1.0).exchange), r"give \(2, 3, 3\)"),
        (lambda: flip(Z, 1.0)(flip(Z, 1.0)(deuteron(0.3)).sites), "site: got 2 sites"),
    ],
)
def test_bad_input(make, message):
    """Each is named, with what came."""
    with pytest.raises(ValueError, match=message):
        make()
