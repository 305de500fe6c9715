"""The Core Scientific Dataset Model, by csdmpy."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxnmr.errors import missing_extra
from jaxnmr.saving import written_aside
from jaxnmr.spectrum.files._axes import check_uniform
from jaxnmr.spectrum.files._record import Meta, SpectrumRecord

__all__ = ["read_csdm", "write_csdm"]

_OWN = "jaxnmr"


def _csdmpy() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            import csdmpy
    except ImportError as error:
        # csdmpy 0.7.0 needs astropy without saying so.
        missing = "astropy" if (error.name or "").startswith("astropy") else "csdmpy"
        raise missing_extra(missing, "io") from None
    return csdmpy


def write_csdm(path: Path, record: SpectrumRecord) -> None:
    """Write a linear dimension in Hz, its `origin_offset` the Larmor frequency.

    Raises:
        ValueError: an axis that is not equally spaced.
        ImportError: csdmpy is missing.
    """
    csdmpy, hz, meta = _csdmpy(), record.hz, record.meta
    assert hz is not None
    check_uniform(path, hz)
    known = {"isotope": meta.isotope, "field": meta.field, "rate": meta.rate}
    # JSON has no infinity, the rate of the limit without sidebands.
    own: dict[str, Any] = {name: "inf" if value == np.inf else value for name, value in known.items() if value is not None}
    dimension = csdmpy.LinearDimension(
        count=len(hz),
        increment=f"{float((hz[-1] - hz[0]) / (len(hz) - 1))!r} Hz",
        coordinates_offset=f"{float(hz[0])!r} Hz",
        origin_offset=f"{float(record.larmor or 0.0)!r} Hz",
        label=f"{meta.isotope} frequency" if meta.isotope else "frequency",
        application={_OWN: own},
    )
    values = record.intensity if record.imaginary is None else record.intensity + 1j * record.imaginary
    data = csdmpy.CSDM(
        dimensions=[dimension],
        dependent_variables=[csdmpy.as_dependent_variable(np.ascontiguousarray(values), name=meta.label)],
    )
    with written_aside(path) as aside:
        data.save(str(aside))


def read_csdm(path: Path) -> SpectrumRecord:
    """Read one linear dimension and one scalar.

    Raises:
        ValueError: no CSDM, cut short, several dimensions or variables, another quantity than frequency.
        ImportError: csdmpy is missing.
    """
    csdmpy = _csdmpy()
    try:
        text = path.read_text(encoding="utf-8")
        if "csdm" not in json.loads(text):
            raise ValueError("no entry 'csdm'")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # By its text where it can be: csdmpy's own loader knows fewer suffixes. External data need the folder.
            external = path.suffix.lower() == ".csdfe"
            data = csdmpy.load(str(path), application=True) if external else csdmpy.loads(text)
    except Exception as error:
        raise ValueError(f"{path}: not a CSDM file, or cut short ({str(error)[:80]}).") from None
    if len(data.x) != 1:
        raise ValueError(f"{path}: {len(data.x)} dimensions; a spectrum has one. Save a slice or a projection.")
    if len(data.y) != 1 or len(data.y[0].components) != 1:
        count = sum(len(variable.components) for variable in data.y)
        raise ValueError(f"{path}: {count} spectra in one file; save one (their sum, or data.split()[i] in csdmpy).")
    dimension = data.x[0]
    if dimension.type == "labeled":
        raise ValueError(f"{path}: a labelled dimension; a spectrum has a linear one in Hz or ppm.")
    ppm = hz = larmor = None
    # Undo a conversion for display, such as the one that mrsimulator leaves.
    coordinates = dimension.coordinates
    unit = str(coordinates.unit)
    origin = dimension.origin_offset
    if str(getattr(dimension, "increment", coordinates).unit) != "ppm" and origin.unit.is_equivalent("Hz"):
        larmor = abs(float(origin.to("Hz").value)) or None
    if coordinates.unit.is_equivalent("Hz"):
        hz = np.array(coordinates.to("Hz").value, np.float64)
    elif unit == "ppm" or (unit == "" and "shift" in dimension.label.lower()):
        ppm = np.array(coordinates.to("ppm").value, np.float64)
    else:
        raise ValueError(f"{path}: a dimension in {unit or 'no unit'}; a spectrum has one in Hz or ppm.")
    found = np.array(data.y[0].components[0])
    values = found.astype(np.complex128)
    if values.shape != coordinates.shape:
        raise ValueError(f"{path}: {values.size} points of {coordinates.size}; the file was cut short.")
    own = (getattr(dimension, "application", None) or {}).get(_OWN, {})
    field, rate = (float(own[name]) if name in own else None for name in ("field", "rate"))
    label = data.y[0].name or getattr(data, "description", "") or ""
    imaginary = None
    if np.iscomplexobj(found):
        # mrsimulator's simulations are complex with nothing in the other part.
        imaginary = values.imag if own or values.imag.any() else None
    meta = Meta(own.get("isotope"), field, rate, label)
    return SpectrumRecord(values.real, imaginary, ppm, hz, larmor, meta)
