r"""Line shapes of exchanging sites by spin matrices and numerical perturbation theory: slow, explicit.

Conventions. Field along the unit vector n of the crystal frame, signed Larmor frequency
nu0 = gamma B0 / 2 pi, and for site i

$$H_i / h = -\nu_0\,[\,n + 10^{-6}\delta_i n\,]\cdot I + \frac{1}{2I(2I-1)}\, I\cdot q_i\cdot I .$$

Density-matrix element rho[r, s] precesses as exp(-2 pi i (E_r - E_s) t). The observed element of
transition (m, m - 1) is rho[m-1, m]; its offset sign(nu0) ((E[m-1] - E[m])/h - nu0) is positive for a
higher shift, and a signal is exp(+2 pi i offset t). Rate matrices have K[i, j] = rate from j to i.

Intermediate coherences of the second-order term are damped by K, but their own first-order frequencies
are neglected next to nu0: this is the theory under test. `liouville` makes no such approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

TWO_PI_I = 2j * np.pi


@dataclass(frozen=True)
class System:
    """N exchanging sites of one isotope; build with `make_system`."""

    spin: float
    nu0: float  # Hz, signed
    shift: Real  # (site, 3, 3) ppm
    quadrupole: Real  # (site, 3, 3) Hz
    rates: Real  # (site, site) s^-1
    populations: Real  # (site,)
    linewidth: Real  # (site,) Hz

    @property
    def sign(self) -> float:
        """Sign of the Larmor frequency."""
        return float(np.sign(self.nu0))

    @property
    def n_levels(self) -> int:
        """Zeeman levels, 2 I + 1."""
        return round(2 * self.spin) + 1

    def level(self, m: float) -> int:
        """Row of the level m in matrices ordered m = I, I - 1, ..., -I."""
        return round(self.spin - m)


def make_system(
    spin: float,
    nu0: float,
    shift: ArrayLike,
    quadrupole: ArrayLike | None = None,
    rates: ArrayLike | None = None,
    populations: ArrayLike | None = None,
    linewidth: ArrayLike = 0.0,
) -> System:
    """Check and complete the description of the sites.

    Args:
        spin: I, half integer.
        nu0: signed Larmor frequency of the reference, Hz.
        shift: (site, 3, 3), ppm; [i, j] has i as the field's index.
        quadrupole: (site, 3, 3), Hz, largest element C_Q; none for zero.
        rates: K (site, site), s^-1; none for no exchange.
        populations: (site,); equal if none.
        linewidth: Lorentzian full width, scalar or (site,), Hz.

    Raises:
        ValueError: rates that do not conserve or do not keep the populations.
    """
    shift = np.array(shift, dtype=float)
    n_sites = len(shift)
    q = np.zeros((n_sites, 3, 3)) if quadrupole is None else np.array(quadrupole, dtype=float)
    k = np.zeros((n_sites, n_sites)) if rates is None else np.array(rates, dtype=float)
    p = np.full(n_sites, 1.0 / n_sites) if populations is None else np.array(populations, dtype=float)
    tolerance = 1e-9 * np.abs(k).max()
    if np.abs(k.sum(axis=0)).max() > tolerance:
        raise ValueError("rates: columns must sum to zero; K[i, j] is the rate from j to i (pass K.T?)")
    if np.abs(k @ p).max() > tolerance:
        raise ValueError(f"populations: {p} are not stationary under rates (K p = {k @ p}); pass the stationary ones")
    width = np.broadcast_to(np.asarray(linewidth, dtype=float), (n_sites,))
    return System(float(spin), float(nu0), shift, q, k, p, width)


def transitions(spin: float, which: str | tuple[float, float]) -> list[tuple[float, float]]:
    """Observed transitions as a list of (m, weight); the observed pair is (m, m - 1) and weights sum to one.

    Args:
        spin: I.
        which: "central" (m = 1/2), "all" (weights I(I+1) - m(m-1), normalised), or a pair (m, m - 1).
    """
    if which == "central":
        return [(0.5, 1.0)]
    if which == "all":
        levels = [spin - i for i in range(round(2 * spin))]
        strength = [spin * (spin + 1) - m * (m - 1) for m in levels]
        return [(m, s / sum(strength)) for m, s in zip(levels, strength, strict=True)]
    return [(float(which[0]), 1.0)]


def spin_matrices(spin: float) -> Complex:
    """I_x, I_y, I_z as (3, 2I+1, 2I+1), levels ordered from m = I down to -I."""
    m = spin - np.arange(round(2 * spin) + 1)
    raising = np.zeros((len(m), len(m)))
    for row in range(len(m) - 1):  # <m+1| I+ |m> = sqrt(I(I+1) - m(m+1))
        low = m[row + 1]
        raising[row, row + 1] = np.sqrt(spin * (spin + 1) - low * (low + 1))
    lowering = raising.T
    return np.array([(raising + lowering) / 2, (raising - lowering) / 2j, np.diag(m)], dtype=np.complex128)


def frames_from_axes(axes: ArrayLike) -> Real:
    """Right-handed frames (..., 3, 3) with columns e1, e2, axis; the transverse directions are arbitrary."""
    e3 = np.asarray(axes, dtype=float)
    e3 = e3 / np.linalg.norm(e3, axis=-1, keepdims=True)
    helper = np.where(np.abs(e3[..., 2:]) < 0.8, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    e1 = np.cross(helper, e3)
    e1 /= np.linalg.norm(e1, axis=-1, keepdims=True)
    return np.stack([e1, np.cross(e3, e1), e3], axis=-1)


def sphere(n_theta: int, n_phi: int) -> tuple[Real, Real]:
    """Directions (C, 3) and weights (C,): exact averages of harmonics up to min(2 n_theta, n_phi) - 1."""
    z, w = np.polynomial.legendre.leggauss(n_theta)
    phi = 2 * np.pi * (np.arange(n_phi) + 0.31) / n_phi
    z, phi = np.repeat(z, n_phi), np.tile(phi, n_theta)
    rho = np.sqrt(1 - z**2)
    return np.stack([rho * np.cos(phi), rho * np.sin(phi), z], axis=-1), np.repeat(w / 2, n_phi) / n_phi


def hamiltonians(system: System, directions: ArrayLike) -> tuple[Complex, Complex]:
    """Shift and quadrupole parts of H/h (Hz) in the frame with the field along z; no Zeeman term.

    Args:
        system: the sites.
        directions: unit vectors of the field in the crystal frame, (C, 3).

    Returns:
        (H_shift, H_quadrupole), each (C, site, 2I+1, 2I+1).
    """
    field = np.asarray(directions, dtype=float)
    lab = frames_from_axes(field)  # columns: lab axes in the crystal frame
    spins = spin_matrices(system.spin)
    induced = 1e-6 * np.einsum("sij,ci->csj", system.shift, field)
    h_shift = -system.nu0 * np.einsum("csi,cia,auv->csuv", induced, lab, spins, optimize=True)
    if system.spin < 1:
        return h_shift, np.zeros_like(h_shift)
    q_lab = np.einsum("cia,sij,cjb->csab", lab, system.quadrupole, lab, optimize=True)
    products = np.einsum("auw,bwv->abuv", spins, spins)  # I_a I_b
    factor = 1 / (2 * system.spin * (2 * system.spin - 1))
    return h_shift, factor * np.einsum("csab,abuv->csuv", q_lab, products, optimize=True)


def generators(system: System, m: float, directions: ArrayLike) -> Complex:
    r"""Generators of the observed signals, d s/dt = L s with s ~ exp(+2 pi i offset t).

    $$L = K + 2\pi i\,\mathrm{diag}\,\nu - \pi\,\mathrm{diag}\,\Delta
      + \sum_a L_{0a}[(\lambda_0-\lambda_a) - K]^{-1}L_{a0}$$

    With |m-1><m| observed, a runs over |r><m| and |m-1><s|. The product of two shift terms is
    left out of the sum.

    Args:
        system: the sites.
        m: upper level of the observed pair (m, m - 1).
        directions: field in the crystal frame, (C, 3).

    Returns:
        L, (C, site, site), s^-1.
    """
    h_shift, h_quad = hamiltonians(system, directions)
    h_all = h_shift + h_quad
    n_sites = len(system.populations)
    unit = np.eye(n_sites)
    ket, bra = system.level(m - 1), system.level(m)

    # Up to the return this is for rho itself, exp(-2 pi i nu t); conjugated at the end where nu0 > 0.
    secular = -TWO_PI_I * (h_all[..., ket, ket] - h_all[..., bra, bra])
    total = system.rates - np.pi * np.diag(system.linewidth) + secular[..., :, None] * unit

    def through(coherence_rate: complex, out: tuple[Complex, Complex], back: tuple[Complex, Complex]) -> Complex:
        """L_0a G L_a0 with G = [lambda_0 - lambda_a - K]^-1, less shift-shift; pairs are (all, shift)."""
        green = np.linalg.inv(coherence_rate * unit - system.rates)
        full = out[0][..., :, None] * green * back[0][..., None, :]
        return full - out[1][..., :, None] * green * back[1][..., None, :]

    for r in range(system.n_levels):  # a = |r><m|: H acts from the left
        if r != ket:
            # lambda_rs = 2 pi i nu0 (m_r - m_s): lambda_0 - lambda_a = 2 pi i nu0 (m_ket - m_r).
            out = (-TWO_PI_I * h_all[..., ket, r], -TWO_PI_I * h_shift[..., ket, r])
            back = (-TWO_PI_I * h_all[..., r, ket], -TWO_PI_I * h_shift[..., r, ket])
            total = total + through(TWO_PI_I * system.nu0 * (r - ket), out, back)
    for s in range(system.n_levels):  # a = |m-1><s|: H acts from the right
        if s != bra:
            out = (TWO_PI_I * h_all[..., s, bra], TWO_PI_I * h_shift[..., s, bra])
            back = (TWO_PI_I * h_all[..., bra, s], TWO_PI_I * h_shift[..., bra, s])
            total = total + through(TWO_PI_I * system.nu0 * (bra - s), out, back)
    return total.conj() if system.sign > 0 else total


def exact_frequencies(system: System, m: float, directions: ArrayLike) -> Real:
    """Offsets (C, site), Hz, of the transition (m, m - 1) without exchange, by diagonalising H."""
    h_shift, h_quad = hamiltonians(system, directions)
    energies = np.linalg.eigvalsh(h_shift + h_quad - system.nu0 * spin_matrices(system.spin)[2])
    if system.sign < 0:  # ascending energy is then ascending m; our rows descend in m
        energies = energies[..., ::-1]
    return system.sign * (energies[..., system.level(m - 1)] - energies[..., system.level(m)] - system.nu0)


def expm(matrices: Complex) -> Complex:
    """Exponentials of a stack of small matrices: Taylor series and repeated squaring.

    SciPy's closed form for 2 x 2 overflows when K dt reaches 1e3; this has no such edge.
    """
    norm = np.abs(matrices).sum(axis=-2).max()
    squarings = max(0, int(np.ceil(np.log2(max(norm, 1e-300) / 0.25))))
    small = matrices / 2.0**squarings
    term = np.broadcast_to(np.eye(matrices.shape[-1], dtype=complex), matrices.shape)
    result = term.copy()
    for order in range(1, 16):  # 0.25^16 / 16! is far below the rounding
        term = term @ small / order
        result = result + term
    for _ in range(squarings):
        result = result @ result
    return result


def fid_of_generators(system: System, ell: Complex, weights: ArrayLike, dt: float, points: int) -> Complex:
    """Weighted sum of 1^T exp(L j dt) p, j = 0 ... points - 1, over generators ell (C, site, site)."""
    step = expm(ell * dt)
    state = np.broadcast_to(system.populations.astype(complex), step.shape[:-1])
    fid = np.empty(points, dtype=complex)
    for j in range(points):
        fid[j] = np.dot(weights, state.sum(axis=-1))
        state = np.einsum("cab,cb->ca", step, state)
    return fid


def static_fid(system: System, m: float, directions: ArrayLike, weights: ArrayLike, dt: float, points: int) -> Complex:
    """Static powder signal at times 0, dt, ... (points,), complex."""
    return fid_of_generators(system, generators(system, m, directions), weights, dt, points)


def static_spectrum(system: System, m: float, directions: ArrayLike, weights: ArrayLike, frequencies: ArrayLike) -> Real:
    """Static powder line 2 Re 1^T [2 pi i nu - L]^-1 p at offsets nu (F,), per Hz; needs a linewidth."""
    ell = generators(system, m, directions)
    p = system.populations.astype(complex)[:, None]
    turn = TWO_PI_I * np.asarray(frequencies, dtype=float)[:, None, None] * np.eye(len(p))
    return sum(2 * w * np.linalg.solve(turn - one, p).sum(axis=(-2, -1)).real for one, w in zip(ell, weights, strict=True))


def rotor_generators(system: System, m: float, frames: ArrayLike, angle: float, steps: int, nodes: int = 16) -> Complex:
    """Generators averaged over each of `steps` equal parts of the rotor period, (C, steps, site, site).

    One step is the limit of infinitely fast spinning (still far below the Larmor frequency).

    Args:
        system: the sites.
        m: upper level of the observed pair.
        frames: (C, 3, 3), columns e1, e2, rotor axis in the crystal frame.
        angle: between rotor axis and field, rad.
        steps: parts of the period; part j spans rotor phases 2 pi j/steps to 2 pi (j + 1)/steps.
        nodes: Gauss-Legendre nodes per part.
    """
    rotor = np.asarray(frames, dtype=float)
    x, w = np.polynomial.legendre.leggauss(nodes)
    total = np.zeros((len(rotor) * steps, len(system.populations), len(system.populations)), dtype=complex)
    for x_k, w_k in zip(x, w, strict=True):
        phi = 2 * np.pi * (np.arange(steps) + (1 + x_k) / 2) / steps
        on_cone = np.stack([np.sin(angle) * np.cos(phi), np.sin(angle) * np.sin(phi), np.full(steps, np.cos(angle))])
        field = np.einsum("cia,aj->cji", rotor, on_cone).reshape(-1, 3)
        total += 0.5 * w_k * generators(system, m, field)
    return total.reshape(len(rotor), steps, *total.shape[1:])


def mas_fid(
    system: System,
    m: float,
    frames: ArrayLike,
    weights: ArrayLike,
    angle: float,
    rate: float,
    phases: int,
    points: int,
    substeps: int = 1,
    nodes: int = 16,
) -> Complex:
    """Signal under spinning, sampled every 1/(phases rate) s, averaged over all `phases` start phases.

    Args:
        system: the sites.
        m: upper level of the observed pair.
        frames: (C, 3, 3), columns e1, e2, rotor axis in the crystal frame.
        weights: (C,).
        angle: between rotor axis and field, rad.
        rate: rotor frequency, Hz.
        phases: samples per rotor period.
        points: samples altogether.
        substeps: parts of one sample interval, each with its own averaged generator.
        nodes: Gauss-Legendre nodes per part.

    Returns:
        Signal (points,), complex.
    """
    ell = rotor_generators(system, m, frames, angle, phases * substeps, nodes)
    parts = expm(ell / (phases * substeps * rate))
    steps = parts[:, ::substeps]
    for late in range(1, substeps):
        steps = parts[:, late::substeps] @ steps
    # state[:, k] is the ensemble about to enter rotor step k; each start phase owns one k at any time.
    state = np.broadcast_to(system.populations.astype(complex), steps.shape[:-1])
    fid = np.empty(points, dtype=complex)
    for q in range(points):
        fid[q] = np.dot(weights, state.sum(axis=-1).mean(axis=1))
        state = np.roll(np.einsum("cjab,cjb->cja", steps, state), 1, axis=1)
    return fid


def spectrum(fid: ArrayLike, dt: float, gaussian: float, frequencies: ArrayLike) -> Real:
    """Density per Hz by direct summation, 2 Re dt sum' s_j exp(-2 pi i nu t_j), first point halved.

    Args:
        fid: signal (points,), long enough to have decayed.
        dt: sampling interval, s.
        gaussian: further Gaussian broadening, full width at half maximum, Hz.
        frequencies: offsets (F,), Hz.
    """
    signal = np.array(fid, dtype=complex)
    t = dt * np.arange(len(signal))
    signal *= np.exp(-((np.pi * gaussian * t) ** 2) / (4 * np.log(2)))
    signal[0] *= 0.5
    return np.array([2 * dt * np.dot(signal, np.exp(-TWO_PI_I * nu * t)).real for nu in np.asarray(frequencies)])


def convolved(line: Callable[[Real], Real], gaussian: float, frequencies: ArrayLike, step: float) -> Real:
    r"""A line given as a function of the offset, under a Gaussian, per Hz, by the trapezoidal rule.

    The rule errs by $e^{-2\pi d/h}$, d the least half width (Hz) of the line's poles, and by $e^{-2\pi^2\sigma^2/h^2}$.

    Args:
        line: density at offsets (any number,), such as `static_spectrum` of one system.
        gaussian: full width at half maximum, Hz.
        frequencies: offsets (F,), Hz.
        step: h, Hz.
    """
    sigma = gaussian / np.sqrt(8 * np.log(2))
    reach = int(np.ceil(8 * sigma / step))
    offset = step * np.arange(-reach, reach + 1)
    kernel = step * np.exp(-((offset / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
    nu = np.asarray(frequencies, dtype=float)
    return line((nu[:, None] - offset).reshape(-1)).reshape(len(nu), -1) @ kernel
