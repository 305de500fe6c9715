"""The symbols of the chemical elements, and how files decorate them."""

from __future__ import annotations

import re

__all__ = ["ELEMENTS", "element"]

ELEMENTS = tuple(
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts "
    "Og".split()
)
_KNOWN = frozenset(ELEMENTS)
# CASTEP writes "H:D" for a user's own species, Quantum ESPRESSO "O1", VASP "Si_GW".
_DECORATED = re.compile(r"([A-Za-z]{1,2})(?![A-Za-z])")


def element(name: str) -> str | None:
    """Symbol of a species as a file names it: "Si" of "Si", "SI", "Si:a", "Si2" and "Si_GW"; None if it is none."""
    match = _DECORATED.match(name)
    symbol = match[1].capitalize() if match else ""
    return symbol if symbol in _KNOWN else None
