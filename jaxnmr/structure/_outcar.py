r"""VASP's OUTCAR of a run with LCHIMAG and LEFG.

VASP calls $\partial B^{ind}_i / \partial B_j$ the absolute chemical shift: the shielding with the opposite sign. The
tensors it prints are those of the valence electrons, without the uniform part of the induced field. The shielding of
other codes is minus the sum of four terms:

- the tensor after symmetrisation,
- the tensor of the G = 0 contribution, for a spherical sample, which belongs to the valence electrons' susceptibility,
- the core shift of the element,
- $(8\pi/3)\,\chi_{core}/(N_A V)$ with the core's susceptibility per mole of cells: the same G = 0 term of the core.

The isotropic sums are those of the file's last table, "absolute, valence and core", including G = 0.

References:
    G. A. de Wijs, R. Laskowski, P. Blaha, R. W. A. Havenith, G. Kresse and M. Marsman, J. Chem. Phys. 146, 064115 (2017).
"""

from __future__ import annotations

import re

import numpy as np

from jaxnmr.structure._elements import element
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._text import NUMBER, Text
from jaxnmr.units import AVOGADRO, EFG_AU, PI

__all__ = ["is_outcar", "read_outcar"]

_VOLTS_PER_SQUARE_ANGSTROM = 1e20 / EFG_AU
_VERSION = re.compile(r"\s*vasp\.(\S+)", re.IGNORECASE)
_NUMBERS_ONLY = re.compile(r"[\s\d.+\-EeDd]*$")


def is_outcar(text: Text) -> bool:
    """Whether one of the first lines names VASP."""
    return any(_VERSION.match(line) or "POTCAR:" in line for line in text.lines[:100])


def read_outcar(text: Text) -> Structure:
    """Atoms, shieldings and field gradients of the last step."""
    version = next((match[1] for line in text.lines[:10] if (match := _VERSION.match(line))), "")
    kinds, members = _species(text)
    species = [kinds[k] for k in members]
    cell = _rows(text, _last(text, "direct lattice vectors", "the lattice"), 1, 3, 3)
    return Structure(
        species,
        _positions(text, len(species)),
        cell,
        shielding=_shielding(text, kinds, members, abs(float(np.linalg.det(cell)))),
        efg=_efg(text, len(species)),
        source=text.path,
        code=f"VASP {version}".strip(),
    )


def _find(text: Text, words: str) -> int | None:
    """Number of the last line that begins with these words."""
    for number in range(len(text.lines), 0, -1):
        if text.lines[number - 1].lstrip().startswith(words):
            return number
    return None


def _last(text: Text, words: str, what: str) -> int:
    number = _find(text, words)
    if number is None:
        raise text.cut(f"without {what} ({words!r})")
    return number


def _rows(text: Text, line: int, skip: int, rows: int, columns: int) -> np.ndarray:
    """Numbers (rows, columns) of the lines that follow `line`; Fortran may leave no blank before a minus."""
    values = []
    for number in range(line + skip, line + skip + rows):
        if number > len(text.lines):
            raise text.cut(f"inside the table that begins in line {line}")
        content = text.lines[number - 1]
        found = NUMBER.findall(content)
        if len(found) < columns or not _NUMBERS_ONLY.match(content):
            raise text.error(number, f"expected at least {columns} numbers, got {content.strip()!r}; run VASP again.")
        values.append(text.floats(number, found[:columns]))
    return np.array(values)


def _species(text: Text) -> tuple[list[str], list[int]]:
    """The element of each kind of atom, and the kind of each atom."""
    kinds = []
    for number, line in text:
        if line.lstrip().startswith("VRHFIN"):
            symbol = element(line.partition("=")[2].strip())
            if symbol is None:
                raise text.error(number, f"{line.strip()!r} names no element; correct the POTCAR's VRHFIN.")
            kinds.append(symbol)
    number = _last(text, "ions per type =", "the number of atoms")
    counts = [int(word) for word in text.lines[number - 1].partition("=")[2].split()]
    if len(kinds) < len(counts):
        raise text.error(number, f"{len(counts)} kinds of atoms, but {len(kinds)} VRHFIN lines; run VASP again.")
    return kinds[: len(counts)], [kind for kind, count in enumerate(counts) for _ in range(count)]


def _positions(text: Text, n: int) -> np.ndarray:
    """Positions of the last step; those of a single step have more digits in the table before it."""
    steps = [number for number, line in text if line.lstrip().startswith("POSITION  ") and "TOTAL-FORCE" in line]
    start = _find(text, "position of ions in cartesian coordinates")
    if len(steps) > 1 or start is None:
        if not steps:
            raise text.cut("without positions")
        return _rows(text, steps[-1], 2, n, 3)
    return _rows(text, start, 1, n, 3)


def _efg(text: Text, n: int) -> np.ndarray | None:
    start = _find(text, "Electric field gradients (V/A^2)")
    if start is None:
        return None
    table = _rows(text, start, 4, n, 7)
    order = [0, 3, 4, 3, 1, 5, 4, 5, 2]  # columns are xx, yy, zz, xy, xz, yz
    return (table[:, 1:][:, order] * _VOLTS_PER_SQUARE_ANGSTROM).reshape(-1, 3, 3)


def _shielding(text: Text, kinds: list[str], members: list[int], volume: float) -> np.ndarray | None:
    start = _find(text, "SYMMETRIZED TENSORS")
    if start is None:
        if (begun := _find(text, "Absolute Chemical Shift tensors")) is not None:
            raise text.cut(f"inside the shift tensors, which begin in line {begun}")
        return None
    n = len(members)
    shift = np.empty((n, 9))
    for atom in range(n):
        line = start + 1 + 4 * atom
        if line > len(text.lines):
            raise text.cut(f"before the shift tensor of atom {atom + 1} of {n}")
        if text.lines[line - 1].split() != ["ion", str(atom + 1)]:
            raise text.error(line, f"expected 'ion {atom + 1}', got {text.lines[line - 1].strip()!r}; run VASP again.")
        shift[atom] = _rows(text, line, 1, 3, 3).ravel()
    uniform = _last(text, "G=0 CONTRIBUTION TO CHEMICAL SHIFT", "the G=0 contribution to the shift")
    shift += _rows(text, uniform, 5, 3, 4)[:, 1:].ravel()
    core = np.array(_core(text, kinds))[members]
    susceptibility = _last(text, "Core contribution to magnetic susceptibility:", "the core's susceptibility")
    words = text.lines[susceptibility - 1].partition(":")[2]
    chi = text.floats(susceptibility, NUMBER.findall(words)[:1])[0]  # 1e-6 cm^3 per mole of cells
    core_uniform = 8 * PI / 3 * chi / (volume * 1e-24 * AVOGADRO)
    shift[:, [0, 4, 8]] += core[:, None] + core_uniform
    return -shift.reshape(-1, 3, 3)


def _core(text: Text, kinds: list[str]) -> list[float]:
    """Core shift of each kind, ppm."""
    start = _last(text, "typ  El   Core shift (ppm)", "the cores' shifts")
    shifts = []
    for k in range(len(kinds)):
        number = start + 2 + k
        words = text.lines[number - 1].split() if number <= len(text.lines) else []
        if len(words) != 3:
            raise text.error(min(number, len(text.lines)), f"expected the core shift of {kinds[k]}; run VASP again.")
        shifts.append(float(text.floats(number, words[2:])[0]))
    return shifts
