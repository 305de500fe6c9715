"""Columns of numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxnmr.errors import near
from jaxnmr.spectrum.files._axes import is_uniform
from jaxnmr.spectrum.files._record import Meta, SpectrumRecord

__all__ = ["read_text"]

Real = NDArray[np.float64]

_UNITS = ("ppm", "hz", "khz")
_COMMENTS = ("#", "%", ";", "//")
# Hz per ppm is the Larmor frequency in MHz.
_LOWEST_MHZ = 3.0


def read_text(path: Path, unit: str | None, column: int | str | None) -> SpectrumRecord:
    """Read columns; `Spectrum.read` says how they are told apart.

    Raises:
        ValueError: no table of numbers, no or several candidates for axis or intensity.
    """
    if unit is not None and unit.lower() not in _UNITS:
        raise ValueError(f"unit: got {unit!r}{near(unit, _UNITS)}; use one of {', '.join(_UNITS)}.")
    names, table = _table(path)
    axes = _axes(path, names, table, unit)
    counters = {i for i in range(table.shape[1]) if _is_counter(table[:, i]) and i not in axes.values()}
    rest = [i for i in range(table.shape[1]) if i not in axes.values()]
    chosen, imaginary = _intensity(path, names, [i for i in rest if i not in counters] or rest, column)
    ppm, hz, larmor = _converted(table, axes)
    other = None if imaginary is None else table[:, imaginary]
    return SpectrumRecord(table[:, chosen], other, ppm, hz, larmor, Meta())


def _table(path: Path) -> tuple[list[str] | None, Real]:
    """Names of columns, if there are any, and their numbers."""
    names: list[str] | None = None
    rows: list[list[float]] = []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        comment = line.startswith(_COMMENTS)
        words = _words(line.lstrip("#%;/ \t") if comment else line)
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = None
        if comment or row is None:
            if rows and not comment:
                raise ValueError(f"{path}: line {number} is not numbers, {line[:40]!r}; the file may be cut short.")
            if not rows and len(words) > 1:
                names = words
            continue
        if rows and len(row) != len(rows[0]):
            raise ValueError(
                f"{path}: line {number} has {len(row)} columns, those above {len(rows[0])}; the file may be cut short, hold "
                "several spectra, or use decimal commas."
            )
        rows.append(row)
    if len(rows) < 2 or len(rows[0]) < 2:
        raise ValueError(f"{path}: no table of numbers, of at least 2 points and 2 columns; is it a spectrum?")
    table = np.array(rows)
    return names if names is not None and len(names) == table.shape[1] else None, table


def _words(line: str) -> list[str]:
    for delimiter in (",", ";", "\t"):
        if delimiter in line:
            return [word.strip().strip("\"'") for word in line.strip(delimiter).split(delimiter)]
    return line.split()


def _unit_of(name: str) -> str | None:
    """The unit in a column's name, such as "ppm", "Frequency (Hz)" or "shift/ppm"."""
    words = re.findall("[a-z]+", name.lower())
    found = [unit for unit in _UNITS if unit in words]
    return found[0] if len(found) == 1 else None


def _axes(path: Path, names: list[str] | None, table: Real, unit: str | None) -> dict[str, int]:
    """Columns that are axes, by unit."""
    if names is not None:
        named = {}
        for i, name in enumerate(names):
            found = _unit_of(name)
            if found in named:
                raise ValueError(f"{path}: two columns in {found}, {names}; several spectra in one file? Split it.")
            if found:
                named[found] = i
        if named:
            if unit is not None and unit.lower() not in named:
                raise ValueError(f"unit: got {unit!r}, but the columns of {path} are in {', '.join(named)}.")
            return named
    even = [i for i in range(table.shape[1]) if is_uniform(table[:, i])]
    if len(even) > 1:
        even = [i for i in even if not _is_counter(table[:, i])] or even
    if not even:
        # An axis, though not an equally spaced one: the first column by habit. The check that follows says where.
        even = [0]
    if len(even) == 1 or unit is not None:
        if unit is None:
            raise ValueError(f"unit: column {even[0]} of {path} is the axis, without a name; say unit='ppm', 'hz' or 'khz'.")
        return {unit.lower(): even[0]}
    if len(even) == 2:
        small, large = sorted(even, key=lambda i: np.abs(table[:, i]).max())
        ratio = float(table[:, small] @ table[:, large] / (table[:, small] @ table[:, small]))
        if np.allclose(table[:, large], ratio * table[:, small], rtol=0, atol=1e-4 * np.abs(table[:, large]).max()):
            if ratio >= _LOWEST_MHZ:
                return {"ppm": small, "hz": large}
    raise ValueError(
        f"{path}: columns {even} are all equally spaced, and which is the axis does not show; give the file a first line of "
        "names, such as 'ppm,intensity'."
    )


def _converted(table: Real, axes: dict[str, int]) -> tuple[Real | None, Real | None, float | None]:
    """Ppm, Hz and the Larmor frequency from the axis columns."""
    ppm = table[:, axes["ppm"]] if "ppm" in axes else None
    hz = table[:, axes["hz"]] if "hz" in axes else table[:, axes["khz"]] * 1e3 if "khz" in axes else None
    larmor = None
    if ppm is not None and hz is not None:
        larmor = float(1e6 * (hz @ ppm) / (ppm @ ppm))
        if larmor < 0:
            larmor = None
    return ppm, hz, larmor


def _intensity(path: Path, names: list[str] | None, columns: list[int], column: int | str | None) -> tuple[int, int | None]:
    """Columns of the intensities and of their imaginary part."""
    shown = [names[i] for i in columns] if names else columns
    if column is not None:
        wanted: list[Any] = columns if isinstance(column, int) else shown
        if column not in wanted:
            raise ValueError(f"column: got {column!r}; the intensities of {path} are in {', '.join(map(str, shown))}.")
        return columns[wanted.index(column)], None
    if not columns:
        raise ValueError(f"{path}: an axis and no intensities.")
    imaginary = None
    if names:
        imaginary = next((i for i in columns if re.match("imag", names[i].lower())), None)
        columns = [i for i in columns if i != imaginary]
    if len(columns) == 2 and names is None:
        columns, imaginary = columns[:1], columns[1]
    if len(columns) != 1:
        raise ValueError(f"{path}: {len(columns)} spectra in one file; give column, one of {', '.join(map(str, shown))}.")
    return columns[0], imaginary


def _is_counter(values: Real) -> bool:
    """0, 1, 2... or 1, 2, 3..."""
    return values[0] in (0.0, 1.0) and bool(np.array_equal(values, values[0] + np.arange(len(values))))
