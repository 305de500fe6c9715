"""Tensors from the parameters of each convention: polynomials and sines, smooth in every argument."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnmr.rotations import Numeric, euler_to_matrix
from jaxnmr.tensors._arguments import Euler, check_range, common, split_euler

__all__ = [
    "from_herzfeld_berger",
    "from_iupac",
    "quadrupole_tensor",
    "shielding_from_herzfeld_berger",
    "shielding_from_iupac",
    "shielding_tensor",
    "shift_tensor",
]

Tensor = Float[Array, "... 3 3"]

_ETA = "name the principal axes so that |zz - iso| >= |xx - iso| >= |yy - iso|"
_ETA_Q = "name the principal axes so that |V_zz| >= |V_yy| >= |V_xx|"
_SKEW = "order the principal values: skew = 3 (delta_22 - delta_iso) / span"
_ORDER = "sort the principal values, and the axes with them"


def shift_tensor(delta_iso: Numeric, zeta: Numeric = 0.0, eta: Numeric = 0.0, euler: Euler = (0.0, 0.0, 0.0)) -> Tensor:
    r"""Chemical-shift tensor from Haeberlen's parameters of the shift.

    $$\delta = R\,\mathrm{diag}\bigl(\delta_{iso} - \tfrac{1+\eta}{2}\zeta,\ \delta_{iso} -
    \tfrac{1-\eta}{2}\zeta,\ \delta_{iso} + \zeta\bigr) R^\top,\qquad R = R_z(\alpha) R_y(\beta) R_z(\gamma)$$

    Smooth in every argument, both modes, everywhere; ranges are checked where values are known. All arguments
    broadcast against each other, each Euler angle too.

    Args:
        delta_iso: isotropic shift, ppm, (...).
        zeta: ζ = δ_zz - δ_iso, the principal value farthest from the mean, ppm, (...). Its sign is that of
            the shift: opposite to the ζ of the shielding.
        eta: η = (δ_yy - δ_xx) / ζ, 0 to 1, (...).
        euler: (α, β, γ) of the rotation that takes the principal axes into the crystal frame, rad; or one
            array (..., 3).

    Returns:
        Symmetric tensors, ppm, (..., 3, 3), crystal frame.

    Raises:
        ValueError: η outside 0 to 1, a value that is not finite, shapes that do not broadcast.

    References:
        U. Haeberlen, High Resolution NMR in Solids: Selective Averaging (1976).
    """
    a, b, g = split_euler(euler)
    check_range("eta", eta, 0, 1, _ETA)
    iso, zeta, eta, a, b, g = common(delta_iso=delta_iso, zeta=zeta, eta=eta, alpha=a, beta=b, gamma=g)
    return _turned(iso - zeta * (1 + eta) / 2, iso - zeta * (1 - eta) / 2, iso + zeta, a, b, g)


def quadrupole_tensor(c_q: Numeric, eta_q: Numeric = 0.0, euler: Euler = (0.0, 0.0, 0.0)) -> Tensor:
    r"""Quadrupole-coupling tensor $eQV/h$.

    $$C = C_Q\,R\,\mathrm{diag}\bigl(-\tfrac{1-\eta_Q}{2},\ -\tfrac{1+\eta_Q}{2},\ 1\bigr) R^\top,\qquad R =
    R_z(\alpha) R_y(\beta) R_z(\gamma)$$

    x and y are named the other way round than in `shift_tensor`, as each field does. Smooth in every
    argument, both modes, everywhere; all arguments broadcast.

    Args:
        c_q: C_Q = e Q V_zz / h, Hz, (...).
        eta_q: η_Q = (V_xx - V_yy) / V_zz, 0 to 1, (...).
        euler: (α, β, γ) as in `shift_tensor`, rad.

    Returns:
        Symmetric traceless tensors, Hz, (..., 3, 3), crystal frame; the largest principal value is C_Q.

    Raises:
        ValueError: η_Q outside 0 to 1, a value that is not finite, shapes that do not broadcast.
    """
    a, b, g = split_euler(euler)
    check_range("eta_q", eta_q, 0, 1, _ETA_Q)
    c_q, eta, a, b, g = common(c_q=c_q, eta_q=eta_q, alpha=a, beta=b, gamma=g)
    return _turned(-c_q * (1 - eta) / 2, -c_q * (1 + eta) / 2, c_q, a, b, g)


def from_iupac(delta_11: Numeric, delta_22: Numeric, delta_33: Numeric, euler: Euler = (0.0, 0.0, 0.0)) -> Tensor:
    r"""Chemical-shift tensor from its principal values, $\delta_{11} \ge \delta_{22} \ge \delta_{33}$.

    Smooth in every argument; all broadcast.

    Args:
        delta_11: largest principal value, along the principal x axis, ppm, (...).
        delta_22: middle one, along y, ppm, (...).
        delta_33: smallest one, along z, ppm, (...).
        euler: (α, β, γ) as in `shift_tensor`, rad.

    Returns:
        Symmetric tensors, ppm, (..., 3, 3), crystal frame.

    Raises:
        ValueError: values out of order or not finite, shapes that do not broadcast.

    References:
        R. K. Harris et al., Pure Appl. Chem. 80, 59 (2008).
    """
    a, b, g = split_euler(euler)
    d11, d22, d33, a, b, g = common(delta_11=delta_11, delta_22=delta_22, delta_33=delta_33, alpha=a, beta=b, gamma=g)
    check_range("delta_11 - delta_22", d11 - d22, 0, float("inf"), _ORDER)
    check_range("delta_22 - delta_33", d22 - d33, 0, float("inf"), _ORDER)
    return _turned(d11, d22, d33, a, b, g)


def from_herzfeld_berger(delta_iso: Numeric, span: Numeric, skew: Numeric, euler: Euler = (0.0, 0.0, 0.0)) -> Tensor:
    r"""Chemical-shift tensor from span and skew (Maryland convention).

    $$\delta_{11} = \delta_{iso} + \tfrac{3-\kappa}{6}\Omega,\quad \delta_{22} = \delta_{iso} +
    \tfrac{\kappa}{3}\Omega,\quad \delta_{33} = \delta_{iso} - \tfrac{3+\kappa}{6}\Omega$$

    Smooth in every argument; all broadcast.

    Args:
        delta_iso: isotropic shift, ppm, (...).
        span: Ω = δ_11 - δ_33 >= 0, ppm, (...).
        skew: κ = 3 (δ_22 - δ_iso) / Ω, -1 to 1, (...).
        euler: (α, β, γ) as in `from_iupac`, rad: 11, 22, 33 along x, y, z.

    Returns:
        Symmetric tensors, ppm, (..., 3, 3), crystal frame.

    Raises:
        ValueError: Ω < 0, κ outside -1 to 1, a value that is not finite, shapes that do not broadcast.

    References:
        J. Mason, Solid State Nucl. Magn. Reson. 2, 285 (1993); J. Herzfeld and A. E. Berger, J. Chem. Phys.
        73, 6021 (1980).
    """
    a, b, g = split_euler(euler)
    check_range("span", span, 0, float("inf"), "span = delta_11 - delta_33 of sorted values")
    check_range("skew", skew, -1, 1, _SKEW)
    iso, span, skew, a, b, g = common(delta_iso=delta_iso, span=span, skew=skew, alpha=a, beta=b, gamma=g)
    return _turned(iso + span * (3 - skew) / 6, iso + span * skew / 3, iso - span * (3 + skew) / 6, a, b, g)


def shielding_tensor(sigma_iso: Numeric, zeta: Numeric = 0.0, eta: Numeric = 0.0, euler: Euler = (0.0, 0.0, 0.0)) -> Tensor:
    r"""Shielding tensor from Haeberlen's parameters of the SHIELDING, $\zeta = \sigma_{zz} - \sigma_{iso}$.

    The algebra is that of `shift_tensor`; ζ has the opposite sign to the shift's, the axes are the same.

    Args:
        sigma_iso: isotropic shielding, ppm, (...).
        zeta: ζ = σ_zz - σ_iso, ppm, (...).
        eta: η, 0 to 1, (...).
        euler: (α, β, γ) as in `shift_tensor`, rad.

    Returns:
        Symmetric tensors, ppm, (..., 3, 3), crystal frame.

    Raises:
        ValueError: as `shift_tensor`.
    """
    a, b, g = split_euler(euler)
    check_range("eta", eta, 0, 1, _ETA)
    iso, zeta, eta, a, b, g = common(sigma_iso=sigma_iso, zeta=zeta, eta=eta, alpha=a, beta=b, gamma=g)
    return _turned(iso - zeta * (1 + eta) / 2, iso - zeta * (1 - eta) / 2, iso + zeta, a, b, g)


def shielding_from_iupac(sigma_11: Numeric, sigma_22: Numeric, sigma_33: Numeric, euler: Euler = (0.0, 0.0, 0.0)) -> Tensor:
    r"""Shielding tensor from its principal values, $\sigma_{11} \le \sigma_{22} \le \sigma_{33}$.

    The axes are those of the shift.

    Args:
        sigma_11: smallest principal value, along the principal x axis, ppm, (...).
        sigma_22: middle one, along y, ppm, (...).
        sigma_33: largest one, along z, ppm, (...).
        euler: (α, β, γ) as in `shift_tensor`, rad.

    Returns:
        Symmetric tensors, ppm, (..., 3, 3), crystal frame.

    Raises:
        ValueError: values out of order or not finite, shapes that do not broadcast.
    """
    a, b, g = split_euler(euler)
    s11, s22, s33, a, b, g = common(sigma_11=sigma_11, sigma_22=sigma_22, sigma_33=sigma_33, alpha=a, beta=b, gamma=g)
    check_range("sigma_22 - sigma_11", s22 - s11, 0, float("inf"), _ORDER)
    check_range("sigma_33 - sigma_22", s33 - s22, 0, float("inf"), _ORDER)
    return _turned(s11, s22, s33, a, b, g)


def shielding_from_herzfeld_berger(
    sigma_iso: Numeric, span: Numeric, skew: Numeric, euler: Euler = (0.0, 0.0, 0.0)
) -> Tensor:
    r"""Shielding tensor from span and skew, which are those of the shift.

    $$\Omega = \sigma_{33} - \sigma_{11},\qquad \kappa = 3(\sigma_{iso} - \sigma_{22})/\Omega$$

    Args:
        sigma_iso: isotropic shielding, ppm, (...).
        span: Ω = σ_33 - σ_11 >= 0, ppm, (...).
        skew: κ = 3 (σ_iso - σ_22) / Ω, -1 to 1, (...).
        euler: (α, β, γ) as in `from_iupac`, rad.

    Returns:
        Symmetric tensors, ppm, (..., 3, 3), crystal frame.

    Raises:
        ValueError: as `from_herzfeld_berger`.
    """
    a, b, g = split_euler(euler)
    check_range("span", span, 0, float("inf"), "span = sigma_33 - sigma_11 of sorted values")
    check_range("skew", skew, -1, 1, "skew = 3 (sigma_iso - sigma_22) / span of sorted values")
    iso, span, skew, a, b, g = common(sigma_iso=sigma_iso, span=span, skew=skew, alpha=a, beta=b, gamma=g)
    return _turned(iso - span * (3 - skew) / 6, iso - span * skew / 3, iso + span * (3 + skew) / 6, a, b, g)


def _turned(xx: Array, yy: Array, zz: Array, alpha: Array, beta: Array, gamma: Array) -> Array:
    """R diag(xx, yy, zz) R^T, symmetric to the last bit; written out, for small products are slow."""
    r = euler_to_matrix(alpha, beta, gamma)
    values = jnp.stack([xx, yy, zz], axis=-1)
    # Products of two elements of R commute exactly, so the sum over principal axes is symmetric.
    return (values[..., None, None, :] * (r[..., :, None, :] * r[..., None, :, :])).sum(axis=-1)
