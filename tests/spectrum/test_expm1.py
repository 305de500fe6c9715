"""Exponentials of small matrices and their derivative, against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm, expm_frechet

from jaxnmr.spectrum._expm1 import expm1


def _matrices(n, size, seed=0):
    rng = np.random.default_rng(seed)
    a, h = (rng.normal(size=(n, n, 3)) + 1j * rng.normal(size=(n, n, 3)) for _ in range(2))
    return size * a / n, h


def _each(function, *arrays):
    return np.stack([function(*(a[:, :, i] for a in arrays)) for i in range(arrays[0].shape[2])], axis=2)


@pytest.mark.parametrize("n", [2, 3, 9])
@pytest.mark.parametrize("size", [1e-6, 0.3, 8.0])
def test_value_and_derivatives(n, size):
    """Value, forward and reverse mode; 9 takes the other product. Far below what a lost term of the series (1e-6) leaves."""
    a, h = _matrices(n, size)
    value, forward = jax.jvp(expm1, (jnp.asarray(a),), (jnp.asarray(h),))
    scale = np.exp(size)
    np.testing.assert_allclose(value, _each(lambda x: expm(x) - np.eye(n), a), rtol=1e-12, atol=1e-12 * scale)
    exact = _each(lambda x, y: expm_frechet(x, y, compute_expm=False), a, h)
    np.testing.assert_allclose(forward, exact, atol=1e-11 * scale)
    # <w, L(h)> = <L^T(w), h>
    w = np.random.default_rng(3).normal(size=h.shape) + 0j
    back = jax.vjp(expm1, jnp.asarray(a))[1](jnp.asarray(w))[0]
    np.testing.assert_allclose((back * h).sum(), (w * exact).sum(), rtol=1e-10)


def test_batched_derivatives():
    """vmap of both modes over either argument is one by one."""
    a, h = _matrices(2, 1.0)
    more = jnp.stack([jnp.asarray(a), 5 * jnp.asarray(a)])
    forward = lambda x, y: jax.jvp(expm1, (x,), (y,))[1]  # noqa: E731
    both = jax.vmap(forward, (0, None))(more, jnp.asarray(h))
    np.testing.assert_allclose(both[1], forward(more[1], jnp.asarray(h)), atol=1e-11)
    turned = jnp.stack([jnp.asarray(h), 2j * jnp.asarray(h)])
    np.testing.assert_allclose(jax.vmap(forward, (None, 0))(more[1], turned)[1], 2j * both[1], atol=1e-10)
    reverse = jax.grad(lambda x: jnp.abs(expm1(x)).sum())
    np.testing.assert_allclose(jax.vmap(reverse)(more)[1], reverse(more[1]), atol=1e-10)


def test_second_derivative():
    """Forward over reverse, against differences of the gradient."""
    a, h = _matrices(2, 1.0)
    gradient = jax.jit(jax.grad(lambda x: (jnp.abs(expm1(x)) ** 2).sum()))
    step = 1e-5
    numeric = (gradient(jnp.asarray(a + step * h)) - gradient(jnp.asarray(a - step * h))) / (2 * step)
    exact = jax.jvp(gradient, (jnp.asarray(a),), (jnp.asarray(h),))[1]
    np.testing.assert_allclose(exact, numeric, rtol=1e-7, atol=1e-7 * np.abs(numeric).max())


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_slow_beside_fast(dtype):
    """A slow element that owns its row keeps its relative precision next to one 1e12 times faster."""
    slow, fast = -1e-3 + 2e-3j, -1e9
    a = np.diag([slow, fast]).astype(dtype)[:, :, None]
    value = np.asarray(expm1(jnp.asarray(a)))
    np.testing.assert_allclose(value[0, 0, 0], np.expm1(slow), rtol=20 * np.finfo(dtype).eps)
    np.testing.assert_allclose(value[1, 1, 0], -1, rtol=1e-6)
