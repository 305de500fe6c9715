"""Labels that are there but cannot be meant: forces that do not belong to the energies, shifts given as shieldings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from jaxnmr.potential._property import Property
from jaxnmr.potential.training._samples import Sample

__all__ = ["check_plausible"]

# Between frames that move by less, the mean of both forces tells the change of the energy well enough to judge by, Å.
_NEAR = 0.3


def check_plausible(samples: Sequence[Sample], properties: Sequence[Property] = ()) -> None:
    """Looks for labels of the wrong sign or unit.

    - Between consecutive frames of a trajectory, the energy changes by minus the mean force times the displacement.
    - Shieldings are positive for most nuclei; shifts, as VASP prints them, are of the other sign.
    - Absolute shieldings do not exceed some 10⁵ ppm, field gradients some 10² atomic units.

    Args:
        samples: as they stand in the files, so that frames of a trajectory follow each other.
        properties: what their values are.

    Raises:
        ValueError: such labels, with what would do.
    """
    _forces(samples)
    for place, prop in enumerate(properties):
        if prop.name == "shielding":
            _sign(samples, place)
        limit = {"shielding": 1e5, "efg": 1e2}.get(prop.name)
        for sample in samples:
            largest = np.nanmax(np.abs(sample.values[place]), initial=0.0)
            if limit is not None and largest > limit:
                raise ValueError(f"{prop.name}: {sample.source} has a value of {largest:.3g} {prop.unit}; check its unit.")


def _forces(samples: Sequence[Sample]) -> None:
    foreseen, found = [], []
    for one, two in pairwise(samples):
        if one.structure.species != two.structure.species or np.isnan(one.forces).any() or np.isnan(two.forces).any():
            continue
        moved = np.asarray(two.structure.positions) - np.asarray(one.structure.positions)
        cells = one.structure.cell, two.structure.cell
        same = (cells[0] is None and cells[1] is None) or (
            cells[0] is not None and cells[1] is not None and np.array_equal(cells[0], cells[1])
        )
        change = two.energy - one.energy
        if same and np.isfinite(change) and 0 < np.abs(moved).max() < _NEAR:
            foreseen.append(-np.sum((one.forces + two.forces) / 2 * moved))
            found.append(change)
    if len(found) < 5:
        return
    x, y = np.array(foreseen), np.array(found)
    if not x.std() or not y.std():
        return
    slope, correlation = float(x @ y / (x @ x)), float(np.corrcoef(x, y)[0, 1])
    if abs(correlation) > 0.7 and not 0.5 < slope < 2:
        raise ValueError(
            f"forces: between {len(found)} pairs of consecutive frames the energy changes by {slope:.2g} times what the "
            "forces say; a factor of -1 means that gradients came for forces, another one means other units."
        )


def _sign(samples: Sequence[Sample], place: int) -> None:
    means: dict[str, list[float]] = {}
    for sample in samples:
        isotropic = np.trace(sample.values[place], axis1=1, axis2=2) / 3
        for symbol, value in zip(sample.structure.species, isotropic, strict=True):
            if np.isfinite(value):
                means.setdefault(symbol, []).append(float(value))
    # Oxygen, nitrogen and fluorine may be deshielded beyond zero; light elements and closed shells hardly ever are.
    safe = {symbol: np.mean(each) for symbol, each in means.items() if symbol in _POSITIVE}
    if safe and all(value < 0 for value in safe.values()):
        shown = ", ".join(f"{symbol} {value:.0f}" for symbol, value in safe.items())
        raise ValueError(
            f"shielding: mean isotropic values are negative ({shown} ppm); these look like shifts, which have the other "
            "sign (VASP prints them). Give minus the values."
        )


_POSITIVE = frozenset("H Li Be B C Na Mg Al Si P K Ca".split())
