"""Parameters from tensors: the way back, its conventions and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxnmr import tensors as t

rng = np.random.default_rng(3)


def random_tensors(n=40):
    values = rng.normal(size=(n, 3, 3)) * 50
    return values + values.swapaxes(1, 2)


def traceless(values):
    return values - np.trace(values, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3


PAIRS = [
    (t.haeberlen, t.shift_tensor),
    (t.iupac, t.from_iupac),
    (t.herzfeld_berger, t.from_herzfeld_berger),
    (t.shielding_haeberlen, t.shielding_tensor),
    (t.shielding_iupac, t.shielding_from_iupac),
    (t.shielding_herzfeld_berger, t.shielding_from_herzfeld_berger),
    (t.quadrupole_parameters, t.quadrupole_tensor),
]
IDS = [pair[0].__name__ for pair in PAIRS]


@pytest.mark.parametrize(("analyse", "build"), PAIRS, ids=IDS)
def test_tensor_comes_back(analyse, build):
    """tensor -> parameters -> tensor, general and at every degeneracy."""
    special = np.array([np.diag(d) for d in ([3, 3, 3], [0, 0, 0], [1, 1, 4], [4, 1, 1], [-1, 0, 1], [1, 4, 1])])
    for values in (random_tensors(), special.astype(float)):
        if build is t.quadrupole_tensor:
            values = traceless(values)
        np.testing.assert_allclose(build(*analyse(values)), values, atol=1e-11)


@pytest.mark.parametrize(
    ("analyse", "build", "parameters"),
    [
        (t.haeberlen, t.shift_tensor, (10.0, -60.0, 0.4)),
        (t.haeberlen, t.shift_tensor, (10.0, 60.0, 0.9)),
        (t.shielding_haeberlen, t.shielding_tensor, (10.0, -60.0, 0.4)),
        (t.iupac, t.from_iupac, (90.0, 20.0, -50.0)),
        (t.shielding_iupac, t.shielding_from_iupac, (-50.0, 20.0, 90.0)),
        (t.herzfeld_berger, t.from_herzfeld_berger, (20.0, 120.0, -0.5)),
        (t.shielding_herzfeld_berger, t.shielding_from_herzfeld_berger, (20.0, 120.0, -0.5)),
        (t.quadrupole_parameters, t.quadrupole_tensor, (7.0, 0.4)),
        (t.quadrupole_parameters, t.quadrupole_tensor, (-7.0, 0.9)),
    ],
)
@pytest.mark.parametrize("euler", [(0.3, 1.1, 0.7), (-2.0, 0.2, 3.0)])
def test_parameters_come_back(analyse, build, parameters, euler):
    """parameters -> tensor -> parameters, angles in the named ranges included."""
    *values, angles = analyse(build(*parameters, euler))
    np.testing.assert_allclose(values, parameters, rtol=1e-11)
    np.testing.assert_allclose(angles, euler, rtol=1e-11)


def test_ranges():
    """eta in 0..1, |skew| <= 1, order, beta in 0..pi/2, gamma in 0..pi."""
    values = random_tensors(200)
    iso, zeta, eta, euler = t.haeberlen(values)
    assert (eta >= 0).all() and (eta <= 1 + 1e-12).all()
    np.testing.assert_allclose(iso, np.trace(values, axis1=1, axis2=2) / 3)
    deviation = np.linalg.eigvalsh(values) - np.asarray(iso)[:, None]
    np.testing.assert_allclose(np.abs(zeta), np.abs(deviation).max(axis=1))
    assert (euler[:, 1] <= np.pi / 2 + 1e-12).all() and (euler[:, 2] >= 0).all() and (euler[:, 2] < np.pi).all()
    d11, d22, d33, _ = t.iupac(values)
    assert (d11 >= d22).all() and (d22 >= d33).all()
    assert (np.abs(t.herzfeld_berger(values).skew) <= 1).all()


def test_shift_and_shielding():
    """delta = ref - sigma: same axes, span and skew; opposite zeta; principal values that belong together."""
    sigma = random_tensors()
    delta = 30 * np.eye(3) - sigma
    np.testing.assert_allclose(t.haeberlen(delta).zeta, -t.shielding_haeberlen(sigma).zeta)
    np.testing.assert_allclose(t.haeberlen(delta).eta, t.shielding_haeberlen(sigma).eta)
    shift, shielding = t.herzfeld_berger(delta), t.shielding_herzfeld_berger(sigma)
    np.testing.assert_allclose(shift.span, shielding.span)
    np.testing.assert_allclose(shift.skew, shielding.skew, atol=1e-12)
    np.testing.assert_allclose(shift.delta_iso, 30 - shielding.sigma_iso)
    np.testing.assert_allclose(shift.euler, shielding.euler, atol=1e-11)
    for d, s in zip(t.iupac(delta)[:3], t.shielding_iupac(sigma)[:3], strict=True):
        np.testing.assert_allclose(d, 30 - s, atol=1e-11)


def test_antisymmetric_part_is_ignored():
    values = random_tensors(5)
    skew = rng.normal(size=(5, 3, 3))
    other = values + skew - skew.swapaxes(1, 2)
    for ours, theirs in zip(t.haeberlen(values), t.haeberlen(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_isotropic_has_no_asymmetry():
    """Rounding is not an anisotropy: eta and skew are 0, in either precision."""
    for dtype in (np.float32, np.float64):
        values = (np.eye(3) * 170.3 + rng.normal(size=(10, 3, 3)) * 10 * np.finfo(dtype).eps).astype(dtype)
        assert t.haeberlen(values).eta.dtype == dtype
        np.testing.assert_array_equal(t.haeberlen(values).eta, 0)
        np.testing.assert_array_equal(t.herzfeld_berger(values).skew, 0)


@pytest.mark.parametrize("analyse", [pair[0] for pair in PAIRS], ids=IDS)
def test_gradients(analyse):
    """Both modes against finite differences, away from degeneracy."""
    tensor = t.shift_tensor(10.0, 6.0, 0.4, (0.3, 1.1, 0.7))
    modes = ("fwd", "rev")
    check_grads(lambda x: tuple(analyse(x)), (tensor,), order=1, modes=modes, atol=1e-5, rtol=1e-5)


def test_second_derivatives():
    """The rule for eigenvectors is itself differentiated rightly."""

    @jax.jit
    def slope(x):
        return jax.grad(lambda y: t.haeberlen(y).eta * t.haeberlen(y).euler[1])(x)

    check_grads(slope, (t.shift_tensor(10.0, 6.0, 0.4, (0.3, 1.1, 0.7)),), order=1, modes=("fwd",), rtol=1e-5)


@pytest.mark.parametrize("analyse", [pair[0] for pair in PAIRS], ids=IDS)
@pytest.mark.parametrize("diagonal", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 4.0), (-1.0, 0.0, 1.0)])
def test_gradients_are_finite_at_degeneracies(analyse, diagonal):
    for jacobian in (jax.jacfwd, jax.jacrev):
        for part in jax.jit(jacobian(lambda x: tuple(analyse(x))))(jnp.diag(jnp.array(diagonal))):
            assert np.isfinite(np.asarray(part)).all()


@pytest.mark.parametrize("analyse", [pair[0] for pair in PAIRS], ids=IDS)
def test_transformations(analyse):
    values = jnp.asarray(random_tensors(6)).reshape(2, 3, 3, 3)
    plain, mapped = analyse(values), jax.jit(jax.vmap(jax.vmap(analyse)))(values)
    for ours, theirs in zip(plain, mapped, strict=True):
        assert ours.shape[:2] == (2, 3)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_bad_input():
    with pytest.raises(ValueError, match=r"tensor: got shape \(3,\)"):
        t.haeberlen(np.zeros(3))
    with pytest.raises(ValueError, match="sigma: got nan"):
        t.shielding_iupac(np.full((3, 3), np.nan))
