"""Every number of a run with its unit in its key, for JSON and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxnmr.exchange import ExchangeModel
from jaxnmr.isotopes import isotope
from jaxnmr.spins import Sites
from jaxnmr.units import BOLTZMANN_IN_EV
from jaxnmr.workflow._asked import CONVENTIONS, settings_of
from jaxnmr.workflow._changes import apart_hz
from jaxnmr.workflow._compare import Comparison
from jaxnmr.workflow._crossings import crossing_of
from jaxnmr.workflow._kinetics import beyond_pairs
from jaxnmr.workflow._records import Sampled
from jaxnmr.workflow._result import Result
from jaxnmr.workflow._sets import states_of
from jaxnmr.workflow._site_numbers import finite_or_none, sites_of
from jaxnmr.workflow._timescales import words_of

__all__ = ["numbers_of"]

_ALWAYS = (
    "Errors that potential and tensor model have everywhere: a barrier is that of the potential, and the method behind its "
    "training data; a committee's spread does not see what all its members have in common.",
    "Tunnelling below the top beyond Wigner's or no correction; anharmonic vibrations.",
    "Nuclei as quantum particles: protons move, and spread, more than classical ones.",
    "Dipolar couplings, pulses, and relaxation by anything but the hops.",
)


def numbers_of(result: Result, measured: Sequence[Comparison] = ()) -> dict[str, Any]:
    """All of it; "conventions" says in which frame, and what keys of the same name mean in different places."""
    asked = result.config.experiment
    return {
        "formula": "".join(f"{e}{result.structure.species.count(e)}" for e in result.structure.elements),
        "n_atoms": len(result.structure),
        "isotope": asked.isotope,
        "fields_t": list(asked.fields_t),
        "rate_hz": asked.rate_hz if np.isfinite(asked.rate_hz) else "inf",
        "spinning_rate_hz": asked.rate_hz if np.isfinite(asked.rate_hz) else "inf",
        "temperatures_k": list(asked.temperatures_k),
        "theory": result.config.rates.theory,
        "energy_ev": result.relaxed.energy,
        "max_force_ev_a": result.relaxed.max_force,
        "explored": _explored(result),
        "events": [event | _doubts(result) for event in _events(result)],
        "left_out": _left_out(result),
        "combined": _combined(result),
        "neighbours": _neighbours(result),
        "motion": [_motion(result, found) for found in result.sampled],
        "sites": sites_of(result) if result.tensors is not None and result.exchange is not None else [],
        "spectra": [row for f in range(len(result.spectra)) for row in _differences(result, f)],
        "measured": [{"spectrum": each.name, "scale": each.scale, "residual": each.residual} for each in measured],
        "remarks": list(result.remarks),
        "not_known": _not_known(result),
        "config": settings_of(result.config),
        "conventions": CONVENTIONS,
    }


def _explored(result: Result) -> dict[str, Any] | None:
    """What a search for minima has found."""
    found = result.explored
    if found is None:
        return None
    return {
        "energies_ev": [float(e) for e in found.energies],
        "visits": [int(n) for n in found.visits],
        "above_window": int(found.above),
        "window_ev": result.config.motion.explore_window_ev,
        "evaluations": int(found.evaluations),
    }


def _doubts(result: Result) -> dict[str, Any]:
    """The errors that a band was drawn with, and where hops stand beside the spectrum's scales."""
    asked, how = result.config.experiment, result.config.uncertainty
    found: dict[str, Any] = {
        "barrier_error_ev": how.barrier_ev if how.barrier_ev > 0 else None,
        "energy_error_ev": how.energy_ev if how.energy_ev > 0 else None,
    }
    if result.rates is not None:
        found["regimes_at"] = {"field_t": asked.fields_t[0], "temperature_k": asked.temperatures_k[0]}
    return found


