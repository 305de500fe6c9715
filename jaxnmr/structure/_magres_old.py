"""CASTEP's text before magres 1.0: a section for each atom, with its position and its tensors in rows."""

from __future__ import annotations

import re

import numpy as np

from jaxnmr.structure._elements import element
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._text import Text
from jaxnmr.units import BOHR_IN_ANGSTROM

__all__ = ["is_old_magres", "read_old_magres"]

_ATOM = re.compile(r"\s*Atom:\s*(\S+?)\s*(\d+)\s*$")
_PLACE = re.compile(r"\s*\S+?\s*\d+\s+Coordinates\s+(.*?)\s*$")
# Only the total counts: "LOCAL TOTAL tensor" and the like are parts of it.
_TENSOR = re.compile(r"\s*TOTAL\s+(Shielding\s+Tensor|tensor)\s*$")


def is_old_magres(text: Text) -> bool:
    """Whether the file has sections of atoms and no blocks."""
    return any(_ATOM.match(line) for line in text.lines)


def read_old_magres(text: Text) -> Structure:
    """Atoms and tensors. The text has no lattice, three decimals of a position and four of a tensor."""
    atoms: dict[tuple[str, int], np.ndarray | None] = {}
    tensors: dict[str, dict[tuple[str, int], np.ndarray]] = {"ms": {}, "efg": {}}
    atom, number = None, 0
    while number < len(text.lines):
        number += 1
        line = text.lines[number - 1]
        if match := _ATOM.match(line):
            atom = (match[1], int(match[2]))
            if element(atom[0]) is None:
                raise text.error(number, f"{atom[0]!r} is no element; give its symbol, as 'Si'.")
            atoms.setdefault(atom, None)
        elif match := _PLACE.match(line):
            atoms[_of(text, number, atom)] = _position(text, number, match[1])
        elif match := _TENSOR.match(line):
            kind = "ms" if match[1].startswith("Shielding") else "efg"
            tensors[kind][_of(text, number, atom)], number = _rows(text, number)
    for name, place in atoms.items():
        if place is None:
            raise text.cut(f"before the coordinates of {name[0]} {name[1]}")
    if not any(tensors.values()):
        raise text.cut("without any tensor")
    for kind, found in tensors.items():
        # CASTEP printed a tensor for every atom or for none.
        if found and (missing := next((name for name in atoms if name not in found), None)):
            raise text.cut(f"before the {'shielding' if kind == 'ms' else 'field gradient'} of {missing[0]} {missing[1]}")
    absent = np.full(9, np.nan)
    ms, efg = (np.array([found.get(name, absent) for name in atoms]).reshape(-1, 3, 3) for found in tensors.values())
    return Structure(
        [str(element(label)) for label, _ in atoms],
        np.array(list(atoms.values())),
        labels=[label for label, _ in atoms],
        indices=[index for _, index in atoms],
        shielding=ms,
        efg=efg,
        source=text.path,
        code="CASTEP",
    )


def _of(text: Text, line: int, atom: tuple[str, int] | None) -> tuple[str, int]:
    if atom is None:
        raise text.error(line, "values before the first 'Atom:' line; the file's beginning is missing.")
    return atom


def _position(text: Text, line: int, words: str) -> np.ndarray:
    *numbers, unit = words.split()
    if unit not in ("A", "Bohr", "bohr") or len(numbers) != 3:
        raise text.error(line, f"expected three coordinates in A or Bohr, got {words!r}; correct the line.")
    return text.floats(line, numbers) * (1.0 if unit == "A" else BOHR_IN_ANGSTROM)


def _rows(text: Text, line: int) -> tuple[np.ndarray, int]:
    """Nine numbers of the next three rows that are not empty, and the number of the last."""
    values = []
    start = line
    while len(values) < 9:
        line += 1
        if line > len(text.lines):
            raise text.cut(f"inside the tensor of line {start}")
        words = text.lines[line - 1].split()
        if not words:
            continue
        if len(words) != 3:
            raise text.error(line, f"a row of a tensor has {len(words)} entries instead of three; correct the line.")
        values.extend(text.floats(line, words))
    return np.array(values), line
