"""From a stated problem to its decay and spectrum: which solver, about which carrier, over which band."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxnmr.compiling import exact_products, quick_jit
from jaxnmr.exchange import ExchangeModel, Liouvillian, exchange_populations, liouvillian
from jaxnmr.harmonics import harmonics, zonal
from jaxnmr.spectrum._axis import Axis
from jaxnmr.spectrum._echoes import SolidEcho
from jaxnmr.spectrum._experiments import MAS, Static
from jaxnmr.spectrum._grids import Fibonacci
from jaxnmr.spectrum._pathways import Pathway, pathways
from jaxnmr.spectrum._powder import powder_cells
from jaxnmr.spectrum._resolution import BAND, Resolution
from jaxnmr.spectrum._solver_echo import Leg, Refocusing
from jaxnmr.spectrum._solver_mas import mas_exchange_signal
from jaxnmr.spectrum._solver_rigid import rigid_signal
from jaxnmr.spectrum._solver_static import static_exchange_signal
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum._transform import apodise, evaluate, unfolded
from jaxnmr.spins import RANKS, Sites, frequency_irreps, quadrupolar_ratio, transition_weights, transitions

__all__ = ["Decay", "Experiment", "Problem", "decay_of", "spectrum_of", "survey_of"]

Experiment = Static | MAS


class Problem(NamedTuple):
    """What is simulated, checked: the arguments of `simulate` with widths as arrays of the working precision."""

    sites: Sites
    experiment: Experiment
    axis: Axis
    exchange: ExchangeModel | None
    linewidth: Any
    gaussian: Any


class Decay(NamedTuple):
    r"""A free-induction decay, averaged over the powder and the rotor's start phase, without apodisation.

    Attributes:
        signal: $s(j\,dt)$, one at t = 0 (the amplitude of the echo, if there is one), complex, (times,).
        dt: s.
        carrier: Hz from the reference; the signal precesses as $e^{2\pi i(\nu - \mathrm{carrier})t}$.
        slopes: initial slope of each transition's signal, $s^{-1}$, (transition,); after an echo that of a plain decay.
        shares: of each transition in the whole, (transition,).
        tops: of an echo, the signal of each transition at t = 0 and its slope, (transition, 2); else None.
    """

    signal: Complex[Array, " times"]
    dt: Float[Array, ""]
    carrier: Float[Array, ""]
    slopes: Complex[Array, " transition"]
    shares: Float[Array, " transition"]
    tops: Complex[Array, "transition 2"] | None = None


@partial(jax.jit, static_argnames="resolution")
@exact_products
def spectrum_of(problem: Problem, resolution: Resolution) -> Spectrum:
    """The spectrum of a problem at given sizes."""
    sites, experiment, axis, *_ = problem
    linewidth, gaussian = jnp.asarray(problem.linewidth), jnp.asarray(problem.gaussian)
    record = decay_of(problem, resolution)
    dt, common = record.dt, jnp.zeros_like(gaussian) if linewidth.ndim else linewidth
    signal = apodise(record.signal, dt, common, gaussian)
    larmor = jnp.abs(sites.nucleus.larmor_frequency(experiment.field))
    ends = axis.in_hz(larmor)
    step = (ends[1] - ends[0]) / (axis.points - 1)
    start = ends[0] - record.carrier
    intensity = evaluate(signal, dt, start, step, axis.points)
    slopes = record.slopes - (jnp.pi * common).astype(record.slopes.dtype)
    fold = partial(unfolded, dt=dt, start=start, step=step, points=axis.points)
    if record.tops is None:
        wings = jax.vmap(fold)(slopes)
    else:
        # The jump s(0) and that of the slope as two terms: near the minimum of an echo's intensity their ratio is nothing.
        jumps, bends = record.tops[:, 0], record.tops[:, 1] - record.slopes * record.tops[:, 0]
        wings = jax.vmap(lambda slope, jump, bend: fold(slope, jump=jump, bend=bend))(slopes, jumps, bends)
    intensity = intensity + record.shares @ wings
    values = axis.values()
    ppm, hz = (values, values * (1e-6 * larmor)) if axis.unit == "ppm" else (values / (1e-6 * larmor), values)
    rate = experiment.rate if isinstance(experiment, MAS) else 0.0
    return Spectrum(ppm, hz, intensity, isotope=sites.isotope, field=experiment.field, rate=rate)


@partial(jax.jit, static_argnames="resolution")
@exact_products
def decay_of(problem: Problem, resolution: Resolution) -> Decay:
    """Sum of the observed transitions' decays, on one time axis about one carrier; one width for all sites is left out."""
    sites, experiment, axis, exchange, *_ = problem
    linewidth = jnp.asarray(problem.linewidth)
    linewidth = linewidth if linewidth.ndim else None
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
    shares = jnp.asarray([share for _, share in observed], dtype)
    whole, heights = weights, jnp.broadcast_to(weights, (len(observed), len(sites)))
    if experiment.excitation is not None:
        lit = transition_weights(sites, experiment.excitation, experiment.transition) * weights[None, :]
        shares = lit.sum(1)
        heights = lit / jnp.where(shares == 0, 1, shares)[:, None]

    def one(m: float, weights: Array) -> tuple[Array, Array, Array | None]:
        followed = () if experiment.echo is None else pathways(sites.nucleus.spin, m, experiment.echo)
        # At rest what is conjugated within its transition refocuses, whatever the delay.
        unchanged = followed in ((), (Pathway(1.0, m, True),))
        if frozen and resolution.smooth and unchanged:
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
            slope = jax.lax.complex(damped, 2 * jnp.pi * (irreps[0] @ weights))
            top = jnp.stack([signal[0], slope]) if followed else None
            return signal, slope, top
        # Without smoothing sites at rest take the solvers of moving ones too, which place no frequency on a grid.
        model = ExchangeModel.from_rates({}, n_sites=len(sites)) if exchange is None else exchange

        def generator_of(m: float, width: Array | None, centre: Array) -> Liouvillian:
            generator = liouvillian(sites, model, m, experiment.field, width).shifted(centre)
            if angle is None or spinning:
                return generator
            scale = jnp.stack(zonal(jnp.cos(angle), generator.ranks))[:, None, None].astype(generator.precession.dtype)
            return dataclasses.replace(generator, precession=generator.precession * scale)

        generator = generator_of(m, linewidth, carrier)
        echo = None if not followed else _refocusing(experiment, m, followed, generator_of, carrier)
        start = None if experiment.excitation is None else model.lines(weights) / model.lines(whole)
        if spinning:
            assert isinstance(experiment, MAS)
            signal, slope = mas_exchange_signal(
                generator,
                cells,
                experiment.rate,
                experiment.angle,
                phases,
                periods,
                resolution.substeps or 1,
                resolution.commutator,
                echo,
                start,
            )
        else:
            signal, slope = static_exchange_signal(generator, cells, bandwidth, periods, echo, start)
        return signal, generator.initial_slope(start), None if slope is None else jnp.stack([signal[0], slope])

    signals, slopes, tops = zip(*(one(m, row) for (m, _), row in zip(observed, heights, strict=True)), strict=True)
    signal = jnp.stack(signals).T @ shares.astype(signals[0].dtype)
    echoes = None if experiment.echo is None else jnp.stack([top for top in tops if top is not None])
    return Decay(signal, 1 / bandwidth, carrier, jnp.stack(slopes), shares, echoes)


