"""From a configuration to the arguments of `jaxnmr.simulate`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import jaxnmr as jn
from jaxnmr.cli._config import Config, Site
from jaxnmr.cli._say import Failure

__all__ = ["Job", "stated"]

_JUMP = re.compile(r"\s*(\d+)\s*-\s*(\d+)\s*(?::\s*(\S+)\s*)?")


@dataclass(frozen=True)
class Job:
    """The spectra to compute: one, or one for each of `rates`.

    Attributes:
        sites: tensors.
        experiment: field, rotor, transition.
        axis: where to evaluate.
        models: exchange of each spectrum; (None,) without jumps.
        rates: k of each spectrum, s^-1, as asked for; empty where there is no list of them.
        linewidth: Hz, one or one per site.
        gaussian: Hz.
        resolution: sizes that were given, or None.
    """

    sites: jn.Sites
    experiment: jn.Static | jn.MAS
    axis: jn.Axis
    models: tuple[jn.ExchangeModel | None, ...]
    rates: tuple[float, ...]
    linewidth: float | tuple[float, ...]
    gaussian: float
    resolution: jn.Resolution | None


def stated(config: Config) -> Job:
    """Reads the file of tensors, if there is one, and builds everything.

    Raises:
        Failure: jumps that name no site or have no rate, weights for some sites only.
        ValueError: what the library refuses.
    """
    sites = _sites(config)
    asked = config.experiment
    transition = _transition(asked.transition)
    if asked.rate_hz == 0:
        experiment = jn.Static(asked.field_t, transition)
    elif asked.angle_deg is None:
        experiment = jn.MAS(asked.field_t, asked.rate_hz, transition=transition)
    else:
        experiment = jn.MAS(asked.field_t, asked.rate_hz, np.radians(asked.angle_deg), transition=transition)
    points = config.axis.points
    axis = (
        jn.Axis(hz=config.axis.hz, points=points) if config.axis.ppm is None else jn.Axis(ppm=config.axis.ppm, points=points)
    )
    sizes = config.resolution.model_dump(exclude_none=True)
    rates = config.exchange.k_per_s
    return Job(
        sites=sites,
        experiment=experiment,
        axis=axis,
        models=_models(config, len(sites)),
        rates=rates,
        linewidth=asked.linewidth_hz,
        gaussian=asked.gaussian_hz,
        resolution=jn.Resolution(**sizes) if sizes else None,
    )


def _sites(config: Config) -> jn.Sites:
    isotope = jn.isotope(config.experiment.isotope)
    if (file := config.structure) is not None:
        structure = jn.structure.read(file.file, frame=file.frame)
        if file.merge and config.exchange.jumps:
            raise Failure(
                "structure.merge: sites that exchange stay apart even if equivalent; leave merge or the jumps out."
            )
        try:
            return jn.Sites.read(structure, isotope.name, file.reference_ppm, atoms=file.atoms, merge=file.merge)
        except ValueError as error:
            if file.reference_ppm is not None or not str(error).startswith("reference:"):
                raise
            raise Failure(f"{error} The flag is --reference-ppm.") from None
    weights = [site.weight for site in config.site]
    given = [weight for weight in weights if weight is not None]
    if given and len(given) < len(weights):
        raise Failure(f"site: {len(given)} of {len(weights)} sites have a weight; give one to each, or to none.")
    if not isotope.is_quadrupolar:
        for i, site in enumerate(config.site):
            if site.cq_hz:
                raise Failure(f"site[{i}].cq_hz: got {site.cq_hz:g}, but {isotope.name} has spin 1/2; leave it out.")
    shift, quadrupole = _tensors(config.site, isotope.is_quadrupolar and any(site.cq_hz for site in config.site))
    return jn.Sites(isotope.name, shift, quadrupole, given or None)


def _tensors(sites: tuple[Site, ...], coupled: bool) -> tuple[Array, Array | None]:
    dtype = jnp.result_type(float)
    columns = {
        name: np.array([getattr(site, name) for site in sites], dtype)
        for name in ("shift_ppm", "zeta_ppm", "eta", "cq_hz", "eta_q", "euler_deg", "euler_q_deg")
    }

    # Compiled as one: operation by operation this costs seconds of a cold start.
    @jax.jit
    def build(c: dict[str, Array]) -> tuple[Array, Array | None]:
        shift = jn.shift_tensor(c["shift_ppm"], c["zeta_ppm"], c["eta"], euler=jnp.radians(c["euler_deg"]))
        if not coupled:
            return shift, None
        return shift, jn.quadrupole_tensor(c["cq_hz"], c["eta_q"], euler=jnp.radians(c["euler_q_deg"]))

    return build(columns)


def _models(config: Config, count: int) -> tuple[jn.ExchangeModel | None, ...]:
    asked = config.exchange
    if not asked.jumps:
        for name in ("k_per_s", "populations"):
            if getattr(asked, name):
                raise Failure(f"exchange.{name}: given without jumps; add --exchange 0-1, or jumps = ['0-1'] in [exchange].")
        return (None,)
    jumps: dict[tuple[int, int], float | None] = {}
    for text in asked.jumps:
        pair, rate = _jump(text, count)
        if pair in jumps:
            raise Failure(f"exchange: {pair[0]}-{pair[1]} came twice; give each jump once.")
        jumps[pair] = rate
    open_ = [pair for pair, rate in jumps.items() if rate is None]
    if open_ and not asked.k_per_s:
        i, j = open_[0]
        raise Failure(f"exchange: {i}-{j} has no rate; give {i}-{j}:1e4, in 1/s, or several rates with --k-per-s.")
    if asked.k_per_s and not open_:
        raise Failure(
            "exchange.k_per_s: every jump has a rate of its own; write the jumps that these are for without, as 0-1."
        )
    if asked.populations is not None and len(asked.populations) != count:
        raise Failure(f"exchange.populations: got {len(asked.populations)} for {count} sites; give one each.")

    def model(k: float | Array) -> jn.ExchangeModel:
        rates = {pair: k if rate is None else rate for pair, rate in jumps.items()}
        return jn.ExchangeModel.from_rates(rates, asked.populations, count)

    # Detailed balance is looked at where rates have values; one-way jumps without a cycle cannot break it.
    if not _has_cycle(list(jumps)):
        model = jax.jit(model)
    return tuple(model(k) for k in asked.k_per_s or (0.0,))


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


def _transition(text: str | None) -> str | tuple[float, float] | None:
    if text is None or "," not in text:
        return text
    try:
        upper, lower = (float(Fraction(part.strip())) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise Failure(f"transition: got {text!r}; give central, all, or m,m-1, as 3/2,1/2.") from None
    return upper, lower
