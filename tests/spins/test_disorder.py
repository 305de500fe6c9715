"""Disorder of shift and quadrupole: moments, published densities, convolution, gradients, bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxnmr as jn
from jaxnmr.spins import czjzek, extended_czjzek, gaussian_shift, quadrature_error, shift_fwhm
from jaxnmr.tensors import quadrupole_parameters

# The same coarse powder on both sides of each comparison.
pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")

FIELD, SIGMA = 14.1, 2.0e6
AXIS = jn.Axis(hz=(-40e3, 15e3), points=256)
SIZES = jn.Resolution(orientations=512, samples=512)


def relative_l2(a, b) -> float:
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(np.asarray(b)))


def static(sites, *, gaussian=0.0, linewidth=500.0):
    """Central line of a static 27Al powder at fixed sizes: one compilation for each number of sites."""
    return jn.simulate(sites, jn.Static(FIELD), AXIS, linewidth=linewidth, gaussian=gaussian, resolution=SIZES).intensity


def density(c_q, eta, sigma):
    """The published density of a Czjzek distribution, C_Q of both signs."""
    power = c_q**4 * eta * (1 - eta**2 / 9) / (np.sqrt(2 * np.pi) * sigma**5)
    return power * np.exp(-(c_q**2) * (1 + eta**2 / 3) / (2 * sigma**2))


def mean_tensor(c_q=5e6, eta=0.3, euler=(0.3, 0.8, 0.1)):
    shift = jn.shift_tensor(20.0, 40.0, 0.6, (1.0, 0.4, 0.2))
    return jn.Sites("27Al", shift, jn.quadrupole_tensor(c_q, eta, euler))


# -- Czjzek --------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [(1, 0), (2, 0), (4, 0), (0, 1), (0, 2), (2, 2)])
def test_czjzek_moments(power):
    """Moments of |C_Q| and eta by adaptive integration of the published density."""
    a, b = power
    c, e = np.linspace(0, 9, 2001)[:, None], np.polynomial.legendre.leggauss(40)
    eta, share = (e[0] + 1) / 2, e[1] / 2
    p = 2 * density(c, eta[None, :], 1.0)
    expected = np.trapezoid((p * c**a * eta[None, :] ** b) @ share, c[:, 0])
    sites = czjzek("27Al", SIGMA)
    found = quadrupole_parameters(sites.quadrupole)
    got = sites.populations @ ((jnp.abs(found.c_q) / SIGMA) ** a * found.eta_q**b)
    # The tail that is left out costs 1e-3 of the fourth moment. Eta, unlike a spectrum, has a kink at 1 where C_Q changes
    # sign, which costs 5e-3; a uniform eta would have mean squares of 0.33 instead of 0.43.
    assert float(got) == pytest.approx(expected, rel=7e-3 if b else 3e-3)


def test_czjzek_sigma_is_the_spread_of_a_diagonal_element():
    """The mean of |C|^2 is 15/2 sigma^2, exactly, and both signs of C_Q weigh the same."""
    sites = czjzek("27Al", SIGMA)
    square = sites.populations @ (sites.quadrupole**2).sum((1, 2))
    assert float(square) == pytest.approx(7.5 * SIGMA**2, rel=1e-12)
    sign = jnp.sign(jnp.linalg.det(sites.quadrupole / SIGMA))
    assert abs(float(sites.populations @ sign)) < 1e-12


def test_czjzek_against_the_published_density():
    """The line of 384 nodes is that of 60 x 20 points of the density over (C_Q, eta)."""
    c, eta = (x.ravel() for x in np.meshgrid(np.linspace(0, 6, 61)[1:], np.linspace(0, 1, 21)[1:], indexing="ij"))
    weights = density(c, eta, 1.0) * np.where(eta == 1, 0.5, 1.0)
    sites = jn.Sites(
        "27Al", jn.shift_tensor(np.zeros(len(c))), jn.quadrupole_tensor(SIGMA * c, eta), weights / weights.sum()
    )
    # 1e-3 is the rule's error here; a tenth more sigma scores 5e-2.
    assert relative_l2(static(czjzek("27Al", SIGMA)), static(sites)) < 3e-3
    assert relative_l2(static(czjzek("27Al", 1.1 * SIGMA)), static(sites)) > 3e-2


def test_czjzek_error_is_what_doubling_says():
    """Doubled nodes move the line by the few 1e-4 that the documentation states."""
    changes = quadrature_error(lambda n: static(czjzek("27Al", SIGMA, nodes=n)), (24, 16))
    assert len(changes) == 2
    assert max(changes) < 1e-3


def test_independent_shift_is_a_convolution():
    """Nodes of the shift under every site equal one Gaussian on the whole: the identity that makes it free."""
    coarse = czjzek("27Al", SIGMA, nodes=(8, 3))
    spread = gaussian_shift(coarse, 8.0, nodes=24)
    width = shift_fwhm("27Al", 8.0, FIELD)
    # Nodes are 470 Hz apart under lines of 500 Hz: a ripple of 2e-2 of each, averaged by the shifts among 24 sites.
    assert relative_l2(static(spread), static(coarse, gaussian=width)) < 3e-3
    assert relative_l2(static(spread), static(coarse, gaussian=1.1 * width)) > 1e-2
    assert float(width) == pytest.approx(2.35482 * 8.0e-6 * 11.1031e6 * FIELD, rel=1e-4)


@pytest.mark.parametrize("kind", ["czjzek", "extended"])
def test_correlated_shift(kind):
    """The shift keeps its mean, has the deviation asked for, and is linear in P_Q = C_Q sqrt(1 + eta^2/3)."""
    if kind == "czjzek":
        sites = czjzek("27Al", SIGMA, 60.0, correlated_shift=-7.0)
    else:
        sites = extended_czjzek(mean_tensor(), epsilon=0.4, correlated_shift=-7.0, nodes=64)
    iso = np.trace(np.asarray(sites.shift), axis1=1, axis2=2) / 3
    weights = np.asarray(sites.populations)
    found = quadrupole_parameters(sites.quadrupole)
    strength = np.asarray(jnp.abs(found.c_q) * jnp.sqrt(1 + found.eta_q**2 / 3))
    mean = weights @ iso
    assert mean == pytest.approx(60.0 if kind == "czjzek" else 20.0, abs=1e-9)
    assert np.sqrt(weights @ (iso - mean) ** 2) == pytest.approx(7.0, rel=1e-9)
    assert np.corrcoef(iso, strength)[0, 1] == pytest.approx(-1, abs=1e-9)


def test_czjzek_gradient():
    """Of a line, along a change of sigma, shift and correlation, against differences."""

    @jax.jit
    def line(x):
        return static(czjzek("27Al", x[0] * 1e6, x[1], correlated_shift=x[2], nodes=(8, 3)))

    x, along = jnp.asarray([2.0, 5.0, 3.0]), jnp.asarray([1.0, -5.0, 7.0])
    value, slope = jax.jvp(line, (x,), (along,))
    difference = (line(x + 1e-4 * along) - line(x - 1e-4 * along)) / 2e-4
    # The solver's frequency grid is good to 1e-4 in a derivative.
    assert relative_l2(slope, difference) < 1e-3
    assert np.linalg.norm(slope) > 0.1 * np.linalg.norm(value)


def test_sites_have_gradients():
    """Tensors, shifts and weights of the sites in the parameters, both modes, against differences."""

    def glass(sigma, shift, amount):
        sites = czjzek("27Al", sigma, shift, correlated_shift=amount, nodes=(4, 3))
        return sites.quadrupole, sites.shift

    def extended(scale, epsilon, amount):
        base = mean_tensor()
        sites = jn.Sites("27Al", base.shift, base.quadrupole * (1e-6 * scale))
        out = extended_czjzek(sites, epsilon=epsilon, correlated_shift=amount, nodes=16)
        return out.quadrupole, out.shift

    for function, at in ((glass, (2.0, 5.0, 3.0)), (extended, (1.0, 0.4, 2.0))):
        check_grads(jax.jit(function), tuple(jnp.asarray(v) for v in at), order=1, modes=("fwd", "rev"), rtol=1e-5)


def test_traced_values_and_single_precision():
    """Under jit and vmap the checks stand aside, constants in them included; float32 stays float32."""
    lines = jax.vmap(jax.jit(lambda s: czjzek("27Al", s, nodes=(8, 3)).quadrupole))(jnp.asarray([1e6, 2e6]))
    np.testing.assert_allclose(lines[1], 2 * lines[0], rtol=1e-12)
    sites = czjzek("27Al", jnp.float32(2e6), jnp.float32(5.0))
    assert sites.quadrupole.dtype == sites.shift.dtype == sites.weights.dtype == jnp.float32


# -- extended Czjzek -------------------------------------------------------------------------------


def test_extended_czjzek_noise():
    """Mean tensor, size of the noise, its isotropy, and the shift tensor that stays: exact, by construction of the nodes."""
    mean, count = mean_tensor(), 256
    sites = extended_czjzek(mean, epsilon=0.4, nodes=count)
    noise = np.asarray(sites.quadrupole - mean.quadrupole)
    size = np.linalg.norm(mean.quadrupole[0])
    np.testing.assert_allclose(noise.mean(0), 0, atol=1e-9 * size)
    assert np.sqrt((noise**2).sum((1, 2)).mean()) == pytest.approx(0.4 * size, rel=1e-9)
    axis = np.array([0.48, -0.6, 0.64])  # any direction: the spread of n C n is sigma
    sigma = 0.4 * 5e6 * np.sqrt((1 + 0.3**2 / 3) / 5)
    assert (noise @ axis @ axis).std() == pytest.approx(sigma, rel=1e-9)
    same = extended_czjzek(mean, sigma, nodes=count)
    np.testing.assert_allclose(same.quadrupole, sites.quadrupole, rtol=1e-9, atol=1e-3)
    np.testing.assert_allclose(sites.shift, np.broadcast_to(mean.shift, (count, 3, 3)), atol=1e-9)


def test_extended_czjzek_becomes_czjzek():
    """Without a mean the line is a Czjzek glass of the same sigma."""
    nothing = jn.Sites("27Al", jn.shift_tensor(0.0), jnp.zeros((3, 3)))
    found = static(extended_czjzek(nothing, SIGMA))
    # 1024 points in five dimensions: a few 1e-3; a tenth more sigma scores 5e-2.
    assert relative_l2(found, static(czjzek("27Al", SIGMA))) < 1e-2


def test_extended_czjzek_against_random_tensors():
    """The line of a tensor with noise, anisotropic shift included, against 4096 seeded random tensors."""
    mean = mean_tensor()
    rng = np.random.default_rng(7)
    noise = rng.standard_normal((4096, 3, 3))
    # The symmetric traceless part of nine normals, scaled to unit variance of zz: of zz it is 2/3.
    noise = (noise + noise.transpose(0, 2, 1)) / 2
    noise = np.sqrt(1.5) * (noise - np.trace(noise, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3)
    width = 0.9e6
    many = jn.Sites("27Al", np.broadcast_to(mean.shift, noise.shape), mean.quadrupole + width * noise)
    # 4096 random tensors are good to about 1e-2 and the nodes to half of it; a tenth more noise scores 4e-2.
    assert relative_l2(static(extended_czjzek(mean, width)), static(many)) < 2e-2


# -- shifts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, 32])
def test_gaussian_shift_moments(count):
    """Means stay, each site has its own deviation, weights are kept."""
    sites = jn.Sites("29Si", jn.shift_tensor(np.array([-100.0, -80.0]), 30.0), weights=[0.25, 0.75])
    spread = gaussian_shift(sites, [4.0, 0.0], nodes=count)
    iso = np.trace(np.asarray(spread.shift), axis1=1, axis2=2).reshape(2, count) / 3
    weights = np.asarray(spread.weights).reshape(2, count)
    np.testing.assert_allclose(weights.sum(1), [0.25, 0.75], rtol=1e-12)
    mean = (weights * iso).sum(1) / weights.sum(1)
    np.testing.assert_allclose(mean, [-100, -80], rtol=1e-12)
    deviation = np.sqrt((weights * (iso - mean[:, None]) ** 2).sum(1) / weights.sum(1))
    np.testing.assert_allclose(deviation, [4.0 if count > 1 else 0.0, 0.0], atol=1e-9)


# -- bad input ---------------------------------------------------------------------------------------

PLAIN = jn.Sites("29Si", jn.shift_tensor(0.0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: czjzek("27Al", 0.0), "sigma: got 0.0"),
        (lambda: czjzek("27Al", -1e6), "sigma: got -1000000.0"),
        (lambda: czjzek("27Al", np.nan), "sigma: got nan"),
        (lambda: czjzek("27Al", [1e6, 2e6]), "sigma: got shape"),
        (lambda: czjzek("29Si", 1e6), "isotope: 29Si has spin 1/2"),
        (lambda: czjzek("27All", 1e6), "27All"),
        (lambda: czjzek("27Al", 1e6, np.inf), "shift: got inf"),
        (lambda: czjzek("27Al", 1e6, nodes=(2, 8)), r"nodes\[0\]: got 2"),
        (lambda: czjzek("27Al", 1e6, nodes=(24, 0)), r"nodes\[1\]: got 0"),
        (lambda: extended_czjzek(PLAIN, 1e6), "sites: no quadrupole"),
        (lambda: extended_czjzek(mean_tensor()), "sigma, epsilon: neither"),
        (lambda: extended_czjzek(mean_tensor(), 1e6, epsilon=0.3), "sigma, epsilon: both"),
        (lambda: extended_czjzek(mean_tensor(), -1.0), "sigma: got -1.0"),
        (lambda: extended_czjzek(mean_tensor(), epsilon=0.0), "epsilon: got 0.0"),
        (lambda: extended_czjzek(mean_tensor(), [1e6, 1e6]), "sigma: got shape"),
        (lambda: extended_czjzek(mean_tensor(c_q=0.0), epsilon=0.3), "epsilon: a mean quadrupole tensor is zero"),
        (lambda: extended_czjzek(mean_tensor(), 1e6, nodes=6), "nodes: got 6"),
        (lambda: gaussian_shift(PLAIN, -1.0), "deviation: got -1.0"),
        (lambda: gaussian_shift(PLAIN, [1.0, 2.0]), "deviation: got shape"),
        (lambda: gaussian_shift(PLAIN, 1.0, nodes=0), "nodes: got 0"),
        (lambda: shift_fwhm("29Si", -1.0, 9.4), "deviation: got -1.0"),
        (lambda: quadrature_error(lambda n: np.ones(3), ()), "nodes: got ()"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words.replace("()", r"\(\)")):
        call()
