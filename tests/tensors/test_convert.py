"""Shielding and shift, field gradient and coupling, parts, averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxnmr import tensors as t
from jaxnmr.isotopes import isotope

rng = np.random.default_rng(5)
SIGMA = rng.normal(size=(4, 3, 3)) * 30  # with an antisymmetric part


def test_shift_of_shielding():
    """IUPAC's definition, whole tensor."""
    expected = (287.0 * np.eye(3) - SIGMA) / (1 - 287e-6)
    np.testing.assert_allclose(t.shielding_to_shift(SIGMA, 287.0), expected, rtol=1e-13)
    np.testing.assert_allclose(t.shielding_to_shift(SIGMA, (-0.95, 270.0)), -0.95 * SIGMA + 270 * np.eye(3), rtol=1e-13)
    # The reference itself is at zero.
    np.testing.assert_allclose(t.shielding_to_shift(287.0 * np.eye(3), 287.0), 0, atol=1e-12)


@pytest.mark.parametrize("reference", [287.0, (-0.95, 270.0), [-1, 30], np.array([1.0, 2.0, 3.0, 4.0])])
def test_shift_and_back(reference):
    there = t.shielding_to_shift(SIGMA, reference)
    np.testing.assert_allclose(t.shift_to_shielding(there, reference), SIGMA, rtol=1e-11, atol=1e-11)
    # The antisymmetric part turns its sign with the rest.
    assert (np.sign(t.antisymmetric(there)) == -np.sign(t.antisymmetric(SIGMA))).all()


def test_reference_gradients():
    """In sigma and in the reference, both modes, traced pairs included."""
    sigma = jnp.asarray(SIGMA)
    args = {"order": 1, "modes": ("fwd", "rev"), "atol": 1e-5, "rtol": 1e-5}
    check_grads(t.shielding_to_shift, (sigma, jnp.asarray(287.0)), **args)
    check_grads(lambda a, b: t.shielding_to_shift(sigma, (a, b)), (jnp.asarray(-0.9), jnp.asarray(270.0)), **args)
    assert jax.jit(t.shift_to_shielding)(sigma, 287.0).shape == (4, 3, 3)


def test_coupling():
    """17O: 1 a.u. of field gradient is 234.965 x -0.02558 = -6.010 MHz; spin 1/2 has none."""
    v = np.diag([-0.4, -0.6, 1.0])
    coupling = t.efg_to_coupling(v, "17O")
    np.testing.assert_allclose(coupling, v * 234.9648e6 * -0.02558, rtol=1e-6)
    np.testing.assert_array_equal(coupling, t.efg_to_coupling(v, isotope("17O")))
    np.testing.assert_allclose(t.quadrupole_parameters(coupling)[:2], [-6.01040e6, 0.2], rtol=1e-5)
    np.testing.assert_array_equal(t.efg_to_coupling(v, "1H"), 0)
    assert t.efg_to_coupling(v.astype(np.float32), "17O").dtype == np.float32


def test_parts():
    np.testing.assert_allclose(t.symmetric(SIGMA) + t.antisymmetric(SIGMA), SIGMA, rtol=1e-13)
    np.testing.assert_array_equal(t.symmetric(SIGMA), np.swapaxes(t.symmetric(SIGMA), 1, 2))
    np.testing.assert_array_equal(t.antisymmetric(SIGMA), -np.swapaxes(t.antisymmetric(SIGMA), 1, 2))


def test_average_of_flips():
    """Deuterons: a phenyl flip leaves 5/8 of the coupling and eta 0.6, a methyl -1/3, tetrahedral jumps 0."""
    flip = t.quadrupole_tensor(1.0, 0.0, (0.0, np.array([0.0, 2 * np.pi / 3]), 0.0))
    np.testing.assert_allclose(t.quadrupole_parameters(t.average(flip, [0.5, 0.5]))[:2], [5 / 8, 0.6], rtol=1e-12)
    turns = 2 * np.pi / 3 * np.arange(4)
    methyl = t.quadrupole_tensor(1.0, 0.0, (turns[:3], np.arccos(-1 / 3), 0.0))
    c_q, eta, _ = t.quadrupole_parameters(t.average(methyl, np.full(3, 1 / 3)))
    np.testing.assert_allclose([c_q, eta], [-1 / 3, 0], atol=1e-12)
    corners = np.arccos([1.0, -1 / 3, -1 / 3, -1 / 3])
    tetrahedral = t.quadrupole_tensor(1.0, 0.0, (turns, corners, 0.0))
    np.testing.assert_allclose(t.average(tetrahedral, np.full(4, 0.25)), 0, atol=1e-15)


def test_average_axes():
    values, p = rng.normal(size=(2, 4, 3, 3)), np.array([0.1, 0.2, 0.3, 0.4])
    expected = np.einsum("j,ijkl->ikl", p, values)
    for axis in (1, -1):
        np.testing.assert_allclose(t.average(values, p, axis=axis), expected, rtol=1e-12)
    np.testing.assert_allclose(t.average(values, np.stack([p, p]), axis=1), expected, rtol=1e-12)
    # Traced, for the steps of finite differences leave the sum of one.
    average = jax.jit(lambda v, w: t.average(v, w, axis=1))
    check_grads(average, (jnp.asarray(values), jnp.asarray(p)), order=1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: t.average(SIGMA, [0.5, 0.5, 0.5, 0.5]), "weights: their sum is 2, not 1; divide them by it"),
        (lambda: t.average(SIGMA, [1.5, -0.5, 0.0, 0.0]), "weights: got -0.5"),
        (lambda: t.average(SIGMA, [0.5, 0.5]), r"weights: got shape \(2,\) .* give \(4,\)"),
        (lambda: t.average(SIGMA, np.full(4, 0.25), axis=1), "axis: got 1 .* 1 leading axes"),
        (lambda: t.average(SIGMA, [np.nan, 0.5, 0.5, 0.0]), "weights: got nan"),
        (lambda: t.shielding_to_shift(np.zeros((2, 3)), 0.0), r"sigma: got shape \(2, 3\)"),
        (lambda: t.shielding_to_shift(SIGMA, np.nan), "reference: got nan"),
        (lambda: t.shielding_to_shift(SIGMA, (0.0, 1.0)), "slope of 0"),
        (lambda: t.shielding_to_shift(SIGMA, (1.0, 2.0, 3.0)), "reference: got 3 numbers"),
        (lambda: t.shielding_to_shift(SIGMA, np.zeros(3)), r"reference: shape \(3,\) does not fit"),
        (lambda: t.efg_to_coupling(SIGMA, "16O"), "isotope: got '16O'"),
        (lambda: t.efg_to_coupling(SIGMA * np.inf, "17O"), "efg_au: got"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()
