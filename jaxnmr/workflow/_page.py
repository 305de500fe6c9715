"""A run told: one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from jaxnmr.workflow._crossings import crossing_words
from jaxnmr.workflow._result import Result

__all__ = ["page_of"]

_FOUR = (
    "A: every nucleus at rest in the first minimum. B: nuclei that hop among the static tensors of the minima. C: nuclei in "
    "the first basin with tensors averaged over the motion there. D: nuclei that hop among averaged tensors. Tensors are "
    "averaged over the moments in one basin, so that a hop is counted by the exchange alone. A nucleus hops with the events "
    "of its own group, as a jump process whose rates are those below; the second order of the quadrupole is taken at these "
    "rates. What events of other groups do to its energies enters as a mean, what they do to its tensors is left out."
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
    body += [f"<p>{_sentence(numbers)}</p>", f"<p>{_conditions(numbers, origin)}</p>"]
    for f, field in enumerate(numbers["fields_t"]):
        body += [f"<h2>Spectra at {field:g} T</h2>", show(f"spectra {f}")]
    body += [f"<p>{escape(_FOUR)}</p>", _how_they_differ(numbers)]
    body += ["<h2>Structure</h2>", show("structure")]
    body += ["<p>The first minimum along the shortest lattice vector. Arrows: atoms that an event moves.</p>"]
    body += ["<h2>Events</h2>", show("energy"), show("graph"), *_events(result, numbers), *_motion(numbers)]
    body += [
        "<h2>Tensors</h2>",
        "<p>Shifts in Haeberlen's convention, |δ<sub>zz</sub> − δ<sub>iso</sub>| largest; |V<sub>zz</sub>| largest. "
        "Mean of basins: weighted by their populations, what a line shows where the last column says mean tensor. "
        "The last columns: standard error of an element of the shielding, and of "
        "C_Q, by the committee or by the sampling; "
        "the slowest correlation time, of the motion or of the hops; and the average that such a motion leaves.</p>",
        _table(
            ("atom", "where", "δ_iso / ppm", "ζ / ppm", "η", "C_Q / MHz", "η_Q", "± ppm", "± MHz", "τ / fs", "average"),
            _tensor_rows(numbers["sites"]),
        ),
        "<h2>What is doubtful</h2>",
        _list(numbers["remarks"]) if numbers["remarks"] else "<p>Nothing was found.</p>",
        "<h2>What this calculation cannot know</h2>",
        _list(numbers["not_known"]),
        "<h2>Provenance</h2>",
        _table(("what", "value"), _origin_rows(origin)),
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
        "neighbours add / eV",
        "taken / s⁻¹",
        "populations taken",
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
            f"{r['felt_ev']:+.4f}" if r.get("felt_ev") is not None else "",
            f"{r['rate_taken_per_s']:.3g} ({r['rate_taken']})" if "rate_taken" in r else "",
            _populations(r),
        )
        for e in numbers["events"]
        for r in e["rates"]
    ]
    note = (
        f"<p>The exchange takes the rate by {escape(numbers['theory'])}, times the share of crossings that stay across "
        "where that was asked for, with half of what neighbours add to the end's free energy added to the barrier; or the "
        "rate counted in the motion where that is better known, never both.</p>"
    )
    return [
        *_found(numbers),
        first,
        *_crossings(numbers),
        _table(heads, rates),
        note,
        *_regimes(numbers),
        *_neighbours(numbers),
    ]


def _neighbours(numbers: Mapping[str, Any]) -> list[str]:
    """Kinds of pairs of events, and what they cost together."""
    found = numbers["neighbours"]
    if found is None or not found["pairs"]:
        return []
    kinds: dict[tuple[int, ...], list[Mapping[str, Any]]] = {}
    for pair in found["pairs"]:
        kinds.setdefault(tuple(pair["same_as"]), []).append(pair)
    rows = [
        (
            " and ".join(map(str, some)),
            str(len(pairs)),
            f"{pairs[0]['nearest_a']:.2f}",
            pairs[0]["state"] if pairs[0]["energy_ev"] is None else f"{pairs[0]['energy_ev']:+.4f}",
        )
        for some, pairs in kinds.items()
    ]
    how = {"exact": "over all states of all groups", "mean field": "in a mean field of these energies"}.get(
        found["treatment"]
    )
    said = (
        "" if how is None else f"<p>Shares and rates are those among neighbours that hop as well, {how}.{_whole(found)}</p>"
    )
    return [
        _table(("events of two groups", "pairs alike", "nearest atoms / Å", "both at once, above their sum / eV"), rows),
        said,
    ]


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


def _whole(found: Mapping[str, Any]) -> str:
    """Of all events at once, at each temperature."""
    told = [
        f"{round(row['all_at_once_ev'], 4) + 0.0:+.4f} eV at {row['temperature_k']:g} K"  # zero has no sign
        for row in found["free_energies"]
        if "all_at_once_ev" in row
    ]
    return f" All events at once lie, as free energy, {', '.join(told)} from the first minimum." if told else ""


def _regimes(numbers: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            e["name"],
            f"{e['regimes_of']['atom']}: {e['regimes_of']['apart_hz'] / 1e3:.1f} kHz",
            ", ".join(f"{word} beside {scale}" for scale, word in e["regimes"].items() if word != "none"),
        )
        for e in numbers["events"]
        if e.get("regimes")
    ]
    if not rows:
        return []
    at = next(e["regimes_at"] for e in numbers["events"] if e.get("regimes"))
    most = "nucleus that it changes most, at the worst orientation"
    return [_table(("event", most, f"hops at {at['field_t']:g} T and {at['temperature_k']:g} K"), rows)]


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
    taken, by = rates.get("rate_taken_per_s", rates["rate_per_s"]), rates.get("rate_taken", "htst")
    shares = rates.get("populations_taken", rates["populations"])
    how = "counted in the motion" if by == "counted" else f"by {by}"
    if "transmission" in rates and by != "counted":
        how += ", times the share of crossings that stay across"
    return escape(
        f"{len(events)} events lead to other minima. The first ({first['name']}): barrier {first['barrier_ev']:.3f} eV, end "
        f"{first['energy_ev']:+.3f} eV, rate {taken:.2e} per second at {rates['temperature_k']:g} K ({how}), populations "
        f"{shares[0]:.3f} and {shares[1]:.3f}."
    )


def _conditions(numbers: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """What the spectra were made with; all of it is in report.json."""
    config, rate = numbers["config"], numbers["spinning_rate_hz"]
    asked, motion, reference = config["experiment"], config["sample"], config["tensors"]["reference_ppm"]
    spins = "at rest" if rate == 0 else f"spinning at {rate:g} Hz" if rate != "inf" else "spinning infinitely fast"
    width = f"{asked['linewidth_hz']:g} Hz" + (f" and {asked['gaussian_hz']:g} Hz Gaussian" if asked["gaussian_hz"] else "")
    zero = f"σ_ref {reference:g} ppm" if not isinstance(reference, list) else "δ = {:g} σ + {:g} ppm".format(*reference)
    parts = [
        f"{', '.join(f'{b:g}' for b in numbers['fields_t'])} T, {spins}, linewidth {width}, {zero}, "
        f"{', '.join(f'{t:g}' for t in numbers['temperatures_k'])} K"
    ]
    if numbers["motion"]:
        parts.append(
            f"molecular dynamics in each basin, replicas {motion['replicas']}, {motion['length_ps']:g} ps with "
            f"{motion['warmup_ps']:g} ps of warm-up, steps of {motion['dt_fs']:g} fs, friction "
            f"{motion['friction_per_ps']:g} /ps"
        )
    names = [f"{what} {model['file'] or 'given in Python'}" for what, model in origin.get("models", {}).items()]
    parts.append(f"{numbers['n_atoms']} atoms, {', '.join([Path(config['structure']['file']).name, *names])}")
    return escape("; ".join(parts) + ".")


def _populations(rate: Mapping[str, Any]) -> str:
    """As the exchange has them: of all the group's minima, where these are more than the event's two."""
    whole = rate.get("populations_of_group", ())
    if len(whole) > 2:
        return ", ".join(f"{k}: {p:.3f}" for k, p in zip(rate["minima_of_group"], whole, strict=True))
    return ", ".join(f"{p:.3f}" for p in rate.get("populations_taken", rate["populations"]))


def _crossings(numbers: Mapping[str, Any]) -> list[str]:
    """How protons cross together, of each kind of event."""
    told = dict.fromkeys(crossing_words(e["crossing"]) for e in numbers["events"] if e["crossing"] is not None)
    return [f"<p>The protons' way is {escape(words)}</p>" for words in told]


def _tensor_rows(sites: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows = []
    for site in sites:
        for basin in site["basins"]:
            error = basin.get("shielding_element_error_ppm")
            rows.append(_row(site["atom"], f"minimum {basin['minimum']}", basin, error, basin.get("cq_error_hz")))
            for moved in basin["motion_averages"]:
                where = f"in basin {basin['minimum']}, {moved['temperature_k']:g} K"
                row = _row(site["atom"], where, moved, moved["shielding_element_stderr_ppm"], moved.get("cq_stderr_hz"))
                time = moved["correlation_time_fs"]
                rows.append((*row[:-2], "" if time is None else f"{time:.0f}", moved["average_that_holds"]))
        rows += [
            (*_row(site["atom"], f"mean of basins, {a['of']}, {a['temperature_k']:g} K", a, None)[:-2], *_rule(a))
            for a in site["mean_of_basins"]
        ]
    return rows


def _rule(mean: Mapping[str, Any]) -> tuple[str, str]:
    """Time of the slowest exchange, fs, and the average that it leaves."""
    return f"{1e15 / mean['slowest_exchange_per_s']:.3g}", mean["average_that_holds"]


def _origin_rows(origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(key, str(value)) for key, value in origin.items() if key != "models"]
    return rows + [
        (what, f"{model['file'] or 'given in Python'}; the digest is of {model['sha256_of']}")
        for what, model in origin.get("models", {}).items()
    ]


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
