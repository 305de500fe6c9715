"""Irreducible parts: orthogonal, named as documented, and turned by the Wigner matrices of `rotations`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxnmr import tensors as t
from jaxnmr.harmonics import harmonics
from jaxnmr.rotations import wigner_D

rng = np.random.default_rng(11)
TENSORS = rng.normal(size=(5, 3, 3))


def test_there_and_back():
    parts = t.cartesian_to_irreps(TENSORS)
    assert [part.shape for part in parts] == [(5, 1), (5, 3), (5, 5)]
    np.testing.assert_allclose(t.irreps_to_cartesian(parts), TENSORS, atol=1e-14)
    squares = sum((np.asarray(part) ** 2).sum(axis=-1) for part in parts)
    np.testing.assert_allclose(squares, (TENSORS**2).sum(axis=(1, 2)), rtol=1e-13)
    for part in parts:
        np.testing.assert_allclose(t.spherical_to_irreps(t.irreps_to_spherical(part)), part, atol=1e-15)


def test_components():
    """The documented spherical components, element by element."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = TENSORS[0]
    parts = t.cartesian_to_irreps(TENSORS[0])
    np.testing.assert_allclose(parts.rank0, [(xx + yy + zz) / np.sqrt(3)])
    np.testing.assert_allclose(parts.rank1, np.array([zx - xz, xy - yx, yz - zy]) / np.sqrt(2))
    two = [
        ((xx - yy) - 1j * (xy + yx)) / 2,
        ((xz + zx) - 1j * (yz + zy)) / 2,
        (2 * zz - xx - yy) / np.sqrt(6),
        -((xz + zx) + 1j * (yz + zy)) / 2,
        ((xx - yy) + 1j * (xy + yx)) / 2,
    ]
    np.testing.assert_allclose(t.irreps_to_spherical(parts.rank2), two)


@pytest.mark.parametrize("euler", [(0.3, 1.1, -0.7), (2.0, 0.0, 0.0), (0.0, np.pi, 1.0)])
def test_rotation(euler):
    """R T R^T has components conj(D(R)) T, rank by rank: the three rooms hold one convention."""
    before, after = t.cartesian_to_irreps(TENSORS), t.cartesian_to_irreps(t.rotate(TENSORS, euler))
    for rank in range(3):
        expected = np.conj(wigner_D(rank, *euler)) @ np.asarray(t.irreps_to_spherical(before[rank])).T
        np.testing.assert_allclose(t.irreps_to_spherical(after[rank]), expected.T, atol=1e-13)


def test_order_of_harmonics():
    """n.T.n is the sum of components times the real harmonics of `harmonics`, up to one factor per rank."""
    directions = rng.normal(size=(30, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    basis = np.stack(np.broadcast_arrays(*harmonics(tuple(directions.T), (0, 2))), axis=-1)
    parts = t.cartesian_to_irreps(TENSORS[0])
    expected = np.einsum("qi,ij,qj->q", directions, TENSORS[0], directions)
    # mean of (n.T.n)^2 over the sphere: 1/3 of the rank-0 square, 2/15 of the rank-2 square.
    value = basis[:, :1] @ np.asarray(parts.rank0) / np.sqrt(3)
    value += basis[:, 1:] @ np.asarray(parts.rank2) * np.sqrt(2 / 15)
    np.testing.assert_allclose(value, expected, atol=1e-13)


def test_coupling_is_rank_two_only():
    parts = t.cartesian_to_irreps(t.quadrupole_tensor(7.0, 0.3, (0.3, 1.1, 0.2)))
    np.testing.assert_allclose(np.concatenate(parts[:2]), 0, atol=1e-14)


def test_gradients_and_transformations():
    check_grads(lambda x: tuple(t.cartesian_to_irreps(x)), (jnp.asarray(TENSORS),), order=1)
    check_grads(lambda x: t.irreps_to_spherical(x).imag, (jnp.arange(5.0),), order=1)
    mapped = jax.jit(jax.vmap(t.cartesian_to_irreps))(TENSORS)
    np.testing.assert_allclose(jax.vmap(t.irreps_to_cartesian)(mapped), TENSORS, atol=1e-14)


def test_bad_input():
    with pytest.raises(ValueError, match="tensor: got shape"):
        t.cartesian_to_irreps(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"irreps: got shapes"):
        t.irreps_to_cartesian(t.Irreps(jnp.zeros(1), jnp.zeros(3), jnp.zeros(4)))
    with pytest.raises(ValueError, match=r"components: got shape \(4,\)"):
        t.irreps_to_spherical(np.zeros(4))