def _events(result: Result) -> list[dict[str, Any]]:
    rates, ends, events = result.rates, result.ends, []
    for column, k in enumerate(result.used):
        band = result.bands[column]
        event: dict[str, Any] = {
            "name": ends.names[k] if ends is not None else "",
            "same_as": int(ends.same_as[k]) if ends is not None else k,
            "atoms": [result.structure.names[a] for a in ends.atoms[ends.groups[k]]] if ends is not None else [],
            "energy_ev": float(ends.energies[k]) if ends is not None else None,
            "barrier_ev": band.barrier_ev,
            "curvature_ev_a2": band.curvature,
            "crossing_a": list(band.crossing_a),
            "crossing": crossing_of(band),
            "sides_ev": list(band.sides_ev),
            "joins": band.joins,
            "path_a": band.arc.tolist(),
            "path_ev": band.energies.tolist(),
        }
        if rates is not None:
            event |= {
                "back_barrier_ev": float(rates.back_barrier_ev[column]),
                "zero_point_barrier_ev": float(rates.zero_point_barrier_ev[column]),
                "prefactor_per_s": float(rates.prefactor_per_s[column]),
                "imaginary_per_cm": float(rates.imaginary_per_cm[column]),
                "rates": [
                    {
                        "temperature_k": float(kelvin),
                        "rate_per_s": float(rates.htst[t, column]),
                        "rate_eyring_per_s": float(rates.eyring[t, column]),
                        "rate_eyring_wigner_per_s": float(rates.wigner[t, column]),
                        "populations": rates.populations[t, column].tolist(),
                        "free_energy_ev": finite_or_none(
                            -BOLTZMANN_IN_EV * kelvin * _log_ratio(rates.populations[t, column])
                        ),
                    }
                    | _staying(result, t, column)
                    | _taken(result, t, k)
                    | _counted(result, t, k)
                    for t, kelvin in enumerate(rates.temperatures)
                ],
            } | _regimes(result, k)
        events.append(event)
    return events


def _left_out(result: Result) -> list[str]:
    """Events without a minimum of their own."""
    ends = result.ends
    if ends is None:
        return []
    known = {k for g in range(len(ends.atoms)) for some in ends.basins(g, result.used) for k in some}
    return [name for k, name in enumerate(ends.names) if k not in known]


def _combined(result: Result) -> list[dict[str, Any]]:
    """Minima that independent motions of one group make together."""
    ends = result.ends
    if ends is None:
        return []
    return [
        {"name": ends.names[k], "group": g, "events": list(ends.parts[k]), "energy_ev": float(ends.energies[k])}
        for g in range(len(ends.atoms))
        for k in ends.basins(g, result.used)[1]
    ]


def _neighbours(result: Result) -> dict[str, Any] | None:
    """What events of different groups do to each other's energies."""
    found, rates, exchange = result.neighbours, result.rates, result.exchange
    if found is None:
        return None
    pairs = [
        {
            "events": list(couple.events),
            "energy_ev": finite_or_none(energy),
            "state": state,
            "nearest_a": couple.distance,
            "same_as": list(found.couples[couple.like].events),
        }
        for couple, energy, state in zip(found.couples, found.energies, found.states, strict=True)
    ]
    whole = []
    if rates is not None:
        for t, kelvin in enumerate(rates.temperatures):
            row: dict[str, Any] = {"temperature_k": float(kelvin)}
            if len(rates.log_whole):
                row["all_at_once_ev"] = float(-BOLTZMANN_IN_EV * kelvin * rates.log_whole[t])
                row["beyond_pairs_ev"] = beyond_pairs(found, rates, t)
            if exchange is not None and len(exchange.other_order_ev):
                row |= {"other_order_ev": float(exchange.other_order_ev[t]), "settled": bool(exchange.settled[t])}
            whole.append(row)
    treatment = None if exchange is None else exchange.treatment
    return {"treatment": treatment, "pairs": pairs, "all_at_once": found.whole_state, "free_energies": whole}


def _log_ratio(shares: np.ndarray) -> float:
    """Of the second to the first."""
    return float(np.log(shares[1] / shares[0])) if shares.min() > 0 else np.nan


