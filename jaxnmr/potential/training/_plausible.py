"""Labels that are there but cannot be meant: forces that do not belong to the energies, shifts given as shieldings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jaxnmr.potential._property import Property
from jaxnmr.potential.training._samples import Sample
from jaxnmr.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

__all__ = ["check_plausible"]

# Between frames that move by less, the mean of both forces tells the change of the energy well enough to judge by, Å.
_NEAR = 0.3
# So many pairs of frames are needed to judge.
_PAIRS = 5
# Frames of which each is compared with each other, at a time: 2000 of 200 atoms take a second.
_BLOCK = 256
# Frames of a file and kind at most, evenly chosen; their distances grow with the square.
_MOST = 4000
# Beside molecules in a box, Å: what acts through it does not matter here.
_VACUUM = 4.0
_KCAL = 23.0605  # kcal/mol, of one eV
# Change of the energy over what the forces say, where one of them is not in eV and Å.
_UNITS = {
    1 / BOHR_IN_ANGSTROM: "forces per bohr",
    BOHR_IN_ANGSTROM: "positions in bohr",
    HARTREE_IN_EV: "forces in hartree/Å",
    HARTREE_IN_EV / 2: "forces in rydberg/Å",
    HARTREE_IN_EV / BOHR_IN_ANGSTROM: "forces in hartree/bohr",
    HARTREE_IN_EV / 2 / BOHR_IN_ANGSTROM: "forces in rydberg/bohr",
    1 / HARTREE_IN_EV: "energies in hartree",
    2 / HARTREE_IN_EV: "energies in rydberg",
    _KCAL: "energies in kcal/mol",
    1 / _KCAL: "forces in kcal/mol/Å",
    4.184 * _KCAL: "energies in kJ/mol",
    1 / (4.184 * _KCAL): "forces in kJ/mol/Å",
}
# Elements whose shieldings are positive, above the least mean (ppm) of all atoms of a structure: carbons of carbonyl groups,
# all alone, lie below zero. Oxygen, nitrogen and fluorine often are deshielded beyond it.
_LEAST = dict.fromkeys("H Li Be B Na Mg Al Si P K Ca".split(), 0.0) | {"C": -60.0}


def check_plausible(samples: Sequence[Sample], properties: Sequence[Property] = ()) -> None:
    """Looks for labels of the wrong sign or unit.

    - Between two frames that are near each other, the energy changes by minus the mean force times the displacement: each
      frame is judged with the nearest one of the same atoms and cell (molecules turned onto each other), in whatever order
      they stand, for each file by itself, for files of few frames together.
    - Shieldings are positive for most nuclei; shifts, as VASP prints them, are of the other sign: judged for each frame.
    - Absolute shieldings do not exceed some 10⁵ ppm, field gradients some 10² atomic units.

    Args:
        samples: of some files.
        properties: what their values are.

    Raises:
        ValueError: such labels, with the file or frame and what would do.
    """
    for name, frames in _files(samples):
        _forces(name, frames)
    for place, prop in enumerate(properties):
        if prop.name == "shielding" and any(irrep.degree == 0 for irrep in prop.kinds):
            _sign(samples, place)
        limit = {"shielding": 1e5, "efg": 1e2}.get(prop.name)
        for sample in samples:
            largest = np.nanmax(np.abs(sample.values[place]), initial=0.0)
            if limit is not None and largest > limit:
                raise ValueError(f"{prop.name}: {sample.source} has a value of {largest:.3g} {prop.unit}; check its unit.")


def _files(samples: Sequence[Sample]) -> Iterator[tuple[str, list[Sample]]]:
    """The frames of each file that has enough to judge, then those of all others."""
    files: dict[str, list[Sample]] = {}
    for sample in samples:
        files.setdefault(sample.source.rpartition(", frame ")[0] or sample.source, []).append(sample)
    few = {name: frames for name, frames in files.items() if len(frames) <= _PAIRS}
    yield from ((name, frames) for name, frames in files.items() if name not in few)
    others = f" and {len(few) - 1} more files" if len(few) > 1 else ""
    yield next(iter(few), "") + others, [sample for frames in few.values() for sample in frames]


def _forces(name: str, samples: Sequence[Sample]) -> None:
    pairs = list(_near(samples))
    foreseen, found = [x for x, _ in pairs], [y for _, y in pairs]
    if len(found) < _PAIRS:
        return
    x, y = np.array(foreseen), np.array(found)
    if not x.std() or not y.std():
        return
    slope, correlation = float(x @ y / (x @ x)), abs(float(np.corrcoef(x, y)[0, 1]))
    error = float(np.sqrt(np.sum((y - slope * x) ** 2) / (len(x) - 1) / (x @ x)))
    rough = correlation > 0.7 and not 0.5 < slope < 2
    fine = correlation > 0.95 and not 0.75 < slope < 1.33 and abs(slope - 1) > 3 * error
    if rough or fine:
        raise ValueError(
            f"forces: {name}: between {len(found)} pairs of near frames the energy changes by {slope:.3g} times what "
            f"the forces say{_cause(slope)}; give energies in eV and forces in eV/Å."
        )


def _near(samples: Sequence[Sample]) -> Iterator[tuple[float, float]]:
    """Of each frame and the nearest one of the same atoms and cell: change of the energy by the forces, and by the labels.

    Only of those that are near, each pair once. Molecules are turned onto each other first.
    """
    alike: dict[tuple, list[Sample]] = {}
    for sample in samples:
        if np.isfinite(sample.energy) and not np.isnan(sample.forces).any():
            cell = sample.structure.cell
            key = sample.structure.species, None if cell is None else np.asarray(cell).tobytes()
            alike.setdefault(key, []).append(sample)
    for every in alike.values():
        frames = every[:: -(-len(every) // _MOST)]
        r = np.stack([np.asarray(sample.structure.positions, np.float64) for sample in frames])
        forces, energies = np.stack([sample.forces for sample in frames]), np.array([sample.energy for sample in frames])
        if all(_isolated(sample) for sample in frames):
            r = r - r.mean(axis=1, keepdims=True)
            turns = _turns(r)
            r, forces = r @ turns, forces @ turns
        for one, two in _pairs(r.reshape(len(r), -1)):
            moved = r[two] - r[one]
            if 0 < np.abs(moved).max() < _NEAR:
                change = -np.sum((forces[one] + forces[two]) / 2 * moved)
                yield float(change), float(energies[two] - energies[one])


def _isolated(sample: Sample) -> bool:
    """Whether the atoms are a molecule that may be turned: no period, or vacuum on all sides."""
    structure = sample.structure
    if structure.cell is None or not any(structure.pbc):
        return True
    inverse = np.linalg.inv(np.asarray(structure.cell, np.float64))
    empty = (1 - np.ptp(np.asarray(structure.positions) @ inverse, axis=0)) / np.linalg.norm(inverse, axis=0)
    return bool((empty[list(structure.pbc)] > _VACUUM).all())


def _turns(r: np.ndarray) -> np.ndarray:
    """Rotations, to be multiplied from the right, that lay each of some centred molecules onto the first (Kabsch)."""
    u, _, v = np.linalg.svd(np.swapaxes(r, 1, 2) @ r[0])
    u[:, :, 2] *= np.sign(np.linalg.det(u @ v))[:, None]
    return u @ v


def _pairs(r: np.ndarray) -> list[tuple[int, int]]:
    """Each row and the nearest other one, but for equal ones, from which nothing follows."""
    r = r - r.mean(axis=0)
    square, pairs = np.sum(r**2, axis=1), set()
    for start in range(0, len(r), _BLOCK):
        block = r[start : start + _BLOCK]
        apart = square[start : start + _BLOCK, None] + square[None] - 2 * block @ r.T
        apart[apart <= 1e-12 * float(square.max())] = np.inf
        pairs |= {(min(k, n), max(k, n)) for k, n in enumerate(np.argmin(apart, axis=1).tolist(), start) if k != n}
    return sorted(pairs)


def _cause(slope: float) -> str:
    """The mistake that makes such a factor."""
    near = [what for factor, what in _UNITS.items() if abs(np.log(abs(slope) / factor)) < 0.1]
    causes = ["gradients instead of forces"] * (slope < 0) + [" or ".join(near)] * bool(near)
    return f", as of {' and '.join(causes)}" if causes else ""


def _sign(samples: Sequence[Sample], place: int) -> None:
    wrong: list[tuple[str, dict[str, float]]] = []
    for sample in samples:
        values, species = sample.values[place], np.array(sample.structure.species)
        isotropic = values if values.ndim == 1 else np.trace(values, axis1=1, axis2=2) / 3
        labelled = np.isfinite(isotropic)
        judged = sorted(set(species[labelled].tolist()) & _LEAST.keys())
        means = {symbol: float(isotropic[labelled & (species == symbol)].mean()) for symbol in judged}
        if means and all(mean < _LEAST[symbol] for symbol, mean in means.items()):
            wrong.append((sample.source, means))
    if wrong:
        source, means = wrong[0]
        shown = ", ".join(f"{symbol} {mean:.0f}" for symbol, mean in means.items())
        others = f" (and {len(wrong) - 1} more of {len(samples)} frames)" if len(wrong) > 1 else ""
        raise ValueError(
            f"shielding: {source}{others}: mean isotropic values are negative ({shown} ppm); these look like shifts, which "
            "have the other sign (VASP prints them). Give minus the values."
        )
