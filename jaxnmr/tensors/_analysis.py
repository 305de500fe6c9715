"""Parameters of each convention from tensors: eigenvalue analyses of the symmetric part.

Derivatives are exact while the eigenvalues differ and keep their order. Where two meet, the values of the
parameters have kinks and the axes are arbitrary: derivatives are finite there (the part that divides by the
difference is left out) but are those of one branch. Losses and averages belong on whole tensors.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnmr.rotations import Numeric, matrix_to_euler
from jaxnmr.tensors._arguments import as_tensor

__all__ = [
    "Haeberlen",
    "HerzfeldBerger",
    "Iupac",
    "Quadrupole",
    "ShieldingHaeberlen",
    "ShieldingHerzfeldBerger",
    "ShieldingIupac",
    "haeberlen",
    "herzfeld_berger",
    "iupac",
    "quadrupole_parameters",
    "shielding_haeberlen",
    "shielding_herzfeld_berger",
    "shielding_iupac",
]

Scalar = Float[Array, "..."]
Angles = Float[Array, "... 3"]


class Haeberlen(NamedTuple):
    """Parameters of a shift tensor, in the order of `shift_tensor`'s arguments: ppm, ppm, 1, rad (..., 3)."""

    delta_iso: Scalar
    zeta: Scalar
    eta: Scalar
    euler: Angles


class Iupac(NamedTuple):
    """Principal values of a shift tensor, falling, as `from_iupac` takes them: ppm, rad (..., 3)."""

    delta_11: Scalar
    delta_22: Scalar
    delta_33: Scalar
    euler: Angles


class HerzfeldBerger(NamedTuple):
    """Mean, span and skew of a shift tensor, as `from_herzfeld_berger` takes them: ppm, ppm, 1, rad."""

    delta_iso: Scalar
    span: Scalar
    skew: Scalar
    euler: Angles


class Quadrupole(NamedTuple):
    """Parameters of a coupling tensor, as `quadrupole_tensor` takes them: Hz, 1, rad (..., 3)."""

    c_q: Scalar
    eta_q: Scalar
    euler: Angles


class ShieldingHaeberlen(NamedTuple):
    """Parameters of a shielding tensor, in the order of `shielding_tensor`'s arguments: ppm, ppm, 1, rad."""

    sigma_iso: Scalar
    zeta: Scalar
    eta: Scalar
    euler: Angles


class ShieldingIupac(NamedTuple):
    """Principal values of a shielding tensor, rising, in the order of `shielding_from_iupac`'s arguments."""

    sigma_11: Scalar
    sigma_22: Scalar
    sigma_33: Scalar
    euler: Angles


class ShieldingHerzfeldBerger(NamedTuple):
    """Mean, span and skew of a shielding tensor, as `shielding_from_herzfeld_berger` takes them."""

    sigma_iso: Scalar
    span: Scalar
    skew: Scalar
    euler: Angles


def haeberlen(tensor: Numeric) -> Haeberlen:
    r"""Haeberlen's parameters of the symmetric part; `shift_tensor(*haeberlen(t))` gives it back.

    Args:
        tensor: chemical-shift tensors, ppm, (..., 3, 3).

    Returns:
        δ_iso; ζ = δ_zz - δ_iso; η = (δ_yy - δ_xx)/ζ with |zz - iso| >= |xx - iso| >= |yy - iso| (0 where ζ
        is); Euler angles with β in [0, π/2] and γ in [0, π).

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    iso, zeta, eta, euler = _by_distance("tensor", tensor, (1, 0, 2))
    return Haeberlen(iso, zeta, eta, euler)


def quadrupole_parameters(tensor: Numeric) -> Quadrupole:
    r"""C_Q and η_Q of coupling tensors' symmetric, traceless part; `quadrupole_tensor(*...)` gives it back.

    Near η_Q = 1 the sign of C_Q is noise: compare whole tensors there.

    Args:
        tensor: coupling tensors, Hz, (..., 3, 3); field gradients in other units are welcome, C_Q then means
            V_zz.

    Returns:
        C_Q; η_Q = (V_xx - V_yy)/V_zz with |V_zz| >= |V_yy| >= |V_xx| (0 where C_Q is); Euler angles as
        `haeberlen`.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    _, c_q, eta, euler = _by_distance("tensor", tensor, (0, 1, 2))
    return Quadrupole(c_q, eta, euler)


def iupac(tensor: Numeric) -> Iupac:
    r"""Principal values $\delta_{11} \ge \delta_{22} \ge \delta_{33}$ of a shift tensor's symmetric part.

    Args:
        tensor: chemical-shift tensors, ppm, (..., 3, 3).

    Returns:
        The values and the Euler angles that take x, y, z to the axes of 11, 22, 33.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    values, vectors = _eigh(_symmetric(as_tensor("tensor", tensor)))
    return Iupac(values[..., 2], values[..., 1], values[..., 0], _angles(vectors[..., ::-1]))


def herzfeld_berger(tensor: Numeric) -> HerzfeldBerger:
    r"""Span and skew of a shift tensor (Maryland convention).

    $$\Omega = \delta_{11} - \delta_{33},\qquad \kappa = 3(\delta_{22} - \delta_{iso})/\Omega$$

    Args:
        tensor: chemical-shift tensors, ppm, (..., 3, 3); the symmetric part counts.

    Returns:
        δ_iso, Ω, κ (0 where Ω is) and the Euler angles of `iupac`.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    d11, d22, d33, euler = iupac(tensor)
    iso = (d11 + d22 + d33) / 3
    span = d11 - d33
    skew = _ratio(3 * (d22 - iso), span, jnp.maximum(jnp.abs(d11), jnp.abs(d33)))
    return HerzfeldBerger(iso, span, skew, euler)


