"""Euler angles, matrices and Wigner matrices are one convention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.linalg import expm

from jaxnmr.rotations import euler_to_matrix, matrix_to_euler, wigner_D, wigner_d

rng = np.random.default_rng(7)
ANGLES = rng.uniform([-np.pi, 0, -np.pi], [np.pi, np.pi, np.pi], (20, 3)).T
RANKS = [0, 0.5, 1, 1.5, 2, 3, 4, 4.5]


def angular_momentum(rank):
    """J_x, J_y, J_z with m rising from -l."""
    m = np.arange(-rank, rank + 0.5)
    raising = np.diag(np.sqrt(rank * (rank + 1) - m[:-1] * (m[:-1] + 1)), k=-1).astype(complex)
    return (raising + raising.T) / 2, (raising - raising.T) / 2j, np.diag(m).astype(complex)


def test_matrix_is_rz_ry_rz():
    """Active, ZYZ: each factor alone, and their product."""
    a, b, g = 0.3, 1.1, -2.0
    rz = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    np.testing.assert_allclose(euler_to_matrix(a, 0.0, 0.0), rz, atol=1e-15)
    np.testing.assert_allclose(euler_to_matrix(0.0, b, 0.0), ry, atol=1e-15)
    third = np.asarray(euler_to_matrix(0.0, 0.0, g))
    np.testing.assert_allclose(euler_to_matrix(a, b, g), rz @ ry @ third, atol=1e-15)


def test_matrices_are_rotations():
    r = np.asarray(euler_to_matrix(*ANGLES))
    np.testing.assert_allclose(r @ r.swapaxes(1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(r), 1, atol=1e-14)


def test_angles_come_back():
    np.testing.assert_allclose(matrix_to_euler(euler_to_matrix(*ANGLES)), ANGLES, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.0, 1e-18, 1e-12, 1e-7, 1e-4, np.pi - 1e-7, np.pi])
def test_matrix_comes_back_near_the_poles(beta, dtype):
    """Alpha and gamma are hardly defined there, but together they give the matrix to rounding."""
    r = euler_to_matrix(*(dtype(x) for x in (0.7, beta, -0.4)))
    assert r.dtype == dtype
    np.testing.assert_allclose(euler_to_matrix(*matrix_to_euler(r)), r, atol=40 * np.finfo(dtype).eps)


def test_gamma_is_zero_at_the_poles():
    alpha, beta, gamma = matrix_to_euler(euler_to_matrix(0.7, 0.0, -0.4))
    np.testing.assert_allclose([alpha, beta, gamma], [0.3, 0, 0], atol=1e-15)


@pytest.mark.parametrize("beta", [0.9, 0.0, np.pi])
def test_angle_gradients_are_finite(beta):
    """Exact where they exist, finite at the poles."""
    r = euler_to_matrix(0.7, beta, -0.4)
    for jacobian in (jax.jacfwd, jax.jacrev):
        assert np.isfinite(np.asarray(jacobian(matrix_to_euler)(r))).all()
    round_trip = jax.jacrev(lambda x: jnp.stack(matrix_to_euler(euler_to_matrix(*x))))
    if beta == 0.9:
        np.testing.assert_allclose(round_trip(jnp.array([0.7, beta, -0.4])), np.eye(3), atol=1e-13)


def test_matrix_gradients():
    check_grads(euler_to_matrix, tuple(jnp.asarray(x) for x in (0.3, 0.0, 0.0)), order=2, modes=("fwd", "rev"))


@pytest.mark.parametrize("rank", RANKS)
def test_small_d_is_the_exponential(rank):
    """d = exp(-i beta J_y), and unitary."""
    beta = np.array([0.0, 0.3, 1.7, np.pi, -0.8])
    d = np.asarray(wigner_d(rank, beta))
    _, jy, _ = angular_momentum(rank)
    np.testing.assert_allclose(d, [expm(-1j * b * jy) for b in beta], atol=1e-13)
    np.testing.assert_allclose(d @ d.swapaxes(1, 2), np.broadcast_to(np.eye(d.shape[-1]), d.shape), atol=1e-13)


def test_small_d_of_rank_two():
    """The closed forms that every NMR text prints."""
    b = 0.8
    d = np.asarray(wigner_d(2, b))
    np.testing.assert_allclose(d[2, 2], (3 * np.cos(b) ** 2 - 1) / 2)
    np.testing.assert_allclose(d[4, 2], np.sqrt(3 / 8) * np.sin(b) ** 2)
    np.testing.assert_allclose(d[3, 2], -np.sqrt(3 / 8) * np.sin(2 * b))
    np.testing.assert_allclose(d[4, 4], ((1 + np.cos(b)) / 2) ** 2)


@pytest.mark.parametrize("rank", RANKS)
def test_big_d_is_the_exponential(rank):
    a, b, g = 0.3, 1.2, -2.1
    _, jy, jz = angular_momentum(rank)
    expected = expm(-1j * a * jz) @ expm(-1j * b * jy) @ expm(-1j * g * jz)
    np.testing.assert_allclose(wigner_D(rank, a, b, g), expected, atol=1e-13)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_composition(rank):
    """D(R1 R2) = D(R1) D(R2) of the matrices' product."""
    first, second = ANGLES[:, 0], ANGLES[:, 1]
    product = matrix_to_euler(euler_to_matrix(*first) @ euler_to_matrix(*second))
    np.testing.assert_allclose(
        wigner_D(rank, *product),
        np.asarray(wigner_D(rank, *first)) @ np.asarray(wigner_D(rank, *second)),
        atol=1e-12,
    )


def test_rank_one_is_the_matrix():
    """The spherical components of a turned vector are conj(D) times those of the vector."""
    vector = rng.normal(size=3)
    turned = np.asarray(euler_to_matrix(*ANGLES[:, 0])) @ vector

    def spherical(v):
        return np.array([(v[0] - 1j * v[1]) / np.sqrt(2), v[2], -(v[0] + 1j * v[1]) / np.sqrt(2)])

    np.testing.assert_allclose(spherical(turned), np.conj(wigner_D(1, *ANGLES[:, 0])) @ spherical(vector), atol=1e-14)


def test_broadcasting_and_transformations():
    alpha, beta = jnp.linspace(0.0, 1.0, 3)[:, None], jnp.linspace(0.0, 1.0, 4)[None]
    assert euler_to_matrix(alpha, beta, 0).shape == (3, 4, 3, 3)
    assert euler_to_matrix(np.array([0, 1, 2]), beta.reshape(4, 1), 0.5).shape == (4, 3, 3, 3)
    assert wigner_D(2, alpha, beta, 0.1).shape == (3, 4, 5, 5)
    batched = jax.jit(jax.vmap(lambda a: wigner_D(2, a, 0.3, 0.1)))(alpha[:, 0])
    np.testing.assert_allclose(batched, wigner_D(2, alpha[:, 0], 0.3, 0.1), atol=1e-15)


def test_wigner_gradients():
    """Both modes and second order, at the edge beta = 0."""
    check_grads(lambda b: wigner_d(2, b), (jnp.asarray(0.0),), order=2, modes=("fwd", "rev"))


def test_bad_input():
    with pytest.raises(ValueError, match=r"l: got -1"):
        wigner_d(-1, 0.3)
    with pytest.raises(ValueError, match=r"l: got 0\.3"):
        wigner_D(0.3, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"matrix: got shape \(3,\)"):
        matrix_to_euler(np.zeros(3))
