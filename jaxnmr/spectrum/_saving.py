"""Spectra and decays to and from the records of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._fid import FID
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum.files import FIDRecord, Meta, SpectrumRecord, Told, read_file, settle, write_fid, write_spectrum

__all__ = ["load_fid", "load_spectrum", "read_fid", "read_spectrum", "save_fid", "save_spectrum"]


def save_spectrum(spectrum: Spectrum, path: Path) -> None:
    """See `Spectrum.save`."""
    if spectrum.intensity.ndim != 1:
        raise ValueError(
            f"save: got a batch of spectra, intensity of shape {spectrum.intensity.shape}; save them one by one "
            "(jax.tree.map(lambda leaf: leaf[i], spectra))."
        )
    if path.suffix.lower() == ".fid":
        spectrum.fid().save(path)
        return
    imaginary = None if spectrum.imaginary is None else np.asarray(spectrum.imaginary, np.float64)
    ppm, hz = np.asarray(spectrum.ppm, np.float64), np.asarray(spectrum.hz, np.float64)
    larmor = float(1e6 * (hz @ ppm) / (ppm @ ppm))
    intensity = np.asarray(spectrum.intensity, np.float64)
    write_spectrum(path, SpectrumRecord(intensity, imaginary, ppm, hz, larmor, _meta(spectrum)))


def save_fid(fid: FID, path: Path) -> None:
    """See `FID.save`."""
    if is_concrete(fid.start) and fid.start != 0:
        raise ValueError(
            f"start: the decay starts at {float(fid.start):g} s, and a .fid at 0; `spectrum().save` keeps the data."
        )
    signal = np.asarray(fid.signal, np.complex128)
    write_fid(path, FIDRecord(signal, float(fid.dt), float(fid.carrier), 0.0, float(fid.larmor_frequency), _meta(fid)))


def load_spectrum(path: Path) -> Spectrum:
    """See `Spectrum.load`."""
    if path.suffix.lower() == ".fid":
        return load_fid(path).spectrum()
    record = read_file(path, own=True)
    if not isinstance(record, SpectrumRecord):
        raise ValueError(f"{path}: a decay, not a spectrum; use FID.load.")
    return _spectrum(settle(record, path))


def load_fid(path: Path) -> FID:
    """See `FID.load`."""
    return _fid(settle(_decay_only(read_file(path, own=True), path), path))


def read_spectrum(path: Path, format: str | None, unit: str | None, column: int | str | None, told: Told) -> Spectrum:
    """See `Spectrum.read`."""
    record = read_file(path, format, unit=unit, column=column)
    if isinstance(record, SpectrumRecord):
        return _spectrum(settle(record, path, told))
    return _fid(settle(record, path, told)).spectrum()


def read_fid(path: Path, format: str | None, told: Told) -> FID:
    """See `FID.read`."""
    return _fid(settle(_decay_only(read_file(path, format, raw=True), path), path, told))


def _spectrum(record: SpectrumRecord) -> Spectrum:
    assert record.ppm is not None and record.hz is not None
    meta = record.meta
    return Spectrum(
        record.ppm,
        record.hz,
        record.intensity,
        meta.label,
        imaginary=record.imaginary,
        isotope=meta.isotope,
        field=meta.field,
        rate=meta.rate,
    )


def _fid(record: FIDRecord) -> FID:
    assert record.larmor is not None
    meta = record.meta
    return FID(
        record.signal,
        record.dt,
        carrier=record.carrier,
        larmor_frequency=record.larmor,
        start=record.start,
        label=meta.label,
        isotope=meta.isotope,
        field=meta.field,
        rate=meta.rate,
    )


def _decay_only(record: object, path: Path) -> FIDRecord:
    if not isinstance(record, FIDRecord):
        raise ValueError(f"{path}: a spectrum, not a decay; use Spectrum.read.")
    return record


def _meta(data: Spectrum | FID) -> Meta:
    return Meta(data.isotope, _number(data.field), _number(data.rate), data.label)


def _number(value: Any) -> float | None:
    """As many digits as the value has: 9.4 T in single precision is not 9.3999996."""
    if value is None:
        return None
    known = np.asarray(value)
    return float(str(known[()])) if known.dtype == np.float32 else float(known)
