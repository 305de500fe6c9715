r"""Rotations: ZYZ Euler angles, 3 x 3 matrices and Wigner matrices, in one convention.

Angles are in radians and active: $R(\alpha, \beta, \gamma) = R_z(\alpha) R_y(\beta) R_z(\gamma)$ turns
vectors, first by $\gamma$ about z, then by $\beta$ about y, last by $\alpha$ about z, all axes fixed. A
tensor known in its principal frame is $T_{crystal} = R\,T_{pas} R^\top$: the columns of R are the principal
axes seen from the crystal.

Wigner matrices are those of the same operator, $D^l_{m'm} = \langle lm'|e^{-i\alpha J_z} e^{-i\beta J_y}
e^{-i\gamma J_z}|lm \rangle = e^{-im'\alpha} d^l_{m'm}(\beta) e^{-im\gamma}$, rows m' and columns m from -l to
l, Condon-Shortley phases. So $D(R_1 R_2) = D(R_1) D(R_2)$, and the spherical components of a rotated tensor
are $T'_{lm} = \sum_{m'} D^{l*}_{mm'} T_{lm'}$. With 2l odd, D is that of the angles, not of the matrix (the
sign of a full turn).

Source: D. A. Varshalovich, A. N. Moskalev and V. K. Khersonskii, Quantum Theory of Angular Momentum (1988),
ch. 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

__all__ = ["Numeric", "as_floats", "euler_to_matrix", "matrix_to_euler", "wigner_D", "wigner_d"]

Numeric = ArrayLike | Sequence[Any]
"""What a user may give for numbers: a number, an array, or (nested) lists of them."""

Angle = Float[Array, "..."]


def as_floats(*values: Numeric) -> tuple[Array, ...]:
    """The arguments as arrays of one floating type: the widest among them; for Python numbers the default.

    A function that takes numbers from users goes through this, so that integers and mixed precisions are
    welcome even where JAX is told to refuse them.
    """
    arrays = [value if hasattr(value, "dtype") else jnp.asarray(value) for value in values]
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*arrays)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return tuple(jnp.asarray(array, dtype=dtype) for array in arrays)


def euler_to_matrix(alpha: Numeric, beta: Numeric, gamma: Numeric) -> Float[Array, "... 3 3"]:
    r"""Rotation matrix $R_z(\alpha) R_y(\beta) R_z(\gamma)$. Smooth in every angle.

    Args:
        alpha: α, rad, (...).
        beta: β, rad, (...); the angles broadcast against each other.
        gamma: γ, rad, (...).

    Returns:
        R, (..., 3, 3).

    Raises:
        ValueError: the shapes do not broadcast.
    """
    a, b, g = jnp.broadcast_arrays(*as_floats(alpha, beta, gamma))
    ca, sa, cb, sb, cg, sg = jnp.cos(a), jnp.sin(a), jnp.cos(b), jnp.sin(b), jnp.cos(g), jnp.sin(g)
    rows = [
        [ca * cb * cg - sa * sg, -ca * cb * sg - sa * cg, ca * sb],
        [sa * cb * cg + ca * sg, -sa * cb * sg + ca * cg, sa * sb],
        [-sb * cg, sb * sg, cb],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_euler(matrix: Numeric) -> tuple[Angle, Angle, Angle]:
    r"""Euler angles of rotation matrices, the inverse of `euler_to_matrix`.

    Where $\sin\beta = 0$ only $\alpha \pm \gamma$ means something: γ is 0 there. Derivatives are exact away
    from those points and finite at them (γ is held, α and β follow).

    Args:
        matrix: R, (..., 3, 3), proper and orthogonal; not checked.

    Returns:
        α in (-π, π], β in [0, π], γ in (-π, π], each (...), rad.

    Raises:
        ValueError: the last two axes are not (3, 3).
    """
    (r,) = as_floats(matrix)
    if r.shape[-2:] != (3, 3):
        raise ValueError(f"matrix: got shape {r.shape}; give rotation matrices (..., 3, 3).")
    # γ is rounding noise when sin β is: α takes the whole turn then.
    x, y = (jax.lax.stop_gradient(r[..., 2, i]) for i in (0, 1))
    pole = jnp.hypot(x, y) < 8 * float(jnp.finfo(r.dtype).eps)
    one, zero = jnp.ones_like(r[..., 0, 0]), jnp.zeros_like(r[..., 0, 0])
    gamma = jnp.arctan2(jnp.where(pole, zero, r[..., 2, 1]), jnp.where(pole, one, -r[..., 2, 0]))
    # R Rz(-γ) = Rz(α) Ry(β): α and β come from it together with whatever error γ has, so R is reproduced to
    # rounding.
    c, s = jnp.cos(gamma), jnp.sin(gamma)
    alpha = jnp.arctan2(-(r[..., 0, 0] * s + r[..., 0, 1] * c), r[..., 1, 0] * s + r[..., 1, 1] * c)
    beta = jnp.arctan2(-(r[..., 2, 0] * c - r[..., 2, 1] * s), r[..., 2, 2])
    return alpha, beta, gamma


@cache
def _wigner_coefficients(twice_l: int) -> np.ndarray:
    r"""$c_{m'mk}$ of $d^l_{m'm} = \sum_k c_{m'mk} \cos^{2l-k}(\beta/2) \sin^k(\beta/2)$: Wigner's sum."""
    n = twice_l + 1
    table = np.zeros((n, n, n))
    factorial = math.factorial
    for row in range(n):  # row = l + m'
        for col in range(n):  # col = l + m
            root = math.sqrt(math.prod(map(factorial, (row, twice_l - row, col, twice_l - col))))
            for s in range(max(0, col - row), min(col, twice_l - row) + 1):
                bottom = math.prod(map(factorial, (col - s, s, row - col + s, twice_l - row - s)))
                table[row, col, row - col + 2 * s] += (-1) ** (row - col + s) * root / bottom
    return table


def wigner_d(l: int | float, beta: Numeric) -> Float[Array, "... m m"]:  # noqa: E741
    r"""Wigner's small matrix $d^l_{m'm}(\beta) = \langle lm'|e^{-i\beta J_y}|lm\rangle$.

    A polynomial in the sine and cosine of β/2: smooth everywhere, both modes.

    Args:
        l: rank, a non-negative multiple of 1/2.
        beta: β, rad, (...).

    Returns:
        (..., 2l + 1, 2l + 1), real; rows m', columns m, both from -l to l.

    Raises:
        ValueError: l is not such a number.
    """
    (b,) = as_floats(beta)
    table = _wigner_coefficients(_twice(l))
    n = table.shape[0]
    c, s = jnp.cos(b / 2), jnp.sin(b / 2)
    powers = jnp.stack([c ** (n - 1 - k) * s**k for k in range(n)], axis=-1)
    # "highest": a GPU would otherwise multiply float32 matrices with ten bits of mantissa.
    return jnp.einsum("ijk,...k->...ij", jnp.asarray(table, dtype=b.dtype), powers, precision="highest")


def wigner_D(l: int | float, alpha: Numeric, beta: Numeric, gamma: Numeric) -> Complex[Array, "... m m"]:  # noqa: E741
    r"""Wigner's matrix $D^l_{m'm} = e^{-im'\alpha} d^l_{m'm}(\beta) e^{-im\gamma}$. Smooth in every angle.

    Args:
        l: rank, a non-negative multiple of 1/2.
        alpha: α, rad, (...); the angles broadcast against each other.
        beta: β, rad, (...).
        gamma: γ, rad, (...).

    Returns:
        (..., 2l + 1, 2l + 1), complex; rows m', columns m, both from -l to l.

    Raises:
        ValueError: l is not such a number, or the shapes do not broadcast.
    """
    a, b, g = jnp.broadcast_arrays(*as_floats(alpha, beta, gamma))
    small = wigner_d(l, b)
    m = jnp.asarray(np.arange(-l, l + 0.5), dtype=b.dtype).reshape((1,) * b.ndim + (-1,))
    phase = (a[..., None] * m)[..., :, None] + (g[..., None] * m)[..., None, :]
    return jax.lax.complex(small * jnp.cos(phase), -small * jnp.sin(phase))


def _twice(l: int | float) -> int:  # noqa: E741
    if l < 0 or not float(2 * l).is_integer():
        raise ValueError(f"l: got {l}; use a non-negative multiple of 1/2.")
    return int(2 * l)
