"""The chain of stages, each kept on disk: from atoms to spectra."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxnmr._version import __version__
from jaxnmr.errors import near
from jaxnmr.structure import symmetries
from jaxnmr.workflow._atoms import FORCE, between, check_joined, point_at, relaxed, settled, vibrations_of
from jaxnmr.workflow._averages import averages_of
from jaxnmr.workflow._basins import gauges
from jaxnmr.workflow._combined import combined
from jaxnmr.workflow._compare import compared_or_why
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._cost import STAGES
from jaxnmr.workflow._counted import slowed_by, with_counts
from jaxnmr.workflow._event_images import images_of, said_of_images
from jaxnmr.workflow._explore import NEAR, explored
from jaxnmr.workflow._folder import Kept, Step, Store, digest_of_array, digest_of_record, locked, same_material
from jaxnmr.workflow._hops import moved_groups
from jaxnmr.workflow._inputs import Inputs, elsewhere, prepared
from jaxnmr.workflow._kinetics import exchange_of, rates_of, recrossed
from jaxnmr.workflow._neighbours import neighbours_of
from jaxnmr.workflow._nuclei import tensors_in
from jaxnmr.workflow._records import (
    Band,
    Ends,
    ExchangeOfNuclei,
    Explored,
    Point,
    RatesOfEvents,
    Recrossed,
    Relaxed,
    SpectraAtField,
    TensorsOfStates,
)
from jaxnmr.workflow._remarks import remarks_of
from jaxnmr.workflow._report import write_report
from jaxnmr.workflow._result import Result
from jaxnmr.workflow._spectra import spectra_at

__all__ = ["run"]


def run(
    config: RunConfig | str | os.PathLike[str],
    *,
    potential: Any = None,
    tensors: Any = None,
    until: str | None = None,
    force: bool = False,
    progress: Callable[[Step], None] | None = None,
) -> Result:
    r"""From a structure to spectra without and with motion: minima, saddles, rates, tensors, motion, exchange.

    Each step's result is kept in the run's folder with a digest of all that it was made from. A run that is stopped,
    however hard, goes on where it was when it is called again, and ends with the same numbers; when an input changes, only
    what depends on it is made again. Work in double precision (`jax_enable_x64`) for vibrations that can be trusted.

    A nucleus hops among the basins of its own group, the molecules that one event moves. What hops of other groups change of
    its free energies enters as a mean (`motion.neighbours`). Two events that look the same, in energy and fingerprint of the
    minimum, share one path and one rate.

    With `sample.length_ps` molecular dynamics runs in each basin with the tensors in the same pass. Hops may be so frequent
    that the motion shows them; the averages are conditional, over the moments in one basin, so that exchange counts a hop
    once. The jumps seen are counted, and their rate stands beside the saddle's; the exchange takes it where it is the better
    known of the two (`rates.saddle_error`).

    Args:
        config: a `RunConfig`, or the path of its TOML file.
        potential: a `jaxnmr.dynamics.Surface`, or a potential, in the place of `potential.file`.
        tensors: anything with `label(structure) -> Structure` with tensors, in the place of `tensors.file`. Models given so
            are recognised by their numbers and settings and by the code of their functions, with what these close over,
            take as arguments of a `partial` or name as globals; a warning tells of what cannot be looked into.
        until: last stage to make, one of `jaxnmr.workflow.STAGES`.
        force: make everything anew, and take a folder of another material.
        progress: called as steps begin and end.

    Returns:
        What was made; report.html, report.json, CSV and structures lie in `config.output.folder`.

    Raises:
        ValueError: bad input, a folder of another material or in use; or a stage that found numbers without sense, as a rate
            faster than any nucleus moves, and then what was made before is kept.
        SearchError: a minimum or saddle that was not reached, or a saddle that joins other minima than its event's
            (`motion.unjoined`); what was made before is kept.
        MotionError: molecular dynamics that went wrong; likewise.
        OSError: a file that cannot be written, as on a full disk; likewise.
    """
    config = config if isinstance(config, RunConfig) else RunConfig.read(config)
    if until is not None and until not in STAGES:
        raise ValueError(f"until: got {until!r}{near(until, STAGES)}; give one of {', '.join(STAGES)}.")
    last = len(STAGES) if until is None else STAGES.index(until)
    inputs = prepared(config, potential, tensors)
    at = ["start"]

    def told(step: Step) -> None:
        at[0] = step.name
        if progress is not None:
            progress(step)

    with locked(config.output.folder):
        store = Store(config.output.folder, force, told, _origin(config, inputs))
        try:
            _same_material(store, inputs, force)
            result = _stages(config, inputs, store, last)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror or error}, in stage {at[0]} of the run in {store.folder}; what was made before is kept: "
                "mend that (make room on a full disk), and run again.",
            ) from error
    # A run to its end has brought all remarks together.
    return result if result.spectra else replace(result, remarks=tuple(dict.fromkeys((*inputs.remarks, *store.heard))))


def _stages(config: RunConfig, inputs: Inputs, store: Store, last: int) -> Result:
    surface, structure = inputs.surface, inputs.structure
    before = np.asarray(structure.positions, np.float64)
    where = {"surface": inputs.surface_digest, "x64": bool(jax.config.jax_enable_x64)}  # type: ignore[attr-defined]
    first = store.step(
        "relax",
        Relaxed,
        where | {"atoms": inputs.atoms_digest, "force": FORCE},
        lambda: relaxed(surface, before, store.within("relax")),
    )
    result = Result(config, structure, first.record, folder=store.folder)
    elsewhere(structure, first.record.positions).write(store.folder / "minimum-0.extxyz")
    if last < STAGES.index("explore"):
        return result

    events, start = inputs.events, where | {"relax": first.digest, "events": inputs.ends_digest, "hops": config.motion.hops}
    if config.motion.hops == "explore":
        search = config.motion.model_dump(include={n for n in type(config.motion).model_fields if n.startswith("explore")})
        found = store.step(
            "explore",
            Explored,
            start | search,
            lambda: explored(
                surface,
                first.record,
                config.motion,
                lambda done, total, low: store.told(
                    Step("explore", f"{done} of {total} hops, lowest {low - first.record.energy:+.3f} eV")
                ),
            ),
        )
        result, before = replace(result, explored=found.record), first.record.positions
        here = elsewhere(structure, before)
        events = moved_groups(here, [elsewhere(structure, place) for place in found.record.positions], NEAR)
        start = start | {"explore": found.digest}
    if config.motion.symmetry and not all(event.bridges for event in events):
        # What one molecule does its equivalents do as well. Ends lie about the relaxed minimum, whose symmetry counts.
        home, rest, given = elsewhere(structure, before), elsewhere(structure, first.record.positions), events
        operations = symmetries(rest)
        events, start = images_of(home, given, operations), start | {"symmetry": True}
        store.heard.extend(said_of_images(rest, given, events, operations, bool(config.motion.ends)))
    if last < STAGES.index("ends"):
        return result

    start = start | {"names": inputs.names_digest}
    # Motions of one molecule that are independent of each other are combined.
    motions = combined(elsewhere(structure, before), events)
    events = motions.events
    ends = store.step("ends", Ends, start, lambda: settled(surface, first.record, before, motions, store.within("ends")))
    minima: Ends = ends.record
    for k, place in enumerate(minima.positions):
        elsewhere(structure, place).write(store.folder / f"minimum-{k + 1}.extxyz")
    used = tuple(k for k in range(len(minima.names)) if minima.distinct[k] and minima.alone(k))
    result = replace(result, ends=minima, used=used)
    neighbours = None
    if config.motion.neighbours == "hop":
        home, depends = elsewhere(structure, first.record.positions), where | {"relax": first.digest, "ends": ends.digest}
        neighbours = neighbours_of(store, depends, surface, home, first.record.energy, minima, used)
        if len(neighbours.whole):
            elsewhere(structure, neighbours.whole).write(store.folder / "minimum-all.extxyz")
    result = replace(result, neighbours=neighbours)
    if last < STAGES.index("saddles"):
        return result

    band = config.motion.model_dump(include={"images", "max_force_ev_a", "max_steps"})
    bands: dict[int, Kept] = {}
    for k in sorted({int(minima.same_as[k]) for k in used}):
        name = f"saddles-{k}"
        bands[k] = store.step(
            name,
            Band,
            where | {"ends": ends.digest, "relax": first.digest, "event": k, "band": band},
            lambda k=k, name=name: between(
                surface, first.record, minima.positions[k], events[k], before, config.motion, store.within(name)
            ),
        )
        elsewhere(structure, bands[k].record.saddle).write(store.folder / f"saddle-{k}.extxyz")
    of = {k: int(minima.same_as[k]) for k in used}
    result = replace(result, bands=tuple(bands[of[k]].record for k in used))
    if config.motion.unjoined == "refuse":
        # After all are kept, so that nothing has to be made again.
        check_joined(minima, {k: kept.record for k, kept in bands.items()})
    if last < STAGES.index("vibrations"):
        return result

    def vibrating(name: str, place: Any) -> Kept:
        return store.step(
            f"vibrations-{name}",
            Point,
            where | {"masses": inputs.masses_digest, "place": digest_of_array(place)},
            lambda: point_at(surface, place, store.within(f"vibrations-{name}")),
        )

    points = {"minimum-0": vibrating("minimum-0", first.record.positions)}
    if neighbours is not None and len(neighbours.whole):
        points["all"] = vibrating("all", neighbours.whole)
    for k, found in bands.items():
        points[f"minimum-{k + 1}"] = vibrating(f"minimum-{k + 1}", minima.positions[k])
        points[f"saddle-{k}"] = vibrating(f"saddle-{k}", found.record.saddle)
    if last < STAGES.index("rates"):
        return result

    theory, temperatures = config.rates.theory, config.experiment.temperatures_k
    named = {name: vibrations_of(kept.record, structure.species) for name, kept in points.items()}
    digests = {name: kept.digest for name, kept in points.items()}
    rates = None
    if used:
        rates = store.step(
            "rates",
            RatesOfEvents,
            {"points": digests, "used": used, "of": list(of.values()), "t": temperatures, "theory": theory},
            lambda: rates_of(
                named["minimum-0"],
                [named[f"saddle-{of[k]}"] for k in used],
                [named[f"minimum-{of[k] + 1}"] for k in used],
                temperatures,
                theory,
                named.get("all"),
            ),
        )
        result = replace(result, rates=rates.record)
    if last < STAGES.index("recrossing"):
        return result

    crossings: dict[int, Kept] = {}
    if config.rates.recrossing_pairs:
        how = config.rates.model_dump(include={"recrossing_pairs", "recrossing_fs"})
        how |= {"t": temperatures, "dt": config.sample.dt_fs, "seed": config.sample.seed}
        for k in bands:
            name = f"saddle-{k}"
            crossings[k] = store.step(
                f"recrossing-{k}",
                Recrossed,
                where | how | {"masses": inputs.masses_digest, "saddle": digests[name]},
                lambda name=name: recrossed(surface, named[name], config),
            )
        result = replace(result, recrossed=tuple(crossings[of[k]].record for k in used))
    staying = np.stack([each.value for each in result.recrossed], axis=1) if result.recrossed else 1.0
    if last < STAGES.index("tensors"):
        return result

    asked = {"isotope": config.experiment.isotope, "atoms": config.structure.atoms}
    asked |= {"names": inputs.names_digest, "isotopes": structure.isotopes}
    states = [elsewhere(structure, place) for place in (first.record.positions, *minima.positions)]
    tensors = store.step(
        "tensors",
        TensorsOfStates,
        asked | {"model": inputs.tensors_digest, "relax": first.digest, "ends": ends.digest, "x64": where["x64"]},
        lambda: tensors_in(inputs.tensors, states, config),
    )
    result = replace(result, tensors=tensors.record)
    if last < STAGES.index("exchange"):
        return result

    made = {"rates": None if rates is None else rates.digest, "nuclei": tensors.record.nuclei, "theory": theory}
    empty = _no_rates(len(temperatures), temperatures)
    crystal = structure.cell is not None and any(structure.pbc)
    exchange = store.step(
        "exchange",
        ExchangeOfNuclei,
        made
        | {"ends": ends.digest, "t": temperatures, "crystal": crystal}
        | {"neighbours": None if neighbours is None else digest_of_record(neighbours)}
        | {"recrossing": [kept.digest for kept in crossings.values()]},
        lambda: exchange_of(
            tensors.record.nuclei,
            first.record.positions,
            minima,
            used,
            empty if rates is None else rates.record,
            theory,
            staying,
            neighbours,
            crystal,
        ),
    )
    result = replace(result, exchange=exchange.record)
    if last < STAGES.index("sample"):
        return result

    depends = where | {"relax": first.digest, "ends": ends.digest, "model": inputs.tensors_digest}
    depends |= {"masses": inputs.masses_digest}
    depends |= {"nuclei": tensors.record.nuclei, "how": config.sample.model_dump(), "isotope": config.experiment.isotope}
    told = gauges(first.record.positions, before, minima, events, used)
    averages = averages_of(config, inputs, store, depends, told, first.record, minima, tensors.record, exchange.record)
    slowed = np.zeros(len(minima.names))
    if rates is not None:
        slowed[list(used)] = slowed_by(config.sample.friction_per_ps, rates.record.imaginary_per_cm)
    hops = with_counts(exchange.record, [kept.record for kept in averages], minima, config.rates, slowed)
    result = replace(result, sampled=tuple(kept.record for kept in averages), exchange=hops)
    if last < STAGES.index("spectra"):
        return result

    conditions = config.experiment.model_dump(include={"isotope", "rate_hz", "linewidth_hz", "gaussian_hz"})
    conditions |= {"axis": config.axis.model_dump(), "sizes": config.resolution.model_dump(), "x64": where["x64"]}
    conditions |= {"reference": config.tensors.reference_ppm, "tensors": tensors.digest}
    conditions |= {"exchange": digest_of_record(hops)}
    conditions |= {"sampled": [kept.digest for kept in averages], "errors": config.uncertainty.model_dump()}
    conditions |= {"t": temperatures, "same": minima.same_as.tolist()}
    conditions |= {"recrossing": [kept.digest for kept in crossings.values()]}
    recrossing = np.zeros((len(temperatures), 1 + len(minima.names)))
    for k, each in zip(used, result.recrossed, strict=False):
        recrossing[:, 1 + k] = each.stderr / each.value
    spectra = tuple(
        store.step(
            f"spectra-{k}",
            SpectraAtField,
            conditions | {"field": field},
            lambda field=field: spectra_at(
                field,
                tensors.record,
                result.sampled,
                hops,
                np.append(0, 1 + minima.same_as),
                config,
                recrossing=recrossing,
            ),
        ).record
        for k, field in enumerate(config.experiment.fields_t)
    )
    result = replace(result, spectra=spectra)
    measured, why = compared_or_why(result)
    said = (*inputs.remarks, *store.heard, *remarks_of(result), *why)
    result = replace(result, remarks=tuple(dict.fromkeys(said)))
    if last < STAGES.index("report"):
        return result
    store.told(Step("report", "begins"))
    write_report(result, store.origin, measured)
    store.told(Step("report", "done"))
    return result


def _no_rates(count: int, temperatures: tuple[float, ...]) -> RatesOfEvents:
    none, row, shares = np.zeros((count, 0)), np.zeros(0), np.zeros((count, 0, 2))
    return RatesOfEvents(np.asarray(temperatures), none, none, none, shares, row, row, row, row, row, row, ())


def _origin(config: RunConfig, inputs: Inputs) -> dict[str, Any]:
    cards = {"potential_sha256": inputs.surface_digest, "tensors_sha256": inputs.tensors_digest}
    seeds = {"sample": config.sample.seed, "uncertainty": config.uncertainty.seed, "explore": config.motion.explore_seed}
    versions = {"jaxnmr": __version__, "jax": jax.__version__, "device": jax.devices()[0].device_kind}
    return versions | cards | {"atoms_sha256": inputs.atoms_digest, "seeds": seeds}


def _same_material(store: Store, inputs: Inputs, force: bool) -> None:
    cell = inputs.structure.cell
    same_material(store.folder, inputs.structure.species, None if cell is None else np.asarray(cell, np.float64), force)
