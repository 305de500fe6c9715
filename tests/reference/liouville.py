r"""Static line shapes in full Liouville space: every coherence of every site, no perturbation theory.

$$\frac{d\rho_i}{dt} = -2\pi i\,[H_i, \rho_i] + \sum_j K_{ij}\rho_j ,\qquad
  S(\nu) = 2\,\mathrm{Re}\;\langle d|\,[-2\pi i\,\nu_{lab} - \mathcal L]^{-1}|\rho_0\rangle ,$$

with nu_lab = nu0 + sign(nu0) nu at offset nu. Conventions of H, levels, offsets and K are those
of `brute`, from which only the description of the sites and their Hamiltonians is taken. Vectors are
ordered (site, ket level, bra level).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import schur

from .brute import TWO_PI_I, Complex, Real, System, hamiltonians, spin_matrices, transitions


def liouvillian(system: System, direction: ArrayLike) -> Complex:
    """Generator of all sites' density matrices in the laboratory frame, s^-1, size N (2I+1)^2.

    Lorentzian widths damp the single-quantum elements rho[m-1, m], at -pi linewidth.

    Args:
        system: the sites.
        direction: of the field, unit vector in the crystal frame, (3,).
    """
    h_shift, h_quad = hamiltonians(system, np.asarray(direction, dtype=float)[None])
    zeeman = -system.nu0 * spin_matrices(system.spin)[2]
    d, n_sites = system.n_levels, len(system.populations)
    unit = np.eye(d)
    single_quantum = np.eye(d, k=-1).reshape(-1)  # row (ket) = level(m - 1) = level(m) + 1
    total = np.kron(system.rates, np.eye(d * d)).astype(complex)
    for i in range(n_sites):
        h = zeeman + h_shift[0, i] + h_quad[0, i]
        block = slice(i * d * d, (i + 1) * d * d)
        total[block, block] -= TWO_PI_I * (np.kron(h, unit) - np.kron(unit, h.T))
        total[block, block] -= np.diag(np.pi * system.linewidth[i] * single_quantum)
    return total


def observed(system: System, which: str | tuple[float, float]) -> tuple[Real, Real]:
    """Detection and start vectors, each (N (2I+1)^2,): sqrt(weight) of `transitions`, start times p."""
    d = system.n_levels
    amplitude = np.zeros((d, d))
    for m, weight in transitions(system.spin, which):
        amplitude[system.level(m - 1), system.level(m)] = np.sqrt(weight)
    flat = amplitude.reshape(-1)
    return np.tile(flat, len(system.populations)), (system.populations[:, None] * flat).reshape(-1)


def resolvent_element(matrix: Complex, left: Real, right: Real, points: Complex) -> Complex:
    """left^T [z - matrix]^-1 right at many complex points z, by one Schur form and back substitution.

    Eigenvectors would fail at exceptional points; the Schur form is unitary, so its error stays near
    eps |matrix| (1e-3 s^-1 at rates of 1e12 s^-1).
    """
    triangle, unitary = schur(matrix, output="complex")[:2]
    b = unitary.conj().T @ right
    x = np.zeros((len(b), len(points)), dtype=complex)
    for row in range(len(b) - 1, -1, -1):
        x[row] = (b[row] + triangle[row, row + 1 :] @ x[row + 1 :]) / (points - triangle[row, row])
    return (left @ unitary) @ x


def static_spectrum(
    system: System,
    which: str | tuple[float, float],
    directions: ArrayLike,
    weights: ArrayLike,
    frequencies: ArrayLike,
) -> Real:
    """Powder line shape, density per Hz at the offsets `frequencies` (F,).

    Args:
        system: the sites; a positive linewidth keeps the line finite.
        which: transitions excited and detected, as in `transitions`.
        directions: of the field in the crystal frame, (C, 3).
        weights: (C,), summing to one.
        frequencies: offsets, Hz.
    """
    detect, start = observed(system, which)
    # The element's own rotation at nu0 is taken out first, from matrix and points alike.
    carrier = TWO_PI_I * system.nu0
    points = -TWO_PI_I * system.sign * np.asarray(frequencies, dtype=float)
    total = np.zeros(len(points))
    for direction, weight in zip(np.asarray(directions), np.asarray(weights), strict=True):
        matrix = liouvillian(system, direction)
        matrix = matrix + carrier * np.eye(len(matrix))
        total += weight * 2 * resolvent_element(matrix, detect, start, points).real
    return total
