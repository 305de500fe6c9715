"""The front desk of the solvers: from sites and an experiment to a spectrum."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.errors import AxisWarning, PerturbationWarning, PrecisionWarning, ResolutionWarning, is_concrete, kept, warn
from jaxnmr.exchange import ExchangeModel, exchange_populations
from jaxnmr.spectrum._assemble import Decay, Experiment, Problem, decay_of, spectrum_of, survey_of
from jaxnmr.spectrum._axis import Axis
from jaxnmr.spectrum._echoes import check_spin, known_delay
from jaxnmr.spectrum._experiments import MAS, Static
from jaxnmr.spectrum._resolution import Resolution, Survey, choose
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spins import Sites, transitions

__all__ = ["Convergence", "convergence", "decay", "resolve", "simulate"]


class Convergence(NamedTuple):
    """Relative L2 change of a spectrum when one size is refined, and with it the resolution examined."""

    orientations: float
    phases: float
    samples: float
    resolution: Resolution


def simulate(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    exchange: ExchangeModel | None = None,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike = 0.0,
    resolution: Resolution | None = None,
) -> Spectrum:
    r"""The spectrum of a powder whose nuclei sit in, or jump between, sites.

    $$S(\nu) = 2\,\mathrm{Re}\int_0^\infty dt\;e^{-2\pi i\nu t}\,\Big\langle \mathbf 1^\top\,\mathrm T\exp\Big[\int_0^t
      \big(\mathbf K + 2\pi i\,\mathrm{diag}\,\boldsymbol\nu(t') - \pi\,\mathrm{diag}\,\boldsymbol\Delta +
      \mathbf M(t')\big)dt'\Big]\mathbf p\Big\rangle$$

    with M the second-order quadrupolar term of moving sites (`jaxnmr.spins.coupling_irreps`), right for any k against the
    Larmor frequency. Differentiable in every array of every argument, forward and reverse, k = 0 included.

    With `echo` in the experiment the record starts at the top of an ideal echo (`SolidEcho`, `HahnEcho`), before which the
    sites jump too; `linewidth` acts from the top on.

    Dipolar coupling, other pulses and relaxation other than by the jumps are not simulated.

    Args:
        sites: tensors in one crystal frame.
        experiment: `Static(field)` or `MAS(field, rate)`.
        axis: where to evaluate; a window smaller than the line does not fold.
        exchange: jumps among the sites; without it each site is its own line.
        linewidth: Lorentzian FWHM, Hz, one for all sites or one each (inside the generator).
        gaussian: Gaussian FWHM, Hz.
        resolution: static sizes. None picks them from axis, experiment and concrete values, for a relative L2 error of
            about 1e-3 where the widest pattern is below 100 linewidths; see `convergence`. Where values are traced (under
            `jit`, `grad` of the tensors) the line's extent is unknown: sizes then come from axis, rate and whatever is
            concrete, taking the line to lie within the axis. Sizes do not depend on exchange rates.

    Returns:
        Density per Hz at the points of the axis; its integral over all frequencies is one, or what jumps leave of an echo.

    Raises:
        ValueError: arguments that do not fit each other; each message names the argument and a remedy.

    Warns:
        PerturbationWarning: nu_Q / nu_0 > 0.1. AxisWarning: the axis misses the line. ResolutionWarning: the resolution
            or the axis is too coarse for the linewidth.
    """
    problem = _stated(sites, experiment, axis, exchange, linewidth, gaussian)
    return spectrum_of(problem, _resolve(problem, resolution))


def decay(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    exchange: ExchangeModel | None = None,
    linewidth: ArrayLike | Sequence[float] = 0.0,
    resolution: Resolution | None = None,
) -> Decay:
    """The free-induction decay behind `simulate`, before the Gaussian and any linewidth common to all sites.

    Arguments as `simulate`; a single `linewidth` only helps to choose the record's length and may be zero where
    `resolution.samples` is given.

    Raises:
        ValueError: as `simulate`.
    """
    allow_zero = resolution is not None and bool(resolution.samples)
    problem = _stated(sites, experiment, axis, exchange, linewidth, 0.0, allow_zero)
    return decay_of(problem, _resolve(problem, resolution))


def resolve(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    exchange: ExchangeModel | None = None,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike = 0.0,
    resolution: Resolution | None = None,
) -> Resolution:
    """The sizes that `simulate` would use; warns where the given ones, or the axis, are too coarse.

    Arguments as `simulate`.
    """
    return _resolve(_stated(sites, experiment, axis, exchange, linewidth, gaussian, allow_zero=True), resolution)


def convergence(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    *,
    exchange: ExchangeModel | None = None,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike = 0.0,
    resolution: Resolution | None = None,
) -> Convergence:
    """Measure the error of a resolution: refine one size at a time and compare spectra.

    Orientations are quadrupled; phases doubled, and with them the steps of a rotor period; samples doubled. Arguments as
    `simulate`, with concrete values.

    Returns:
        Relative L2 changes over the axis; phases is 0 where there are none.
    """
    problem = _stated(sites, experiment, axis, exchange, linewidth, gaussian)
    base = _resolve(problem, resolution)
    assert base.orientations is not None and base.samples is not None

    def run(resolution: Resolution) -> np.ndarray:
        return np.asarray(spectrum_of(problem, resolution).intensity, dtype=np.float64)

    start = run(base)

    def change(**sizes: int) -> float:
        finer = run(dataclasses.replace(base, **sizes))
        return float(np.linalg.norm(finer - start) / np.linalg.norm(finer))

    phases = 0.0
    if base.phases is not None:
        phases = change(phases=2 * base.phases, samples=2 * base.samples)
    return Convergence(
        orientations=change(orientations=4 * base.orientations),
        phases=phases,
        samples=change(samples=2 * base.samples),
        resolution=base,
    )


def _stated(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    exchange: ExchangeModel | None,
    linewidth: ArrayLike | Sequence[float],
    gaussian: ArrayLike,
    allow_zero: bool = False,
) -> Problem:
    """The arguments, checked, as one problem."""
    _check(sites, experiment, axis, exchange)
    return Problem(sites, experiment, axis, exchange, *_widths(sites, linewidth, gaussian, allow_zero))


def _resolve(problem: Problem, resolution: Resolution | None) -> Resolution:
    """See `resolve`."""
    sites, experiment, axis, exchange, width, spread = problem
    axis_hz = _known(lambda: axis.in_hz(jnp.abs(sites.nucleus.larmor_frequency(experiment.field))), axis, experiment.field)
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
    low_axis, high_axis = float(axis_hz.min()), float(axis_hz.max())
    extent = high_axis - low_axis
    step = extent / (axis.points - 1)
    lorentzian = float(np.min(np.asarray(width))) if is_concrete(width) else 0.0
    gauss = float(np.asarray(spread)) if is_concrete(spread) else 0.0
    known_width = is_concrete(width, spread) and lorentzian + gauss > 0
    if not known_width and lorentzian + gauss == 0:
        lorentzian = min(2 * step, extent / 500)  # narrower than shows well on this axis
    if is_concrete(sites, experiment):
        with jax.ensure_compile_time_eval():
            low, high, pattern, ratio = (
                float(x) for x in survey_of(sites, experiment, exchange if is_concrete(exchange) else None)
            )
        if ratio > 0.1:
            warn(
                f"quadrupole: nu_Q / nu_0 = {ratio:.2g} for {sites.isotope} at {float(experiment.field):g} T; second-order "
                "perturbation theory is in doubt above 0.1. Use a higher field.",
                PerturbationWarning,
            )
        reach = 3 * (lorentzian + gauss)
        if high + reach < low_axis or low - reach > high_axis:
            scale = 1e6 / float(np.abs(sites.nucleus.larmor_frequency(experiment.field)))
            warn(
                f"axis: the window {low_axis:.6g} to {high_axis:.6g} Hz misses the line, which lies at {low:.6g} to "
                f"{high:.6g} Hz ({low * scale:.5g} to {high * scale:.5g} ppm).",
                AxisWarning,
            )
    else:
        low, high, pattern = low_axis, high_axis, extent if rate is None else extent / 4
    survey = Survey(low, high, pattern, low_axis, high_axis, lorentzian, gauss, known_delay(experiment.echo, rate))
    final, chosen = choose(resolution, survey, rate, exchange is not None)
    if known_width and step > 1.5 * (lorentzian + gauss):
        warn(
            f"axis: points are {step:.4g} Hz apart, the narrowest line is {lorentzian + gauss:.4g} Hz wide; use at least "
            f"{int(extent / (lorentzian + gauss)) + 2} points, or a wider line.",
            ResolutionWarning,
        )
    _check_precision(sites, exchange, lorentzian + gauss)
    if resolution is not None and known_width:
        _compare(final, chosen, lorentzian + gauss)
    return final


def _widths(
    sites: Sites, linewidth: ArrayLike | Sequence[float], gaussian: ArrayLike, allow_zero: bool = False
) -> tuple[Any, Any]:
    dtype = sites.shift.dtype
    width, spread = kept(linewidth, dtype), kept(gaussian, dtype)
    if width.ndim and width.shape != (len(sites),):
        raise ValueError(f"linewidth: got shape {width.shape}; give one number or one per site, ({len(sites)},).")
    if spread.ndim:
        raise ValueError(f"gaussian: got shape {spread.shape}; give one number.")
    for name, value in (("linewidth", width), ("gaussian", spread)):
        if is_concrete(value) and not (np.isfinite(value).all() and (np.asarray(value) >= 0).all()):
            raise ValueError(f"{name}: got {np.asarray(value).tolist()} Hz; a full width is finite and >= 0.")
    if not allow_zero and is_concrete(width, spread):
        narrowest = float(np.min(np.asarray(width))) + float(np.asarray(spread))
        if narrowest == 0:
            raise ValueError("linewidth: got 0 Hz with gaussian 0; a sampled spectrum needs some width, such as 50 Hz.")
    return width, spread


def _check(sites: Sites, experiment: Experiment, axis: Axis, exchange: ExchangeModel | None) -> None:
    for name, value, kinds in (
        ("sites", sites, Sites),
        ("experiment", experiment, (Static, MAS)),
        ("axis", axis, Axis),
        ("exchange", exchange, (ExchangeModel, type(None))),
    ):
        if not isinstance(value, kinds):
            wanted = " or ".join(k.__name__ for k in (kinds if isinstance(kinds, tuple) else (kinds,)))
            raise ValueError(f"{name}: got {type(value).__name__}; give {wanted}.")
    transitions(sites.nucleus, experiment.transition)
    check_spin(experiment.echo, sites.nucleus)
    if exchange is not None:
        exchange_populations(sites, exchange)


def _known(make, *needs) -> np.ndarray | None:
    """A value computed now, or None where something it needs is traced."""
    if not is_concrete(*needs):
        return None
    with jax.ensure_compile_time_eval():
        return np.asarray(make(), dtype=np.float64)


def _check_precision(sites: Sites, exchange: ExchangeModel | None, width: float) -> None:
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
