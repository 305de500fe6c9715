"""Sites, transitions and the frequencies of sites at rest."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.harmonics import harmonics
from jaxnmr.spins import RANKS, frequency_irreps, quadrupolar_ratio, transitions
from tests.reference import brute
from tests.systems import random_sites, reference


@pytest.mark.parametrize("isotope", ["13C", "15N", "2H", "14N", "23Na", "17O", "59Co", "93Nb"])
def test_frequencies(isotope):
    """Every transition of spin 1/2 to 9/2 in every direction, against spin matrices."""
    sites = random_sites(isotope, 2, np.random.default_rng(0))
    directions, _ = brute.sphere(3, 5)
    basis = np.stack([np.broadcast_to(y, len(directions)) for y in harmonics(directions.T, RANKS)])
    system = reference(sites, 9.4, None)
    for m, _ in transitions(sites.nucleus, "all"):
        got = np.asarray(frequency_irreps(sites, m, jnp.asarray(9.4), True)).T @ basis
        ell = brute.generators(system, m, directions)
        expected = np.einsum("cii->ic", ell).imag / (2 * np.pi)
        np.testing.assert_allclose(got, expected, atol=1e-9 * np.abs(expected).max())


def test_transitions():
    """Weights I(I+1) - m(m-1), summing to one; defaults by spin."""
    sodium, deuterium = jn.isotope("23Na"), jn.isotope("2H")
    assert transitions(sodium) == ((0.5, 1.0),)
    np.testing.assert_allclose(transitions(sodium, "all"), [(1.5, 0.3), (0.5, 0.4), (-0.5, 0.3)])
    np.testing.assert_allclose(transitions(deuterium), [(1.0, 0.5), (0.0, 0.5)])
    assert transitions(sodium, (1.5, 0.5)) == ((1.5, 1.0),)


def test_from_tensors():
    """Shielding and EFG: reference by number and by line."""
    shielding, efg = np.diag([10.0, 20.0, 60.0])[None], np.diag([0.1, 0.2, -0.3])[None]
    sites = jn.Sites.from_tensors("17O", shielding, efg, reference=280.0)
    np.testing.assert_allclose(np.trace(sites.shift[0]) / 3, (280 - 30) / (1 - 280e-6))
    nucleus = jn.isotope("17O")
    np.testing.assert_allclose(
        np.asarray(sites.quadrupole)[0, 2, 2], 234.9648e6 * nucleus.quadrupole_moment * -0.3, rtol=1e-4
    )
    line = jn.Sites.from_tensors("17O", shielding, efg, reference=(-0.9, 250.0))
    np.testing.assert_allclose(np.asarray(line.shift)[0], 250 * np.eye(3) - 0.9 * shielding[0])
    assert jn.Sites.from_tensors("13C", shielding, efg, reference=170.0).quadrupole is None


def test_quadrupolar_ratio():
    """3 C_Q / (2 I (2 I - 1) nu_0) at eta = 0."""
    sites = jn.Sites("27Al", np.zeros((3, 3)), jn.quadrupole_tensor(4e6))
    larmor = float(jn.isotope("27Al").larmor_frequency(9.4))
    np.testing.assert_allclose(quadrupolar_ratio(sites, jnp.asarray(9.4)), 3 * 4e6 / (20 * larmor), rtol=1e-9)
