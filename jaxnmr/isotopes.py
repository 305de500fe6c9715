"""The isotopes of NMR: spin, magnetogyric ratio, quadrupole moment and abundance, with their sources.

The numbers and the source of each column are in `data/isotopes.csv`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from jaxnmr.errors import near
from jaxnmr.units import PI

__all__ = ["Isotope", "isotope", "isotopes"]

_TABLE = Path(__file__).with_name("data") / "isotopes.csv"
_NAME = re.compile(r"\s*(?:(\d+)[\s-]*([a-z]{1,2})|([a-z]{1,2})[\s-]*(\d+))\s*", re.IGNORECASE)
# Nuclei with even numbers of protons and of neutrons have no spin.
_EVEN_ATOMIC_NUMBER = frozenset(
    "He Be C O Ne Mg Si S Ar Ca Ti Cr Fe Ni Zn Ge Se Kr Sr Zr Mo Ru Pd Cd Sn Te Xe Ba Ce Nd Sm Gd Dy Er "
    "Yb Hf W Os Pt Hg Pb".split()
)

_Field = TypeVar("_Field")


@dataclass(frozen=True)
class Isotope:
    """One nucleus. Hashable, so it may be a static field; build one's own for other constants.

    Attributes:
        name: mass number and symbol, "17O".
        symbol: element symbol, "O".
        mass_number: number of nucleons, 17.
        spin: I, a positive multiple of one half.
        gamma: magnetogyric ratio γ, rad s⁻¹ T⁻¹, signed.
        quadrupole_moment: Q, barn, signed; 0 for I = 1/2.
        abundance: natural mole fraction, 0 to 1.

    Raises:
        ValueError: a spin that is no positive multiple of one half, or a spin of 1/2 with a quadrupole
            moment.
    """

    name: str
    symbol: str
    mass_number: int
    spin: float
    gamma: float
    quadrupole_moment: float
    abundance: float

    def __post_init__(self) -> None:
        """Refuse constants that no nucleus has."""
        if not (self.spin > 0 and float(2 * self.spin).is_integer()):
            raise ValueError(f"spin: got {self.spin} for {self.name}; use a positive multiple of 1/2.")
        if self.spin == 0.5 and self.quadrupole_moment != 0:
            raise ValueError(
                f"quadrupole_moment: got {self.quadrupole_moment} for {self.name} of spin 1/2, which has none; use 0.0."
            )

    @property
    def is_quadrupolar(self) -> bool:
        """Whether the spin exceeds 1/2."""
        return self.spin > 0.5

    def larmor_frequency(self, field: _Field) -> _Field:
        """ν = γ B / 2π, Hz, with the sign of γ (negative for 15N, 17O, 29Si); arrays and tracers too.

        Args:
            field: B, tesla.
        """
        return field * (self.gamma / (2 * PI))  # type: ignore[operator]


@cache
def _table() -> dict[str, Isotope]:
    table = {}
    lines = (line for line in _TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    next(lines)  # the column names
    for line in lines:
        symbol, mass, spin, gamma, moment, abundance = line.split(",")
        numerator, _, denominator = spin.partition("/")
        name = mass + symbol
        table[name] = Isotope(
            name=name,
            symbol=symbol,
            mass_number=int(mass),
            spin=int(numerator) / int(denominator or 1),
            gamma=float(gamma + "e7"),
            quadrupole_moment=float(moment + "e-3"),
            abundance=float(abundance + "e-2"),
        )
    return table


def isotopes() -> tuple[str, ...]:
    """Names of all isotopes in the table, by atomic number and mass."""
    return tuple(_table())


def isotope(name: str | Isotope) -> Isotope:
    """Look up an isotope.

    Args:
        name: "17O", "O17", "O-17" or "o-17"; an `Isotope` is handed back as it is.

    Returns:
        Its constants.

    Raises:
        ValueError: no such isotope in the table; the message names those of the element, or near names.
    """
    if isinstance(name, Isotope):
        return name
    table = _table()
    match = _NAME.fullmatch(name)
    if match is None:
        others = [known.symbol for known in table.values()]
        of_element = [n for n, known in table.items() if known.symbol == name.strip().capitalize()]
        if of_element:
            raise ValueError(f"isotope: got {name!r} without a mass number; use {_listed(of_element)}.")
        advice = near(name, [*table, *others])
        raise ValueError(f"isotope: got {name!r}{advice}; use a mass number and an element symbol, as '17O'.")
    mass = int(match[1] or match[4])
    symbol = (match[2] or match[3]).capitalize()
    found = table.get(f"{mass}{symbol}")
    if found is not None:
        return found
    of_element = [n for n, known in table.items() if known.symbol == symbol]
    if of_element:
        # The common slip: the abundant isotope instead of the magnetic one.
        spinless = mass % 2 == 0 and symbol in _EVEN_ATOMIC_NUMBER
        why = ", which has spin 0" if spinless else ", which is not in the table"
        raise ValueError(f"isotope: got {name!r}{why}; use {_listed(of_element)}.")
    raise ValueError(
        f"isotope: got {name!r}{near(f'{mass}{symbol}', table)}; isotopes() lists the {len(table)} known names."
    )


def _listed(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(map(repr, names[:-1])), repr(names[-1]))))
