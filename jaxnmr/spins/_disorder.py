r"""Disorder of shift and quadrupole: distributions as weighted sites, placed by deterministic quadrature.

A glass is then a list of sites like any other, simulated in one call, the same each time and smooth in the parameters of its
distribution. `quadrature_error` says what the number of sites costs.

The width $\sigma$ of a distribution of couplings is here the standard deviation of $C_{zz}$, a diagonal element of the
coupling tensor in a fixed frame: the $\sigma$ of the published density, and of ssNake. mrsimulator's is half of it. A root
mean square coupling is $\langle P_Q^2\rangle^{1/2} = \sqrt5\,\sigma$ with $P_Q = C_Q\sqrt{1 + \eta_Q^2/3}$.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.errors import is_concrete
from jaxnmr.isotopes import isotope as nucleus_of
from jaxnmr.rotations import Numeric
from jaxnmr.spins._nodes import chi_5_nodes, cosine_nodes, gaussian_nodes, golden_shifts, hammersley_nodes, node_count
from jaxnmr.spins._numbers import check_at_least_zero, check_positive, numbers, per_site
from jaxnmr.spins._sites import Sites

__all__ = ["czjzek", "extended_czjzek", "gaussian_shift", "shift_fwhm"]

_FWHM = float(2 * np.sqrt(2 * np.log(2)))
_SIGMA = "the standard deviation of the coupling tensors' diagonal elements in Hz, such as 2e6"
_DEVIATION = "the standard deviation of the shifts in ppm"

# Symmetric traceless tensors whose zz element has unit variance when each carries a unit normal: squared norm 3/2 each.
_TENSORS = np.sqrt(3 / 4) * np.array(
    [
        np.diag([-1.0, -1.0, 2.0]) / np.sqrt(3),
        np.diag([1.0, -1.0, 0.0]),
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]],
    ]
)


def czjzek(
    isotope: str,
    sigma: Numeric,
    shift: Numeric = 0.0,
    *,
    correlated_shift: Numeric = 0.0,
    nodes: tuple[int, int] = (24, 16),
) -> Sites:
    r"""Sites of a glass without a preferred coupling: five independent normal components of the field gradient.

    $$p(C_Q, \eta) = \frac{C_Q^4\,\eta\,(1 - \eta^2/9)}{\sqrt{2\pi}\,\sigma^5}
      \exp\Bigl[-\frac{C_Q^2(1 + \eta^2/3)}{2\sigma^2}\Bigr]$$

    over both signs of $C_Q$. The shift is isotropic; the part of its distribution that follows the coupling is

    $$\delta = \delta_0 + a\,\frac{P_Q - \langle P_Q\rangle}{\mathrm{sd}(P_Q)},\qquad P_Q = C_Q\sqrt{1 + \eta^2/3}.$$

    A further spread b independent of the coupling is a convolution, exact and free: pass
    `gaussian=shift_fwhm(isotope, b, field)` to `simulate`. A shift of standard deviation s and correlation coefficient r
    with $P_Q$ has $a = rs$ and $b = \sqrt{1 - r^2}\,s$.

    $P_Q/\sigma$ is the length of five unit normals and $\det C/P_Q^3$ is uniform, independent of it: the nodes are even in
    the first, Gauss-Legendre in the second. Relative L2 errors of central-transition lines of 27Al, 14.1 T, σ = 2.5 MHz,
    static and MAS: with 24 x 16 nodes 5e-4 and 5e-5 for lines of 500 Hz, 3e-3 and 2e-3 of 100 Hz; with 16 x 16 1e-3 and
    1e-4, 5e-3 and 4e-3; see `quadrature_error`. Tensors are diagonal in the crystal frame, so an octant of directions is
    enough. Smooth in `sigma`, `shift` and `correlated_shift`, both modes.

    Args:
        isotope: name, such as "27Al".
        sigma: σ > 0, Hz: standard deviation of the coupling tensor's diagonal elements. The most probable $|C_Q|$ is
            near 2σ. mrsimulator's `CzjzekDistribution` is given σ/2.
        shift: mean isotropic shift δ_0, ppm.
        correlated_shift: a, ppm, of either sign.
        nodes: values of $P_Q$, and of the asymmetry (both signs of $C_Q$ together).

    Returns:
        nodes[0] * nodes[1] sites with weights.

    Raises:
        ValueError: an unknown isotope or one of spin 1/2, σ that is not finite and > 0, a shift that is not finite, values
            that are no single numbers, fewer than 3 values of $P_Q$ or 1 of the asymmetry.

    References:
        Czjzek et al., Phys. Rev. B 23, 2513 (1981); d'Espinose de Lacaillerie, Fretigny and Massiot, J. Magn. Reson. 192,
        244 (2008).
    """
    _quadrupolar(isotope)
    check_positive("sigma", sigma, _SIGMA)
    sigma, shift, amount = numbers(sigma=sigma, shift=shift, correlated_shift=correlated_shift)
    if not isinstance(nodes, tuple) or len(nodes) != 2:
        raise ValueError(f"nodes: got {nodes!r}; give counts for the coupling and for the asymmetry, such as (24, 16).")
    radial, angular = node_count("nodes[0]", nodes[0], 3), node_count("nodes[1]", nodes[1], 1)
    cosine, share = cosine_nodes(angular)
    length, weight = chi_5_nodes(radial, golden_shifts(angular))
    angle = np.arccos(cosine)[:, None] / 3 + 2 * np.pi / 3 * np.arange(3)
    principal = (length[:, :, None] * np.cos(angle)[:, None, :]).reshape(-1, 3)
    weights = (share[:, None] * weight).reshape(-1)
    length = length.reshape(-1)
    dtype = sigma.dtype
    quadrupole = sigma * jnp.asarray(principal[:, :, None] * np.eye(3), dtype)
    mean = weights @ length
    standard = (length - mean) / np.sqrt(weights @ (length - mean) ** 2)
    delta = shift + amount * jnp.asarray(standard, dtype)
    return Sites(isotope, delta[:, None, None] * jnp.eye(3, dtype=dtype)[None], quadrupole, jnp.asarray(weights, dtype))


def extended_czjzek(
    sites: Sites,
    sigma: Numeric | None = None,
    *,
    epsilon: Numeric | None = None,
    correlated_shift: Numeric = 0.0,
    nodes: int = 1024,
) -> Sites:
    r"""Sites whose coupling tensors are spread about given ones by isotropic disorder.

    $$C = C_0 + \sigma\,U,\qquad \epsilon = \frac{\langle\|\sigma U\|^2\rangle^{1/2}}{\|C_0\|}
      = \frac{\sqrt5\,\sigma}{C_Q\sqrt{1 + \eta_Q^2/3}}$$

    with U symmetric and traceless, of five independent normal components, $\langle U_{zz}^2\rangle = 1$. Tensors stay
    whole: the shift tensors of `sites`, anisotropic or not, keep their place relative to $C_0$. A spread of the shift that
    follows $P_Q = (2/3)^{1/2}\|C\|$ is added as in `czjzek`, each site about its own mean.

    The average over U is a low-discrepancy rule in five dimensions, of equal weights, mean and covariance exact. Relative
    L2 errors of central-transition lines of 27Al, 14.1 T, $C_Q$ = 5 MHz, η = 0.3, ε = 0.4, 300 Hz wide: 4e-3 static and
    2e-3 spinning without sidebands; they fall about as $n^{-0.7}$, see `quadrature_error`. Smooth in the tensors, `sigma`,
    `epsilon` and `correlated_shift`, both modes (`epsilon` not at $C_0 = 0$).

    Args:
        sites: means, with `quadrupole`.
        sigma: σ > 0, Hz, one or (site,); the σ of `czjzek`, and of ssNake. Or None, with
        epsilon: ε > 0, one or (site,); that of Le Caër and of mrsimulator's `ExtCzjzekDistribution`.
        correlated_shift: a, ppm, one or (site,).
        nodes: tensors for each site.

    Returns:
        len(sites) * nodes sites, those of the first site first, with weights.

    Raises:
        ValueError: sites without `quadrupole`, neither or both of σ and ε, values that are not finite and > 0, shapes
            that do not fit, ε with a mean tensor that is zero, fewer than 12 nodes.

    References:
        Le Caer and Brand, J. Phys.: Condens. Matter 10, 10715 (1998); Le Caer, Bureau and Massiot, ibid. 22, 065402
        (2010).
    """
    if not isinstance(sites, Sites) or sites.quadrupole is None:
        raise ValueError("sites: no quadrupole tensors to spread; give Sites with `quadrupole`, or see `czjzek`.")
    if (sigma is None) == (epsilon is None):
        came = "neither" if sigma is None else "both"
        raise ValueError(f"sigma, epsilon: {came} came; give one: sigma in Hz, or epsilon relative to each mean tensor.")
    count = node_count("nodes", nodes, 12)
    mean = sites.quadrupole
    amount = per_site("correlated_shift", correlated_shift, sites)
    if sigma is not None:
        check_positive("sigma", sigma, _SIGMA)
        width = per_site("sigma", sigma, sites)
    else:
        assert epsilon is not None
        check_positive("epsilon", epsilon, "the disorder relative to the mean tensor, such as 0.3")
        width = per_site("epsilon", epsilon, sites)
        if is_concrete(mean) and not np.asarray(mean).any(axis=(1, 2)).all():
            raise ValueError("epsilon: a mean quadrupole tensor is zero, and so would be the spread; give sigma in Hz.")
        width = width * _strength(mean) / np.sqrt(5).item()
    dtype = mean.dtype
    noise = jnp.asarray(np.einsum("nk,kab->nab", hammersley_nodes(count), _TENSORS), dtype)
    quadrupole = mean[:, None] + width[:, None, None, None] * noise[None]
    strength = _strength(quadrupole)
    centred = strength - strength.mean(1, keepdims=True)
    standard = centred / jnp.sqrt((centred**2).mean(1, keepdims=True))
    delta = (amount[:, None] * standard)[:, :, None, None] * jnp.eye(3, dtype=dtype)[None, None]
    shift = sites.shift[:, None] + delta
    weights = jnp.repeat(sites.populations / count, count)
    return Sites(sites.isotope, shift.reshape(-1, 3, 3), quadrupole.reshape(-1, 3, 3), weights)


def gaussian_shift(sites: Sites, deviation: Numeric, *, nodes: int = 32) -> Sites:
    r"""Sites whose isotropic shifts are spread by a normal distribution, each with its own deviation.

    Where all sites share one deviation, `gaussian=shift_fwhm(...)` of `simulate` does the same exactly and at no cost.
    Nodes are even over 4.5 deviations s either way, so with lines of full width Γ (Lorentzian) the ripple is about
    $2e^{-\pi\Gamma/h}$ of the line, h = 9 s / nodes; in a list of several sites the nodes of each are shifted against
    each other.

    Args:
        sites: means.
        deviation: standard deviation s of the shift >= 0, ppm, one or (site,).
        nodes: shifts for each site.

    Returns:
        len(sites) * nodes sites, those of the first site first, with weights.

    Raises:
        ValueError: a deviation that is not finite and >= 0, a shape that does not fit, no nodes.
    """
    if not isinstance(sites, Sites):
        raise ValueError(f"sites: got {type(sites).__name__}; give Sites.")
    count = node_count("nodes", nodes, 1)
    check_at_least_zero("deviation", deviation, _DEVIATION)
    width = per_site("deviation", deviation, sites)
    dtype = sites.shift.dtype
    offset, share = (jnp.asarray(x, dtype) for x in gaussian_nodes(count, golden_shifts(len(sites))))
    delta = (width[:, None] * offset)[:, :, None, None] * jnp.eye(3, dtype=dtype)[None, None]
    shift = (sites.shift[:, None] + delta).reshape(-1, 3, 3)
    quadrupole = None if sites.quadrupole is None else jnp.repeat(sites.quadrupole, count, axis=0)
    return Sites(sites.isotope, shift, quadrupole, (sites.populations[:, None] * share).reshape(-1))


def shift_fwhm(isotope: str, deviation: Numeric, field: Numeric) -> Float[Array, ""]:
    r"""Full width of a normal distribution of isotropic shifts, Hz, for the argument `gaussian` of `simulate`.

    $$\Delta = 2\sqrt{2\ln 2}\;10^{-6}\,|\nu_0|\,s$$

    A spread of the shift that is independent of everything else is a convolution, spinning or not.

    Args:
        isotope: name, such as "27Al".
        deviation: standard deviation s >= 0, ppm.
        field: tesla.

    Raises:
        ValueError: an unknown isotope, a deviation that is not finite and >= 0, values that are no single numbers.
    """
    check_at_least_zero("deviation", deviation, _DEVIATION)
    deviation, field = numbers(deviation=deviation, field=field)
    return _FWHM * 1e-6 * jnp.abs(nucleus_of(isotope).larmor_frequency(field)) * deviation


def _quadrupolar(name: str) -> None:
    nucleus = nucleus_of(name)
    if not nucleus.is_quadrupolar:
        raise ValueError(f"isotope: {nucleus.name} has spin 1/2 and no quadrupole moment; spread its shift instead.")


def _strength(quadrupole: Float[Array, "... 3 3"]) -> Array:
    r"""$P_Q = C_Q\sqrt{1 + \eta^2/3}$, Hz; the derivative at zero is set to zero."""
    square = (2 / 3) * (quadrupole**2).sum((-2, -1))
    safe = jnp.where(square > 0, square, 1)
    return jnp.where(square > 0, jnp.sqrt(safe), 0)
