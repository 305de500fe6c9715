r"""Spin Hamiltonians as generators of one observed coherence, written in irreps of the field direction.

With the field along the unit vector **n** of the crystal,

$$H/h = -\nu_0\,[\mathbf n + 10^{-6}\boldsymbol\delta\,\mathbf n]\cdot\mathbf I
        + \frac{1}{2I(2I-1)}\,\mathbf I\cdot\mathbf q\cdot\mathbf I .$$

Every matrix element of the generator is a polynomial of degree <= 4 in **n**. It is evaluated at the directions of an
exact quadrature and projected, so there are no tables of Clebsch-Gordan coefficients and gradients are exact.

Sign of gamma. Reversing H conjugates the free-induction decay, so a nucleus of negative gamma is one of positive gamma
with the quadrupole tensor negated; offsets then always count towards higher chemical shift.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxnmr.harmonics import frames, project, quadrature
from jaxnmr.spins._sites import Sites

__all__ = ["PAIR_RANKS", "RANKS", "coupling_irreps", "frequency_irreps", "quadrupolar_ratio"]

# Ranks of a frequency; a pair of sites coupled by motion also carries the odd ones, antisymmetric in the pair.
RANKS = (0, 2, 4)
PAIR_RANKS = (0, 1, 2, 3, 4)


def frequency_irreps(sites: Sites, m: float, field: Float[Array, ""], second_order: bool) -> Float[Array, "irrep site"]:
    r"""Offsets of the transition (m, m - 1) from the Larmor frequency, Hz, as irreps of the field direction.

    First order: $10^{-6}\nu_0\,\mathbf n\cdot\boldsymbol\delta\,\mathbf n + \frac{3(1-2m)}{4I(2I-1)}\,\mathbf n\cdot
    \mathbf q\,\mathbf n$. Second order, of sites at rest: quadrupole squared and the quadrupole-shift cross term.

    Args:
        sites: tensors.
        m: upper level of the transition.
        field: tesla.
        second_order: add the second-order shift of sites at rest.

    Returns:
        (1 + 5 + 9, site), ranks 0, 2 and 4, basis of `jaxnmr.harmonics`.

    References:
        Man, Phys. Rev. B 55, 8406 (1997) for second order.
    """
    n, _ = _directions(sites)
    larmor = jnp.abs(sites.nucleus.larmor_frequency(field))
    offset = 1e-6 * larmor * jnp.einsum("da,sab,db->ds", n[2], sites.shift, n[2])
    if sites.quadrupole is not None:
        spin = sites.nucleus.spin
        scale = _sign(sites) * 3 * (1 - 2 * m) / (4 * spin * (2 * spin - 1))
        offset = offset + scale * jnp.einsum("da,sab,db->ds", n[2], sites.quadrupole, n[2])
        if second_order:
            for order, ket, bra, shift_ket, shift_bra in _couplings(sites, m, larmor):
                size = _square(bra, shift_bra) - _square(ket, shift_ket)
                offset = offset - size / (order * larmor)
    return jnp.asarray(project(RANKS), offset.dtype) @ offset


def coupling_irreps(
    sites: Sites, m: float, field: Float[Array, ""], resolvents: Complex[Array, "2 site site"]
) -> Complex[Array, "irrep site site"]:
    r"""The second-order generator of sites that move while the second order builds up, $s^{-1}$, as irreps.

    $$M_{ij} = \sum_a L_{0a}^{(i)}\,[(\lambda_0 - \lambda_a)\mathbf 1 - \mathbf K]^{-1}_{ij}\,L_{a0}^{(j)}$$

    over the coherences a that the quadrupole (and its cross term with the shift) couples to the observed one. Their
    Zeeman frequencies differ from it by $n\omega_0$, n = +-1, +-2, so only two resolvents of K occur. For K = 0 this is
    $2\pi i$ times the second-order shift; for K >> omega_0 that of the averaged tensor, with relaxation on the way.
    The part antisymmetric in the pair (ranks 1 and 3) is kept.

    Args:
        sites: tensors, with `quadrupole`.
        m: upper level of the transition.
        field: tesla.
        resolvents: $\omega_0[-in\omega_0 - \mathbf K]^{-1}$ for n = 1 and 2, dimensionless, in the basis of the sites.

    Returns:
        (1 + 3 + 5 + 7 + 9, site, site), ranks 0 to 4, for a free-induction decay that precesses as
        $\exp(+2\pi i\nu t)$.
    """
    larmor = jnp.abs(sites.nucleus.larmor_frequency(field))
    total = jnp.zeros((), resolvents.dtype)
    for order, ket, bra, shift_ket, shift_bra in _couplings(sites, m, larmor):
        resolvent = resolvents[abs(order) - 1][None]
        resolvent = resolvent if order > 0 else jnp.conj(resolvent)
        ket_pair = _pair(ket, shift_ket)
        bra_pair = jnp.conj(_pair(bra, shift_bra))
        total = total + ket_pair * jnp.conj(resolvent) + bra_pair * resolvent
    matrix = jnp.asarray(project(PAIR_RANKS), sites.shift.dtype)
    apply = lambda part: jnp.einsum("rd,dij->rij", matrix, part) * (-2 * jnp.pi / larmor)  # noqa: E731
    return jax.lax.complex(apply(total.real), apply(total.imag))


def quadrupolar_ratio(sites: Sites, field: Float[Array, ""]) -> Float[Array, ""]:
    r"""Largest $\nu_Q/\nu_0$ of the sites, $\nu_Q = 3|q|/(2I(2I-1))$ with |q| = $C_Q\sqrt{1 + \eta^2/3}$.

    Second-order perturbation theory is in doubt above 0.1.
    """
    if sites.quadrupole is None:
        return jnp.zeros((), sites.shift.dtype)
    spin = sites.nucleus.spin
    # sqrt(2/3) |q|_F is C_Q at eta = 0 and 15 % above it at most.
    size = jnp.sqrt(2 / 3 * jnp.max(jnp.sum(sites.quadrupole**2, axis=(1, 2))))
    return 3 * size / (2 * spin * (2 * spin - 1)) / jnp.abs(sites.nucleus.larmor_frequency(field))


def _sign(sites: Sites) -> float:
    return 1.0 if sites.nucleus.gamma > 0 else -1.0


def _directions(sites: Sites) -> tuple[Array, Array]:
    """Axes (3, direction, 3) of the lab frame at each quadrature direction, the field last; and weights."""
    directions, weights = quadrature()
    axes = np.moveaxis(frames(directions), -1, 0)
    return jnp.asarray(axes, sites.shift.dtype), jnp.asarray(weights, sites.shift.dtype)


def _ladder(spin: float, m: float) -> float:
    """Matrix element of the raising operator, <m + 1|I+|m>; zero outside the ladder."""
    return float(np.sqrt(max(spin * (spin + 1) - m * (m + 1), 0.0)))


def _couplings(sites: Sites, m: float, larmor: Float[Array, ""]):
    """Yield (n, ket, bra, shift part of ket, of bra): matrix elements, Hz, (direction, site), that change m by n.

    ket = <m - 1 + n|H|m - 1> acts from the left of the observed |m - 1><m|, bra = <m + n|H|m> from its right.
    """
    spin = sites.nucleus.spin
    assert sites.quadrupole is not None
    n, _ = _directions(sites)
    n = (n[0], _sign(sites) * n[1], n[2])  # conjugation also mirrors the transverse plane
    q = _sign(sites) * sites.quadrupole / (2 * spin * (2 * spin - 1))
    q_x, q_y = (jnp.einsum("da,sab,db->ds", axis, q, n[2]) for axis in (n[0], n[1]))
    s_x, s_y = (jnp.einsum("da,sab,db->ds", n[2], sites.shift, axis) for axis in (n[0], n[1]))  # B . delta . I
    q_xx, q_yy, q_xy = (jnp.einsum("da,sab,db->ds", a, q, b) for a, b in ((n[0], n[0]), (n[1], n[1]), (n[0], n[1])))
    # Coefficients of I+ Iz + Iz I+, of I+ and of I+^2 in H.
    single = jax.lax.complex(q_x, -q_y) / 2
    shift = jax.lax.complex(-0.5e-6 * larmor * s_x, 0.5e-6 * larmor * s_y)
    double = jax.lax.complex((q_xx - q_yy) / 4, -q_xy / 2)

    def element(start: float, order: int):
        """<start + order|H|start> and its shift part."""
        low = start if order > 0 else start + order  # H is Hermitian: lower the ket by raising the bra
        if abs(order) == 1:
            part = shift * _ladder(spin, low)
            whole = single * ((2 * low + 1) * _ladder(spin, low)) + part
        else:
            whole = double * (_ladder(spin, low) * _ladder(spin, low + 1))
            part = jnp.zeros_like(whole)
        return (whole, part) if order > 0 else (jnp.conj(whole), jnp.conj(part))

    for order in (1, -1, 2, -2):
        (ket, shift_ket), (bra, shift_bra) = element(m - 1, order), element(m, order)
        yield order, ket, bra, shift_ket, shift_bra


def _square(whole: Array, shift: Array) -> Array:
    """|h|^2 without the shift-shift product, which belongs to a second-order shift nobody models."""
    return whole.real**2 + whole.imag**2 - shift.real**2 - shift.imag**2


def _pair(whole: Array, shift: Array) -> Array:
    """h_i conj(h_j) of every pair of sites, (direction, site, site), without the shift-shift product."""
    product = lambda h: h[:, :, None] * jnp.conj(h)[:, None, :]  # noqa: E731
    return product(whole) - product(shift)
