r"""Ideal echoes by whole density matrices: every coherence of every site, pulses as rotations of the spin.

$$\rho \to R\rho R^\dagger,\qquad \frac{d\rho_{rs}}{dt} = \mathbf L_{rs}\rho_{rs}$$

for the vector over sites of each element (r, s). Single-quantum elements take the generators of `brute` (and their
conjugates, for the other order), seen from the transmitter; populations and multiple-quantum elements, from which an ideal
pulse of these sequences makes nothing that is observed unless it was there before it, precess in first order. What an
element becomes in a pulse is nowhere assumed: it follows from the rotation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .brute import TWO_PI_I, Complex, Real, System, expm, generators, hamiltonians, rotor_generators, spin_matrices


def rotation(spin: float, angle: float, phase: float) -> Complex:
    """exp(-i angle (I_x cos(phase) + I_y sin(phase)))."""
    x, y, _ = spin_matrices(spin)
    energy, vectors = np.linalg.eigh(x * np.cos(phase) + y * np.sin(phase))
    return (vectors * np.exp(-1j * angle * energy)) @ vectors.conj().T


def all_generators(system: System, single: dict[float, Complex], secular: NDArray[np.number], offset: float) -> Complex:
    """Generators of all elements of the density matrix, (..., row, column, site, site).

    Args:
        system: the sites.
        single: generators of the observed signals by m, exp(+2 pi i offset t), (..., site, site).
        secular: diagonal of H/h, (..., site, level), Hz.
        offset: of the transmitter from the reference, Hz.
    """
    d, n = system.n_levels, len(system.populations)
    unit = np.eye(n)
    out = np.zeros((*secular.shape[:-2], d, d, n, n), dtype=complex)
    for r in range(d):
        for s in range(d):
            turn = secular[..., r] - secular[..., s] - (r - s) * system.sign * offset
            out[..., r, s, :, :] = system.rates - TWO_PI_I * turn[..., :, None] * unit
    for m, ell in single.items():
        ket, bra = system.level(m - 1), system.level(m)
        seen = ell - TWO_PI_I * offset * unit
        element = seen.conj() if system.sign > 0 else seen
        out[..., ket, bra, :, :] = element
        out[..., bra, ket, :, :] = element.conj()
    return out


def _signals(system: System, before: Complex, after: Complex, angle: float, phase: float) -> Complex:
    """rho[m-1, m] of all sites at the top per unit of what 90x made of it, (..., m, site).

    Args:
        system: the sites.
        before: propagators of the first delay, (..., row, column, site, site).
        after: of the second.
        angle: flip angle of the second pulse.
        phase: of the second pulse.
    """
    first, second = rotation(system.spin, np.pi / 2, 0.0), rotation(system.spin, angle, phase)
    excited = first @ spin_matrices(system.spin)[2] @ first.conj().T
    rho = excited[:, :, None] * system.populations
    rho = np.einsum("...rsab,rsb->...rsa", before, rho)
    rho = np.einsum("rk,...kla,sl->...rsa", second, rho, second.conj(), optimize=True)
    rho = np.einsum("...rsab,...rsb->...rsa", after, rho)
    low = np.arange(1, system.n_levels)
    top = rho[..., low, low - 1, :] / excited[low, low - 1][:, None]
    return top.conj() if system.sign > 0 else top


def tops(system: System, before: Complex, after: Complex, kind: str) -> Complex:
    """State (..., m, site) at the top of an echo, m from I downwards, of observed signals exp(+2 pi i offset t).

    Args:
        system: the sites.
        before: propagators of the first delay.
        after: of the second.
        kind: "hahn", 90x - 180y; "solid", 90x - 90y; "cycled", the difference of 90x - 90y and 90x - 90x.
    """
    if kind == "hahn":
        return _signals(system, before, after, np.pi, np.pi / 2)
    y = _signals(system, before, after, np.pi / 2, np.pi / 2)
    return y - _signals(system, before, after, np.pi / 2, 0.0) if kind == "cycled" else y


def _static_tops(system: System, kind: str, tau: float, offset: float, directions: ArrayLike) -> Complex:
    """`tops` of crystallites at rest, (C, m, site)."""
    h_shift, h_quad = hamiltonians(system, directions)
    secular = np.einsum("csuu->csu", h_shift + h_quad)
    broad = np.pi * np.diag(system.linewidth)
    single = {}
    for i in range(system.n_levels - 1):
        m = system.spin - i
        single[m] = generators(system, m, directions) + broad
    u = expm(all_generators(system, single, secular, offset) * tau)
    return tops(system, u, u, kind)


def static_echo(
    system: System,
    kind: str,
    tau: float,
    offset: float,
    directions: ArrayLike,
    weights: ArrayLike,
    dt: float,
    points: int,
) -> dict[float, Complex]:
    """Signal from the top of the echo on, at 0, dt, ..., for each m, relative to what 90x made.

    Args:
        system: the sites; its linewidths act from the top on.
        kind: as in `tops`.
        tau: each delay, s.
        offset: of the transmitter from the reference, Hz.
        directions: (C, 3), of the field in the crystal frame.
        weights: (C,).
        dt: sampling interval, s.
        points: samples.
    """
    levels = [system.spin - i for i in range(system.n_levels - 1)]
    top = _static_tops(system, kind, tau, offset, directions)
    out = {}
    for i, m in enumerate(levels):
        step, state = expm(generators(system, m, directions) * dt), top[:, i]
        out[m] = np.empty(points, dtype=complex)
        for j in range(points):
            out[m][j] = np.dot(weights, state.sum(axis=-1))
            state = np.einsum("cab,cb->ca", step, state)
    return out


def static_spectrum(
    system: System,
    m: float,
    kind: str,
    tau: float,
    directions: ArrayLike,
    weights: ArrayLike,
    frequencies: ArrayLike,
) -> Real:
    """Static powder line of the record, 2 Re 1^T [2 pi i nu - L]^-1 v with v at the top, per Hz; needs a linewidth.

    Arguments as in `static_echo`, transmitter at the reference; m is observed, at offsets `frequencies` (F,), Hz.
    """
    top = _static_tops(system, kind, tau, 0.0, directions)[:, round(system.spin - m)]
    ell = generators(system, m, directions)
    turn = TWO_PI_I * np.asarray(frequencies, dtype=float)[:, None, None] * np.eye(len(system.populations))
    line = np.zeros(len(turn))
    for one, state, w in zip(ell, top, np.asarray(weights), strict=True):
        line += 2 * w * np.linalg.solve(turn - one, state[:, None]).sum(axis=(-2, -1)).real
    return line


def mas_echo(
    system: System,
    kind: str,
    periods: int,
    offset: float,
    frames: ArrayLike,
    weights: ArrayLike,
    angle: float,
    rate: float,
    phases: int,
    points: int,
) -> dict[float, Complex]:
    """As `static_echo` under spinning, delays of whole rotor periods, averaged over `phases` start phases.

    Args:
        system: the sites; its linewidths act from the top on.
        kind: as in `tops`.
        periods: each delay, rotor periods.
        offset: of the transmitter from the reference, Hz.
        frames: (C, 3, 3), columns e1, e2, rotor axis in the crystal frame.
        weights: (C,).
        angle: between rotor axis and field, rad.
        rate: Hz.
        phases: samples, and steps, of a rotor period.
        points: samples.
    """
    levels = [system.spin - i for i in range(system.n_levels - 1)]
    recorded = {m: rotor_generators(system, m, frames, angle, phases) for m in levels}
    broad = np.pi * np.diag(system.linewidth)
    d, n = system.n_levels, len(system.populations)
    secular = np.zeros((*recorded[levels[0]].shape[:2], n, d))
    steps = expm(all_generators(system, {m: ell + broad for m, ell in recorded.items()}, secular, offset) / (rate * phases))
    out = {m: np.zeros(points, dtype=complex) for m in levels}
    sample = {m: expm(ell / (rate * phases)) for m, ell in recorded.items()}
    for start in range(phases):
        lap = np.broadcast_to(np.eye(n, dtype=complex), steps[:, 0].shape)
        for j in range(periods * phases):
            lap = steps[:, (start + j) % phases] @ lap
        top = tops(system, lap, lap, kind)
        for i, m in enumerate(levels):
            state = top[:, i]
            for j in range(points):
                out[m][j] += np.dot(weights, state.sum(axis=-1)) / phases
                state = np.einsum("cab,cb->ca", sample[m][:, (start + j) % phases], state)
    return out
