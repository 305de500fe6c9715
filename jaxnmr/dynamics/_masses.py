"""Masses of atoms: standard atomic weights, those of isotopes where they are said, and what ASE's atoms hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxnmr.structure import ELEMENTS, Structure

__all__ = ["fixed_of", "masses_of", "standard_masses"]

# Hydrogen to plutonium, amu; IUPAC 2015 (the most stable isotope where no terrestrial mixture exists).
# fmt: off
_WEIGHTS = (
    1.008, 4.0026, 6.94, 9.0122, 10.81, 12.011, 14.007, 15.999, 18.9984, 20.1797, 22.9898, 24.305, 26.9815, 28.085,
    30.9738, 32.06, 35.45, 39.948, 39.0983, 40.078, 44.9559, 47.867, 50.9415, 51.9961, 54.938, 55.845, 58.9332,
    58.6934, 63.546, 65.38, 69.723, 72.63, 74.9216, 78.971, 79.904, 83.798, 85.4678, 87.62, 88.9058, 91.224, 92.9064,
    95.95, 97.9072, 101.07, 102.9055, 106.42, 107.8682, 112.414, 114.818, 118.71, 121.76, 127.6, 126.9045, 131.293,
    132.9055, 137.327, 138.9055, 140.116, 140.9077, 144.242, 144.9128, 150.36, 151.964, 157.25, 158.9254, 162.5,
    164.9303, 167.259, 168.9342, 173.054, 174.9668, 178.49, 180.9479, 183.84, 186.207, 190.23, 192.217, 195.084,
    196.9666, 200.592, 204.38, 207.2, 208.9804, 208.9824, 209.9872, 222.0176, 223.0197, 226.0254, 227.0277, 232.0377,
    231.0359, 238.0289, 237.0482, 244.0642,
)
# fmt: on
# Of the isotopes that jaxnmr.isotopes knows, amu; atomic mass evaluation of 2020, Wang et al., Chinese Phys. C 45, 030003
# (2021), to five decimals.
_ISOTOPES = (
    "1H 1.00783 2H 2.0141 3H 3.01605 3He 3.01603 6Li 6.01512 7Li 7.016 9Be 9.01218 10B 10.01294 11B 11.00931 "
    "13C 13.00335 14N 14.00307 15N 15.00011 17O 16.99913 19F 18.9984 21Ne 20.99385 23Na 22.98977 25Mg 24.98584 "
    "27Al 26.98154 29Si 28.97649 31P 30.97376 33S 32.97146 35Cl 34.96885 37Cl 36.9659 39K 38.96371 40K 39.964 "
    "41K 40.96183 43Ca 42.95877 45Sc 44.95591 47Ti 46.95176 49Ti 48.94786 50V 49.94716 51V 50.94396 53Cr 52.94065 "
    "55Mn 54.93804 57Fe 56.93539 59Co 58.93319 61Ni 60.93105 63Cu 62.9296 65Cu 64.92779 67Zn 66.92713 69Ga 68.92557 "
    "71Ga 70.9247 73Ge 72.92346 75As 74.92159 77Se 76.91991 79Br 78.91834 81Br 80.91629 83Kr 82.91413 85Rb 84.91179 "
    "87Rb 86.90918 87Sr 86.90888 89Y 88.90584 91Zr 90.90564 93Nb 92.90637 95Mo 94.90584 97Mo 96.90602 99Tc 98.90625 "
    "99Ru 98.90593 101Ru 100.90557 103Rh 102.90549 105Pd 104.90508 107Ag 106.90509 109Ag 108.90476 111Cd 110.90418 "
    "113Cd 112.90441 113In 112.90406 115In 114.90388 115Sn 114.90334 117Sn 116.90295 119Sn 118.90331 121Sb 120.90381 "
    "123Sb 122.90422 123Te 122.90427 125Te 124.90443 127I 126.90447 129Xe 128.90478 131Xe 130.90508 133Cs 132.90545 "
    "135Ba 134.90569 137Ba 136.90583 138La 137.90712 139La 138.90636 141Pr 140.90766 143Nd 142.90982 145Nd 144.91258 "
    "147Sm 146.9149 149Sm 148.91719 151Eu 150.91986 153Eu 152.92124 155Gd 154.92263 157Gd 156.92397 159Tb 158.92535 "
    "161Dy 160.92694 163Dy 162.92874 165Ho 164.93033 167Er 166.93206 169Tm 168.93422 171Yb 170.93633 173Yb 172.93822 "
    "175Lu 174.94078 176Lu 175.94269 177Hf 176.94323 179Hf 178.94583 181Ta 180.948 183W 182.95022 185Re 184.95296 "
    "187Re 186.95575 187Os 186.95575 189Os 188.95815 191Ir 190.96059 193Ir 192.96292 195Pt 194.96479 197Au 196.96657 "
    "199Hg 198.96828 201Hg 200.9703 203Tl 202.97234 205Tl 204.97443 207Pb 206.9759 209Bi 208.9804"
)
_WORDS: list[str] = list(_ISOTOPES.split())
_OF_ISOTOPE = dict(zip(_WORDS[::2], map(float, _WORDS[1::2]), strict=True))


def standard_masses(species: Sequence[str]) -> np.ndarray:
    """Standard atomic weight of each atom, amu.

    Args:
        species: symbols of the elements.

    Returns:
        (atom,).

    Raises:
        ValueError: an element beyond plutonium, or none.
    """
    weights: tuple[float, ...] = _WEIGHTS
    known = {str(symbol): weight for symbol, weight in zip(ELEMENTS, weights, strict=False)}
    unknown = sorted({symbol for symbol in species if symbol not in known})
    if unknown:
        raise ValueError(f"species: no standard weight is known of {', '.join(unknown)}; give masses, in amu.")
    return np.array([known[symbol] for symbol in species])


def masses_of(atoms: Any) -> np.ndarray:
    """Masses of a structure's isotopes, standard weights where it says none; those of ASE's atoms as they hold them.

    Args:
        atoms: a structure, or atoms of ASE.

    Returns:
        amu, (atom,).

    Raises:
        ValueError: an isotope whose mass is not known.
    """
    if not isinstance(atoms, Structure):
        # Without get_masses, atoms of a program that only looks like ASE.
        found = atoms.get_masses() if hasattr(atoms, "get_masses") else standard_masses(atoms.get_chemical_symbols())
        return np.asarray(found, np.float64)
    named = atoms.isotopes or (None,) * len(atoms.species)
    unknown = sorted({name for name in named if name is not None and name not in _OF_ISOTOPE})
    if unknown:
        raise ValueError(f"isotopes: no mass is known of {', '.join(unknown)}; give Surface(masses=...), in amu.")
    # The weight of an element is asked for only where no isotope is said.
    return np.array(
        [
            standard_masses([symbol])[0] if name is None else _OF_ISOTOPE[name]
            for symbol, name in zip(atoms.species, named, strict=True)
        ]
    )


def fixed_of(atoms: Any) -> tuple[bool, ...] | None:
    """Which of ASE's atoms its `FixAtoms` hold; None where nothing is said, as by a structure.

    Raises:
        ValueError: another constraint, which would be lost.
    """
    constraints = getattr(atoms, "constraints", ())
    others = sorted({type(each).__name__ for each in constraints} - {"FixAtoms"})
    if others:
        raise ValueError(
            f"atoms: have {', '.join(others)}, and only FixAtoms can be kept; take the others off, or say with fixed= which "
            "atoms do not move."
        )
    if not constraints:
        return None
    held = np.zeros(len(atoms), bool)
    for each in constraints:
        held[each.index] = True
    return tuple(held.tolist())
