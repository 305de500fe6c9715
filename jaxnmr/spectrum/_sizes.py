"""Sizes for a problem: chosen from what is known of it, and warnings where given ones are too coarse for it."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax.core import eval_context

from jaxnmr.errors import AxisWarning, PerturbationWarning, PrecisionWarning, ResolutionWarning, is_concrete, warn
from jaxnmr.exchange import ExchangeModel
from jaxnmr.spectrum._assemble import Experiment, Problem, survey_of
from jaxnmr.spectrum._axis import Axis
from jaxnmr.spectrum._echoes import known_delay
from jaxnmr.spectrum._experiments import MAS
from jaxnmr.spectrum._resolution import Resolution, Survey, choose
from jaxnmr.spins import Sites

__all__ = ["check_precision", "sizes_of"]


def sizes_of(problem: Problem, resolution: Resolution | None) -> Resolution:
    """The given resolution with what it leaves open filled in; see `jaxnmr.spectrum.resolve`."""
    sites, experiment, axis, exchange, width, spread = problem
    axis_hz = _axis_hz(axis, sites, experiment)
    rate = None
    if isinstance(experiment, MAS) and not experiment.infinite:
        rate = float(experiment.rate) if is_concrete(experiment.rate) else None
        if rate is None and (resolution is None or resolution.phases is None or resolution.samples is None):
            raise ValueError(
                "resolution: the spinning rate is traced, so the number of rotor phases cannot be chosen; pass "
                "resolution=Resolution(phases=..., samples=...), or keep `rate` out of jit."
            )
    if axis_hz is None:
        if resolution is None or None in (resolution.orientations, resolution.samples):
            raise ValueError(
                "resolution: field or axis is traced, so sizes cannot be chosen; pass resolution="
                "Resolution(orientations=..., phases=..., samples=...), or keep them out of jit."
            )
        return dataclasses.replace(resolution, substeps=resolution.substeps or 1)
    window = float(axis_hz.min()), float(axis_hz.max())
    extent = window[1] - window[0]
    step = extent / (axis.points - 1)
    lorentzian = float(np.min(np.asarray(width))) if is_concrete(width) else 0.0
    gauss = float(np.asarray(spread)) if is_concrete(spread) else 0.0
    known_width = is_concrete(width, spread) and lorentzian + gauss > 0
    if not known_width and lorentzian + gauss == 0:
        lorentzian = min(2 * step, extent / 500)  # narrower than shows well on this axis
    low, high, pattern = _extent(problem, window, rate, 3 * (lorentzian + gauss))
    survey = Survey(low, high, pattern, *window, lorentzian, gauss, known_delay(experiment.echo, rate))
    final, chosen = choose(resolution, survey, rate, exchange is not None)
    if known_width and step > 1.5 * (lorentzian + gauss):
        warn(
            f"axis: points are {step:.4g} Hz apart, the narrowest line is {lorentzian + gauss:.4g} Hz wide; use at least "
            f"{int(extent / (lorentzian + gauss)) + 2} points, or a wider line.",
            ResolutionWarning,
        )
    check_precision(sites, exchange, lorentzian + gauss)
    if resolution is not None and known_width:
        _compare(final, chosen, lorentzian + gauss)
    return final


def _extent(problem: Problem, window: tuple[float, float], rate: float | None, reach: float) -> tuple[float, float, float]:
    """From where to where the line goes and how wide its powder pattern is, Hz; the window where values are traced."""
    sites, experiment, _, exchange, _, _ = problem
    if not is_concrete(sites, experiment):
        extent = window[1] - window[0]
        return *window, extent if rate is None else extent / 4
    # Values inside a trace too; `jax.ensure_compile_time_eval` would compile the survey's constants one by one.
    with eval_context():
        low, high, pattern, ratio = (
            float(x) for x in survey_of(sites, experiment, exchange if is_concrete(exchange) else None)
        )
    if ratio > 0.1:
        warn(
            f"quadrupole: nu_Q / nu_0 = {ratio:.2g} for {sites.isotope} at {float(experiment.field):g} T; second-order "
            "perturbation theory is in doubt above 0.1. Use a higher field.",
            PerturbationWarning,
        )
    if high + reach < window[0] or low - reach > window[1]:
        scale = 1e6 / float(np.abs(sites.nucleus.larmor_frequency(experiment.field)))
        warn(
            f"axis: the window {window[0]:.6g} to {window[1]:.6g} Hz misses the line, which lies at {low:.6g} to "
            f"{high:.6g} Hz ({low * scale:.5g} to {high * scale:.5g} ppm).",
            AxisWarning,
        )
    return low, high, pattern


def _axis_hz(axis: Axis, sites: Sites, experiment: Experiment) -> np.ndarray | None:
    """The axis' ends, Hz, or None where they are traced."""
    if not is_concrete(axis.ends) or (axis.unit == "ppm" and not is_concrete(experiment.field)):
        return None
    ends = np.asarray(axis.ends, np.float64)
    if axis.unit == "hz":
        return ends
    return ends * 1e-6 * abs(sites.nucleus.larmor_frequency(float(experiment.field)))


def check_precision(sites: Sites, exchange: ExchangeModel | None, width: float) -> None:
    """Warn where rates of one group lie so far apart that the fast ones' rounding broadens the slow.

    Only the stationary state of a group is kept exact; each of its other modes errs by about eps k_max.
    """
    # What `reduce` made keeps fast motions out of the line's modes.
    if type(exchange) is not ExchangeModel or len(exchange) < 3 or not is_concrete(exchange) or width == 0:
        return
    eps = float(jnp.finfo(sites.shift.dtype).eps)
    rates, p = (np.asarray(x, dtype=np.float64) for x in (exchange.rates, exchange.populations))
    for group in exchange.groups:
        members = np.asarray(group)
        if len(members) < 3 or not (p[members] > 0).all():
            continue
        root = np.sqrt(p[members])
        decays = np.linalg.eigvalsh(rates[np.ix_(members, members)] * root[None, :] / root[:, None])
        slow, fast = -np.sort(decays)[[-2, 0]]
        if slow < 1e-3 * fast and eps * fast > 0.05 * np.pi * width:
            warn(
                f"exchange: the motions of sites {list(group)} have rates from {slow:.2g} to {fast:.2g} /s; in "
                f"{jnp.dtype(sites.shift.dtype).name} the fast one's rounding broadens the slow one's line of "
                f"{width:.3g} Hz. Turn on jax_enable_x64 first, or merge the fast sites by jaxnmr.reduce.",
                PrecisionWarning,
            )


def _compare(final: Resolution, chosen: Resolution, width: float) -> None:
    """Warn of given sizes far below what the linewidth asks for."""
    for name, slack, cure in (
        ("orientations", 8, "powder ripples will show"),
        ("phases", 1.3, "sidebands will fold"),
        ("samples", 2, "the decay will be cut short"),
    ):
        have, want = getattr(final, name), getattr(chosen, name)
        if have is not None and want is not None and have * slack < want:
            warn(
                f"resolution: {name}={have} is coarse for a line of {width:.4g} Hz ({cure}); {want} would be chosen.",
                ResolutionWarning,
            )
