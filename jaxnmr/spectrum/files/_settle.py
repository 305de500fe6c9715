"""From what a file says and what the user adds to a spectrum whose axes are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxnmr.isotopes import isotope as look_up
from jaxnmr.spectrum.files._axes import check_finite, check_uniform
from jaxnmr.spectrum.files._record import FIDRecord, Meta, SpectrumRecord, Told
from jaxnmr.units import PI

__all__ = ["settle"]

# Nominal fields are rounded, and references differ from the bare nucleus by up to 4e-3 (87Rb) and a Knight shift more.
_SAME_FIELD = 0.02


Record = TypeVar("Record", SpectrumRecord, FIDRecord)


def settle(record: Record, path: Path, told: Told | None = None) -> Record:
    """A record whose reference is known.

    Args:
        record: what the file says. A spectrum comes out with both axes, descending in ppm.
        path: of the file, for messages.
        told: what the user adds. None for one of our own files, which is complete and taken in its order.

    Raises:
        ValueError: see `Spectrum.read`.
    """
    spectrum = isinstance(record, SpectrumRecord)
    points = len(record.intensity) if spectrum else len(record.signal)
    if points < 2:
        kind = "spectrum" if spectrum else "decay"
        raise ValueError(f"{path}: {points} points; a {kind} has at least 2. The file may be cut short.")
    if spectrum:
        check_finite(path, ppm=record.ppm, Hz=record.hz, intensity=record.intensity, imaginary=record.imaginary)
    else:
        check_finite(path, signal=record.signal)
    meta, larmor = _reference(record.meta, record.larmor, path, told or Told(), own=told is None)
    zero = 0.0 if told is None or told.zero is None else told.zero
    if not np.isfinite(zero):
        raise ValueError(f"zero: got {zero:g}; give the chemical shift at the file's zero in ppm.")
    if not spectrum:
        return replace(record, carrier=record.carrier + zero * 1e-6 * larmor, larmor=larmor, meta=meta)
    ppm, hz = record.ppm, record.hz
    if ppm is None:
        assert hz is not None
        ppm = hz / (1e-6 * larmor)
    elif hz is None:
        hz = ppm * (1e-6 * larmor)
    if told is None:
        return replace(record, ppm=ppm, hz=hz, larmor=larmor, meta=meta)
    check_uniform(path, hz if record.ppm is None else record.ppm)
    if zero:
        ppm, hz = ppm + zero, hz + zero * 1e-6 * larmor
    order = slice(None) if ppm[0] > ppm[-1] else slice(None, None, -1)
    imaginary = None if record.imaginary is None else record.imaginary[order]
    return replace(
        record,
        intensity=record.intensity[order],
        imaginary=imaginary,
        ppm=ppm[order],
        hz=hz[order],
        larmor=larmor,
        meta=meta,
    )


def _reference(meta: Meta, in_file: float | None, path: Path, given: Told, own: bool) -> tuple[Meta, float]:
    """Metadata and |nu_0|, the file's and the user's made one."""
    nucleus = None if given.isotope is None else look_up(given.isotope)
    if meta.isotope is not None:
        named = look_up(meta.isotope)
        if nucleus is not None and nucleus.name != named.name:
            raise ValueError(f"isotope: got {nucleus.name!r}, but {path} says {named.name!r}.")
        nucleus = nucleus or named
    for name, value, told in (("larmor_frequency", given.larmor_frequency, in_file), ("field", given.field, meta.field)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: got {value:g}; give {'tesla' if name == 'field' else 'Hz'}, > 0.")
        if value is not None and told is not None and abs(value / told - 1) > _SAME_FIELD:
            raise ValueError(f"{name}: got {value:g}, but {path} says {told:g}.")
    frequency = in_file or given.larmor_frequency
    told = meta.field if given.field is None else given.field
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
    text = meta.label if given.label is None else given.label
    if given.label is None and not own:
        text = " ".join(text.split()) or path.stem
    return Meta(nucleus.name if nucleus else None, told, meta.rate if given.rate is None else given.rate, text), frequency
