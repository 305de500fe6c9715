"""VASP's POSCAR and CONTCAR, by ASE."""

from __future__ import annotations

import io
import re

from jaxnmr.errors import missing_extra
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._text import Text

__all__ = ["is_poscar", "read_poscar"]


def is_poscar(text: Text) -> bool:
    """Whether a scale and three lattice vectors follow the first line."""
    if len(text.lines) < 8:
        return False
    rows = [line.split() for line in text.lines[1:5]]
    try:
        numbers = [[float(word) for word in row[:3]] for row in rows]
    except ValueError:
        return False
    lattice = len(numbers[0]) in (1, 3) and all(len(row) == 3 for row in numbers[1:])
    modes = [line.strip()[:1].lower() for line in text.lines[5:9]]
    return lattice and any(re.match(r"[dck]", mode) for mode in modes if mode)


def read_poscar(text: Text) -> Structure:
    """The crystal; velocities and constraints are passed over.

    Raises:
        ImportError: ASE is missing.
        ValueError: a file that ASE refuses.
    """
    if all(word.isdigit() for word in text.lines[5].split()):
        raise text.error(6, "numbers of atoms without a line of elements (VASP 4); put the elements above them, as 'Mg O'.")
    try:
        from ase.io import read
    except ImportError:
        raise missing_extra("ase", "atoms") from None
    try:
        atoms = read(io.StringIO("\n".join(text.lines) + "\n"), format="vasp")
    except Exception as error:  # whatever ASE's parser stumbles over
        raise ValueError(
            f"{text.path}: no POSCAR that can be read ({error}); write it again with VASP 5's line of elements."
        ) from None
    found = Structure.from_ase(atoms)  # type: ignore[arg-type]
    return Structure(found.species, found.positions, found.cell, found.pbc, source=text.path)
