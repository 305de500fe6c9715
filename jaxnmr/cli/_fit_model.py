"""From a ready-made model and a series' laws to one function of one dict of parameters."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnmr as jn
from jaxnmr.cli._fit_config import Config
from jaxnmr.cli._fit_data import Measured
from jaxnmr.cli._say import Failure
from jaxnmr.errors import near
from jaxnmr.fitting import (
    Constraint,
    Free,
    Interval,
    LogRate,
    Ordered,
    Positive,
    Prior,
    Simplex,
    Unit,
    arrhenius,
    boltzmann,
    eyring,
    models,
)
from jaxnmr.units import BOLTZMANN, BOLTZMANN_IN_EV, GAS_CONSTANT, PLANCK

__all__ = ["Stated", "stated"]

# Parameters of the laws, with their units; the first stands in the place of the model's own.
_LAWS: dict[str, dict[str, str]] = {
    "arrhenius": {"log_a": "lg(1/s)", "e_a_ev": "eV"},
    "eyring": {"dh_kj_mol": "kJ/mol", "ds_j_mol_k": "J/(mol K)"},
    "boltzmann": {"de_kj_mol": "kJ/mol"},
}
_KINDS: dict[str, Callable[[], Constraint]] = {
    "free": Free,
    "positive": Positive,
    "unit": Unit,
    "simplex": Simplex,
    "ordered": Ordered,
    "rate": LogRate,
}
# What the models hold as one number for each site.
_PER_SITE = {
    "two_site_exchange": ("delta", "zeta", "eta"),
    "quadrupolar_sites": ("delta", "c_q", "eta_q", "weights", "zeta", "eta", "alpha", "beta", "gamma"),
}
_ELEMENT = re.compile(r"(\w+)(?:\[(\d+(?:,\s*\d+)*)\])?")


@dataclasses.dataclass(frozen=True)
class Stated:
    """What `fit` is called with.

    Attributes:
        model: parameters -> one spectrum, or a list of them.
        start: parameters.
        constraints: by name.
        priors: Gaussians.
        units: by name.
        sizes: of the calculation, of each kind of experiment.
        rate: parameters and temperature -> k, where a law gives it.
    """

    model: Callable[[Mapping[str, Any]], Any]
    start: dict[str, Any]
    constraints: dict[str, Constraint]
    priors: tuple[Prior, ...]
    units: dict[str, str]
    sizes: tuple[jn.Resolution, ...]
    rate: Callable[[Mapping[str, Any], float], Any] | None


def stated(config: Config, spectra: tuple[Measured, ...]) -> Stated:
    """Builds the function of all spectra, chooses sizes, and fills in the start.

    Raises:
        Failure: unknown names, a law for a model without a rate, a start of another shape.
        ValueError: what the models refuse.
    """
    laws = _laws(config)
    added = {name for law in laws.values() for name in _LAWS[law]}
    own = {name: value for name, value in config.start.items() if name not in added}
    count, each = len(spectra), config.series.each
    per_site = _PER_SITE.get(config.model.name, ())
    whole = {name for name, value in own.items() if name in each and np.ndim(value) == 1 + (name in per_site)}
    for name in whole:
        if len(np.asarray(own[name])) != count:
            raise Failure(
                f"start.{name}: got {len(np.asarray(own[name]))} for {count} spectra; give one for all, or one each."
            )
    first = {name: np.asarray(value, np.float64)[0] if name in whole else value for name, value in own.items()}
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, spectrum in enumerate(spectra):
        groups.setdefault(spectrum.key, []).append(i)
    made = {key: _made(config, spectra[rows[0]], first) for key, rows in groups.items()}
    template = next(iter(made.values()))
    _check_names(config, template, laws)

    begin: dict[str, Any] = {}
    for name, value in template.start.items():
        if name in laws:
            begin |= _law_start(laws[name], config, spectra, value)
        elif name in each:
            wide = np.broadcast_to(np.asarray(value, np.float64), (count, *np.shape(value)))
            begin[name] = np.asarray(own[name], np.float64) if name in whole else np.array(wide)
        else:
            begin[name] = value
    temperatures = [spectrum.temperature for spectrum in spectra]

    def of(p: Mapping[str, Any], i: int) -> dict[str, Any]:
        """The parameters of one spectrum, as the ready-made model takes them."""
        out: dict[str, Any] = {}
        for name in template.start:
            if name in laws:
                out[name] = _law(laws[name], p, temperatures[i])
            else:
                out[name] = p[name][i] if name in each else p[name]
        return out

    def model(p: Mapping[str, Any]) -> Any:
        found: dict[int, jn.Spectrum] = {}
        for key, rows in groups.items():
            if len(rows) == 1:
                found[rows[0]] = made[key](of(p, rows[0]))
                continue
            # One program for all spectra of one kind: it is compiled once.
            columns = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *(of(p, i) for i in rows))
            batch = jax.vmap(made[key])(columns)
            for k, i in enumerate(rows):
                found[i] = jax.tree.map(lambda leaf, k=k: leaf[k], batch)
        return found[0] if count == 1 else [found[i] for i in range(count)]

    units = {name: unit for law in laws.values() for name, unit in _LAWS[law].items()}
    units |= {name: unit for name, unit in template.units.items() if name not in laws}
    rate = (lambda p, temperature: _law(laws["k"], p, temperature)) if "k" in laws else None
    return Stated(
        model,
        begin,
        _constraints(config, template, begin),
        _priors(config, begin),
        units,
        tuple(each.resolution for each in made.values()),
        rate,
    )


def _made(config: Config, spectrum: Measured, start: Mapping[str, Any]) -> models.Model:
    asked, isotope = config.model, config.experiment.isotope
    sizes = config.resolution.model_dump(exclude_none=True)
    common = {"start": start, "resolution": jn.Resolution(**sizes) if sizes else None}
    axis, experiment = spectrum.spectrum.axis, spectrum.experiment
    if asked.name == "two_site_exchange":
        return models.two_site_exchange(axis, experiment, isotope, csa=bool(asked.csa), **common)
    if asked.name == "n_site_jump":
        return models.n_site_jump(axis, experiment, isotope, asked.n or 3, **common)
    if asked.name == "ring_flip":
        return models.ring_flip(axis, experiment, isotope, **common)
    if asked.name == "czjzek_glass":
        return models.czjzek_glass(axis, experiment, isotope, **common)
    options = {"csa": bool(asked.csa), "gaussian": asked.gaussian_hz or 0.0}
    return models.quadrupolar_sites(axis, experiment, isotope, asked.sites or 1, **options, **common)


def _laws(config: Config) -> dict[str, str]:
    """Which parameter of the model each law gives."""
    laws: dict[str, str] = {}
    if config.series.law:
        laws["k"] = config.series.law
    if config.series.populations:
        laws["p"] = config.series.populations
    return laws


def _check_names(config: Config, template: models.Model, laws: Mapping[str, str]) -> None:
    for name, law in laws.items():
        if name not in template.start:
            what = "law" if name == "k" else "populations"
            raise Failure(f"series.{what}: {config.model.name} has no parameter {name!r} for {law} to give.")
        if name in config.start:
            raise Failure(f"start.{name}: {law} gives it; start {', '.join(_LAWS[law])} instead.")
    known = [name for name in template.start if name not in laws]
    for name in config.series.each:
        if name not in known:
            raise Failure(f"series.each: no parameter {name!r}{near(name, known)}; there are {', '.join(known)}.")
        if isinstance(template.constraints.get(name), Simplex | Ordered):
            raise Failure(f"series.each: {name!r} is tied within itself; it can only be shared by all spectra.")


def _law_start(law: str, config: Config, spectra: tuple[Measured, ...], value: Any) -> dict[str, float]:
    """What was given; else a law that gives the model's start in the middle of the temperatures."""
    given = {name: config.start[name] for name in _LAWS[law] if name in config.start}
    middle = float(np.mean([spectrum.temperature for spectrum in spectra if spectrum.temperature is not None]))
    if law == "boltzmann":
        guess = {"de_kj_mol": 1e-3 * GAS_CONSTANT * middle * math.log(float(value) / (1 - float(value)))}
    elif law == "arrhenius":
        log_a = float(given.get("log_a", 13.0))  # type: ignore[arg-type]
        guess = {"log_a": log_a, "e_a_ev": BOLTZMANN_IN_EV * middle * (math.log(10.0) * log_a - math.log(float(value)))}
    else:
        ds = float(given.get("ds_j_mol_k", 0.0))  # type: ignore[arg-type]
        ratio = math.log(BOLTZMANN * middle / PLANCK / float(value))
        guess = {"dh_kj_mol": 1e-3 * middle * (GAS_CONSTANT * ratio + ds), "ds_j_mol_k": ds}
    out = guess | given
    for name, number in out.items():
        if np.ndim(number):
            raise Failure(f"start.{name}: got {number!r}; give one number.")
    return {name: float(number) for name, number in out.items()}  # type: ignore[arg-type]


