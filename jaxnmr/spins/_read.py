"""From the atoms of a structure to sites: which atoms, and which of them are equivalent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

import numpy as np

from jaxnmr.errors import near, warn
from jaxnmr.isotopes import Isotope
from jaxnmr.spins._align import aligned

if TYPE_CHECKING:
    from jaxnmr.structure import Structure

__all__ = ["TOLERANCE", "Source", "equivalent", "gathered", "merged", "selected"]

# Of equivalent sites, ppm and atomic units: well above the noise of converged calculations, below what a line shows.
TOLERANCE = (0.1, 5e-4)

Atoms = str | Sequence[int | str] | np.ndarray
Source = Union[str, os.PathLike[str], "Structure"]

# Cells that were relaxed on their own differ by a per cent or two; one that is turned or of another setting, by its size.
_SAME_CELL = 0.03


def gathered(path: Source | Sequence[Source], nucleus: Isotope, atoms: Atoms | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Shieldings and field gradients of the sites of one file, or of several in one frame; see `Sites.read`."""
    from jaxnmr.structure import Structure, read

    sources = [path] if isinstance(path, str | os.PathLike | Structure) else list(path)
    if not sources:
        raise ValueError("path: got none; give at least one file.")
    structures = [source if isinstance(source, Structure) else read(source) for source in sources]
    for other in structures[1:]:
        _check_cells(structures[0], other)
    chosen = [selected(structure, nucleus, atoms) for structure in structures]
    pairs = list(zip(structures, chosen, strict=True))
    shielding = np.concatenate([np.asarray(structure.shielding)[which] for structure, which in pairs])
    if not nucleus.is_quadrupolar:
        return shielding, None
    return shielding, np.concatenate([np.asarray(structure.efg)[which] for structure, which in pairs])


def _check_cells(first: Structure, other: Structure) -> None:
    """Refuse tensors of different frames, and warn where there is no telling."""
    names = [structure.source or "the structure" for structure in (first, other)]
    if first.cell is None or other.cell is None:
        if first.cell is other.cell:
            warn(f"path: {names[0]} and {names[1]} have no cells to compare; their tensors are taken to be in one frame.")
            return
        raise ValueError(f"path: {names[first.cell is not None]} has no cell, and the other has; give files of one crystal.")
    cells = [np.asarray(structure.cell, np.float64) for structure in (first, other)]
    apart, size = np.linalg.norm(cells[1] - cells[0]), np.linalg.norm(cells[0])
    if 1e-3 * size < apart <= _SAME_CELL * size:
        warn(f"path: the cells of {names[0]} and {names[1]} differ by {100 * apart / size:.2g} %; taken to be in one frame.")
    if apart > _SAME_CELL * size:
        shown = [np.array2string(np.linalg.norm(cell, axis=1), precision=3) for cell in cells]
        raise ValueError(
            f"path: the cells of {names[0]} and {names[1]} differ (lengths {shown[0]} and {shown[1]} A, vectors by "
            f"{apart:.2g} A); tensors of one spectrum share a frame. Compute both in one cell, or simulate them one by one."
        )


def selected(structure: Structure, nucleus: Isotope, atoms: Atoms | None, *, partial: bool = False) -> np.ndarray:
    """Positions in the structure of the atoms that are asked for and have the tensors this nucleus needs.

    Args:
        structure: with tensors.
        nucleus: what resonates.
        atoms: which, as in `Sites.read`.
        partial: whether one of the two tensors is enough.

    Raises:
        ValueError: as `Sites.read`.
    """
    where = structure.source or "the structure"
    of_element = np.array([symbol == nucleus.symbol for symbol in structure.species])
    if not of_element.any():
        raise ValueError(f"isotope: {where} has no {nucleus.symbol}; it has {', '.join(structure.elements)}.")
    if structure.isotopes is not None:
        of_element &= np.array([name in (None, nucleus.name) for name in structure.isotopes])
        if not of_element.any():
            others = sorted({str(name) for name in structure.isotopes if name is not None})
            raise ValueError(f"isotope: {where} has no {nucleus.name}; its isotopes are {', '.join(others)}.")
    complete = np.asarray(structure.has_shielding)
    needed = "shielding"
    if partial:
        complete = complete | (np.asarray(structure.has_efg) & nucleus.is_quadrupolar)
        needed = "tensors"
        if not (complete & of_element).any():
            raise ValueError(f"isotope: {where} has no tensors of {nucleus.name}.")
    else:
        _check_tensors(structure, nucleus, of_element, where)
        if nucleus.is_quadrupolar:
            complete = complete & np.asarray(structure.has_efg)
            needed = "shielding and field gradient"
    if atoms is not None:
        chosen = _named(structure, nucleus, atoms, of_element, where)
        lacking = [structure.names[i] for i in chosen if not complete[i]]
        if lacking:
            raise ValueError(f"atoms: {_some(lacking)} of {where} lacks {needed}; leave it out, or compute it.")
        return chosen
    lacking = [structure.names[i] for i in np.flatnonzero(of_element & ~complete)]
    if lacking and not partial:
        warn(f"{where}: {_some(lacking)} of {of_element.sum()} {nucleus.symbol} left out, without {needed}.")
    return np.flatnonzero(of_element & complete)


