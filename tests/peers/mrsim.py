r"""The spectrum of a `Case` by mrsimulator, converged, on the case's own axis.

What mrsimulator 1.0.0 does, each measured in test_mrsimulator.py against `tests.reference.brute`:

- A transition query P = -1, D = (m - 1)^2 - m^2 is our (m, m - 1), whatever the sign of gamma: for 17O too a
  higher shift lies at higher offset, and its offsets are ours for every satellite.
- Second order is included for every transition, and so is the quadrupole-shift cross term (of the symmetric
  shielding: it knows no antisymmetric one), unless an event's `freq_contrib` leaves it out.
- Its Bloch decay gives every line the same area; a hard pulse gives them I(I+1) - m(m-1). Lines are run one
  by one here and summed with those strengths.
- Isotropic shifts are ppm of the IUPAC reference frequency (from Xi), everything else goes by gamma B/2 pi.
  The two differ by 2e-4 for 13C, 6e-4 for 23Na, 4e-3 for 87Rb. Isotropic shifts are scaled here so as to be
  of the Larmor frequency, as ours are.
- `zeta` is of the shielding; (alpha, beta, gamma) is our (-gamma, -beta, -alpha); the quadrupole's principal
  frame has x and y the other way round, which is a further quarter turn, alpha + pi/2.
- Sidebands without width of their own go to the nearest bin, wide ones are spread. A bin of a fortieth of the
  linewidth then costs 9e-3 for 2H, so spinning needs far finer ones.
- `rotor_frequency` 0 is static and 1e12 infinite; what lies outside of the window is dropped, not folded.
"""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .cases import Case, Site

DATA = Path(__file__).parent / "data" / "mrsimulator.npz"

Real = NDArray[np.float64]

INFINITE_RATE = 1e12
MAGIC_ANGLE = float(np.arccos(1 / np.sqrt(3)))

# Orientations on an octant's edge. Half as many move no spectrum by more than 3e-4: see the stored changes.
STATIC_DENSITY = 600
SPINNING_DENSITY = 400


def installed_version() -> str | None:
    """Version of mrsimulator, none if it is absent."""
    try:
        return version("mrsimulator")
    except PackageNotFoundError:
        return None


def half_window(case: Case) -> float:
    """Half width, Hz, beyond which nothing lies: bounds on each interaction, and ten sidebands."""
    spin, nu0 = case.spin, abs(case.larmor)
    reach = 0.0
    for site in case.sites:
        shift = 1e-6 * nu0 * (abs(site.delta_iso) + abs(site.zeta))
        splitting = 1.5 * abs(site.c_q) / (spin * (2 * spin - 1)) if spin > 0.5 else 0.0  # nu_Q
        orders = {"central": 0.0, "all": spin - 0.5}
        order = orders[case.transition] if isinstance(case.transition, str) else abs(case.transition[0] - 0.5)
        reach = max(reach, shift + splitting * order + splitting**2 / nu0 * spin * (spin + 1) / 2)
    return 1.1 * reach + 20 * case.linewidth + (10 * case.rate if np.isfinite(case.rate) else 0.0)


def spin_system(site: Site, case: Case, scale: float):
    """A site as a mrsimulator SpinSystem; `scale` multiplies its isotropic ppm."""
    import mrsimulator as mr

    tensors = {}
    if site.zeta:
        a, b, c = site.euler
        tensors["shielding_symmetric"] = {
            "zeta": -site.zeta, "eta": site.eta, "alpha": -c, "beta": -b, "gamma": -a
        }  # fmt: skip
    if site.c_q:
        a, b, c = site.euler_q
        tensors["quadrupolar"] = {
            "Cq": site.c_q, "eta": site.eta_q, "alpha": np.pi / 2 - c, "beta": -b, "gamma": -a
        }  # fmt: skip
    nucleus = mr.Site(isotope=case.isotope, isotropic_chemical_shift=site.delta_iso * scale, **tensors)
    return mr.SpinSystem(sites=[nucleus], abundance=100 * site.weight)


def lines(case: Case) -> list[tuple[float, float]]:
    """Observed (m, strength): the pairs (m, m - 1); strengths sum to one."""
    spin = case.spin
    if case.transition == "central":
        return [(0.5, 1.0)]
    if case.transition == "all":
        levels = [spin - i for i in range(round(2 * spin))]
        strengths = [spin * (spin + 1) - m * (m - 1) for m in levels]
        return [(m, s / sum(strengths)) for m, s in zip(levels, strengths, strict=True)]
    return [(float(case.transition[0]), 1.0)]


