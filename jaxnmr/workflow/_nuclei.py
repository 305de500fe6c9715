"""Tensors of the observed nuclei in every state, and their spectra: at rest, and hopping."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np

from jaxnmr.errors import JaxnmrWarning
from jaxnmr.exchange import ExchangeModel
from jaxnmr.isotopes import isotope
from jaxnmr.spectrum import MAS, Axis, Resolution, Spectrum, Static, resolve, simulate
from jaxnmr.spins import Sites, selected
from jaxnmr.structure import Structure
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._records import ExchangeOfNuclei, SpectraAtField, TensorsOfStates

__all__ = ["sites_of", "spectra_at", "tensors_in"]


def tensors_in(model: Any, states: Sequence[Structure], config: RunConfig) -> TensorsOfStates:
    """Tensors of the observed atoms in each state.

    Args:
        model: with `label(structure)`, and `uncertainty(structure, name)` where it has one.
        states: the first minimum, then those of the events.
        config: nucleus and atoms.

    Raises:
        ValueError: no such nucleus, an atom that is not there, tensors that are missing.
    """
    nucleus = isotope(config.experiment.isotope)
    labelled = [model.label(each) for each in states]
    nuclei = selected(labelled[0], nucleus, config.structure.atoms)
    shape = (len(states), len(nuclei))
    efg, errors = np.zeros((*shape, 3, 3)), []
    shielding = np.array([np.asarray(each.shielding)[nuclei] for each in labelled])
    if nucleus.is_quadrupolar:
        efg = np.array([np.asarray(each.efg)[nuclei] for each in labelled])
    for name in ("shielding", "efg"):
        told = hasattr(model, "uncertainty") and name in [prop.name for prop in model.properties]
        rows = [np.asarray(model.uncertainty(each, name))[nuclei] for each in states] if told else np.full(shape, np.nan)
        errors.append(np.array(rows, np.float64))
    if not (np.isfinite(shielding).all() and np.isfinite(efg).all()):
        raise ValueError(
            f"tensors.file: has no tensor for some {nucleus.symbol} in some minimum; name atoms that have them."
        )
    names = tuple(states[0].names[k] for k in nuclei)
    return TensorsOfStates(tuple(int(k) for k in nuclei), names, shielding, efg, errors[0], errors[1])


def sites_of(tensors: TensorsOfStates, states: Sequence[int], nuclei: Sequence[int], config: RunConfig) -> Sites:
    """The nuclei in the states, paired one by one, as sites; equal weights."""
    at, which = np.asarray(states), np.asarray(nuclei)
    quadrupolar = isotope(config.experiment.isotope).is_quadrupolar
    return Sites.from_tensors(
        config.experiment.isotope,
        tensors.shielding[at, which],
        tensors.efg[at, which] if quadrupolar else None,
        reference=config.tensors.reference_ppm,
    )


def spectra_at(field: float, tensors: TensorsOfStates, exchange: ExchangeOfNuclei, config: RunConfig) -> SpectraAtField:
    """A and B at one field; each nucleus counts alike.

    Args:
        field: tesla.
        tensors: of all states.
        exchange: of each nucleus.
        config: conditions.

    Raises:
        ValueError: as `jaxnmr.simulate`.
    """
    asked = config.experiment
    experiment = MAS(field, asked.rate_hz) if asked.rate_hz > 0 else Static(field)
    axis = Axis(ppm=config.axis.ppm, points=config.axis.points)
    sizes = Resolution(**{k: v for k, v in config.resolution.model_dump().items() if v is not None})
    count, temperatures = len(tensors.nuclei), len(exchange.populations)

    def line(sites: Sites, model: ExchangeModel | None, sizes: Resolution) -> Spectrum:
        width, gaussian = asked.linewidth_hz, asked.gaussian_hz
        return simulate(sites, experiment, axis, exchange=model, linewidth=width, gaussian=gaussian, resolution=sizes)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JaxnmrWarning)
        still = line(sites_of(tensors, [0] * count, range(count), config), None, sizes)
        parts: list[list[np.ndarray]] = [[] for _ in range(temperatures)]
        fixed = np.flatnonzero(exchange.group < 0).tolist()
        if fixed:
            rest = np.asarray(line(sites_of(tensors, [0] * len(fixed), fixed, config), None, sizes).intensity, np.float64)
            for column in parts:
                column.append(rest * len(fixed))
        moving = [_moving(tensors, exchange, k, config) for k in np.flatnonzero(exchange.group >= 0).tolist()]
        chosen: dict[int, Resolution] = {}
        for sites, models in moving:
            now = resolve(
                sites,
                experiment,
                axis,
                exchange=models[0],
                linewidth=asked.linewidth_hz,
                gaussian=asked.gaussian_hz,
                resolution=sizes,
            )
            chosen[len(sites)] = _larger(chosen.get(len(sites)), now)
    heard = [str(w.message) for w in caught if issubclass(w.category, JaxnmrWarning)]

    @eqx.filter_jit
    def program(sites: Sites, model: ExchangeModel) -> Spectrum:
        return line(sites, model, chosen[len(sites)])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxnmrWarning)  # said before, from the values themselves
        for sites, models in moving:
            for column, model in zip(parts, models, strict=True):
                column.append(np.asarray(program(sites, model).intensity, np.float64))
    lines = np.array([np.sum(column, axis=0) / count for column in parts])
    ppm, hz, first = (np.asarray(x, np.float64) for x in (still.ppm, still.hz, still.intensity))
    return SpectraAtField(ppm, hz, first, lines, tuple(dict.fromkeys(heard)))


def _moving(
    tensors: TensorsOfStates, exchange: ExchangeOfNuclei, nucleus: int, config: RunConfig
) -> tuple[Sites, list[ExchangeModel]]:
    """One nucleus in the basins of its group, and the jumps at each temperature."""
    group = exchange.group[nucleus]
    states = [int(s) for s in exchange.states[group] if s >= 0]
    models = [
        ExchangeModel.from_rates(
            {(0, k): float(rates[k]) for k in range(1, len(states))}, populations[: len(states)], len(states)
        )
        for rates, populations in zip(exchange.rates[:, group], exchange.populations[:, group], strict=True)
    ]
    return sites_of(tensors, states, [nucleus] * len(states), config), models


def _larger(one: Resolution | None, other: Resolution) -> Resolution:
    if one is None:
        return other
    names = ("orientations", "phases", "samples", "substeps")
    return replace(other, **{n: max(getattr(one, n) or 0, getattr(other, n) or 0) or None for n in names})