def _check_tensors(structure: Structure, nucleus: Isotope, of_element: np.ndarray, where: str) -> None:
    """Refuse a structure in which no atom of the element has all that the nucleus needs."""
    shielding, efg = (np.asarray(has)[of_element] for has in (structure.has_shielding, structure.has_efg))
    if not shielding.any():
        cure = (
            "it has field gradients: use Sites with shifts of your own and efg_to_coupling(structure.efg[atoms])"
            if efg.any()
            else "compute them (magres_task: NMR in CASTEP, LCHIMAG in VASP)"
        )
        raise ValueError(f"isotope: {where} has no shielding tensor of {nucleus.symbol}; {cure}.")
    if nucleus.is_quadrupolar and not (efg & shielding).any():
        raise ValueError(
            f"isotope: {where} has no electric field gradient of {nucleus.symbol}, which {nucleus.name} of spin "
            f"{nucleus.spin:g} needs; compute it (magres_task: EFG in CASTEP, LEFG in VASP), or, for the shift alone, use "
            "Sites.from_tensors with structure.shielding."
        )


def _named(structure: Structure, nucleus: Isotope, atoms: Atoms, of_element: np.ndarray, where: str) -> np.ndarray:
    """Positions of atoms given by position, name or label."""
    if isinstance(atoms, str):
        atoms = [atoms]
    known = {name: i for i, name in enumerate(structure.names)}
    chosen: list[int] = []
    for atom in atoms:
        if not isinstance(atom, str):
            if not 0 <= atom < len(structure):
                raise ValueError(f"atoms: got {atom}; {where} has {len(structure)} atoms, 0 to {len(structure) - 1}.")
            found = [int(atom)]
        elif atom in known:
            found = [known[atom]]
        else:
            found = [i for i, label in enumerate(structure.labels) if label == atom]
        if not found:
            mine = [structure.names[i] for i in np.flatnonzero(of_element)]
            advice = near(str(atom), [*structure.labels, *structure.names])
            raise ValueError(f"atoms: {where} has no {atom!r}{advice}; its {nucleus.symbol} are {_some(mine)}.")
        chosen += found
    for i in chosen:
        if not of_element[i]:
            what = structure.species[i] if structure.isotopes is None else structure.isotopes[i] or structure.species[i]
            raise ValueError(f"atoms: {structure.names[i]} is {what}, not {nucleus.name}; leave it out.")
    if len(set(chosen)) != len(chosen) or not chosen:
        twice = [structure.names[i] for i in chosen if chosen.count(i) > 1]
        raise ValueError(f"atoms: {f'{twice[0]} came twice' if twice else 'got none'}; name each once.")
    return np.array(chosen)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def merged(
    shielding: np.ndarray, efg: np.ndarray | None, tolerance: tuple[float, float] = TOLERANCE
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """One site for each set of `equivalent` ones: mean tensors in the frame of the first, and its share.

    Args:
        shielding: ppm, (site, 3, 3).
        efg: atomic units, (site, 3, 3), or None.
        tolerance: in ppm and atomic units, as in `Sites.read`.
    """
    means, members = _sets(shielding, efg, tolerance)
    weights = np.array([len(group) for group in members]) / len(shielding)
    return means[:, 0] * tolerance[0], None if efg is None else means[:, 1] * tolerance[1], weights


def equivalent(
    shielding: np.ndarray, efg: np.ndarray | None, tolerance: tuple[float, float] = TOLERANCE
) -> tuple[tuple[int, ...], ...]:
    """Which atoms `Sites.read(merge=True)` makes one site of: their indices, in the order of its sites.

    Two atoms are equivalent if one rotation takes both tensors of the one to those of the other, within the tolerance.

    Args:
        shielding: ppm, (site, 3, 3).
        efg: atomic units, (site, 3, 3), or None.
        tolerance: largest Frobenius norm of what is left of each, in ppm and atomic units.

    Raises:
        ValueError: a tolerance that is not positive.
    """
    return _sets(np.asarray(shielding), None if efg is None else np.asarray(efg), tolerance)[1]


def _sets(
    shielding: np.ndarray, efg: np.ndarray | None, tolerance: tuple[float, float]
) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
    """Mean tensors of each set in units of the tolerance, (set, kind, 3, 3), and its members."""
    if len(tolerance) != 2 or not all(t > 0 for t in tolerance):
        raise ValueError(f"tolerance: got {tolerance}; give two positive numbers, in ppm and in atomic units of gradient.")
    # In units of the tolerance the criterion is a distance of one.
    pairs = [shielding / tolerance[0]]
    if efg is not None:
        pairs.append(efg / tolerance[1])
    tensors = np.stack(pairs, axis=1)
    spectra = _spectra(tensors)
    members: list[list[int]] = []
    turned_to: list[list[np.ndarray]] = []
    for site, tensor in enumerate(tensors):
        for group, together in zip(members, turned_to, strict=True):
            first = group[0]
            # Eigenvalues move by less than the tensor does (Weyl), so most pairs need no rotation to be told apart.
            if np.abs(spectra[site] - spectra[first]).max() <= 1:
                turned = aligned(tensor, tensors[first])
                if np.linalg.norm(turned - tensors[first]) <= 1:
                    group.append(site)
                    together.append(turned)
                    break
        else:
            members.append([site])
            turned_to.append([tensor])
    return np.array([np.mean(together, axis=0) for together in turned_to]), tuple(tuple(group) for group in members)


def _spectra(tensors: np.ndarray) -> np.ndarray:
    """Eigenvalues of each symmetric part, (site, 3 tensors): they do not change when a tensor turns."""
    values = np.linalg.eigvalsh((tensors + np.swapaxes(tensors, -1, -2)) / 2)
    return values.reshape(len(tensors), -1)
