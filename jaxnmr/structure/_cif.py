"""Crystals from CIF files, by gemmi: any setting of any space group, one atom for each position of the cell."""

from __future__ import annotations

import re
from collections import Counter
from statistics import median
from typing import Any

import numpy as np

from jaxnmr.errors import missing_extra, near, warn
from jaxnmr.structure._elements import ELEMENTS
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._text import Text

__all__ = ["is_cif", "read_cif"]

# Å: images of a position by several operations are one atom, though its digits be few.
_SAME = 0.3
# Å: two atoms are never as near; those of a disordered group's arrangements are.
_APART = 0.6
_CELL = (*(f"_cell_length_{side}" for side in "abc"), *(f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma")))


def is_cif(text: Text) -> bool:
    """Whether a data block with a cell begins somewhere."""
    lines = [line.strip().lower() for line in text.lines]
    return any(line.startswith("data_") for line in lines) and any(line.startswith("_cell_length_a") for line in lines)


def read_cif(text: Text) -> Structure:
    """The crystal of the first block that has atoms.

    The cell has a along x and b in the plane of x and y. Symmetry is what the file lists, operation by operation, or, where
    it lists none, that of its space group's symbol. Labels are the file's; deuterium D becomes H with the isotope 2H.

    Raises:
        ImportError: gemmi is missing.
        ValueError: a file that is not CIF, without atoms, symmetry or a known element, with sites that are partly occupied.

    Warns:
        JaxnmrWarning: the formula has other numbers of atoms than the cell, as where hydrogens are left out; a space group
            of two origins, given by its symbol alone.
    """
    try:
        import gemmi
    except ImportError:
        raise missing_extra("gemmi", "atoms") from None
    try:
        document = gemmi.cif.read_string("\n".join(text.lines) + "\n")
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{text.path}: not CIF: {error}; correct the line, or export the file again.") from None
    for block in document:
        crystal = gemmi.make_small_structure_from_block(block)
        if len(crystal.sites):
            return _crystal(gemmi, text.path, block, crystal)
    raise ValueError(f"{text.path}: no block has atoms (_atom_site_fract_x, ...); export the file with its coordinates.")


def _crystal(gemmi: Any, path: str, block: Any, crystal: Any) -> Structure:
    for name in _CELL:
        # gemmi takes a cell of 1 Å where a parameter is missing.
        value = gemmi.cif.as_number(block.find_value(name) or "?")
        if not value > 0:
            raise ValueError(f"{path}: {name} is {block.find_value(name) or 'missing'}; the cell needs all six, > 0.")
    operations = _operations(gemmi, path, crystal)
    cell = np.array(crystal.cell.orth.mat.tolist()).T
    species, labels, isotopes, places = [], [], [], []
    for site in crystal.sites:
        if site.occ < 0.999:
            raise ValueError(
                f"{path}: {site.label} is occupied by {site.occ:g}; choose one of the disordered arrangements, delete the "
                "other's atoms and set the occupancy to 1."
            )
        if not np.isfinite(site.fract.tolist()).all():
            raise ValueError(f"{path}: {site.label} has a coordinate that is not a number; give it, or delete the atom.")
        symbol, isotope = _element(path, site)
        images = np.array([operation.apply_to_xyz(site.fract.tolist()) for operation in operations]) % 1.0
        for place in _distinct(images, cell):
            species.append(symbol)
            labels.append(site.label or symbol)
            isotopes.append(isotope)
            places.append(place)
    fractions = np.array(places)
    _check_apart(path, fractions, cell, labels)
    _check_formula(path, block, species)
    return Structure(
        species,
        fractions @ cell,
        cell,
        labels=[re.sub(r"[\s#]", "_", label) for label in labels],
        isotopes=isotopes if any(isotopes) else None,
        source=path,
    )


def _operations(gemmi: Any, path: str, crystal: Any) -> list[Any]:
    if len(crystal.symops):
        try:
            return [gemmi.Op(triplet) for triplet in crystal.symops]
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path}: a symmetry operation cannot be read ({error}); write it as 'x,1/2-y,z'.") from None
    group = crystal.spacegroup
    if group is None:
        raise ValueError(
            f"{path}: no symmetry operations and no known space group ({crystal.spacegroup_hm or 'no symbol'}); add the "
            "loop _space_group_symop_operation_xyz, with 'x,y,z' alone for P1."
        )
    origins = {other.ext for other in gemmi.spacegroup_table() if other.hm == group.hm}
    if {"1", "2"} <= origins and ":" not in crystal.spacegroup_hm and not crystal.spacegroup_hall:
        warn(
            f"{path}: {group.hm} has two choices of origin and the file names none; choice {group.ext} is taken. Check the "
            "bond lengths, or add the loop _space_group_symop_operation_xyz."
        )
    return list(group.operations())


def _element(path: str, site: Any) -> tuple[str, str | None]:
    symbol = site.element.name
    if symbol == "D":
        return "H", "2H"
    if symbol not in ELEMENTS:
        came = site.type_symbol or site.label
        raise ValueError(
            f"{path}: {site.label} is of element {came!r}{near(came, ELEMENTS)}; correct _atom_site_type_symbol."
        )
    return symbol, None


def _distinct(images: np.ndarray, cell: np.ndarray) -> list[np.ndarray]:
    """Positions once each; those of a special position coincide."""
    kept: list[np.ndarray] = []
    for image in images:
        if all(_distance(image - other, cell) > _SAME for other in kept):
            kept.append(image)
    return kept


def _distance(difference: np.ndarray, cell: np.ndarray) -> float:
    return float(np.linalg.norm((difference - np.round(difference)) @ cell))


def _check_apart(path: str, fractions: np.ndarray, cell: np.ndarray, labels: list[str]) -> None:
    difference = fractions[:, None] - fractions[None]
    apart = np.linalg.norm((difference - np.round(difference)) @ cell, axis=-1)
    i, j = np.unravel_index(np.argmin(apart + 1e3 * np.eye(len(apart))), apart.shape)
    if len(apart) > 1 and apart[i, j] < _APART:
        raise ValueError(
            f"{path}: {labels[i]} and {labels[j]} are {apart[i, j]:.2g} A apart, as where two arrangements of a disordered "
            "group are both listed; keep one of them."
        )


def _check_formula(path: str, block: Any, species: list[str]) -> None:
    """Compare what is there with `_chemical_formula_sum`, up to the number of formula units."""
    formula = (block.find_value("_chemical_formula_sum") or "").strip("'\" ")
    named: Counter[str] = Counter()
    for symbol, number in re.findall(r"([A-Z][a-z]?)([\d.]*)", formula):
        named["H" if symbol == "D" else symbol] += float(number or 1)  # type: ignore[assignment]
    there = Counter(species)
    if not named or not set(named) <= set(ELEMENTS):
        return
    units = {symbol: there[symbol] / number for symbol, number in named.items()}
    usual = median(units.values())
    other = [symbol for symbol, ratio in units.items() if abs(ratio - usual) > 1e-3 * usual]
    if other:
        counts = ", ".join(f"{there[symbol]} {symbol} for {named[symbol] * usual:g}" for symbol in other)
        warn(
            f"{path}: the cell has other atoms than the formula {formula}: {counts}; add what lacks (often hydrogens), or "
            "take away what is there twice (arrangements of a disordered group)."
        )
