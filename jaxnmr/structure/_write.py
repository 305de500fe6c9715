"""Structures into files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxnmr.saving import written_aside
from jaxnmr.structure._structure import Structure

__all__ = ["write"]

# Seventeen digits bring every float64 back as it was.
_FORMAT = "{:.17g}"


def write(
    structure: Structure | Sequence[Structure],
    path: str | os.PathLike[str],
    *,
    columns: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> None:
    """Write a magres 1.0 or an extxyz file.

    Every number comes back as it was. The file takes its name when it is complete; one of that name is replaced.
    Tensors are written as `read` expects them and ASE and other programs print them, a row for each direction of the
    field. The magres format has no room for isotopes, and none for periodicity in one or two directions.

    Args:
        structure: one; or several, for extxyz.
        path: a name that ends in .magres, .xyz or .extxyz.
        columns: of extxyz, further numbers of each structure by their names, (atom,) or (atom, width); `read` passes them
            over.

    Raises:
        ValueError: another ending, several structures, partial periodicity or columns for magres, columns that do not fit.
    """
    frames = [structure] if isinstance(structure, Structure) else list(structure)
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".magres", ".xyz", ".extxyz"):
        raise ValueError(f"path: got {os.fspath(path)!r}; let it end in .magres, .xyz or .extxyz.")
    if not frames:
        raise ValueError("structure: got none; give at least one.")
    further: Sequence[Mapping[str, np.ndarray]] = [{}] * len(frames) if columns is None else columns
    if len(further) != len(frames):
        raise ValueError(f"columns: {len(further)} came for {len(frames)} structures; give one mapping for each.")
    if suffix == ".magres":
        if any(further):
            raise ValueError(f"columns: got {', '.join(further[0])}, for which magres has no room; write extxyz.")
        if len(frames) > 1:
            raise ValueError(f"structure: got {len(frames)}, but a magres file holds one; write extxyz, or several files.")
        lines = _magres(frames[0])
    else:
        lines = (line for frame, more in zip(frames, further, strict=True) for line in _extxyz(frame, more))
    with written_aside(target) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _numbers(values: Iterable[float]) -> str:
    return " ".join(_FORMAT.format(float(value)) for value in values)


def _magres(structure: Structure) -> Iterable[str]:
    if any(structure.pbc) != all(structure.pbc):
        raise ValueError(f"structure: pbc is {structure.pbc}, which magres cannot say; write extxyz.")
    yield "#$magres-abinitio-v1.0"
    if structure.code:
        program, _, version = structure.code.partition(" ")
        yield "[calculation]"
        yield f"calc_code {program}"
        if version:
            yield f"calc_code_version {version}"
        yield "[/calculation]"
    yield "[atoms]"
    if structure.cell is not None and all(structure.pbc):
        yield "units lattice Angstrom"
        yield f"lattice {_numbers(np.asarray(structure.cell).ravel())}"
    yield "units atom Angstrom"
    positions = np.asarray(structure.positions)
    names = [f"{label} {index}" for label, index in zip(structure.labels, structure.indices, strict=True)]
    for symbol, name, position in zip(structure.species, names, positions, strict=True):
        yield f"atom {symbol} {name} {_numbers(position)}"
    yield "[/atoms]"
    yield "[magres]"
    for kind, unit, tensors in (("ms", "ppm", structure.shielding), ("efg", "au", structure.efg)):
        printed = np.asarray(tensors).reshape(-1, 9)
        rows = [(name, row) for name, row in zip(names, printed, strict=True) if not np.isnan(row).any()]
        if rows:
            yield f"units {kind} {unit}"
            yield from (f"{kind} {name} {_numbers(row)}" for name, row in rows)
    yield "[/magres]"


def _extxyz(structure: Structure, further: Mapping[str, np.ndarray]) -> Iterable[str]:
    properties = ["species:S:1", "pos:R:3", "labels:S:1", "indices:I:1"]
    columns: list[Iterable[str]] = [
        structure.species,
        map(_numbers, np.asarray(structure.positions)),
        structure.labels,
        map(str, structure.indices),
    ]
    if structure.isotopes is not None:
        properties.append("isotope:S:1")
        columns.append(nucleus or "-" for nucleus in structure.isotopes)
    for name, tensors in (("ms", structure.shielding), ("efg", structure.efg)):
        rows = np.asarray(tensors).reshape(-1, 9)
        if not np.isnan(rows).all():
            properties.append(f"{name}:R:9")
            columns.append(map(_numbers, rows))
    for name, values in further.items():
        if len(values) != len(structure):
            raise ValueError(f"columns: {name} has {len(values)} rows for {len(structure)} atoms; give one for each.")
        rows = np.reshape(values, (len(structure), -1))
        properties.append(f"{name}:R:{rows.shape[1]}")
        columns.append(map(_numbers, rows))
    pairs = [f"Properties={':'.join(properties)}"]
    if structure.cell is not None:
        pairs.insert(0, f'Lattice="{_numbers(np.asarray(structure.cell).ravel())}"')
    pairs.append(f'pbc="{" ".join("T" if periodic else "F" for periodic in structure.pbc)}"')
    if structure.code:
        pairs.append('code="{}"'.format(" ".join(structure.code.replace('"', "'").split())))
    yield str(len(structure))
    yield " ".join(pairs)
    yield from (" ".join(row) for row in zip(*columns, strict=True))
