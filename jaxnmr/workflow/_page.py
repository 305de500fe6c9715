"""A run told: one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jaxnmr.workflow._result import Result

__all__ = ["page_of"]

_FOUR = (
    "A: every nucleus at rest in the first minimum. B: nuclei that hop among the static tensors of the minima. C: nuclei in "
    "the first basin with tensors averaged over the motion there. D: nuclei that hop among averaged tensors. Tensors are "
    "averaged over the moments in one basin, so that a hop is counted by the exchange alone. All hops are treated exactly, "
    "the second order of the quadrupole at their true rates."
)


def page_of(result: Result, numbers: Mapping[str, Any], origin: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """HTML with the pictures inside.

    Args:
        result: of the run.
        numbers: as `numbers_of` gives them.
        origin: versions and digests.
        pictures: SVG texts by what they show.
    """
    no_picture = "<p>Pictures need matplotlib: pip install 'jaxnmr[plot]'.</p>"
    show = lambda name: pictures.get(name, "" if pictures else no_picture)  # noqa: E731
    body = [f"<h1>{escape(numbers['formula'])}: {escape(numbers['isotope'])} with and without motion</h1>"]
    body += [f"<p>{_sentence(numbers)}</p>"]
    for f, field in enumerate(numbers["fields_t"]):
        body += [f"<h2>Spectra at {field:g} T</h2>", show(f"spectra {f}")]
    body += [f"<p>{escape(_FOUR)}</p>", _how_they_differ(numbers)]
    body += ["<h2>Structure</h2>", show("structure")]
    body += ["<p>The first minimum along the shortest lattice vector. Arrows: atoms that an event moves.</p>"]
    body += ["<h2>Events</h2>", show("energy"), show("graph"), *_events(result, numbers), *_motion(numbers)]
    body += [
        "<h2>Tensors</h2>",
        "<p>Shifts in Haeberlen's convention, |δ<sub>zz</sub> − δ<sub>iso</sub>| largest; |V<sub>zz</sub>| largest. "
        "Mean of basins: weighted by their populations, what a line shows where hops are much faster than the differences "
        "(for the coupling itself). The last columns: standard error of an element of the shielding, and of "
        "C_Q, by the committee or by the sampling; "
        "the slowest correlation time; and the average that such a motion leaves.</p>",
        _table(
            ("atom", "where", "δ_iso / ppm", "ζ / ppm", "η", "C_Q / MHz", "η_Q", "± ppm", "± MHz", "τ / fs", "average"),
            _tensor_rows(numbers["sites"]),
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


def _how_they_differ(numbers: Mapping[str, Any]) -> str:
    heads = ("field / T", "T / K", "differences, relative L2", "band")
    rows = [
        (
            f"{row['field_t']:g}",
            f"{row['temperature_k']:g}",
            ", ".join(f"{pair} {value:.2f}" for pair, value in row["differ"].items()),
            f"{100 * row['band_share']:.0f} % of {row['band_of']}: {row['band_width']:.2f}" if "band_of" in row else "",
        )
        for row in numbers["spectra"]
    ]
    text = _table(heads, rows)
    if numbers["measured"]:
        fits = [(m["spectrum"], f"{m['scale']:.4g}", f"{m['residual']:.3f}") for m in numbers["measured"]]
        text += _table(("beside the measured line", "scale", "residual, relative L2"), fits)
    return text


def _events(result: Result, numbers: Mapping[str, Any]) -> list[str]:
    heads = ("event", "ΔE / eV", "barrier / eV", "with zero point / eV", "prefactor / s⁻¹", "imaginary / cm⁻¹", "joins both")
    rows = [
        (
            e["name"] + ("" if e["same_as"] == k else f" (as event {e['same_as']})"),
            f"{e['energy_ev']:.4f}",
            f"{e['barrier_ev']:.4f}" + (f" ± {e['barrier_error_ev']:.2g}" if e["barrier_error_ev"] is not None else ""),
            f"{e['zero_point_barrier_ev']:.4f}",
            f"{e['prefactor_per_s']:.3g}",
            f"{e['imaginary_per_cm']:.0f}",
            "yes" if e["joins"] else "no",
        )
        for k, e in zip(result.used, numbers["events"], strict=True)
    ]
    first = _table(heads, rows)
    heads = (
        "event",
        "T / K",
        "classical HTST / s⁻¹",
        "Eyring, quantum / s⁻¹",
        "with Wigner / s⁻¹",
        "stay across",
        "in MD / s⁻¹",
        "taken / s⁻¹",
        "populations",
    )
    rates = [
        (
            e["name"],
            f"{r['temperature_k']:g}",
            f"{r['rate_per_s']:.3g}",
            f"{r['rate_eyring_per_s']:.3g}",
            f"{r['rate_eyring_wigner_per_s']:.3g}",
            f"{r['transmission']:.2f} ± {r['transmission_stderr']:.2f}" if "transmission" in r else "not asked",
            _counted(r),
            f"{r['rate_taken_per_s']:.3g} ({r['rate_taken']})" if "rate_taken" in r else "",
            ", ".join(f"{p:.3f}" for p in r["populations"]),
        )
        for e in numbers["events"]
        for r in e["rates"]
    ]
    note = (
        f"<p>The exchange takes the rate by {escape(numbers['theory'])}, times the share of crossings that stay across "
        "where that was asked for, or the rate counted in the motion where that is better known, never both.</p>"
    )
    return [*_found(numbers), first, _table(heads, rates), note, *_regimes(numbers)]


def _found(numbers: Mapping[str, Any]) -> list[str]:
    """What a search came back with."""
    found = numbers["explored"]
    if found is None:
        return []
    rows = [(f"{e:+.4f}", str(n)) for e, n in zip(found["energies_ev"], found["visits"], strict=True)]
    more = f"{found['above_window']} more lie above {found['window_ev']:g} eV"
    return [
        f"<p>The search ({found['evaluations']} evaluations of forces) found {len(rows)} other minima; {more}.</p>",
        *([_table(("above the first minimum / eV", "reached, times"), rows)] if rows else []),
    ]


def _regimes(numbers: Mapping[str, Any]) -> list[str]:
    rows = [
        (e["name"], ", ".join(f"{word} beside {scale}" for scale, word in e["regimes"].items() if word != "none"))
        for e in numbers["events"]
        if e.get("regimes")
    ]
    if not rows:
        return []
    at = next(e["regimes_at"] for e in numbers["events"] if e.get("regimes"))
    return [_table(("event", f"hops at {at['field_t']:g} T and {at['temperature_k']:g} K"), rows)]


def _counted(rate: Mapping[str, Any]) -> str:
    if "md_jumps" not in rate:
        return "not sampled"
    jumps = "{} and {} jumps".format(*rate["md_jumps"])
    if "md_rate_per_s" not in rate:
        return f"{jumps}: too few"
    p = ", ".join(f"{each:.3f}" for each in rate["md_populations"])
    return f"{rate['md_rate_per_s']:.2e} ± {rate['md_rate_stderr_per_s']:.1e} ({jumps}; p {p})"


def _motion(numbers: Mapping[str, Any]) -> list[str]:
    if not numbers["motion"]:
        return []
    heads = ("T / K", "found / K", "length / ps", "replicas", "time in the basins of each group / ps")
    rows = [
        (
            f"{m['temperature_k']:g}",
            f"{m['found_temperature_k']:.0f} ± {m['found_temperature_stderr_k']:.0f}",
            f"{m['length_ps']:g}",
            str(m["replicas"]),
            "; ".join(", ".join(f"{x:.3g}" for x in each) for each in m["spent_ps"]),
        )
        for m in numbers["motion"]
    ]
    return [
        "<h2>Motion</h2>",
        _table(heads, rows),
        "<p>A moment belongs to the basin whose core the group entered last: a crossing that turns back at once is no "
        "jump.</p>",
    ]


def _sentence(numbers: Mapping[str, Any]) -> str:
    events = numbers["events"]
    if not events:
        return "No event leads to another minimum: there is no exchange, and the spectra A and B are the same."
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
            rows.append(_row(site["atom"], f"minimum {basin['minimum']}", basin, error, basin.get("cq_error_hz")))
            for moved in basin["averaged"]:
                where = f"in basin {basin['minimum']}, {moved['temperature_k']:g} K"
                row = _row(site["atom"], where, moved, moved["shielding_element_stderr_ppm"], moved.get("cq_stderr_hz"))
                time = moved["correlation_time_fs"]
                rows.append((*row[:-2], "" if time is None else f"{time:.0f}", moved["average_that_holds"]))
        rows += [
            _row(site["atom"], f"mean of basins, {a['of']}, {a['temperature_k']:g} K", a, None) for a in site["averaged"]
        ]
    return rows


def _row(
    atom: str, where: str, found: Mapping[str, Any], error: float | None, wrong: float | None = None
) -> tuple[str, ...]:
    shift = (f"{found['shift_ppm']:.2f}", f"{found['zeta_ppm']:.1f}", f"{found['eta']:.2f}")
    coupling = (f"{found['cq_hz'] / 1e6:.3f}", f"{found['eta_q']:.2f}") if "cq_hz" in found else ("", "")
    told = "" if error is None else f"{error:.2g}", "" if wrong is None else f"{wrong / 1e6:.2g}"
    return atom, where, *shift, *coupling, *told, "", ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = "\n".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>\n{lines}\n</table>"


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