def _staying(result: Result, t: int, column: int) -> dict[str, Any]:
    """How many crossings stay across."""
    if not result.recrossed:
        return {}
    found = result.recrossed[column]
    return {
        "transmission": float(found.value[t]),
        "transmission_stderr": float(found.stderr[t]),
        "starts_that_count": float(found.effective[t]),
        "saddle_anharmonicity": float(found.anharmonic[t]),
    }


def _taken(result: Result, t: int, event: int) -> dict[str, Any]:
    """What the exchange takes."""
    exchange = result.exchange
    if exchange is None or result.ends is None:
        return {}
    g = result.ends.groups[event]
    basin = int(np.flatnonzero(exchange.states[g] == event + 1)[0])
    counted = bool(np.isfinite(exchange.counted[t, g]).all())
    return {
        "rate_taken": "counted" if counted else result.config.rates.theory,
        "rate_taken_per_s": float(exchange.rates[t, g, basin, 0]),
        "populations_taken": exchange.populations[t, g, [0, basin]].tolist(),
        "felt_ev": finite_or_none(exchange.felt_ev[t, g, basin]) if len(exchange.felt_ev) else None,
        "minima_of_group": exchange.states[g][exchange.states[g] >= 0].tolist(),
        "populations_of_group": exchange.populations[t, g, exchange.states[g] >= 0].tolist(),
    }


def _counted(result: Result, t: int, event: int) -> dict[str, Any]:
    """What the motion at a temperature says of an event."""
    if not result.sampled or result.ends is None or result.exchange is None:
        return {}
    found, g = result.sampled[t], result.ends.groups[event]
    basin = int(np.flatnonzero(result.exchange.states[g] == event + 1)[0])
    row: dict[str, Any] = {"md_jumps": [int(found.jumps[g, basin, 0]), int(found.jumps[g, 0, basin])]}
    if np.isfinite(found.rates[g, basin, 0]):
        row |= {
            "md_rate_per_s": float(found.rates[g, basin, 0]),
            "md_rate_stderr_per_s": float(found.rates_stderr[g, basin, 0]),
            "md_populations": [float(found.populations[g, 0]), float(found.populations[g, basin])],
        }
    return row


def _regimes(result: Result, event: int) -> dict[str, Any]:
    """Hops of the nucleus that they change most beside the scales of its spectrum, at the first field and temperature."""
    tensors, exchange, asked = result.tensors, result.exchange, result.config.experiment
    if tensors is None or exchange is None or result.ends is None:
        return {"regimes": {}}
    group = result.ends.groups[event]
    mine = np.flatnonzero(exchange.group == group)
    if not len(mine):
        return {"regimes": {}}
    apart = apart_hz(result, event, asked.fields_t[0])[mine]
    n = int(mine[np.argmax(apart)])
    basin = int(np.flatnonzero(states_of(exchange, n) == event + 1)[0])
    pair = [0, event + 1]
    p = exchange.populations[0, group, [0, basin]]
    sites = Sites.from_tensors(
        asked.isotope,
        tensors.shielding[pair, n],
        tensors.efg[pair, n] if isotope(asked.isotope).is_quadrupolar else None,
        reference=result.config.tensors.reference_ppm,
    )
    hops = ExchangeModel.from_rates({(0, 1): float(exchange.rates[0, group, basin, 0])}, p / p.sum(), 2)
    return {
        "regimes": words_of(sites, hops, asked.fields_t[0], result.config),
        "regimes_of": {"atom": tensors.names[n], "apart_hz": float(apart.max())},
    }


def _motion(result: Result, found: Sampled) -> dict[str, Any]:
    groups, how = result.exchange.states if result.exchange is not None else (), result.config.sample
    return {
        "temperature_k": found.kelvin,
        "found_temperature_k": float(found.found_kelvin[0]),
        "found_temperature_stderr_k": float(found.found_kelvin[1]),
        "length_ps": found.length_ps,
        "replicas": found.replicas,
        "dt_fs": how.dt_fs,
        "friction_per_ps": how.friction_per_ps,
        "warmup_ps": how.warmup_ps,
        "spent_ps": [found.spent_ps[g, : int((states >= 0).sum())].tolist() for g, states in enumerate(groups)],
        "averages": "over the moments in each basin; hops between basins are in none of them",
    }


