"""Frames of a file together with numbers that are not part of a structure: energies, forces, charges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnmr.structure._extxyz import PAIR, columns_of, is_extxyz, read_extxyz
from jaxnmr.structure._read import read_all
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._text import Text, load

__all__ = ["Frame", "read_frames"]


class Frame(NamedTuple):
    """One structure of a file and the numbers that were asked for.

    Attributes:
        structure: the atoms.
        numbers: for each name (atom, width) of a column, (count,) of the line of properties; None where it has neither.
    """

    structure: Structure
    numbers: tuple[np.ndarray | None, ...]


def read_frames(path: str | os.PathLike[str], names: Sequence[str] = ()) -> tuple[Frame, ...]:
    """All frames of a file, with numbers from columns or from the line of properties of extxyz.

    Args:
        path: as in `read`; formats other than extxyz have no such numbers.
        names: of columns, or keys of the line of properties; capitals do not matter.

    Raises:
        ValueError: as `read`, and numbers that are none, with their line.
    """
    text = load(path)
    if not is_extxyz(text):
        return tuple(Frame(structure, (None,) * len(names)) for structure in read_all(path))
    frames, start = [], 0
    for structure in read_extxyz(text):
        frames.append(Frame(structure, tuple(_numbers(text, start + 1, len(structure), name) for name in names)))
        start += 2 + len(structure)
    return tuple(frames)


def _numbers(text: Text, first: int, n: int, name: str) -> np.ndarray | None:
    """Of the frame whose line of properties is number `first`, counted from 0."""
    pairs = {key.lower(): value.strip("\"'{}") for key, value in PAIR.findall(text.lines[first])}
    columns = columns_of(text, first + 1, pairs.get("properties", "species:S:1:pos:R:3"))
    found = next((span for key, span in columns.items() if key.lower() == name.lower()), None)
    if found is not None:
        start, stop = found
        lines = range(first + 2, first + 2 + n)
        return np.array([text.floats(line, text.lines[line - 1].split()[start:stop]) for line in lines])
    if name.lower() in pairs:
        return text.floats(first + 1, pairs[name.lower()].replace(",", " ").split())
    return None
