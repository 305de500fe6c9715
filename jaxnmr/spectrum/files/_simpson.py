"""SIMPSON's text format.

A header of KEY=value lines, a pair of numbers a point, END. Of NP points over the width SW, point i (from 0) of a spectrum
is at SW (i / NP - 1/2) + REF, ascending; point i of a decay is at i / SW, and its frequencies count from REF. Readers pass
over keys that they do not know, which is where the metadata go.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from jaxnmr.saving import written_aside
from jaxnmr.spectrum.files._axes import check_uniform
from jaxnmr.spectrum.files._record import FIDRecord, Meta, SpectrumRecord

__all__ = ["read_simpson", "write_simpson_fid", "write_simpson_spectrum"]

_OWN = "JAXNMR_"
# SIMPSON reads lines into 256 bytes.
_LONGEST = 200


def write_simpson_spectrum(path: Path, record: SpectrumRecord) -> None:
    """Write TYPE=SPE, points ascending.

    Raises:
        ValueError: an axis that is not equally spaced.
    """
    hz = record.hz
    assert hz is not None
    check_uniform(path, hz)
    order = slice(None) if hz[-1] > hz[0] else slice(None, None, -1)
    points = len(hz)
    width = abs(hz[-1] - hz[0]) * points / (points - 1)
    imaginary = np.zeros(points) if record.imaginary is None else record.imaginary
    real_only = {} if record.imaginary is not None else {"REAL": "1"}
    values = np.stack([record.intensity, imaginary], axis=1)[order]
    _write(path, "SPE", values, width, hz[order][0] + width / 2, record.larmor, record.meta, real_only)


def write_simpson_fid(path: Path, record: FIDRecord) -> None:
    """Write TYPE=FID."""
    values = np.stack([record.signal.real, record.signal.imag], axis=1)
    _write(path, "FID", values, 1 / record.dt, record.carrier, record.larmor, record.meta, {})


def _write(
    path: Path, kind: str, values: NDArray, width: float, ref: float, larmor: float | None, meta: Meta, more: dict[str, str]
) -> None:
    lines = ["SIMP", f"NP={len(values)}", f"SW={width:.17g}"]
    if ref != 0:
        lines.append(f"REF={ref:.17g}")
    lines.append(f"TYPE={kind}")
    known = {"LARMOR": larmor, "ISOTOPE": meta.isotope, "FIELD": meta.field, "RATE": meta.rate}
    entries = {
        name: value if isinstance(value, str) else f"{value:.17g}" for name, value in known.items() if value is not None
    }
    if meta.label:
        # No second "=" in a line, and nothing but ASCII.
        label = quote(meta.label, safe=" ,;:()")
        if len(label) > _LONGEST:
            raise ValueError(f"label: {len(label)} bytes in SIMPSON's format, which holds {_LONGEST}; shorten it.")
        entries["LABEL"] = label
    lines += [f"{_OWN}{name}={value}" for name, value in (entries | more).items()]
    lines.append("DATA")
    with written_aside(path) as aside, aside.open("w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(lines) + "\n")
        np.savetxt(file, values, fmt="%.17g")
        file.write("END\n")


def read_simpson(path: Path) -> SpectrumRecord | FIDRecord:
    """Read SIMPSON's text, spectrum or decay.

    Raises:
        ValueError: not SIMPSON's, binary, several or two-dimensional data, cut short.
    """
    lines = [line.strip() for line in path.read_bytes().decode("ascii", "replace").splitlines()]
    if not lines or lines[0] != "SIMP":
        found = lines[0][:40] if lines else "nothing"
        raise ValueError(f"{path}: not a file of SIMPSON, whose first line is SIMP; found {found!r}.")
    header: dict[str, str] = {}
    start = None
    for number, line in enumerate(lines[1:], 1):
        if line == "DATA":
            start = number + 1
            break
        name, sign, value = line.partition("=")
        if sign:
            header[name.strip()] = value.strip()
    if start is None:
        raise ValueError(f"{path}: no line DATA; the file was cut short.")
    if header.get("FORMAT", "TEXT") != "TEXT":
        raise ValueError(f"{path}: SIMPSON's binary format; write it as text, `fsave $f name.spe` without -binary.")
    if header.get("TYPE") not in ("SPE", "FID"):
        raise ValueError(f"{path}: TYPE={header.get('TYPE')}; expected SPE or FID.")
    points, width = int(_entry(path, header, "NP")), _entry(path, header, "SW")
    if int(float(header.get("NI", 1))) > 1:
        raise ValueError(f"{path}: two-dimensional data (NI={header['NI']}); save one row.")
    if int(float(header.get("NELEM", 1))) > 1:
        raise ValueError(f"{path}: {header['NELEM']} data sets in one file (NELEM); save one.")
    rows = lines[start:]
    end = next((i for i, row in enumerate(rows) if row == "END"), None)
    values = _pairs(path, rows[:end], start)
    if end is None or len(values) != points:
        raise ValueError(f"{path}: {len(values)} points of NP={points}{'' if end is not None else ', no END'}; cut short.")
    if any(row == "SIMP" for row in rows[end:]):
        raise ValueError(f"{path}: a second data set follows END; keep one.")
    ref = float(header.get("REF", 0.0))
    field, rate, larmor = (float(header[_OWN + n]) if _OWN + n in header else None for n in ("FIELD", "RATE", "LARMOR"))
    meta = Meta(header.get(f"{_OWN}ISOTOPE"), field, rate, unquote(header.get(f"{_OWN}LABEL", "")))
    if header["TYPE"] == "FID":
        return FIDRecord(values[:, 0] + 1j * values[:, 1], 1 / width, ref, 0.0, larmor, meta)
    hz = width * (np.arange(points) / points - 0.5) + ref
    imaginary = None if f"{_OWN}REAL" in header else values[:, 1]
    return SpectrumRecord(values[:, 0], imaginary, None, hz, larmor, meta)


def _entry(path: Path, header: dict[str, str], name: str) -> float:
    try:
        value = float(header[name])
    except (KeyError, ValueError):
        value = np.nan
    if not value > 0:
        raise ValueError(f"{path}: {name}={header.get(name)}; SIMPSON's header gives {name} > 0.")
    return value


def _pairs(path: Path, rows: list[str], start: int) -> NDArray[np.float64]:
    pairs = []
    for number, row in enumerate(rows, start + 1):
        try:
            real, imaginary = map(float, row.split())
        except ValueError:
            raise ValueError(f"{path}: line {number} is not two numbers; the file may be cut short.") from None
        pairs.append((real, imaginary))
    return np.array(pairs).reshape(-1, 2)
