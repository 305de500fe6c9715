"""Extended xyz: a count, a line of properties, a row for each atom; one frame after the other."""

from __future__ import annotations

import re

import numpy as np

from jaxnmr.structure._elements import element
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._text import Text

__all__ = ["PAIR", "columns_of", "is_extxyz", "read_extxyz"]

PAIR = re.compile(r"""([^\s=]+)\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|\S+)""")
_SHIELDING = ("ms", "shielding", "shielding_ppm", "magnetic_shielding", "nmr_shielding", "sigma")
_EFG = ("efg", "efg_au", "electric_field_gradient")
_TRUE = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}


def is_extxyz(text: Text) -> bool:
    """Whether the file begins with a count and, next, a line that names properties or a lattice, or an atom's row."""
    if len(text.lines) < 2 or not text.lines[0].strip().isdigit():
        return False
    words = text.lines[2].split() if len(text.lines) > 2 else []
    return "=" in text.lines[1] or (len(words) >= 4 and element(words[0]) is not None)


def read_extxyz(text: Text) -> tuple[Structure, ...]:
    """All frames."""
    frames, start, last = [], 0, len(text.lines)
    while last and not text.lines[last - 1].strip():
        last -= 1
    while start < last:
        count = text.lines[start].strip()
        if not count.isdigit() or int(count) == 0:
            raise text.error(start + 1, f"expected the number of atoms of a frame, got {count!r}; correct the line.")
        n = int(count)
        if start + 2 + n > last:
            raise text.cut(f"inside the frame of {n} atoms that begins in line {start + 1}")
        frames.append(_frame(text, start + 1, n, len(frames)))
        start += 2 + n
    if not frames:
        raise text.cut("before its first frame")
    return tuple(frames)


def _frame(text: Text, first: int, n: int, frame: int) -> Structure:
    """The frame of this number whose count stands in line `first`."""
    comment = text.lines[first]
    pairs = {key.lower(): value.strip("\"'{}") for key, value in PAIR.findall(comment)}
    columns = columns_of(text, first + 1, pairs.get("properties", "species:S:1:pos:R:3"))
    width = max(stop for _, stop in columns.values())
    rows = []
    for number in range(first + 2, first + 2 + n):
        row = text.lines[number - 1].split()
        if len(row) < width:
            raise text.error(number, f"{len(row)} columns, but Properties names {width}; correct either.")
        rows.append(row)

    def numbers(name: str) -> np.ndarray:
        start, stop = columns[name]
        return np.array([text.floats(first + 2 + k, row[start:stop]) for k, row in enumerate(rows)])

    def words(name: str) -> list[str] | None:
        return [row[columns[name][0]] for row in rows] if name in columns else None

    species = []
    for k, name in enumerate(words("species") or []):
        symbol = element(name)
        if symbol is None:
            raise text.error(first + 2 + k, f"{name!r} is no element; give its symbol, as 'Si'.")
        species.append(symbol)
    shielding = _tensors(text, first + 1, _SHIELDING, columns, numbers)
    efg = _tensors(text, first + 1, _EFG, columns, numbers)
    if shielding is not None:
        # No nucleus is without shielding: nine zeros stand for an atom that was not computed.
        void = (shielding == 0).all(axis=(1, 2))
        shielding[void] = np.nan
        if efg is not None:
            efg[void & (efg == 0).all(axis=(1, 2))] = np.nan
    indices = words("indices")
    nuclei = words("isotope")
    positions, cell, pbc = numbers("pos"), _cell(text, first + 1, pairs.get("lattice")), _pbc(text, first + 1, pairs)
    try:
        return Structure(
            species,
            positions,
            cell,
            pbc,
            labels=words("labels"),
            indices=None if indices is None else [int(index) for index in indices],
            isotopes=None if nuclei is None else [None if name == "-" else name for name in nuclei],
            shielding=shielding,
            efg=efg,
            source=text.path,
            code=pairs.get("code", ""),
        )
    except ValueError as error:  # it knows neither file nor frame
        raise text.error(first, f"frame {frame}: {error}") from None


def columns_of(text: Text, line: int, properties: str) -> dict[str, tuple[int, int]]:
    """First and last-but-one column of each property, by its name."""
    parts = properties.split(":")
    columns, start = {}, 0
    for name, kind, width in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        if not width.isdigit() or kind not in "SRIL":
            raise text.error(line, f"Properties has {name}:{kind}:{width}; expected name, S, R, I or L, and a width.")
        columns[name] = (start, start + int(width))
        start += int(width)
    if len(parts) % 3 or "species" not in columns or columns.get("pos", (0, 0))[1] - columns.get("pos", (0, 0))[0] != 3:
        raise text.error(line, f"Properties={properties}; it must name species:S:1 and pos:R:3.")
    return columns


def _tensors(text: Text, line: int, known: tuple[str, ...], columns, numbers) -> np.ndarray | None:
    found = [name for name in columns if name.lower() in known]
    if not found:
        return None
    if len(found) > 1:
        raise text.error(line, f"Properties names {' and '.join(found)}; leave one of them.")
    start, stop = columns[found[0]]
    if stop - start != 9:
        raise text.error(line, f"{found[0]} has {stop - start} columns; a tensor has nine (write it as {found[0]}:R:9).")
    return numbers(found[0]).reshape(-1, 3, 3).copy()


def _cell(text: Text, line: int, lattice: str | None) -> np.ndarray | None:
    if lattice is None:
        return None
    values = text.floats(line, lattice.replace(",", " ").split())
    if values.shape != (9,):
        raise text.error(line, f"Lattice has {values.size} numbers; it needs nine.")
    return values.reshape(3, 3) if values.any() else None


def _pbc(text: Text, line: int, pairs: dict[str, str]) -> tuple[bool, ...] | None:
    if "pbc" not in pairs:
        return None
    words = pairs["pbc"].replace(",", " ").replace("[", " ").replace("]", " ").split()
    if len(words) != 3 or any(word.lower() not in _TRUE for word in words):
        raise text.error(line, f"pbc={pairs['pbc']!r}; expected three of T and F.")
    return tuple(_TRUE[word.lower()] for word in words)
