"""From a configuration to the arguments of `jaxnmr.simulate`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import jaxnmr as jn
from jaxnmr.cli._config import Config
from jaxnmr.cli._experiments import echo_of, experiment_of, transition_of
from jaxnmr.cli._say import Failure
from jaxnmr.cli._sites import mover, sites_of
from jaxnmr.cli._stack import Stack, stack_of
from jaxnmr.units import BOLTZMANN_IN_EV

__all__ = ["Job", "stated"]

_JUMP = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*(?::\s*(\S+)\s*)?")


@dataclass(frozen=True)
class Job:
    """The spectra to compute, one for each value of the stack.

    Attributes:
        sites: tensors.
        experiments: of each spectrum: field, rotor, transition, echo.
        axis: where to evaluate.
        models: exchange of each spectrum; None without jumps. With `shares`, of each rate of the distribution, along a
            leading axis.
        gaussians: of each spectrum, Hz.
        stack: what differs between the spectra.
        rates: k of each spectrum where there is a list of rates or temperatures, s^-1; else empty.
        linewidth: Hz, one or one per site.
        resolution: sizes that were given, or None.
        shares: of the rates of a distribution, (node,), or None.
    """

    sites: jn.Sites
    experiments: tuple[jn.Static | jn.MAS, ...]
    axis: jn.Axis
    models: tuple[jn.ExchangeModel | None, ...]
    gaussians: tuple[float, ...]
    stack: Stack
    rates: tuple[float, ...]
    linewidth: float | tuple[float, ...]
    resolution: jn.Resolution | None
    shares: Array | None = None

    def model(self, index: int, node: int = 0) -> jn.ExchangeModel | None:
        """Exchange of one spectrum, with one rate of its distribution."""
        model = self.models[index]
        return model if self.shares is None else jax.tree.map(lambda leaf: leaf[node], model)


def stated(config: Config) -> Job:
    """Reads the file of tensors, if there is one, and builds everything.

    Raises:
        Failure: jumps that name no site or have no rate, weights for some sites only.
        ValueError: what the library refuses.
    """
    stack = stack_of(config)
    sites = sites_of(config)
    asked = config.experiment
    rates = _rates(config)
    spread = _spread(config, rates)
    sites, models = _moving(config, sites, rates, None if spread is None else [each.rates for each in spread])
    fields = asked.fields_t or (asked.field_t,)
    repeated = lambda values: tuple(values) * (stack.count if len(values) == 1 else 1)  # noqa: E731
    points = config.axis.points
    axis = (
        jn.Axis(hz=config.axis.hz, points=points) if config.axis.ppm is None else jn.Axis(ppm=config.axis.ppm, points=points)
    )
    sizes = config.resolution.model_dump(exclude_none=True)
    return Job(
        sites=sites,
        experiments=repeated([_experiment(config, field, sites) for field in fields if field is not None]),
        axis=axis,
        models=repeated(models),
        gaussians=repeated([_gaussian(config, field) for field in fields if field is not None]),
        stack=stack,
        rates=rates,
        linewidth=asked.linewidth_hz,
        resolution=jn.Resolution(**sizes) if sizes else None,
        shares=None if spread is None else spread[0].weights,
    )


def _experiment(config: Config, field: float, sites: jn.Sites) -> jn.Static | jn.MAS:
    asked = config.experiment
    echo = echo_of(asked.echo, asked.echo_tau_us, asked.echo_periods, sites.nucleus)
    return experiment_of(field, asked.rate_hz, asked.angle_deg, transition_of(asked.transition), echo, _pulse(config))


def _pulse(config: Config) -> jn.spins.Pulse | None:
    asked = config.experiment
    if (asked.nutation_hz is None) != (asked.pulse_us is None):
        name, flag = ("nutation_hz", "--nutation-hz") if asked.nutation_hz is None else ("pulse_us", "--pulse-us")
        raise Failure(f"experiment.{name}: missing; a pulse needs its strength and its length, give {flag} too.")
    if asked.nutation_hz is None or asked.pulse_us is None:
        return None
    return jn.spins.Pulse(asked.nutation_hz, 1e-6 * asked.pulse_us)


def _gaussian(config: Config, field: float) -> float:
    """The width asked for and that of a normal distribution of shifts, folded."""
    deviation = config.disorder.shift_deviation_ppm
    if not deviation:
        return config.experiment.gaussian_hz
    return math.hypot(config.experiment.gaussian_hz, float(jn.spins.shift_fwhm(config.experiment.isotope, deviation, field)))


def _rates(config: Config) -> tuple[float, ...]:
    """Rates for jumps and motions without one of their own."""
    asked = config.exchange
    if not asked.temperatures_k:
        return asked.k_per_s
    assert asked.prefactor_per_s is not None and asked.barrier_ev is not None
    thermal = [BOLTZMANN_IN_EV * temperature for temperature in asked.temperatures_k]
    return tuple(asked.prefactor_per_s * math.exp(-asked.barrier_ev / energy) for energy in thermal)


def _spread(config: Config, rates: tuple[float, ...]) -> list[jn.spins.RateDistribution] | None:
    """The distribution about each of the rates, or None."""
    asked = config.exchange
    if not asked.spread_decades and not asked.barrier_deviation_ev:
        return None
    name = "spread_decades" if asked.spread_decades else "barrier_deviation_ev"
    if not rates:
        raise Failure(f"exchange.{name}: given without rates to spread; add --k-per-s, or --temperatures-k.")
    if asked.spread_decades and asked.barrier_deviation_ev:
        raise Failure("exchange.spread_decades: came together with barrier_deviation_ev; give one of them.")
    if asked.spread_decades:
        if 0 in rates:
            raise Failure("exchange.k_per_s: 0 has no distribution about it; leave it or spread_decades out.")
        return [jn.spins.log_normal_rates(k, asked.spread_decades) for k in rates]
    if not asked.temperatures_k:
        raise Failure("exchange.barrier_deviation_ev: rates were given, and not barriers; use --spread-decades for them.")
    assert asked.barrier_ev is not None and asked.prefactor_per_s is not None
    law = asked.barrier_ev, asked.barrier_deviation_ev, asked.prefactor_per_s
    return [jn.spins.barrier_rates(law[0], law[1], temperature, law[2]) for temperature in asked.temperatures_k]


def _moving(
    config: Config, sites: jn.Sites, rates: tuple[float, ...], nodes: list[Array] | None
) -> tuple[jn.Sites, tuple[jn.ExchangeModel | None, ...]]:
    if not config.motion:
        return sites, _models(config, len(sites), rates, nodes)
    open_ = [i for i, motion in enumerate(config.motion) if motion.rate_per_s is None]
    if open_ and not rates:
        raise Failure(
            f"motion[{open_[0]}].rate_per_s: missing; write it behind @, as --motion flip:180@1e5, or give --k-per-s."
        )
    if rates and not open_:
        raise Failure("exchange.k_per_s: every motion has a rate of its own; leave out that of those which these are for.")
    if config.exchange.populations is not None:
        raise Failure("exchange.populations: positions of a motion are equally populated here; leave them out.")
    move = mover(config, sites)
    moved, _ = move((rates or (0.0,))[0])
    if nodes is not None:
        return moved, tuple(jax.vmap(lambda k: move(k)[1])(each) for each in nodes)
    return moved, tuple(move(k)[1] for k in rates or (0.0,))


def _models(
    config: Config, count: int, rates: tuple[float, ...], nodes: list[Array] | None
) -> tuple[jn.ExchangeModel | None, ...]:
    asked = config.exchange
    if not asked.jumps:
        for name in ("k_per_s", "temperatures_k", "populations"):
            if getattr(asked, name):
                raise Failure(
                    f"exchange.{name}: given without jumps; add --exchange 0-1, or jumps = ['0-1'] in [exchange], or a "
                    "motion without a rate, as --motion flip:180."
                )
        return (None,)
    jumps: dict[tuple[int, int], float | None] = {}
    for text in asked.jumps:
        pair, rate = _jump(text, count)
        if pair in jumps:
            raise Failure(f"exchange: {pair[0]}-{pair[1]} came twice; give each jump once.")
        jumps[pair] = rate
    open_ = [pair for pair, rate in jumps.items() if rate is None]
    if open_ and not rates:
        i, j = open_[0]
        raise Failure(f"exchange: {i}-{j} has no rate; give {i}-{j}:1e4, in 1/s, or several rates with --k-per-s.")
    if rates and not open_:
        name = "temperatures_k" if asked.temperatures_k else "k_per_s"
        raise Failure(
            f"exchange.{name}: every jump has a rate of its own; write the jumps that these are for without, as 0-1."
        )
    if asked.populations is not None and len(asked.populations) != count:
        raise Failure(f"exchange.populations: got {len(asked.populations)} for {count} sites; give one each.")

    def model(k: float | Array) -> jn.ExchangeModel:
        by_pair = {pair: k if rate is None else rate for pair, rate in jumps.items()}
        return jn.ExchangeModel.from_rates(by_pair, asked.populations, count)

    # Detailed balance is looked at where rates have values; one-way jumps without a cycle cannot break it.
    if nodes is None:
        one = model if _has_cycle(list(jumps)) else jax.jit(model)
        return tuple(one(k) for k in rates or (0.0,))
    if not _has_cycle(list(jumps)):
        return tuple(jax.vmap(model)(each) for each in nodes)
    built = [[model(float(k)) for k in each] for each in nodes]
    for row in built:
        if any(not np.allclose(each.populations, row[0].populations, rtol=1e-4) for each in row):
            raise Failure(
                "exchange: with a spread of rates the populations would differ from nucleus to nucleus, since some jumps of "
                "a pair or ring have rates of their own; leave those without, or give --populations."
            )
    return tuple(jax.tree.map(lambda *leaves: jnp.stack(leaves), *row) for row in built)


def _jump(text: str, count: int) -> tuple[tuple[int, int], float | None]:
    match = _JUMP.fullmatch(text)
    if match is None:
        raise Failure(f"exchange: got {text!r}; give from-to:rate, as 0-1:1e4, sites counted from 0, the rate in 1/s.")
    i, j = int(match[1]), int(match[2])
    for site in (i, j):
        if site >= count:
            raise Failure(f"exchange: {text!r} names site {site}, but there are {count} sites, 0 to {count - 1}.")
    if i == j:
        raise Failure(f"exchange: {text!r} is a jump from a site to itself; name two.")
    if match[3] is None:
        return (i, j), None
    try:
        rate = float(match[3])
    except ValueError:
        raise Failure(f"exchange: got {text!r}; {match[3]!r} is no number, give a rate in 1/s as 1e4.") from None
    if not 0 <= rate < np.inf:
        raise Failure(f"exchange: got {text!r}; a rate is finite and >= 0, in 1/s.")
    return (i, j), rate


def _has_cycle(pairs: list[tuple[int, int]]) -> bool:
    root = {site: site for pair in pairs for site in pair}

    def find(site: int) -> int:
        while root[site] != site:
            site = root[site]
        return site

    for i, j in pairs:
        if find(i) == find(j):
            return True
        root[find(i)] = find(j)
    return False
