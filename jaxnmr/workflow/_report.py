"""A run told: every number as JSON, spectra as CSV, and one page that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.util import find_spec
from typing import Any

import numpy as np

from jaxnmr.isotopes import isotope
from jaxnmr.saving import written_aside
from jaxnmr.tensors import efg_to_coupling, haeberlen, quadrupole_parameters, shielding_to_shift
from jaxnmr.workflow._figures import energy_profile, spectra_picture
from jaxnmr.workflow._records import ExchangeOfNuclei, TensorsOfStates
from jaxnmr.workflow._result import Result

__all__ = ["numbers_of", "write_report"]

_CANNOT = (
    "Minima that were not given and that no proton reaches by crossing its own bridge: none were searched for.",
    "Fast motion within a basin: tensors are those of the minima, not averages over vibrations and librations, which shift "
    "lines and narrow couplings.",
    "Errors that potential and tensor model have everywhere: a barrier is that of the potential, and the method behind its "
    "training data; a committee's spread does not see what all its members have in common.",
    "Tunnelling below the top beyond Wigner's or no correction; anharmonic vibrations; recrossing of the saddle.",
    "Dipolar couplings, pulses, and relaxation by anything but the hops.",
)


def write_report(result: Result, origin: Mapping[str, Any]) -> None:
    """Write report.json, spectra CSV and report.html into the run's folder."""
    numbers = numbers_of(result)
    with written_aside(result.folder / "report.json") as aside:
        text = json.dumps(numbers | {"provenance": dict(origin)}, indent=2, allow_nan=False)
        aside.write_text(text + "\n", encoding="utf-8")
    for f, field in enumerate(result.config.experiment.fields_t):
        result.still(f).save(result.folder / f"spectrum-A-{field:g}T.csv")
        for t, kelvin in enumerate(result.config.experiment.temperatures_k):
            result.moving(f, t).save(result.folder / f"spectrum-B-{field:g}T-{kelvin:g}K.csv")
    with written_aside(result.folder / "report.html") as aside:
        aside.write_text(_page(result, numbers, origin), encoding="utf-8")


def numbers_of(result: Result) -> dict[str, Any]:
    """Every number of a run with its unit in its key, for JSON."""
    asked, rates, ends = result.config.experiment, result.rates, result.ends
    events = []
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
                    }
                    for t, kelvin in enumerate(rates.temperatures)
                ],
            }
        events.append(event)
    sites = []
    if result.tensors is not None and result.exchange is not None:
        sites = _sites(result.tensors, result.exchange, result)
    return {
        "formula": "".join(f"{e}{result.structure.species.count(e)}" for e in result.structure.elements),
        "isotope": asked.isotope,
        "fields_t": list(asked.fields_t),
        "rate_hz": asked.rate_hz if np.isfinite(asked.rate_hz) else "inf",
        "temperatures_k": list(asked.temperatures_k),
        "theory": result.config.rates.theory,
        "energy_ev": result.relaxed.energy,
        "max_force_ev_a": result.relaxed.max_force,
        "events": events,
        "left_out": [name for k, name in enumerate(ends.names if ends is not None else ()) if k not in result.used],
        "sites": sites,
        "remarks": list(result.remarks),
        "not_known": list(_CANNOT),
    }


def _sites(tensors: TensorsOfStates, exchange: ExchangeOfNuclei, result: Result) -> list[dict[str, Any]]:
    """Each nucleus: its tensors in each of its basins, and their averages over the basins."""
    nucleus, rows = isotope(result.config.experiment.isotope), []
    shift = np.asarray(shielding_to_shift(tensors.shielding, result.config.tensors.reference_ppm))
    coupling = np.asarray(efg_to_coupling(tensors.efg, nucleus)) if nucleus.is_quadrupolar else None
    for n, name in enumerate(tensors.names):
        group = int(exchange.group[n])
        states = [0] if group < 0 else [int(s) for s in exchange.states[group] if s >= 0]
        basins = []
        for state in states:
            row = _parameters(shift[state, n], None if coupling is None else coupling[state, n])
            error = float(tensors.shielding_error[state, n])
            if np.isfinite(error):
                row |= {"shielding_element_error_ppm": error}
            basins.append({"minimum": state} | row)
        averages = []
        for t, kelvin in enumerate(result.config.experiment.temperatures_k if group >= 0 else ()):
            p = exchange.populations[t, group, : len(states)]
            mean = [None if part is None else np.tensordot(p, part[states, n], 1) for part in (shift, coupling)]
            head = {"temperature_k": kelvin, "populations": p.tolist()}
            averages.append(head | {"rates_per_s": exchange.rates[t, group, 1 : len(states)].tolist()} | _parameters(*mean))
        rows.append({"atom": name, "group": None if group < 0 else group, "basins": basins, "averaged": averages})
    return rows


def _parameters(shift: Any, coupling: Any) -> dict[str, Any]:
    parts = haeberlen(shift)
    found = {"shift_ppm": float(parts.delta_iso), "zeta_ppm": float(parts.zeta), "eta": float(parts.eta)}
    if coupling is not None:
        quadrupole = quadrupole_parameters(coupling)
        found |= {"cq_hz": float(quadrupole.c_q), "eta_q": float(quadrupole.eta_q)}
    return found