def shielding_haeberlen(sigma: Numeric) -> ShieldingHaeberlen:
    r"""Haeberlen's parameters of a shielding.

    $\zeta = \sigma_{zz} - \sigma_{iso}$ is opposite in sign to the shift's ζ.

    Args:
        sigma: shielding tensors, ppm, (..., 3, 3); the symmetric part counts.

    Returns:
        σ_iso, ζ, η and Euler angles, axes as in `haeberlen`.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    iso, zeta, eta, euler = _by_distance("sigma", sigma, (1, 0, 2))
    return ShieldingHaeberlen(iso, zeta, eta, euler)


def shielding_iupac(sigma: Numeric) -> ShieldingIupac:
    r"""Principal values $\sigma_{11} \le \sigma_{22} \le \sigma_{33}$ of a shielding.

    The axes are those of the shift, since $\delta_{ii}$ and $\sigma_{ii}$ belong together.

    Args:
        sigma: shielding tensors, ppm, (..., 3, 3); the symmetric part counts.

    Returns:
        The values and the Euler angles that take x, y, z to the axes of 11, 22, 33.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    values, vectors = _eigh(_symmetric(as_tensor("sigma", sigma)))
    return ShieldingIupac(values[..., 0], values[..., 1], values[..., 2], _angles(vectors))


def shielding_herzfeld_berger(sigma: Numeric) -> ShieldingHerzfeldBerger:
    r"""Span and skew of a shielding, which are those of the shift.

    $$\Omega = \sigma_{33} - \sigma_{11},\qquad \kappa = 3(\sigma_{iso} - \sigma_{22})/\Omega$$

    Args:
        sigma: shielding tensors, ppm, (..., 3, 3); the symmetric part counts.

    Returns:
        σ_iso, Ω, κ (0 where Ω is) and the Euler angles of `shielding_iupac`.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    s11, s22, s33, euler = shielding_iupac(sigma)
    iso = (s11 + s22 + s33) / 3
    span = s33 - s11
    skew = _ratio(3 * (iso - s22), span, jnp.maximum(jnp.abs(s11), jnp.abs(s33)))
    return ShieldingHerzfeldBerger(iso, span, skew, euler)


def _symmetric(tensor: Array) -> Array:
    return (tensor + jnp.swapaxes(tensor, -1, -2)) / 2


@jax.custom_jvp
def _eigh(matrix: Array) -> tuple[Array, Array]:
    """Rising eigenvalues (..., 3) and eigenvectors in columns (..., 3, 3) of symmetric matrices."""
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
    return values, vectors


@_eigh.defjvp
def _eigh_jvp(primals, tangents):
    """dw_i = (V^T dA V)_ii; dV = V X with X_ij = (V^T dA V)_ij / (w_j - w_i), 0 where they are equal."""
    values, vectors = _eigh(*primals)
    inner = jnp.einsum("...ki,...kl,...lj->...ij", vectors, tangents[0], vectors, precision="highest")
    gap = values[..., None, :] - values[..., :, None]
    scale = jnp.abs(values).max(axis=-1)[..., None, None]
    equal = jnp.abs(gap) <= 16 * float(jnp.finfo(values.dtype).eps) * scale
    turn = jnp.where(equal, jnp.zeros_like(inner), inner / jnp.where(equal, jnp.ones_like(gap), gap))
    d_vectors = jnp.einsum("...ik,...kj->...ij", vectors, turn, precision="highest")
    return (values, vectors), (jnp.diagonal(inner, axis1=-2, axis2=-1), d_vectors)


def _by_distance(name: str, tensor: Numeric, axes: tuple[int, int, int]) -> tuple[Array, ...]:
    """Mean, largest deviation, asymmetry, angles; `axes`: which deviation, by rising size, is x, y, z."""
    array = as_tensor(name, tensor)
    iso = jnp.trace(array, axis1=-2, axis2=-1) / 3
    eye = jnp.eye(3, dtype=array.dtype).reshape((1,) * (array.ndim - 2) + (3, 3))
    values, vectors = _eigh(_symmetric(array) - iso[..., None, None] * eye)
    order = jnp.argsort(jnp.abs(values), axis=-1)
    order = jnp.stack([order[..., axis] for axis in axes], axis=-1)
    values = jnp.take_along_axis(values, order, axis=-1)
    vectors = jnp.take_along_axis(vectors, order[..., None, :], axis=-1)
    largest = values[..., 2]
    size = jnp.abs(array).max(axis=(-2, -1))
    # (smallest - middle) / largest is the asymmetry in both conventions; only the names x and y change.
    middle, smallest = values[..., axes.index(1)], values[..., axes.index(0)]
    return iso, largest, _ratio(smallest - middle, largest, size), _angles(vectors)


def _ratio(top: Array, bottom: Array, size: Array) -> Array:
    """Top / bottom, and 0 where bottom is no more than rounding of values of this size."""
    void = jnp.abs(bottom) <= 16 * float(jnp.finfo(bottom.dtype).eps) * size
    return jnp.where(void, jnp.zeros_like(top), top / jnp.where(void, jnp.ones_like(bottom), bottom))


def _angles(axes: Array) -> Array:
    """Euler angles (..., 3) of principal axes (columns, of free sign): β in [0, π/2], γ in [0, π)."""
    y, z = axes[..., 1], axes[..., 2]
    z = z * _sign(z[..., 2])[..., None]
    y = y * _sign(y[..., 2])[..., None]
    return jnp.stack(matrix_to_euler(jnp.stack([jnp.cross(y, z), y, z], axis=-1)), axis=-1)


def _sign(x: Array) -> Array:
    return jnp.where(x < 0, -jnp.ones_like(x), jnp.ones_like(x))
