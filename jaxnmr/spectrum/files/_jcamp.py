"""JCAMP-DX spectra, by nmrglue."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jaxnmr.errors import missing_extra
from jaxnmr.spectrum.files._record import Meta, SpectrumRecord

__all__ = ["read_jcamp"]


def read_jcamp(path: Path) -> SpectrumRecord:
    """Read one spectrum, real (XYDATA) or complex (NTUPLES).

    The axis runs from FIRST to LAST. In Hz it counts from anywhere: the reference is where `.SHIFT REFERENCE` (a point
    and its shift) or Bruker's `$OFFSET` (the first point's shift) put it.

    Raises:
        ValueError: no spectrum, a decay, several spectra, two dimensions, cut short, no reference.
        ImportError: nmrglue is missing.
    """
    try:
        from nmrglue.fileio import jcampdx
    except ImportError:
        raise missing_extra("nmrglue", "io") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is checked below
        try:
            entries, data = jcampdx.read(str(path))
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not JCAMP-DX, or cut short ({error}).") from None
    kinds = "".join(entry.upper().replace(" ", "") for entry in entries.get("DATATYPE", []))
    others = len(entries.get("_datatype_NMRSPECTRUM", ())) + len(entries.get("_datatype_NA", ()))
    if any(re.search("[N23]DNMR", key.upper()) for key in (*entries, kinds)) or int(_text(entries, "NUMDIM") or 1) > 1:
        raise ValueError(f"{path}: two-dimensional data; export one row.")
    if data is None:
        raise ValueError(f"{path}: no NMR spectrum in it (XYDATA or NTUPLES); it may be cut short.")
    if "FID" in kinds:
        raise ValueError(f"{path}: a decay (NMR FID), not a spectrum; export the processed spectrum.")
    if others or len(entries.get("XYDATA", ())) > 1:
        raise ValueError(f"{path}: {others + 1} spectra in one file; split it.")
    real, imaginary = (data[0], data[1]) if isinstance(data, list) else (data, None)
    if real is None or (imaginary is not None and len(imaginary) != len(real)):
        raise ValueError(f"{path}: real and imaginary parts are not of one length; the file was cut short.")
    axis, in_ppm, points = _axis(path, entries, "DATATABLE" if isinstance(data, list) else "XYDATA")
    if len(real) != points:
        raise ValueError(f"{path}: {len(real)} points of {points}; the file was cut short.")
    return _record(path, entries, np.asarray(real, np.float64), imaginary, axis, in_ppm)


def _record(path: Path, entries: dict[str, Any], real: Any, imaginary: Any, axis: Any, in_ppm: bool) -> SpectrumRecord:
    megahertz = _text(entries, "$SF") or _text(entries, ".OBSERVEFREQUENCY")
    larmor = 1e6 * float(megahertz) if megahertz else None
    nucleus = _text(entries, "$NUC1") or _text(entries, ".OBSERVENUCLEUS") or ""
    nucleus = nucleus.strip("<>").replace("^", "")
    ppm = hz = None
    if in_ppm:
        ppm = axis
    else:
        if larmor is None:
            raise ValueError(f"{path}: an axis in Hz without .OBSERVE FREQUENCY; the file may be cut short.")
        point, shift = _reference(path, entries, len(real))
        hz = axis - axis[point] + shift * 1e-6 * larmor
    rate = _text(entries, "$MASR")
    meta = Meta(
        nucleus if nucleus and nucleus.lower() != "off" else None,
        None,
        float(rate) if rate and float(rate) > 0 else None,
        (_text(entries, "TITLE") or "").partition("\n")[0],
    )
    other = None if imaginary is None else np.asarray(imaginary, np.float64)
    return SpectrumRecord(real, other, ppm, hz, larmor, meta)


def _reference(path: Path, entries: dict[str, Any], points: int) -> tuple[int, float]:
    """Index of a point, and its shift, ppm."""
    words = [word.strip() for word in (_text(entries, ".SHIFTREFERENCE") or "").split(",")]
    if len(words) == 4:
        try:
            # A fractional point number occurs; its neighbour is within the rounding of the shift given.
            number, shift = round(float(words[2])), float(words[3])
        except ValueError:
            number, shift = 0, np.nan
        if 1 <= number <= points and np.isfinite(shift):
            return number - 1, shift
        raise ValueError(f"{path}: .SHIFT REFERENCE {', '.join(words)!r} names no point of {points}; correct it.")
    offset = _text(entries, "$OFFSET")
    if offset:
        return 0, float(offset)
    raise ValueError(
        f"{path}: an axis in Hz that does not say where the reference is; add a line such as "
        "'##.SHIFT REFERENCE= INTERNAL, TMS, 1, 200.0' (point and its shift, ppm)."
    )


def _axis(path: Path, entries: dict[str, Any], kind: str) -> tuple[Any, bool, int]:
    """Axis in its unit, whether that is ppm, and the number of points."""
    try:
        if kind == "DATATABLE":
            column = [word.strip() for word in entries["SYMBOL"][0].split(",")].index("X")
            first, last, unit, points = (
                entries[name][0].split(",")[column].strip() for name in ("FIRST", "LAST", "UNITS", "VARDIM")
            )
        else:
            first, last, unit, points = (entries[name][0] for name in ("FIRSTX", "LASTX", "XUNITS", "NPOINTS"))
        first, last, points = float(first), float(last), int(float(points))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{path}: first, last, unit or number of points is missing ({error}); cut short?") from None
    if unit.upper() not in ("HZ", "PPM"):
        raise ValueError(f"{path}: an axis in {unit}; expected HZ or PPM.")
    return np.linspace(first, last, points), unit.upper() == "PPM", points


def _text(entries: dict[str, Any], name: str) -> str | None:
    values = entries.get(name)
    return str(values[0]).strip() if values else None