def _page(result: Result, numbers: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    drawn = find_spec("matplotlib") is not None
    no_picture = "<p>Pictures need matplotlib: pip install 'jaxnmr[plot]'.</p>"
    body = [f"<h1>{escape(numbers['formula'])}: {escape(numbers['isotope'])} with and without motion</h1>"]
    body += [f"<p>{_sentence(numbers)}</p>"]
    for f, field in enumerate(numbers["fields_t"]):
        body += [f"<h2>Spectra at {field:g} T</h2>", spectra_picture(result, f) if drawn else no_picture]
    body += ["<p>A: every nucleus at rest in the first minimum. B: nuclei that hop among static tensors, exactly.</p>"]
    body += ["<h2>Events</h2>"]
    if result.bands:
        body += [energy_profile(result) if drawn else no_picture]
    heads = ("event", "ΔE / eV", "barrier / eV", "with zero point / eV", "prefactor / s⁻¹", "imaginary / cm⁻¹", "joins both")
    rows = [
        (
            e["name"] + ("" if e["same_as"] == k else f" (as event {e['same_as']})"),
            f"{e['energy_ev']:.4f}",
            f"{e['barrier_ev']:.4f}",
            f"{e['zero_point_barrier_ev']:.4f}",
            f"{e['prefactor_per_s']:.3g}",
            f"{e['imaginary_per_cm']:.0f}",
            "yes" if e["joins"] else "no",
        )
        for k, e in zip(result.used, numbers["events"], strict=True)
    ]
    body += [_table(heads, rows)]
    heads = ("event", "T / K", "classical HTST / s⁻¹", "Eyring, quantum / s⁻¹", "with Wigner / s⁻¹", "populations")
    body += [
        _table(
            heads,
            [
                (
                    e["name"],
                    f"{r['temperature_k']:g}",
                    f"{r['rate_per_s']:.3g}",
                    f"{r['rate_eyring_per_s']:.3g}",
                    f"{r['rate_eyring_wigner_per_s']:.3g}",
                    ", ".join(f"{p:.3f}" for p in r["populations"]),
                )
                for e in numbers["events"]
                for r in e["rates"]
            ],
        ),
        f"<p>The exchange takes: {escape(numbers['theory'])}.</p>",
        "<h2>Tensors</h2>",
        "<p>Shifts in Haeberlen's convention, |δ<sub>zz</sub> − δ<sub>iso</sub>| largest; |V<sub>zz</sub>| largest. "
        "Averages are over the basins, weighted by their populations: what a line shows where hops are much faster than the "
        "differences (for the coupling itself).</p>",
        _table(
            ("atom", "where", "δ_iso / ppm", "ζ / ppm", "η", "C_Q / MHz", "η_Q", "± ppm"), _tensor_rows(numbers["sites"])
        ),
        "<h2>What is doubtful</h2>",
        _list(numbers["remarks"]) if numbers["remarks"] else "<p>Nothing was found.</p>",
        "<h2>What this calculation cannot know</h2>",
        _list(numbers["not_known"]),
        "<h2>Provenance</h2>",
        _table(("what", "value"), [(k, str(v)) for k, v in origin.items()]),
    ]
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
        "table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{border-bottom:1px solid #ccc;padding:.25em .7em;"
        "text-align:left;overflow-wrap:anywhere}svg{max-width:100%;height:auto}"
    )
    inside = "\n".join(body)
    title = escape(numbers["formula"])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{style}</style></head><body>\n{inside}\n</body></html>\n"
    )


def _sentence(numbers: Mapping[str, Any]) -> str:
    events = numbers["events"]
    if not events:
        return "No event leads to another minimum: the spectra A and B are the same."
    first = events[0]
    rates = first["rates"][0]
    return escape(
        f"{len(events)} events lead to other minima. The first ({first['name']}): barrier {first['barrier_ev']:.3f} eV, end "
        f"{first['energy_ev']:+.3f} eV, classical rate {rates['rate_per_s']:.2e} per second at "
        f"{rates['temperature_k']:g} K, populations {rates['populations'][0]:.3f} and {rates['populations'][1]:.3f}."
    )


def _tensor_rows(sites: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows = []
    for site in sites:
        for basin in site["basins"]:
            error = basin.get("shielding_element_error_ppm")
            rows.append(_row(site["atom"], f"minimum {basin['minimum']}", basin, "" if error is None else f"{error:.2g}"))
        rows += [_row(site["atom"], f"average, {a['temperature_k']:g} K", a, "") for a in site["averaged"]]
    return rows


def _row(atom: str, where: str, found: Mapping[str, Any], error: str) -> tuple[str, ...]:
    shift = (f"{found['shift_ppm']:.2f}", f"{found['zeta_ppm']:.1f}", f"{found['eta']:.2f}")
    coupling = (f"{found['cq_hz'] / 1e6:.3f}", f"{found['eta_q']:.2f}") if "cq_hz" in found else ("", "")
    return atom, where, *shift, *coupling, error


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = "\n".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>\n{lines}\n</table>"


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
