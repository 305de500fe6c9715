r"""Cartesian tensors and their irreducible parts under rotation: 3 x 3 = 0e + 1e + 2e.

Real components, m = -l ... l, in the order and with the axes of real spherical harmonics (no Condon-Shortley
phase):

    0e  (xx + yy + zz) / √3
    1e  (zx - xz, xy - yx, yz - zy) / √2, which is √2 (a_y, a_z, a_x) of the pseudovector a_k = ε_kij T_ij / 2
    2e  (xy + yx)/√2, (yz + zy)/√2, (2zz - xx - yy)/√6, (xz + zx)/√2, (xx - yy)/√2

The map is orthogonal: the sum of squares is that of the nine elements. Spherical components, with
Condon-Shortley phases, are T_{l,±m} = (∓1)^m (c ± i s)/√2 of the cosine (m > 0) and sine (m < 0) components
and T_l0 as it is. They are those of coupled vectors, but for the phases -1 of rank 0 and i of rank 1 that
coupling brings: T_20 = (2zz - xx - yy)/√6, T_2±1 = ∓[(xz + zx) ± i(yz + zy)]/2, T_2±2 = [(xx - yy) ± i(xy +
yx)]/2. Under R they turn as T'_lm = Σ_m' D^l_mm'(R)* T_lm' with `rotations.wigner_D`.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxnmr.rotations import Numeric, as_floats
from jaxnmr.tensors._arguments import as_tensor

__all__ = [
    "Irreps",
    "cartesian_to_irreps",
    "irreps_to_cartesian",
    "irreps_to_spherical",
    "spherical_to_irreps",
]


class Irreps(NamedTuple):
    """Real irreducible components, m from -l to l: 0e (..., 1), 1e (..., 3), 2e (..., 5)."""

    rank0: Float[Array, "... 1"]
    rank1: Float[Array, "... 3"]
    rank2: Float[Array, "... 5"]


@cache
def _basis() -> np.ndarray:
    """Orthonormal (9, 3, 3): row r is the Cartesian tensor whose r-th component is one."""
    x, y, z = np.eye(3)

    def sym(a, b):
        return (np.outer(a, b) + np.outer(b, a)) / np.sqrt(2)

    def skew(a, b):
        return (np.outer(a, b) - np.outer(b, a)) / np.sqrt(2)

    return np.stack(
        [
            np.eye(3) / np.sqrt(3),
            skew(z, x),
            skew(x, y),
            skew(y, z),
            sym(x, y),
            sym(y, z),
            (2 * np.outer(z, z) - np.outer(x, x) - np.outer(y, y)) / np.sqrt(6),
            sym(x, z),
            (np.outer(x, x) - np.outer(y, y)) / np.sqrt(2),
        ]
    )


def cartesian_to_irreps(tensor: Numeric) -> Irreps:
    """Irreducible components of Cartesian tensors, named at the top. Linear and orthogonal.

    Args:
        tensor: (..., 3, 3), any unit.

    Returns:
        Real components, the unit of the tensor.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    array = as_tensor("tensor", tensor)
    flat = jnp.einsum("rij,...ij->...r", jnp.asarray(_basis(), dtype=array.dtype), array, precision="highest")
    return Irreps(flat[..., :1], flat[..., 1:4], flat[..., 4:])


def irreps_to_cartesian(irreps: Irreps) -> Float[Array, "... 3 3"]:
    """Cartesian tensors (..., 3, 3) from their irreducible components: the inverse of `cartesian_to_irreps`.

    Args:
        irreps: real components; leading shapes equal.

    Returns:
        (..., 3, 3), the unit of the components.

    Raises:
        ValueError: last axes other than 1, 3, 5.
    """
    parts = as_floats(*irreps)
    if tuple(part.shape[-1:] for part in parts) != ((1,), (3,), (5,)):
        raise ValueError(f"irreps: got shapes {[p.shape for p in parts]}; give (..., 1), (..., 3), (..., 5).")
    flat = jnp.concatenate(parts, axis=-1)
    return jnp.einsum("rij,...r->...ij", jnp.asarray(_basis(), dtype=flat.dtype), flat, precision="highest")


def irreps_to_spherical(components: Numeric) -> Complex[Array, "... m"]:
    """Complex spherical components of one rank from its real ones, m from -l to l, Condon-Shortley phases.

    Args:
        components: (..., 2l + 1), real, in the order of `Irreps`.

    Returns:
        (..., 2l + 1).

    Raises:
        ValueError: an even number of components.
    """
    (c,) = as_floats(components)
    rank = _rank(c)
    root = float(np.sqrt(0.5))
    lower, upper = [], []
    for m in range(1, rank + 1):
        cosine, sine = c[..., rank + m] * root, c[..., rank - m] * root
        sign = float((-1) ** m)
        upper.append(jax.lax.complex(sign * cosine, sign * sine))
        lower.append(jax.lax.complex(cosine, -sine))
    middle = jax.lax.complex(c[..., rank], jnp.zeros_like(c[..., rank]))
    return jnp.stack([*lower[::-1], middle, *upper], axis=-1)


def spherical_to_irreps(components: Complex[Array, "... m"]) -> Float[Array, "... m"]:
    """Real components of one rank from its spherical ones: the inverse of `irreps_to_spherical`.

    Args:
        components: (..., 2l + 1), complex, of a real tensor: T_l,-m = (-1)^m T_lm*; what is not so is
            dropped.

    Returns:
        (..., 2l + 1), real.

    Raises:
        ValueError: an even number of components.
    """
    t = jnp.asarray(components)
    rank = _rank(t)
    root = float(np.sqrt(0.5))
    cosines, sines = [], []
    for m in range(1, rank + 1):
        sign = float((-1) ** m)
        above, below = sign * t[..., rank + m], t[..., rank - m]
        cosines.append((above.real + below.real) * root)
        sines.append((above.imag - below.imag) * root)
    return jnp.stack([*sines[::-1], t[..., rank].real, *cosines], axis=-1)


def _rank(components: Array) -> int:
    n = components.shape[-1] if components.ndim else 0
    if n % 2 == 0:
        raise ValueError(f"components: got shape {components.shape}; give (..., 2l + 1), m from -l to l.")
    return n // 2
