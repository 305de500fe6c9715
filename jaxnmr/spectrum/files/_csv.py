"""Comma-separated columns, the format of our own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from jaxnmr.saving import written_aside
from jaxnmr.spectrum.files._record import Meta, SpectrumRecord

__all__ = ["is_csv", "read_csv", "write_csv"]

_COLUMNS = "ppm,hz,intensity"
_FIRST = re.compile(r"# jaxnmr spectrum, (\d+) points(?:: (.*))?")
_META = re.compile(r"# (isotope|field|rate): (\S+)(?: \S+)?")


def is_csv(start: bytes) -> bool:
    """Whether a file that begins so is one of ours."""
    return _FIRST.match(start.decode("utf-8", "replace")) is not None


def write_csv(path: Path, record: SpectrumRecord) -> None:
    """Write the columns after comment lines with the metadata."""
    meta = record.meta
    lines = [f"# jaxnmr spectrum, {len(record.intensity)} points{': ' + meta.label if meta.label else ''}"]
    for name, value, unit in (("isotope", meta.isotope, ""), ("field", meta.field, " T"), ("rate", meta.rate, " Hz")):
        if value is not None:
            lines.append(f"# {name}: {value if isinstance(value, str) else format(value, '.17g')}{unit}")
    columns = [record.ppm, record.hz, record.intensity]
    names = _COLUMNS
    if record.imaginary is not None:
        columns.append(record.imaginary)
        names += ",imaginary"
    table = np.stack([column for column in columns if column is not None], axis=1)
    with written_aside(path) as aside:
        header = "\n".join([*lines, names])
        np.savetxt(aside, table, delimiter=",", header=header, comments="", fmt="%.17g", encoding="utf-8")


def read_csv(path: Path) -> SpectrumRecord:
    """Read them again.

    Raises:
        ValueError: other columns, or cut short.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    label, promised, found = "", None, {}
    count = 0
    for line in lines:
        if not line.startswith("#"):
            break
        count += 1
        if first := _FIRST.fullmatch(line):
            promised, label = int(first[1]), first[2] or ""
        elif entry := _META.fullmatch(line):
            found[entry[1]] = entry[2]
    names = lines[count].replace(" ", "") if count < len(lines) else "nothing"
    if names not in (_COLUMNS, f"{_COLUMNS},imaginary"):
        raise ValueError(
            f"{path}: expected the columns {_COLUMNS!r}, found {names[:60]!r}; it was not saved by Spectrum.save, or cut "
            "short. Other tables are read by Spectrum.read."
        )
    width = names.count(",") + 1
    rows = [(number, line.split(",")) for number, line in enumerate(lines[count + 1 :], count + 2) if line.strip()]
    for number, row in rows:
        if len(row) != width or not all(map(_is_number, row)):
            raise ValueError(f"{path}: line {number} is not {width} numbers; the file may be cut short.")
    if promised is not None and (len(rows) != promised or not text.endswith("\n")):
        raise ValueError(f"{path}: {len(rows)} points of {promised}; the file was cut short.")
    table = np.array([[float(x) for x in row] for _, row in rows]).reshape(-1, width)
    if len(table) < 2:
        raise ValueError(f"{path}: {len(table)} points; a spectrum has at least 2. The file may be cut short.")
    field, rate = (float(found[name]) if name in found else None for name in ("field", "rate"))
    ppm, hz, intensity = table.T[:3]
    square = ppm @ ppm
    larmor = float(1e6 * (hz @ ppm) / square) if square > 0 else None
    meta = Meta(found.get("isotope"), field, rate, label)
    return SpectrumRecord(intensity, table[:, 3] if width == 4 else None, ppm, hz, larmor, meta)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
