"""Standard atomic weights, for vibrations and motion where the isotopes are not said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxnmr.structure import ELEMENTS

__all__ = ["standard_masses"]

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