def simulator(case: Case, m: float | None, *, density: int, sidebands: int, bins: int, cross_terms: bool = True):
    """A mrsimulator Simulator of one line, or of all if m is none, and the centres of its bins in Hz."""
    import mrsimulator as mr
    from mrsimulator.method import Method
    from mrsimulator.spin_system.isotope import Isotope

    nucleus = Isotope(symbol=case.isotope)
    field = case.larmor / (1e6 * nucleus.gyromagnetic_ratio)  # the case's Larmor frequency, exactly
    query = {"P": [-1]}  # m_final - m_initial
    if m is not None and case.spin > 0.5:
        query["D"] = [round((m - 1) ** 2 - m**2)]  # m_final^2 - m_initial^2
    event: dict = {"transition_queries": [{"ch1": query}]}
    if not cross_terms:
        event["freq_contrib"] = ["Shielding1_0", "Shielding1_2", "Quad1_2", "Quad2_0", "Quad2_2", "Quad2_4"]
    method = Method(
        channels=[case.isotope],
        magnetic_flux_density=field,
        rotor_frequency=case.rate if np.isfinite(case.rate) else INFINITE_RATE,
        rotor_angle=MAGIC_ANGLE,
        spectral_dimensions=[{"count": bins, "spectral_width": 2 * half_window(case), "events": [event]}],
    )
    scale = abs(case.larmor / nucleus.B0_to_ref_freq(field))
    sim = mr.Simulator(spin_systems=[spin_system(s, case, scale) for s in case.sites], methods=[method])
    sim.config.integration_volume = "octant" if case.coaxial else "hemisphere"
    sim.config.integration_density = density
    sim.config.number_of_sidebands = sidebands
    return sim, method.spectral_dimensions[0].coordinates_Hz()


def broadened(bins: Real, amplitude: Real, linewidth: float, offsets: Real) -> Real:
    """Each bin a Lorentzian of unit area at its centre, summed at the offsets: no folding, no transform."""
    kept = np.flatnonzero(amplitude)
    half, out = linewidth / 2, np.zeros(len(offsets))
    for part in np.array_split(kept, len(kept) // 4096 + 1):
        out += (half / np.pi / ((offsets[:, None] - bins[None, part]) ** 2 + half**2)) @ amplitude[part]
    return out


def rebinned(bins: Real, amplitude: Real, step: float) -> tuple[Real, Real]:
    """Wider bins, `step` Hz, each amplitude shared linearly by two so that areas and centroids stay."""
    place = (bins - bins[0]) / step
    left = np.floor(place).astype(int)
    count = int(left[-1]) + 2
    share = place - left
    out = np.zeros(count)
    out += np.bincount(left, amplitude * (1 - share), count)
    out += np.bincount(left + 1, amplitude * share, count)
    return bins[0] + step * np.arange(count), out


def mrsim_spectrum(case: Case, *, density: int | None = None, cross_terms: bool = True, bloch_decay: bool = False) -> Real:
    """Spectrum of the case at its offsets, per Hz; the area over all frequencies is one.

    Args:
        case: what to simulate.
        density: orientations on an octant's edge; the converged default if none.
        cross_terms: False leaves the quadrupole-shift cross term out.
        bloch_decay: True takes mrsimulator's own Bloch decay, with equal lines, instead of our sum.

    Returns:
        Intensity at `case.offsets`, (points,).

    Raises:
        RuntimeError: the window cuts the line.
    """
    spinning = 0 < case.rate < np.inf
    density = density or (SPINNING_DENSITY if spinning else STATIC_DENSITY)
    window = 2 * half_window(case)
    # A bin of Gamma/40, filled linearly, adds at most 3e-4 to the narrowest line; sidebands get finer ones to
    # start with (memory sets the limit, which only wide patterns reach). Their number must hold the window.
    coarse = 2 * round(window / case.linewidth * 20)
    bins = coarse * (max(1, min(41, 4_000_000 // coarse)) if spinning else 1)
    sidebands = 2 ** int(np.ceil(np.log2(max(32, window / case.rate)))) if spinning else 1
    total, centres = np.zeros(bins), np.zeros(bins)
    for m, strength in [(None, 1.0)] if bloch_decay else lines(case):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its pydantic and csdmpy are chatty
            sim, centres = simulator(case, m, density=density, sidebands=sidebands, bins=bins, cross_terms=cross_terms)
            sim.run(pack_as_csdm=False)
        amplitude = np.asarray(sim.methods[0].simulation).reshape(-1, bins).sum(axis=0).real
        total += strength * amplitude / amplitude.sum()
    edge = bins // 100
    if np.abs(total[:edge]).sum() + np.abs(total[-edge:]).sum() > 1e-4:
        raise RuntimeError(f"{case.name}: the line reaches the edge of mrsimulator's window; enlarge it")
    if bins > coarse:
        centres, total = rebinned(centres, total, window / coarse)
    return broadened(centres, total, case.linewidth, case.offsets)


def stored_spectrum(case: Case) -> Real:
    """What `data/make_mrsimulator.py` stored for the case."""
    with np.load(DATA) as file:
        return file[case.name].astype(np.float64)


def relative_l2(a: Real, b: Real) -> float:
    """|a - b| / |b| over the axis."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
