"""Measured spectra of a fit: read, processed, and the experiment that goes with each."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

import jaxnmr as jn
from jaxnmr.cli._experiments import echo_of, experiment_of, transition_of
from jaxnmr.cli._fit_config import Config, Data, Experiment, Processing
from jaxnmr.cli._say import Failure
from jaxnmr.fitting import LevenbergMarquardt, Linear
from jaxnmr.spectrum import processing

__all__ = ["Measured", "linear_of", "measured", "noise_of", "optimiser_of"]


@dataclasses.dataclass(frozen=True)
class Measured:
    """One spectrum as it is fitted.

    Attributes:
        spectrum: after processing, on an equally spaced axis.
        experiment: at the field that the spectrum's own reference frequency stands for.
        temperature: K, or None.
        name: of its files in the report, without suffix.
        key: what makes an experiment: spectra with equal keys share one compiled model.
    """

    spectrum: jn.Spectrum
    experiment: jn.Static | jn.MAS
    temperature: float | None
    name: str
    key: tuple[object, ...]


def measured(config: Config) -> tuple[Measured, ...]:
    """Read and process all spectra.

    Raises:
        Failure: nothing says the field, an echo without delay.
        ValueError, OSError, ImportError: what reading and processing refuse.
    """
    out = []
    for i, data in enumerate(config.data):
        spectrum = _processed(_read(data, config.experiment), config.processing, data)
        experiment, key = _experiment(data, config.experiment, spectrum)
        axis = (float(spectrum.ppm[0]), float(spectrum.ppm[-1]), len(spectrum.ppm))
        stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in data.file.stem) or "spectrum"
        out.append(Measured(spectrum, experiment, data.temperature_k, f"{i + 1:02d}-{stem}", (*axis, *key)))
    return tuple(out)


def _read(data: Data, common: Experiment) -> jn.Spectrum:
    label = data.label
    if label is None and data.temperature_k is not None:
        label = f"{data.temperature_k:g} K"
    return jn.Spectrum.read(
        data.file,
        data.format,
        isotope=common.isotope,
        field=data.field_t or common.field_t,
        rate=data.rate_hz if data.rate_hz is not None else common.rate_hz,
        larmor_frequency=data.larmor_hz,
        zero=data.zero_ppm,
        unit=data.unit,
        column=data.column,
        label=label,
    )


def _processed(spectrum: jn.Spectrum, asked: Processing, data: Data) -> jn.Spectrum:
    phase = data.phase_deg if data.phase_deg is not None else asked.phase_deg
    if phase == "auto":
        spectrum = processing.autophase(spectrum, pivot=asked.pivot_ppm).spectrum
    elif phase is not None:
        p0, p1 = phase if isinstance(phase, tuple) else (phase, 0.0)
        spectrum = processing.phase(spectrum, math.radians(float(p0)), math.radians(p1), asked.pivot_ppm)
    shape = None
    if asked.baseline is not None:
        shape = processing.Polynomial(asked.baseline)
    elif asked.spline is not None:
        shape = processing.Spline(asked.spline)
    if shape is not None:
        spectrum = processing.correct_baseline(spectrum, shape, asked.empty_ppm)
    if asked.crop_ppm is not None:
        spectrum = processing.crop(spectrum, ppm=asked.crop_ppm)
    if asked.bin > len(spectrum.ppm) // 2:
        raise Failure(f"processing.bin: got {asked.bin} for {len(spectrum.ppm)} points; give half of that or less.")
    return spectrum if asked.bin == 1 else processing.binned(spectrum, asked.bin)


def _experiment(data: Data, common: Experiment, spectrum: jn.Spectrum) -> tuple[jn.Static | jn.MAS, tuple[object, ...]]:
    # Splittings count in Hz: the field is the one that the spectrum's own ppm and Hz stand for, not the nominal one.
    nucleus = jn.isotope(common.isotope)
    field = float(spectrum.larmor_frequency) / abs(float(nucleus.larmor_frequency(1.0)))
    rate = 0.0 if spectrum.rate is None else float(spectrum.rate)
    kind = data.echo or common.echo
    tau, periods = (data.echo_tau_us, data.echo_periods)
    if tau is None and periods is None:
        tau, periods = common.echo_tau_us, common.echo_periods
    transition = transition_of(common.transition)
    echo = None if kind == "none" else echo_of(kind, tau, periods, nucleus)
    key = (field, rate, common.angle_deg, transition, kind, tau, periods)
    return experiment_of(field, rate, common.angle_deg, transition, echo), key


def noise_of(config: Config, spectra: tuple[Measured, ...]) -> tuple[list[float] | float | None, float]:
    """Standard deviation of a point (None: the fit's residual), and how far noise is correlated."""
    asked = config.fit
    if asked.noise != "empty":
        sigma = None if asked.noise == "residual" else asked.noise
        return list(sigma) if isinstance(sigma, tuple) else sigma, asked.noise_correlation or 1.0  # type: ignore[return-value]
    found = [processing.noise(each.spectrum, config.processing.empty_ppm) for each in spectra]
    correlation = asked.noise_correlation or max(1.0, float(np.mean([each.correlation_length for each in found])))
    return [each.sigma for each in found], correlation


def linear_of(config: Config) -> Linear:
    """What is fitted in closed form."""
    asked = config.linear
    scale = None if asked.scale == "none" else asked.scale
    return Linear(scale, asked.offset, asked.baseline, asked.phase)


def optimiser_of(config: Config) -> LevenbergMarquardt:
    """The search."""
    return LevenbergMarquardt(max_steps=config.fit.max_steps, jacobian=config.fit.jacobian)
