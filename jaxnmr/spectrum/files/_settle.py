"""From what a file says and what the user adds to a spectrum whose axes are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxnmr.isotopes import isotope as look_up
from jaxnmr.spectrum.files._axes import check_finite, check_uniform
from jaxnmr.spectrum.files._record import FIDRecord, Meta, SpectrumRecord
from jaxnmr.units import PI

__all__ = ["settle_fid", "settle_spectrum"]

# Nominal fields are rounded, and references differ from the bare nucleus by up to 4e-3 (87Rb) and a Knight shift more.
_SAME_FIELD = 0.02


def settle_spectrum(
    record: object,
    path: Path,
    isotope: str | None = None,
    field: float | None = None,
    rate: float | None = None,
    larmor: float | None = None,
    zero: float | None = None,
    label: str | None = None,
    own: bool = False,
) -> SpectrumRecord:
    """A record with both axes, descending in ppm unless it is one of our own files, which is taken as it is.

    Raises:
        ValueError: see `Spectrum.read`.
    """
    if not isinstance(record, SpectrumRecord):
        raise ValueError(f"{path}: a decay, not a spectrum; use FID.load.")
    points = len(record.intensity)
    if points < 2:
        raise ValueError(f"{path}: {points} points; a spectrum has at least 2. The file may be cut short.")
    check_finite(path, ppm=record.ppm, Hz=record.hz, intensity=record.intensity, imaginary=record.imaginary)
    meta, larmor = _settled(record.meta, record.larmor, path, isotope, field, rate, larmor, label, own)
    ppm, hz = record.ppm, record.hz
    if ppm is None:
        assert hz is not None
        ppm = hz / (1e-6 * larmor)
    elif hz is None:
        hz = ppm * (1e-6 * larmor)
    if own:
        return replace(record, ppm=ppm, hz=hz, larmor=larmor, meta=meta)
    check_uniform(path, hz if record.ppm is None else record.ppm)
    if zero:
        ppm, hz = ppm + zero, hz + zero * 1e-6 * larmor
    order = slice(None) if ppm[0] > ppm[-1] else slice(None, None, -1)
    imaginary = None if record.imaginary is None else record.imaginary[order]
    return SpectrumRecord(record.intensity[order], imaginary, ppm[order], hz[order], larmor, meta)


def settle_fid(
    record: FIDRecord,
    path: Path,
    isotope: str | None = None,
    field: float | None = None,
    rate: float | None = None,
    larmor: float | None = None,
    zero: float | None = None,
    label: str | None = None,
    own: bool = False,
) -> FIDRecord:
    """A decay whose reference is known.

    Raises:
        ValueError: see `Spectrum.read`.
    """
    if len(record.signal) < 2:
        raise ValueError(f"{path}: {len(record.signal)} points; a decay has at least 2. The file may be cut short.")
    check_finite(path, signal=record.signal)
    meta, larmor = _settled(record.meta, record.larmor, path, isotope, field, rate, larmor, label, own)
    carrier = record.carrier + (zero or 0.0) * 1e-6 * larmor
    return replace(record, carrier=carrier, larmor=larmor, meta=meta)


def _settled(
    meta: Meta,
    in_file: float | None,
    path: Path,
    isotope: str | None,
    field: float | None,
    rate: float | None,
    larmor: float | None,
    label: str | None,
    own: bool,
) -> tuple[Meta, float]:
    """Metadata and |nu_0|, the file's and the user's made one."""
    nucleus = None if isotope is None else look_up(isotope)
    if meta.isotope is not None:
        named = look_up(meta.isotope)
        if nucleus is not None and nucleus.name != named.name:
            raise ValueError(f"isotope: got {nucleus.name!r}, but {path} says {named.name!r}.")
        nucleus = nucleus or named
    for name, value, told in (("larmor_frequency", larmor, in_file), ("field", field, meta.field)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: got {value:g}; give {'tesla' if name == 'field' else 'Hz'}, > 0.")
        if value is not None and told is not None and abs(value / told - 1) > _SAME_FIELD:
            raise ValueError(f"{name}: got {value:g}, but {path} says {told:g}.")
    frequency = in_file or larmor
    told = meta.field if field is None else field
    if nucleus is not None:
        if frequency is None and told is not None:
            frequency = abs(nucleus.larmor_frequency(told))
        if frequency is not None:
            implied = 2 * PI * frequency / abs(nucleus.gamma)
            if told is not None and abs(told / implied - 1) > _SAME_FIELD:
                raise ValueError(
                    f"field: got {told:g} T, but {path} counts from {frequency / 1e6:.6g} MHz, which for {nucleus.name} is "
                    f"{implied:.4g} T; check isotope and field."
                )
            if told is None and not own:
                told = implied
    if frequency is None:
        raise ValueError(
            f"{path}: does not say the frequency of the reference, which ppm and Hz convert by; "
            + ("use Spectrum.read(path, isotope=..., field=...)." if own else "give isotope and field, or larmor_frequency.")
        )
    text = meta.label if label is None else label
    if label is None and not own:
        text = " ".join(text.split()) or path.stem
    return Meta(nucleus.name if nucleus else None, told, meta.rate if rate is None else rate, text), frequency