def _differences(result: Result, field: int) -> list[dict[str, Any]]:
    """How far each spectrum is from the others: norm of the difference, of the larger norm of the two."""
    found, rows = result.spectra[field], []
    for t, kelvin in enumerate(result.config.experiment.temperatures_k):
        lines: Mapping[str, np.ndarray] = {"A": found.still, "B": found.moving[t]}
        if len(found.both):
            lines = {**lines, "C": found.fast[t], "D": found.both[t]}
        row: dict[str, Any] = {"field_t": result.config.experiment.fields_t[field], "temperature_k": kelvin, "differ": {}}
        for one, first in lines.items():
            for other, second in lines.items():
                if one < other:
                    size = max(np.linalg.norm(first), np.linalg.norm(second))
                    row["differ"][f"{one}-{other}"] = float(np.linalg.norm(first - second) / size)
        if len(found.low):
            last = found.both[t] if len(found.both) else found.moving[t]
            row["band_of"], row["band_share"] = "D" if len(found.both) else "B", result.config.uncertainty.share
            row["band_width"] = float(np.linalg.norm(found.high[t] - found.low[t]) / np.linalg.norm(last))
        rows.append(row)
    return rows


def _not_known(result: Result) -> list[str]:
    how, found = result.config, []
    if how.motion.hops == "explore":
        images = "" if how.motion.symmetry else ", and what symmetry makes of those that it found (motion.symmetry is off)"
        found.append(f"Minima that the search did not find{images}.")
    else:
        found.append(
            "Minima that were not given and that no proton reaches by crossing its own bridge: none were searched for."
        )
    if result.sampled:
        found.append(
            "Motion slower than the molecular dynamics and other than the hops; what a cell of this size does not hold."
        )
    else:
        found.append(
            "Fast motion within a basin: tensors are those of the minima, not averages over vibrations and librations, "
            "which shift lines and narrow couplings."
        )
    if result.bands:
        found.append(
            "Other ways between the same two minima: one path is followed for each pair. A turn by 180 degrees may go "
            "either way round, over a saddle of its own; where the two are alike the rate is twice as fast (degeneracy 2)."
        )
    if (
        how.motion.neighbours == "still"
        and result.ends is not None
        and len({result.ends.groups[k] for k in result.used}) > 1
    ):
        found.append(
            'What hops of neighbours do to a group: with motion.neighbours "still" these stay in the first minimum.'
        )
    if result.exchange is not None and result.exchange.treatment in ("exact", "mean field"):
        found.append(
            "How much of what neighbours do to a hop's end its saddle feels already: half is taken. How far neighbours hop "
            "in step; and the band was drawn without errors of what groups do to each other."
        )
    if result.bands and not result.recrossed:
        found.append(
            "Recrossing of the saddle: rates.recrossing_pairs is 0, so that every crossing counts as one that stays."
        )
    if any(len(each.low) for each in result.spectra):
        for key, what in (
            ("barrier_ev", "The barrier's error"),
            ("energy_ev", "The error of the minima's energies, and so of populations"),
            ("rate_error", "The error of harmonic rates on their own surface"),
        ):
            if result.bands and getattr(how.uncertainty, key) == 0:
                found.append(f"{what}: the band was drawn without it, since uncertainty.{key} is 0.")
        nuclei = result.tensors
        names = ("shielding", "efg") if isotope(how.experiment.isotope).is_quadrupolar else ("shielding",)
        silent = [n for n in names if nuclei is not None and np.isnan(getattr(nuclei, f"{n}_error")).any()]
        if silent:
            found.append(
                f"The tensor model's error of {' and '.join(silent)}: it tells none, and the band was drawn without it."
            )
        found.append("The error of the shifts' reference, tensors.reference_ppm: the band was drawn without it.")
    return [*found, *_ALWAYS]