def _refocusing(
    experiment: Experiment,
    m: float,
    followed: tuple[Pathway, ...],
    generator_of: Callable[[float, Array | None, Array], Liouvillian],
    carrier: Array,
) -> Refocusing:
    """The delays of an echo for the observed transition (m, m - 1).

    Precession in them is seen from the transmitter, which matters to coherence that is not conjugated; line broadening acts
    from the top only.
    """
    echo = experiment.echo
    assert echo is not None
    if isinstance(echo, SolidEcho) and echo.carrier is not None:
        carrier = jnp.asarray(echo.carrier, carrier.dtype)
    of = {start: generator_of(start, None, carrier) for start in {m, *(path.start for path in followed)}}
    legs = tuple(Leg(of[path.start], path.start == m, path.weight, path.conjugate) for path in followed)
    if echo.periods is None:
        tau = jnp.asarray(echo.tau, carrier.dtype)
    else:
        assert isinstance(experiment, MAS)
        tau = (echo.periods / jnp.asarray(experiment.rate)).astype(carrier.dtype)
    return Refocusing(of[m], legs, tau, echo.periods)


def _band(sites: Sites, experiment: Experiment, axis: Axis, exchange: ExchangeModel | None) -> tuple[Array, Array]:
    """Centre of the axis, and a bandwidth about which neither line nor axis folds."""
    larmor = jnp.abs(sites.nucleus.larmor_frequency(experiment.field))
    ends = axis.in_hz(larmor)
    low, high, *_ = _extent(sites, experiment, exchange)
    top, bottom = jnp.maximum(jnp.max(ends), high), jnp.minimum(jnp.min(ends), low)
    # Not stopped: a line that outlasts the record depends on the steps, and derivatives are those of what is computed.
    return jax.lax.stop_gradient(ends.mean()), BAND * (top - bottom)


@quick_jit
@exact_products
def survey_of(sites: Sites, experiment: Experiment, exchange: ExchangeModel | None) -> tuple[Array, Array, Array, Array]:
    """Lowest and highest frequency, widest pattern that the rotor leaves, Hz, and nu_Q / nu_0."""
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
            averaged = irreps * jnp.stack(zonal(jnp.cos(experiment.angle), RANKS))[:, None]
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
