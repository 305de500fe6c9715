"""Two 13C sites that exchange, by SLEEPY: the signal, its spectrum, and what is stored of it.

SLEEPY's conventions, each measured against `tests.reference.brute`: `delta` of a CSA is zeta of the
*shift* (positive moves a line up); Euler angles are ours; the signal is exp(+2 pi i offset t) with 0 at the
reference; `kex` acts on columns. `twoSite_kex(tc)` wants tc = 1/(k_01 + k_10). `gamma_encoded=True` is not
used: it is 0.7 % wrong for exchange.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data" / "sleepy.npz"

PROTON_MHZ = 400.0  # proton frequency, which is how SLEEPY names a field
LARMOR_HZ = 100.601532e6  # the 13C frequency SLEEPY 1.1.2 makes of it
ZETA = 100.0  # ppm, eta = 0
ANGLE = np.deg2rad(70.5)  # between the two axes
RATES = (1e2, 1e3, 1e4, 1e5, 1e6)  # s^-1, each way
SPINNING = (0.0, 1e4)  # Hz
SAMPLING_HZ = 160e3  # 16 samples a rotor period; the static line is 15 kHz wide
POINTS = 2048


@dataclass(frozen=True)
class Grid:
    """Powder average of SLEEPY.

    Attributes:
        powder: name of its (alpha, beta) set, such as "zcw4180" or "rep100".
        gammas: steps and start phases of the rotor period; 1 for a static powder.
    """

    powder: str
    gammas: int


# What the stored signals were made with: spectra are within 3e-4 (static) and 2.1e-3 (spinning) of exact.
STATIC_GRID = Grid("zcw28656", 1)
MAS_GRID = Grid("rep100", 32)


def installed_version() -> str | None:
    """Version of sleepy-nmr, none if it or the undeclared ipython is absent."""
    try:
        version("ipython")
        return version("sleepy-nmr")
    except PackageNotFoundError:
        return None


def load() -> ModuleType:
    """Import SLEEPY without its greeting, on one core and silent."""
    with contextlib.redirect_stdout(io.StringIO()):
        import SLEEPY
    SLEEPY.Defaults["parallel"] = False
    SLEEPY.Defaults["verbose"] = False
    return SLEEPY


def two_site_fid(
    k: float,
    spinning: float,
    grid: Grid,
    *,
    points: int = POINTS,
    sampling: float = SAMPLING_HZ,
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Signal of two equally populated sites, 1 at the start, without any other decay.

    Args:
        k: rate each way, s^-1.
        spinning: rotor rate, Hz; 0 for a static powder.
        grid: powder average.
        points: number of samples.
        sampling: samples a second, Hz; a multiple of the spinning rate.

    Returns:
        (times, signal), each (points,); seconds, and exp(+2 pi i offset t).
    """
    sl = load()
    systems = []
    for beta in (0.0, ANGLE):
        system = sl.ExpSys(v0H=PROTON_MHZ, Nucs="13C", vr=spinning, pwdavg=sl.PowderAvg(grid.powder), n_gamma=grid.gammas)
        system.set_inter("CSA", i=0, delta=ZETA, eta=0.0, euler=[0, beta, 0])
        systems.append(system)
    liouvillian = sl.Liouvillian(*systems, kex=sl.Tools.twoSite_kex(tc=1 / (2 * k)))
    rho = sl.Rho("13Cx", "13Cp")
    if spinning:
        rho.DetProp(liouvillian.Sequence(), n=points, n_per_seq=round(sampling / spinning))
    else:
        rho.DetProp(liouvillian.Sequence(Dt=1 / sampling), n=points)
    signal = np.asarray(rho.I[0])
    return np.asarray(rho.t_axis), signal / signal[0]


def spectrum(
    signal: NDArray[np.complex128],
    linewidth: float,
    offsets: NDArray[np.float64],
    *,
    sampling: float = SAMPLING_HZ,
) -> NDArray[np.float64]:
    r"""Density per Hz, first term of the sum halved.

    $$2\,\mathrm{Re}\,\Delta t\sum_j' s_j e^{-\pi\Gamma t_j - 2\pi i\nu t_j}$$

    Args:
        signal: (points,), 1 at the start.
        linewidth: Lorentzian full width, Hz.
        offsets: where to evaluate, Hz from the reference, (F,).
        sampling: samples a second, Hz.

    Returns:
        (F,), unit area.
    """
    times = np.arange(len(signal)) / sampling
    decaying = signal * np.exp(-np.pi * linewidth * times) / sampling
    decaying[0] /= 2
    return 2 * (np.exp(-2j * np.pi * offsets[:, None] * times[None]) @ decaying).real


def key(k: float, spinning: float) -> str:
    """Name of a stored signal."""
    return f"{spinning:g}Hz_{k:g}"


def stored_fid(k: float, spinning: float) -> NDArray[np.complex128]:
    """A stored signal, (POINTS,), sampled at SAMPLING_HZ."""
    with np.load(DATA) as file:
        return file[key(k, spinning)].astype(np.complex128)
