"""From one tensor to another: shielding to shift, field gradient to coupling, parts, averages."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.errors import is_concrete
from jaxnmr.isotopes import Isotope, isotope as look_up
from jaxnmr.rotations import Numeric, as_floats, euler_to_matrix
from jaxnmr.tensors._arguments import Euler, as_tensor, check_finite, check_range, common, split_euler
from jaxnmr.units import EFG_AU_TO_HZ_PER_BARN

__all__ = [
    "antisymmetric",
    "average",
    "efg_to_coupling",
    "rotate",
    "shielding_to_shift",
    "shift_to_shielding",
    "symmetric",
]

Tensor = Float[Array, "... 3 3"]
Reference = Numeric


def symmetric(tensor: Numeric) -> Tensor:
    """Symmetric part (T + T^T)/2 of tensors (..., 3, 3): what principal values describe. Linear.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    array = as_tensor("tensor", tensor)
    return (array + jnp.swapaxes(array, -1, -2)) / 2


def antisymmetric(tensor: Numeric) -> Tensor:
    """Antisymmetric part (T - T^T)/2 of tensors (..., 3, 3), an even pseudovector. Linear.

    Raises:
        ValueError: a shape other than (..., 3, 3), a value that is not finite.
    """
    array = as_tensor("tensor", tensor)
    return (array - jnp.swapaxes(array, -1, -2)) / 2


def rotate(tensor: Numeric, euler: Euler) -> Tensor:
    r"""Tensors $R\,T R^\top$, turned by $R_z(\alpha) R_y(\beta) R_z(\gamma)$. Smooth; arguments broadcast.

    Args:
        tensor: (..., 3, 3), any unit.
        euler: (α, β, γ), rad, each (...); or one array (..., 3).

    Returns:
        (..., 3, 3), the unit of the tensor.

    Raises:
        ValueError: shapes that do not fit, a value that is not finite.
    """
    a, b, g = common(**dict(zip(("alpha", "beta", "gamma"), split_euler(euler), strict=True)))
    r, t = as_floats(euler_to_matrix(a, b, g), as_tensor("tensor", tensor))
    shape = np.broadcast_shapes(r.shape, t.shape)
    r, t = jnp.broadcast_to(r, shape), jnp.broadcast_to(t, shape)
    return jnp.einsum("...ik,...kl,...jl->...ij", r, t, r, precision="highest")


def shielding_to_shift(sigma: Numeric, reference: Reference) -> Tensor:
    r"""Chemical-shift tensors from absolute shieldings, whole tensors.

    $$\delta = \frac{\sigma_{ref} 1 - \sigma}{1 - 10^{-6}\sigma_{ref}}\qquad\text{or}\qquad \delta =
    \mathrm{slope}\cdot \sigma + \mathrm{intercept}\cdot 1$$

    The antisymmetric part goes along. Smooth in both arguments.

    Args:
        sigma: shielding tensors, ppm, (..., 3, 3).
        reference: σ_ref, shielding of the reference compound, ppm, a number or (...); or the pair (slope,
            intercept in ppm) of a calibration of shifts against shieldings, slope near -1.

    Returns:
        Shift tensors, ppm, (..., 3, 3).

    Raises:
        ValueError: shapes that do not fit, values that are not finite, a slope of 0.

    References:
        R. K. Harris et al., Pure Appl. Chem. 80, 59 (2008).
    """
    slope, intercept, tensor = _line("sigma", sigma, reference)
    return slope * tensor + intercept


def shift_to_shielding(delta: Numeric, reference: Reference) -> Tensor:
    r"""Absolute shieldings from chemical shifts: the inverse of `shielding_to_shift`.

    Args:
        delta: shift tensors, ppm, (..., 3, 3).
        reference: as in `shielding_to_shift`.

    Returns:
        Shielding tensors, ppm, (..., 3, 3).

    Raises:
        ValueError: as `shielding_to_shift`.
    """
    slope, intercept, tensor = _line("delta", delta, reference)
    return (tensor - intercept) / slope


