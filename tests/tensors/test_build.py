"""Tensors from parameters: values, symmetry, broadcasting, gradients, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxnmr import tensors as t

A = (0.3, 1.1, -0.7)

# builder, parameters that are all in range, principal values along x, y, z
CASES = [
    (t.shift_tensor, (10.0, -60.0, 0.4), (10 + 42, 10 + 18, 10 - 60)),
    (t.shielding_tensor, (10.0, -60.0, 0.4), (10 + 42, 10 + 18, 10 - 60)),
    (t.quadrupole_tensor, (7e6, 0.4), (-2.1e6, -4.9e6, 7e6)),
    (t.from_iupac, (90.0, 20.0, -50.0), (90, 20, -50)),
    (t.shielding_from_iupac, (-50.0, 20.0, 90.0), (-50, 20, 90)),
    (t.from_herzfeld_berger, (20.0, 120.0, 0.5), (20 + 50, 20 + 20, 20 - 70)),
    (t.shielding_from_herzfeld_berger, (20.0, 120.0, 0.5), (20 - 50, 20 - 20, 20 + 70)),
]
IDS = [case[0].__name__ for case in CASES]


@pytest.mark.parametrize(("build", "parameters", "principal"), CASES, ids=IDS)
def test_principal_values(build, parameters, principal):
    """Along x, y, z of the principal frame, and R T R^T elsewhere."""
    np.testing.assert_allclose(build(*parameters), np.diag(principal), atol=1e-9)
    ca, sa, cb, sb = np.cos(A[0]), np.sin(A[0]), np.cos(A[1]), np.sin(A[1])
    turned = np.asarray(build(*parameters, A))
    z = np.array([sb * ca, sb * sa, cb])  # the principal z axis points along (beta, alpha)
    np.testing.assert_allclose(turned @ z, principal[2] * z, rtol=1e-12)
    np.testing.assert_array_equal(turned, turned.T)
    np.testing.assert_allclose(t.rotate(build(*parameters), A), turned, rtol=1e-12)


@pytest.mark.parametrize(("build", "parameters", "principal"), CASES, ids=IDS)
def test_gradients(build, parameters, principal):
    """Both modes against finite differences, in every parameter and angle."""
    scale = [max(abs(p), 1.0) for p in parameters]

    def scaled(*x):
        # In units of the parameters, so that one step suits all.
        values = [x[i] * s for i, s in enumerate(scale)]
        return build(*values, x[len(scale) :]) / max(map(abs, principal))

    start = tuple(jnp.asarray(p / s) for p, s in zip(parameters, scale, strict=True)) + tuple(map(jnp.asarray, A))
    check_grads(scaled, start, order=1, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("zeta", [0.0, 50.0])
@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_gradients_at_edges(zeta, jacobian):
    """Finite, and right, at eta = 0, zeta = 0 and angles 0."""
    gradients = jacobian(lambda x: t.shift_tensor(x[0], x[1], x[2], x[3:]))(jnp.array([5.0, zeta, 0, 0, 0, 0]))
    assert np.isfinite(np.asarray(gradients)).all()
    np.testing.assert_allclose(gradients[..., 0], np.eye(3), atol=1e-15)
    np.testing.assert_allclose(gradients[..., 1], np.diag([-0.5, -0.5, 1]), atol=1e-15)
    np.testing.assert_allclose(gradients[..., 2], np.diag([-zeta / 2, zeta / 2, 0]), atol=1e-12)
    # Turning about y mixes x and z: dT_xz = T_zz - T_xx.
    np.testing.assert_allclose(gradients[0, 2, 4], 1.5 * zeta, atol=1e-12)


@pytest.mark.parametrize(("build", "parameters", "principal"), CASES, ids=IDS)
def test_everything_broadcasts(build, parameters, principal):
    """Each parameter and each angle may be an array; jit and vmap give the same."""
    first = np.array([parameters[0], parameters[0]])[:, None]
    angles = (np.zeros(3), np.array([0.1, 0.2, 0.3]), 0.0)
    many = build(first, *parameters[1:], angles)
    assert many.shape == (2, 3, 3, 3)
    np.testing.assert_allclose(many[1, 2], build(*parameters, (0.0, 0.3, 0.0)), rtol=1e-12)
    as_array = build(*parameters, np.stack([np.zeros(3), angles[1], np.zeros(3)], axis=-1))
    np.testing.assert_allclose(as_array, many[0], rtol=1e-12)
    mapped = jax.jit(jax.vmap(lambda b: build(*parameters, (0.0, b, 0.0))))(jnp.asarray(angles[1]))
    np.testing.assert_allclose(mapped, many[0], rtol=1e-12, atol=1e-9)
    assert jax.jit(build)(*parameters, A).shape == (3, 3)


def test_dtypes():
    """float32 stays float32, integers become floats, mixtures take the wider."""
    assert t.shift_tensor(np.float32(10), np.float32(5)).dtype == np.float32
    assert t.shift_tensor(jnp.zeros(2, dtype=jnp.float32), 5.0, 0.1).dtype == np.float32
    assert t.shift_tensor(10, 5).dtype == np.float64
    assert t.shift_tensor(np.array([10, 20]), 5).dtype == np.float64
    assert t.shift_tensor(np.float32(10), np.float64(5)).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: t.shift_tensor(0.0, 1.0, 1.2), "eta: got 1.2, outside 0 to 1; name the principal axes"),
        (lambda: t.shift_tensor(0.0, 1.0, [0.1, -0.3]), "eta: got -0.3"),
        (lambda: t.quadrupole_tensor(1e6, -0.1), "eta_q: got -0.1"),
        (lambda: t.shift_tensor(float("nan")), "delta_iso: got nan"),
        (lambda: t.shift_tensor(0.0, 1.0, 0.0, (0.0, float("inf"), 0.0)), "beta: got inf"),
        (lambda: t.shift_tensor(np.zeros(2), np.zeros(3)), r"shapes do not broadcast: delta_iso \(2,\)"),
        (lambda: t.shift_tensor(0.0, 1.0, 0.0, (0.0, 0.0)), "euler: got a sequence of 2; give"),
        (lambda: t.shift_tensor(0.0, 1.0, 0.0, np.zeros(4)), r"euler: got shape \(4,\)"),
        (lambda: t.from_iupac(1.0, 2.0, 0.0), "delta_11 - delta_22: got -1.*sort the principal values"),
        (lambda: t.shielding_from_iupac(3.0, 2.0, 1.0), "sigma_22 - sigma_11"),
        (lambda: t.from_herzfeld_berger(0.0, -1.0, 0.0), "span: got -1"),
        (lambda: t.from_herzfeld_berger(0.0, 1.0, 1.5), "skew: got 1.5"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_traced_values_are_not_looked_at():
    """Inside jit a bad eta cannot be seen; nothing breaks, and shapes are still checked."""
    assert jax.jit(t.shift_tensor)(0.0, 1.0, 1.2).shape == (3, 3)
    with pytest.raises(ValueError, match="do not broadcast"):
        jax.jit(t.shift_tensor)(jnp.zeros(2), jnp.zeros(3))
    # Constants inside jit are known, and looked at without tracing.
    with pytest.raises(ValueError, match="eta: got 2"):
        jax.jit(lambda x: t.shift_tensor(x, 1.0, 2.0))(0.0)
