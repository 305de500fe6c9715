r"""Line shapes under spinning without time steps or samples: the Laplace transform in Floquet space.

With $\varphi$ the rotor phase at the start and $\mathbf L(\varphi) = \sum_m \mathbf L_m e^{im\varphi}$, the row vector
$\mathbf v(\varphi) = \mathbf 1^\top\int_0^\infty \mathrm T\exp[\int_0^t\mathbf L]\,e^{-2\pi i\nu t}\,dt$ obeys

$$\mathbf v\,(2\pi i\nu - \mathbf L(\varphi)) - \omega_r\,\partial_\varphi\mathbf v = \mathbf 1^\top ,\qquad
  S(\nu) = 2\,\mathrm{Re}\,\langle\mathbf v\rangle_\varphi\,\mathbf p ,$$

a linear system in the Fourier components of **v**, cut where they have fallen below the rounding. Generators are those
of `brute`; nothing is averaged over a step, nothing folds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .brute import TWO_PI_I, Complex, Real, System, generators
from .liouville import resolvent_element


def mas_spectrum(
    system: System,
    m: float,
    frames: ArrayLike,
    weights: ArrayLike,
    angle: float,
    rate: float,
    frequencies: ArrayLike,
    orders: int = 24,
) -> Real:
    """Powder line, averaged over all rotor phases, density per Hz at offsets (F,); needs a linewidth.

    Args:
        system: the sites.
        m: upper level of the observed pair (m, m - 1).
        frames: (C, 3, 3), columns e1, e2, rotor axis in the crystal frame.
        weights: (C,).
        angle: between rotor axis and field, rad.
        rate: rotor frequency, Hz.
        frequencies: offsets, Hz.
        orders: Fourier components -orders ... orders are kept; sidebands beyond them are lost.
    """
    n = len(system.populations)
    count = 2 * orders + 1
    components = _fourier(system, m, frames, angle)  # (C, 9, N, N), -4 ... 4
    reach = components.shape[1] // 2
    points = TWO_PI_I * np.asarray(frequencies, dtype=float)
    # Columns: transposes of the row equations.
    source, detect = np.zeros((2, count, n))
    source[orders], detect[orders] = 1.0, system.populations
    total = np.zeros(len(points))
    for part, weight in zip(components, np.asarray(weights), strict=True):
        matrix = np.zeros((count, n, count, n), dtype=complex)
        for k in range(-reach, reach + 1):
            for row in range(max(0, k), min(count, count + k)):  # v_row feels L_k v_(row - k)
                matrix[row, :, row - k] += part[k + reach].T
        for row in range(count):
            matrix[row, :, row] += TWO_PI_I * rate * (row - orders) * np.eye(n)
        flat = matrix.reshape(count * n, -1)
        total += weight * 2 * resolvent_element(flat, detect.reshape(-1), source.reshape(-1), points).real
    return total


def _fourier(system: System, m: float, frames: ArrayLike, angle: float) -> Complex:
    """Fourier components -4 ... 4 of the generators in the rotor phase; polynomials of degree 4 have no more."""
    phi = 2 * np.pi * np.arange(9) / 9
    cone = np.stack([np.sin(angle) * np.cos(phi), np.sin(angle) * np.sin(phi), np.full(9, np.cos(angle))])
    field = np.einsum("cia,aj->cji", np.asarray(frames, dtype=float), cone)
    values = generators(system, m, field.reshape(-1, 3)).reshape(*field.shape[:2], *2 * (len(system.populations),))
    order = np.arange(-4, 5)
    return np.einsum("mj,cjab->cmab", np.exp(-1j * np.outer(order, phi)) / 9, values)