def _law(law: str, p: Mapping[str, Any], temperature: float | None) -> Any:
    assert temperature is not None
    if law == "arrhenius":
        return arrhenius(temperature, p["log_a"], p["e_a_ev"])
    if law == "eyring":
        return eyring(temperature, p["dh_kj_mol"], p["ds_j_mol_k"])
    return boltzmann(temperature, p["de_kj_mol"])[0]


def _constraints(config: Config, template: models.Model, begin: Mapping[str, Any]) -> dict[str, Constraint]:
    out = {name: limit for name, limit in template.constraints.items() if name in begin}
    for name, asked in config.constraints.items():
        if name not in begin:
            raise Failure(f"constraints: no parameter {name!r}{near(name, begin)}; there are {', '.join(begin)}.")
        if isinstance(asked, str):
            out[name] = _KINDS[asked]()
        elif isinstance(template.constraints.get(name), LogRate):
            out[name] = LogRate(*asked)
        else:
            out[name] = Interval(*asked)
    return out


def _priors(config: Config, begin: Mapping[str, Any]) -> tuple[Prior, ...]:
    return tuple(_prior(i, config, begin) for i in range(len(config.prior)))


def _prior(i: int, config: Config, begin: Mapping[str, Any]) -> Prior:
    asked = config.prior[i]
    match = _ELEMENT.fullmatch(asked.parameter.strip())
    if match is None or match[1] not in begin:
        name = match[1] if match else asked.parameter
        raise Failure(f"prior[{i}].parameter: no parameter {name!r}{near(name, begin)}; there are {', '.join(begin)}.")
    name, at = match[1], tuple(int(part) for part in match[2].split(",")) if match[2] else ()
    shape = np.shape(begin[name])
    if at and (len(at) != len(shape) or any(a >= n for a, n in zip(at, shape, strict=True))):
        raise Failure(f"prior[{i}].parameter: got {asked.parameter!r}, but {name} has shape {shape}.")

    def function(p: Mapping[str, Any]) -> Any:
        value = jnp.asarray(p[name])[at]
        return jnp.log10(value) if asked.log10 else value

    return Prior(function, asked.mean, asked.sigma)
