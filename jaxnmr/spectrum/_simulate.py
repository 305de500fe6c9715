"""The front desk of the solvers: from sites and an experiment to a spectrum."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from jaxnmr.errors import AxisWarning, PerturbationWarning, ResolutionWarning, is_concrete, kept, warn
from jaxnmr.exchange import ExchangeModel, exchange_populations, liouvillian
from jaxnmr.harmonics import harmonics
from jaxnmr.spectrum._axis import Axis
from jaxnmr.spectrum._experiments import MAS, Static
from jaxnmr.spectrum._grids import Fibonacci
from jaxnmr.spectrum._powder import powder_cells
from jaxnmr.spectrum._resolution import BAND, Resolution, Survey, choose
from jaxnmr.spectrum._rotor import polar_means
from jaxnmr.spectrum._solver_mas import mas_exchange_signal
from jaxnmr.spectrum._solver_rigid import rigid_signal
from jaxnmr.spectrum._solver_static import static_exchange_signal
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum._transform import apodise, evaluate, unfolded
from jaxnmr.spins import RANKS, Sites, frequency_irreps, quadrupolar_ratio, transitions

__all__ = ["Convergence", "Decay", "convergence", "decay", "resolve", "simulate"]

Experiment = Static | MAS


class Decay(NamedTuple):
    r"""A free-induction decay, averaged over the powder and the rotor's start phase, without apodisation.

    Attributes:
        signal: $s(j\,dt)$, one at t = 0, complex, (times,).
        dt: s.
        carrier: Hz from the reference; the signal precesses as $e^{2\pi i(\nu - \mathrm{carrier})t}$.
        slopes: initial slope of each transition's signal, $s^{-1}$, (transition,).
        shares: of each transition in the whole, (transition,).
    """

    signal: Complex[Array, " times"]
    dt: Float[Array, ""]
    carrier: Float[Array, ""]
    slopes: Complex[Array, " transition"]
    shares: Float[Array, " transition"]


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

    Dipolar coupling, pulses and relaxation other than by the jumps are not simulated.

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
        Density per Hz at the points of the axis; its integral over all frequencies is one.

    Raises:
        ValueError: arguments that do not fit each other; each message names the argument and a remedy.

    Warns:
        PerturbationWarning: nu_Q / nu_0 > 0.1. AxisWarning: the axis misses the line. ResolutionWarning: the resolution
            or the axis is too coarse for the linewidth.
    """
    width, spread = _widths(sites, linewidth, gaussian)
    _check(sites, experiment, axis, exchange)
    final = resolve(
        sites,
        experiment,
        axis,
        exchange=exchange,
        linewidth=linewidth,
        gaussian=gaussian,
        resolution=resolution,
    )
    return _spectrum(sites, experiment, axis, exchange, width, spread, final)


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
    widths, gaussian = _widths(sites, linewidth, 0.0, allow_zero=resolution is not None and bool(resolution.samples))
    _check(sites, experiment, axis, exchange)
    final = resolve(sites, experiment, axis, exchange=exchange, linewidth=widths, gaussian=gaussian, resolution=resolution)
    return _decay(sites, experiment, axis, exchange, widths if widths.ndim else None, final)


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
    width, spread = _widths(sites, linewidth, gaussian, allow_zero=True)
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
                float(x) for x in _survey(sites, experiment, exchange if is_concrete(exchange) else None)
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
    survey = Survey(low, high, pattern, low_axis, high_axis, lorentzian, gauss)
    final, chosen = choose(resolution, survey, rate, exchange is not None)
    if known_width and step > 1.5 * (lorentzian + gauss):
        warn(
            f"axis: points are {step:.4g} Hz apart, the narrowest line is {lorentzian + gauss:.4g} Hz wide; use at least "
            f"{int(extent / (lorentzian + gauss)) + 2} points, or a wider line.",
            ResolutionWarning,
        )
    if resolution is not None and known_width:
        _compare(final, chosen, lorentzian + gauss)
    return final


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

    Orientations are quadrupled, phases doubled, samples doubled. Arguments as `simulate`, with concrete values.

    Returns:
        Relative L2 changes over the axis; phases is 0 where there are none.
    """
    base = resolve(
        sites,
        experiment,
        axis,
        exchange=exchange,
        linewidth=linewidth,
        gaussian=gaussian,
        resolution=resolution,
    )
    assert base.orientations is not None and base.samples is not None

    def run(resolution: Resolution) -> np.ndarray:
        spectrum = simulate(
            sites,
            experiment,
            axis,
            exchange=exchange,
            linewidth=linewidth,
            gaussian=gaussian,
            resolution=resolution,
        )
        return np.asarray(spectrum.intensity, dtype=np.float64)

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


@partial(jax.jit, static_argnames="resolution")
def _spectrum(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    exchange: ExchangeModel | None,
    linewidth: Any,
    gaussian: Any,
    resolution: Resolution,
) -> Spectrum:
    linewidth, gaussian = jnp.asarray(linewidth), jnp.asarray(gaussian)
    record = _decay(sites, experiment, axis, exchange, linewidth if linewidth.ndim else None, resolution)
    dt, common = record.dt, jnp.zeros_like(gaussian) if linewidth.ndim else linewidth
    signal = apodise(record.signal, dt, common, gaussian)
    larmor = jnp.abs(sites.nucleus.larmor_frequency(experiment.field))
    ends = axis.in_hz(larmor)
    step = (ends[1] - ends[0]) / (axis.points - 1)
    start = ends[0] - record.carrier
    intensity = evaluate(signal, dt, start, step, axis.points)
    slopes = record.slopes - (jnp.pi * common).astype(record.slopes.dtype)
    wings = jax.vmap(lambda slope: unfolded(slope, dt, start, step, axis.points))(slopes)
    intensity = intensity + record.shares @ wings
    values = axis.values()
    ppm, hz = (values, values * (1e-6 * larmor)) if axis.unit == "ppm" else (values / (1e-6 * larmor), values)
    return Spectrum(ppm, hz, intensity)


@partial(jax.jit, static_argnames="resolution")
def _decay(
    sites: Sites,
    experiment: Experiment,
    axis: Axis,
    exchange: ExchangeModel | None,
    linewidth: Any,
    resolution: Resolution,
) -> Decay:
    """Sum of the observed transitions' decays, on one time axis about one carrier."""
    linewidth = None if linewidth is None else jnp.asarray(linewidth)
    assert resolution.orientations is not None and resolution.samples is not None
    spinning = isinstance(experiment, MAS) and not experiment.infinite
    angle = experiment.angle if isinstance(experiment, MAS) else None
    observed = transitions(sites.nucleus, experiment.transition)
    carrier, bandwidth = _band(sites, experiment, axis, exchange)
    periods, phases = resolution.samples, 1
    if spinning:
        assert isinstance(experiment, MAS) and resolution.phases is not None
        phases = resolution.phases
        periods = max(2, -(-resolution.samples // phases))
        bandwidth = experiment.rate * phases
    points = resolution.grid.points(resolution.orientations)
    frozen = exchange is None or len(sites) == 1
    weights = sites.populations if exchange is None else exchange_populations(sites, exchange)
    dtype = sites.shift.dtype
    cells = powder_cells(points, resolution.smooth, dtype)

    def one(m: float) -> tuple[Array, Array]:
        if frozen and resolution.smooth:
            irreps = frequency_irreps(sites, m, experiment.field, second_order=True)
            irreps = irreps.at[0].add(-carrier)
            ranks = RANKS
            if sites.quadrupole is None:
                irreps, ranks = irreps[:6], RANKS[:2]
            signal = rigid_signal(
                irreps,
                weights,
                linewidth,
                points,
                ranks,
                bandwidth,
                periods,
                phases,
                angle,
                resolution.smooth,
            )
            damped = jnp.zeros((), dtype) if linewidth is None else -jnp.pi * (weights @ linewidth)
            return signal, jax.lax.complex(damped, 2 * jnp.pi * (irreps[0] @ weights))
        # Without smoothing sites at rest take the solvers of moving ones too, which place no frequency on a grid.
        model = ExchangeModel.from_rates({}, n_sites=len(sites)) if exchange is None else exchange
        generator = liouvillian(sites, model, m, experiment.field, linewidth).shifted(carrier)
        if spinning:
            assert isinstance(experiment, MAS)
            signal = mas_exchange_signal(
                generator,
                cells,
                experiment.rate,
                experiment.angle,
                phases,
                periods,
                resolution.substeps or 1,
                resolution.commutator,
            )
            return signal, generator.initial_slope()
        if angle is not None:
            generator = dataclasses.replace(
                generator,
                precession=generator.precession
                * polar_means(angle, generator.ranks)[:, None, None].astype(generator.precession.dtype),
            )
        return static_exchange_signal(generator, cells, bandwidth, periods), generator.initial_slope()

    signals, slopes = zip(*(one(m) for m, _ in observed), strict=True)
    shares = jnp.asarray([share for _, share in observed], dtype)
    signal = jnp.stack(signals).T @ shares.astype(signals[0].dtype)
    return Decay(signal, 1 / bandwidth, carrier, jnp.stack(slopes), shares)


def _band(sites: Sites, experiment: Experiment, axis: Axis, exchange: ExchangeModel | None) -> tuple[Array, Array]:
    """Centre of the axis, and a bandwidth about which neither line nor axis folds."""
    larmor = jnp.abs(sites.nucleus.larmor_frequency(experiment.field))
    ends = axis.in_hz(larmor)
    low, high, *_ = _extent(sites, experiment, exchange)
    top, bottom = jnp.maximum(jnp.max(ends), high), jnp.minimum(jnp.min(ends), low)
    band = jax.lax.stop_gradient(BAND * (top - bottom))
    return jax.lax.stop_gradient(ends.mean()), band


@jax.jit
def _survey(sites: Sites, experiment: Experiment, exchange: ExchangeModel | None) -> tuple[Array, Array, Array, Array]:
    return (*_extent(sites, experiment, exchange), quadrupolar_ratio(sites, experiment.field))


def _extent(sites: Sites, experiment: Experiment, exchange: ExchangeModel | None) -> tuple[Array, Array, Array]:
    """Lowest and highest frequency of any site in any direction, and the widest pattern that the rotor leaves.

    Fast motion moves the second order out of the range of the sites, so each group's mean tensors count as a site.
    """
    if exchange is not None:
        sites = _with_means(sites, exchange)
    directions = Fibonacci().points(300).directions
    basis = jnp.asarray(np.stack([np.broadcast_to(y, 300) for y in harmonics(directions.T, RANKS)]), sites.shift.dtype)
    lows, highs, patterns = [], [], []
    infinite = isinstance(experiment, MAS) and experiment.infinite
    for m, _ in transitions(sites.nucleus, experiment.transition):
        irreps = frequency_irreps(sites, m, experiment.field, second_order=True)
        averaged = irreps
        if isinstance(experiment, MAS):
            averaged = irreps * polar_means(experiment.angle, RANKS)[:, None]
        rest = averaged.T @ basis
        patterns.append((rest.max(axis=1) - rest.min(axis=1)).max())
        whole = rest if infinite else irreps.T @ basis
        lows.append(whole.min())
        highs.append(whole.max())
    low, high = jnp.stack(lows).min(), jnp.stack(highs).max()
    margin = 0.02 * (high - low)
    return low - margin, high + margin, jnp.stack(patterns).max()


def _with_means(sites: Sites, exchange: ExchangeModel) -> Sites:
    shift, quadrupole = [sites.shift], [sites.quadrupole]
    for group in exchange.groups:
        if len(group) > 1:
            members = np.asarray(group)
            share = exchange.populations[members].astype(sites.shift.dtype)
            share = (share / share.sum())[:, None, None]
            shift.append((share * sites.shift[members]).sum(0, keepdims=True))
            if sites.quadrupole is not None:
                quadrupole.append((share * sites.quadrupole[members]).sum(0, keepdims=True))
    coupling = None if sites.quadrupole is None else jnp.concatenate([q for q in quadrupole if q is not None])
    return Sites(sites.isotope, jnp.concatenate(shift), coupling)


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
    if exchange is not None:
        exchange_populations(sites, exchange)


def _known(make, *needs) -> np.ndarray | None:
    """A value computed now, or None where something it needs is traced."""
    if not is_concrete(*needs):
        return None
    with jax.ensure_compile_time_eval():
        return np.asarray(make(), dtype=np.float64)


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