def _line(name: str, tensor: Numeric, reference: Reference) -> tuple[Array, Array, Array]:
    """Slope (..., 1, 1), intercept times the unit tensor, and the tensor, all of one number of axes."""
    array = as_tensor(name, tensor)
    if isinstance(reference, tuple | list):
        if len(reference) != 2:
            raise ValueError(f"reference: got {len(reference)} numbers; give one or (slope, intercept).")
        for part in reference:
            check_finite("reference", part)
        if is_concrete(reference[0]) and (np.asarray(reference[0]) == 0).any():
            raise ValueError("reference: got a slope of 0; give (slope, intercept) with slope near -1.")
        slope, intercept, array = as_floats(reference[0], reference[1], array)
    else:
        check_finite("reference", reference)
        sigma_ref, array = as_floats(reference, array)
        slope = -1 / (1 - 1e-6 * sigma_ref)
        intercept = -slope * sigma_ref
    try:
        leading = np.broadcast_shapes(slope.shape, intercept.shape, array.shape[:-2])
    except ValueError:
        raise ValueError(
            f"reference: shape {np.broadcast_shapes(slope.shape, intercept.shape)} does not fit tensors "
            f"{array.shape}; give one number, or one for each tensor."
        ) from None
    slope = jnp.broadcast_to(slope, leading)[..., None, None]
    intercept = jnp.broadcast_to(intercept, leading)[..., None, None]
    eye = jnp.eye(3, dtype=array.dtype).reshape((1,) * len(leading) + (3, 3))
    return slope, intercept * eye, jnp.broadcast_to(array, (*leading, 3, 3))


def efg_to_coupling(efg_au: Numeric, isotope: str | Isotope) -> Tensor:
    r"""Quadrupole-coupling tensors from electric field gradients, $C = eQV/h$. Linear.

    Args:
        efg_au: field gradients V, atomic units (9.717e21 V/m²), (..., 3, 3).
        isotope: its quadrupole moment Q counts, with its sign; spin 1/2 gives zero.

    Returns:
        C = 234.965 MHz Q[barn] V[a.u.], Hz, (..., 3, 3).

    Raises:
        ValueError: an unknown isotope, a shape other than (..., 3, 3), a value that is not finite.
    """
    return as_tensor("efg_au", efg_au) * (EFG_AU_TO_HZ_PER_BARN * look_up(isotope).quadrupole_moment)


def average(tensors: Numeric, weights: Numeric, axis: int = 0) -> Tensor:
    r"""Population-weighted mean $\bar T = \sum_i p_i T_i$: what fast motion leaves. Linear in both.

    Args:
        tensors: (..., 3, 3), any unit.
        weights: p_i >= 0, summing to one: (n,) along `axis`, or one for each tensor (...).
        axis: which of the leading axes to average over; negative ones count back from the last leading axis.

    Returns:
        Tensors without that axis.

    Raises:
        ValueError: no such axis, shapes that do not fit, weights that are negative or do not sum to one.
    """
    t, w = as_floats(as_tensor("tensors", tensors), weights)
    leading = t.shape[:-2]
    if not -len(leading) <= axis < len(leading):
        raise ValueError(f"axis: got {axis} for tensors {t.shape}, which have {len(leading)} leading axes.")
    axis %= len(leading)
    if w.shape == (leading[axis],):
        w = w.reshape(tuple(-1 if i == axis else 1 for i in range(len(leading))))
    elif w.shape != leading:
        raise ValueError(f"weights: got shape {w.shape} for tensors {t.shape}; give ({leading[axis]},) or {leading}.")
    check_finite("weights", weights)
    check_range("weights", weights, 0, float("inf"), "populations are positive")
    if is_concrete(weights):
        total = np.asarray(weights, dtype=np.float64).reshape(w.shape).sum(axis=axis)
        if (np.abs(total - 1) > 1e-5).any():
            worst = total.flat[np.argmax(np.abs(total - 1))]
            raise ValueError(f"weights: their sum is {worst:g}, not 1; divide them by it.")
    return (jnp.broadcast_to(w, leading)[..., None, None] * t).sum(axis=axis)
