"""Physical constants, all of one year: CODATA 2022, in SI unless the name says otherwise.

Source: P. J. Mohr, D. B. Newell, B. N. Taylor and E. Tiesinga, CODATA Recommended Values of the Fundamental
Physical Constants: 2022, Rev. Mod. Phys. 97, 025002 (2025). Exact where the SI defines the value.
"""

from typing import Final

__all__ = [
    "AMU",
    "AVOGADRO",
    "BARN",
    "BOHR",
    "BOHR_IN_ANGSTROM",
    "BOLTZMANN",
    "BOLTZMANN_IN_EV",
    "EFG_AU",
    "EFG_AU_TO_HZ_PER_BARN",
    "ELECTRON_MASS",
    "ELECTRON_VOLT",
    "ELEMENTARY_CHARGE",
    "GAS_CONSTANT",
    "HARTREE",
    "HARTREE_IN_EV",
    "HBAR",
    "NUCLEAR_MAGNETON",
    "PI",
    "PLANCK",
    "SPEED_OF_LIGHT",
    "VACUUM_PERMEABILITY",
]

PI: Final = 3.141592653589793

PLANCK: Final = 6.62607015e-34
"""h, J s; exact."""
HBAR: Final = PLANCK / (2 * PI)
"""h / 2π, J s."""
ELEMENTARY_CHARGE: Final = 1.602176634e-19
"""e, C; exact."""
BOLTZMANN: Final = 1.380649e-23
"""k_B, J/K; exact."""
AVOGADRO: Final = 6.02214076e23
"""N_A, 1/mol; exact."""
SPEED_OF_LIGHT: Final = 299792458.0
"""c, m/s; exact."""
GAS_CONSTANT: Final = BOLTZMANN * AVOGADRO
"""R, J/(mol K)."""

HARTREE: Final = 4.3597447222060e-18
"""E_h, J."""
BOHR: Final = 5.29177210544e-11
"""a_0, m."""
ELECTRON_MASS: Final = 9.1093837139e-31
"""m_e, kg."""
AMU: Final = 1.66053906892e-27
"""Unified atomic mass unit, kg."""
NUCLEAR_MAGNETON: Final = 5.0507837393e-27
"""μ_N, J/T."""
VACUUM_PERMEABILITY: Final = 1.25663706127e-6
"""μ_0, N/A²."""

ELECTRON_VOLT: Final = ELEMENTARY_CHARGE
"""1 eV, J; exact."""
HARTREE_IN_EV: Final = HARTREE / ELECTRON_VOLT
"""E_h, eV."""
BOHR_IN_ANGSTROM: Final = BOHR * 1e10
"""a_0, Å."""
BOLTZMANN_IN_EV: Final = BOLTZMANN / ELECTRON_VOLT
"""k_B, eV/K."""

BARN: Final = 1e-28
"""1 barn, m²; exact."""
EFG_AU: Final = HARTREE / (ELEMENTARY_CHARGE * BOHR**2)
"""Atomic unit of the electric field gradient, E_h / (e a_0²), V/m²: 9.717e21."""
EFG_AU_TO_HZ_PER_BARN: Final = ELEMENTARY_CHARGE * BARN * EFG_AU / PLANCK
"""C_Q = e Q V_zz / h: 1 barn in 1 a.u. of field gradient couples with 234.965 MHz; Hz/(barn a.u.)."""
