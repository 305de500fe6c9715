"""Spectra without exchange that two programs must agree on: one row, one spectrum.

Tensors and angles are in jaxnmr's conventions: Haeberlen shifts, ZYZ with T_crystal = R T_pas R^T, each
quadrupole in its own principal frame with xx = -C_Q (1 - eta)/2. Widths are such that both programs converge;
axes hold the line, and for wide ones its structured part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INF = float("inf")

# Spin and gamma / 2 pi in MHz/T as mrsimulator 1.0.0 has them: a case fixes the Larmor frequency, so that
# no isotope table enters the comparison.
SPIN = {
    "13C": 0.5, "29Si": 0.5, "2H": 1.0, "14N": 1.0, "23Na": 1.5, "87Rb": 1.5, "17O": 2.5, "27Al": 2.5,
    "51V": 3.5,
}  # fmt: skip
GAMMA = {
    "13C": 10.708398861439887, "29Si": -8.465499588373877, "2H": 6.5359028463694875,
    "14N": 3.0777058647746447, "23Na": 11.268835291595886, "87Rb": 13.983992836343669,
    "17O": -5.774236332534915, "27Al": 11.103090335864373, "51V": 11.213282696036105,
}  # fmt: skip

Angles = tuple[float, float, float]
NO_TURN: Angles = (0.0, 0.0, 0.0)
TURNED: Angles = (0.5, 0.9, 1.3)  # nothing special: every angle counts
OTHER: Angles = (0.2, 0.7, 2.0)


@dataclass(frozen=True)
class Site:
    """Shift in ppm (`delta_iso`, `zeta`, `eta`, `euler`), coupling in Hz (`c_q`, `eta_q`, `euler_q`).

    `weight` is its share of the spectrum.
    """

    delta_iso: float = 0.0
    zeta: float = 0.0
    eta: float = 0.0
    euler: Angles = NO_TURN
    c_q: float = 0.0
    eta_q: float = 0.0
    euler_q: Angles = NO_TURN
    weight: float = 1.0


@dataclass(frozen=True)
class Case:
    """One spectrum.

    Attributes:
        name: names it in tests and in the stored data.
        isotope: one of SPIN.
        field: tesla.
        rate: spinning rate, Hz, at the magic angle; 0 is static, inf allowed.
        sites: with weights that sum to one.
        transition: "central" (spin 1/2: its only line), "all", or (m, m - 1).
        axis: from, to in Hz and points, ascending, ends included.
        linewidth: Lorentzian full width, Hz.
        live: also run by the installed program, not only compared with what is stored.
    """

    name: str
    isotope: str
    field: float
    rate: float
    sites: tuple[Site, ...]
    transition: str | tuple[float, float]
    axis: tuple[float, float, int]
    linewidth: float
    live: bool = False

    @property
    def spin(self) -> float:
        """I."""
        return SPIN[self.isotope]

    @property
    def larmor(self) -> float:
        """Signed Larmor frequency, Hz."""
        return 1e6 * GAMMA[self.isotope] * self.field

    @property
    def offsets(self) -> NDArray[np.float64]:
        """The axis, Hz from the reference, ascending."""
        return np.linspace(*self.axis)

    @property
    def coaxial(self) -> bool:
        """Every tensor along the crystal axes, so that one octant is the whole sphere."""
        return all(s.euler == NO_TURN and s.euler_q == NO_TURN for s in self.sites)


def _at(centre: float, width: float, points: int = 601) -> tuple[float, float, int]:
    return (centre - width / 2, centre + width / 2, points)


_CSA = (Site(100, 80, 0.3),)
_PAIR = (Site(170, -70, 0.6, TURNED, weight=0.6), Site(120, 50, 0.2, weight=0.4))
_SILICON = (Site(-90, -60, 0.8),)
_DEUTERON = (Site(5, 0, 0, c_q=150e3, eta_q=0.1),)
_DEUTERON_TURNED = (Site(5, 10, 0.4, TURNED, 120e3, 0.3),)
_NITROGEN = (Site(40, 150, 0.4, TURNED, 100e3, 0.6, OTHER),)
_SODIUM = (Site(0, 20, 0.5, c_q=2.0e6, eta_q=0.4),)
_SODIUM_TURNED = (Site(10, 60, 0.3, TURNED, 2.0e6, 0.6, OTHER),)
_SODIUM_WEAK = (Site(20, 300, 0.5, TURNED, 300e3, 0.5, OTHER),)
_RUBIDIUM = (Site(-30, 40, 0.4, TURNED, 3.2e6, 0.2),)
_OXYGEN = (Site(170, 200, 0.3, c_q=7.0e6, eta_q=0.4),)
_OXYGEN_TURNED = (Site(170, 200, 0.3, TURNED, 7.0e6, 0.4, OTHER),)
_OXYGEN_PAIR = (
    Site(170, 150, 0.3, TURNED, 7.3e6, 0.3, OTHER, 0.5),
    Site(90, -80, 0.7, OTHER, 5.2e6, 0.9, TURNED, 0.5),
)
_OXYGEN_WEAK = (Site(60, 300, 0.3, TURNED, 400e3, 0.6, OTHER),)
_ALUMINIUM = (Site(15, 10, 0.2, TURNED, 4.0e6, 0.7),)
_ALUMINIUM_PAIR = (
    Site(62, 0, 0, c_q=5.5e6, eta_q=0.15, weight=0.7),
    Site(9, 0, 0, c_q=2.4e6, eta_q=0.0, weight=0.3),
)
_VANADIUM = (Site(-600, 300, 0.2, TURNED, 4.0e6, 0.7, OTHER),)
_VANADIUM_WEAK = (Site(-100, 150, 0.2, TURNED, 600e3, 0.3, OTHER),)
# Large cross term: rank zero of it moves the line by about 0.2 kHz and rank four shapes it.
_CROSS = (Site(100, 900, 0.6, TURNED, 6.0e6, 0.3, OTHER),)
_CROSS_NA = (Site(-20, 400, 0.3, OTHER, 3.0e6, 0.8, TURNED),)
_CROSS_V = (Site(-500, -700, 0.4, TURNED, 5.0e6, 0.2, OTHER),)

CASES = (
    Case("13C static", "13C", 9.4, 0, _CSA, "central", _at(10e3, 30e3), 100),
    Case("13C 5 kHz", "13C", 9.4, 5e3, _CSA, "central", _at(10e3, 50e3, 1201), 100, True),
    Case("13C infinite", "13C", 9.4, INF, _CSA, "central", _at(10e3, 5e3), 50),
    Case("13C pair 10 kHz", "13C", 23.5, 10e3, _PAIR, "central", _at(38e3, 80e3, 1201), 150),
    Case("29Si static", "29Si", 4.7, 0, _SILICON, "central", _at(-3.6e3, 12e3), 50, True),
    Case("29Si 5 kHz", "29Si", 23.5, 5e3, _SILICON, "central", _at(-18e3, 50e3, 1201), 100),
    Case("2H static", "2H", 9.4, 0, _DEUTERON, "all", _at(0, 280e3), 500, True),
    Case("2H 5 kHz", "2H", 9.4, 5e3, _DEUTERON, "all", _at(0, 260e3, 1301), 300),
    Case("2H one line static", "2H", 14.1, 0, _DEUTERON_TURNED, (1, 0), _at(0, 260e3), 500),
    Case("2H other line 20 kHz", "2H", 14.1, 20e3, _DEUTERON_TURNED, (0, -1), _at(0, 260e3, 1301), 300),
    Case("14N static", "14N", 18.8, 0, _NITROGEN, "all", _at(2e3, 200e3), 500),
    Case("14N 10 kHz", "14N", 18.8, 10e3, _NITROGEN, "all", _at(2e3, 220e3, 1101), 300),
    Case("23Na static coaxial", "23Na", 9.4, 0, _SODIUM, "central", _at(-4e3, 40e3), 200),
    Case("23Na static", "23Na", 11.7, 0, _SODIUM_TURNED, "central", _at(-2e3, 50e3), 200, True),
    Case("23Na 10 kHz", "23Na", 11.7, 10e3, _SODIUM_TURNED, "central", _at(-2e3, 60e3, 1201), 200),
    Case("23Na infinite", "23Na", 9.4, INF, _SODIUM, "central", _at(-4e3, 12e3), 100),
    Case("23Na satellite static", "23Na", 9.4, 0, _SODIUM_WEAK, (1.5, 0.5), _at(0, 400e3, 801), 500),
    Case("23Na all 20 kHz", "23Na", 9.4, 20e3, _SODIUM_WEAK, "all", _at(0, 400e3, 1601), 400),
    Case("87Rb static", "87Rb", 14.1, 0, _RUBIDIUM, "central", _at(-8e3, 50e3), 250),
    Case("87Rb 60 kHz", "87Rb", 14.1, 60e3, _RUBIDIUM, "central", _at(-8e3, 160e3, 1601), 200),
    Case("17O static coaxial", "17O", 14.1, 0, _OXYGEN, "central", _at(8e3, 80e3), 300, True),
    Case("17O static", "17O", 23.5, 0, _OXYGEN_TURNED, "central", _at(20e3, 90e3), 300),
    Case("17O 20 kHz", "17O", 23.5, 20e3, _OXYGEN_TURNED, "central", _at(20e3, 120e3, 1601), 200),
    Case("17O pair infinite", "17O", 14.1, INF, _OXYGEN_PAIR, "central", _at(6e3, 30e3), 200),
    Case("17O satellite static", "17O", 9.4, 0, _OXYGEN_WEAK, (1.5, 0.5), _at(0, 180e3, 801), 500),
    Case("17O outer line 20 kHz", "17O", 9.4, 20e3, _OXYGEN_WEAK, (-1.5, -2.5), _at(0, 300e3, 1201), 300),
    Case("17O cross term infinite", "17O", 14.1, INF, _CROSS, (1.5, 0.5), _at(12e3, 20e3), 150, True),
    Case("17O cross term 60 kHz", "17O", 14.1, 60e3, _CROSS, (1.5, 0.5), _at(12e3, 150e3, 1501), 300),
    Case("23Na cross term infinite", "23Na", 7.05, INF, _CROSS_NA, (-0.5, -1.5), _at(10e3, 40e3), 300),
    Case("27Al 10 kHz", "27Al", 9.4, 10e3, _ALUMINIUM, "central", _at(-2e3, 60e3, 1201), 200),
    Case("27Al pair static", "27Al", 18.8, 0, _ALUMINIUM_PAIR, "central", _at(4e3, 60e3), 300),
    Case("27Al satellite infinite", "27Al", 14.1, INF, _ALUMINIUM, (-0.5, -1.5), _at(3e3, 12e3), 150),
    Case("51V static", "51V", 9.4, 0, _VANADIUM, "central", _at(-60e3, 110e3), 400),
    Case("51V 20 kHz", "51V", 9.4, 20e3, _VANADIUM, "central", _at(-60e3, 160e3, 1601), 200),
    Case("51V all static", "51V", 4.7, 0, _VANADIUM_WEAK, "all", _at(-5e3, 300e3, 1001), 500),
    Case("51V cross term infinite", "51V", 11.7, INF, _CROSS_V, (1.5, 0.5), _at(-65e3, 20e3), 150),
    Case("51V satellite 60 kHz", "51V", 14.1, 60e3, _VANADIUM_WEAK, (2.5, 1.5), _at(-16e3, 300e3, 1501), 300),
)  # fmt: skip
