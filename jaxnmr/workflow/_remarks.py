"""What is doubtful about a run, in sentences."""

from __future__ import annotations

import numpy as np

from jaxnmr.isotopes import isotope
from jaxnmr.units import BOLTZMANN_IN_EV
from jaxnmr.workflow._beyond import images_in_step, left_out
from jaxnmr.workflow._combined import MOST
from jaxnmr.workflow._crossings import crossing_of, crossing_words
from jaxnmr.workflow._neighbours import MOST_PAIRS
from jaxnmr.workflow._result import Result

__all__ = ["remarks_of"]

# Fewer starts tell a share to no better than some tenths.
_STARTS = 20
# What neighbours may change of an energy unsaid, eV: a fifth of kT at room temperature.
_COUPLED = 0.005
# Two orders whose free energies differ by less are one, eV.
_LOWER = 1e-6


def remarks_of(result: Result) -> tuple[str, ...]:
    """All remarks, each once."""
    found = list(result.rates.remarks) if result.rates is not None else []
    found += [*_left_out(result), *_coupled(result)]
    for k, band in zip(result.used, result.bands, strict=True):
        if not band.joins:
            found.append(
                f"event {k}: the ways down from the saddle end elsewhere than in the two minima; there may be more."
            )
    for part in (_lowest, _jumps, _quantum, _together, images_in_step, left_out, _crossings, _motion):
        found += part(result)
    for each in result.spectra:
        found += each.remarks
    return tuple(dict.fromkeys(found))


def _left_out(result: Result) -> list[str]:
    """Events without a minimum of their own, and independent motions that are too many to be combined."""
    ends, found = result.ends, []
    if ends is None:
        return found
    for g in range(len(ends.atoms)):
        mine, both = ends.basins(g, result.used)
        for k in (k for k, group in enumerate(ends.groups) if group == g and k not in (*mine, *both)):
            found.append(
                f"{ends.names[k]}: no other minimum; the atoms fell back to the first or to that of an earlier event; it is "
                "left out."
            )
        motions = len({ends.factors[k] for k in mine}) if ends.factors else 1
        if motions > 1 and not any(len(some) > 1 for k, some in enumerate(ends.parts) if ends.groups[k] == g):
            found.append(
                f"group {g}: {motions} motions that are independent of each other make more than {MOST} minima together; "
                "they are taken to exclude each other, which makes each one's share too small: give fewer (motion.ends)."
            )
    return found


def _coupled(result: Result) -> list[str]:
    """Groups that feel each other, in sentences on what is not known of it and on what it does to shares."""
    found, ends, rates, exchange = result.neighbours, result.ends, result.rates, result.exchange
    if found is None or ends is None or not found.couples:
        return []
    said = []
    for state, why in (
        ("none", "are no minimum when both have happened, the atoms fall elsewhere; shares of both are too large"),
        ("not converged", "had not come to rest in 3000 steps"),
        ("not looked at", f"are of more than {MOST_PAIRS} kinds, and too far apart to be looked at"),
    ):
        lost = [couple for couple, one in zip(found.couples, found.states, strict=True) if one == state]
        if lost:
            said.append(
                f"neighbours: of {len(found.couples)} pairs of events {len(lost)}, the nearest {lost[0].events[0]} with "
                f"{lost[0].events[1]} at {lost[0].distance:.1f} Å, {why}; they are taken not to feel each other."
            )
    if found.whole_state in ("none", "not converged"):
        said.append("neighbours: all events at once are no minimum that was found; shares are those of the pairs' energies.")
    if rates is None or exchange is None or not len(exchange.felt_ev):
        return said
    for t, kelvin in enumerate(rates.temperatures):
        if len(exchange.settled) and not exchange.settled[t]:
            said.append(f"neighbours, {kelvin:g} K: the mean field has not come to rest, as next to the end of an order.")
        if len(exchange.other_order_ev) and exchange.other_order_ev[t] < -_LOWER:
            said.append(
                f"neighbours, {kelvin:g} K: the first minimum's order is kept, but that of all groups hopped is more stable "
                f"by {-exchange.other_order_ev[t]:.4f} eV; start from there if the sample is in it."
            )
        said += [each for column, k in enumerate(result.used) if (each := _moved(result, t, column, k))]
    return said


def _moved(result: Result, t: int, column: int, k: int) -> str:
    """What neighbours do to one event, where that is enough to tell."""
    ends, rates, exchange = result.ends, result.rates, result.exchange
    if ends is None or rates is None or exchange is None or int(ends.same_as[k]) != k:
        return ""
    g, kelvin = ends.groups[k], float(rates.temperatures[t])
    basin = int(np.flatnonzero(exchange.states[g] == 1 + k)[0])
    felt, still = float(exchange.felt_ev[t, g, basin]), rates.populations[t, column]
    if not np.isfinite(felt) or abs(felt) < _COUPLED or not still.min() > 0:
        return ""
    p = exchange.populations[t, g, [0, basin]]
    p, cost = p / p.sum(), -BOLTZMANN_IN_EV * kelvin * np.log(still[1] / still[0])
    told = (
        f"neighbours, {kelvin:g} K: event {k} costs a free energy of {cost:.4f} eV where all others stay, and {felt:+.4f} "
        f"eV more among neighbours that hop as well ({exchange.treatment}): shares {p[0]:.3f} and {p[1]:.3f}, and not "
        f"{still[0]:.3f} and {still[1]:.3f}."
    )
    if min(rates.barrier_ev[column] + felt / 2, rates.back_barrier_ev[column] - felt / 2) < 0:
        told += " Half of it, which the rate takes, is more than a barrier: the rate means nothing then."
    if exchange.treatment == "mean field":
        told += " A mean field knows no correlations, and keeps the first minimum's order as long as that is stable."
    return told


def _quantum(result: Result) -> list[str]:
    """Where jumps over a barrier are no picture of what a proton does; the rates themselves warn of deep tunnelling."""
    rates, found = result.rates, []
    if rates is None:
        return found
    for column, k in enumerate(result.used):
        if result.ends is not None and int(result.ends.same_as[k]) != k:
            continue
        if rates.zero_point_barrier_ev[column] < 0:
            found.append(
                f"event {k}: with zero-point energies the saddle lies {-rates.zero_point_barrier_ev[column]:.3f} eV below "
                "the first minimum: harmonic quantum rates mean nothing here, and the classical one is of classical nuclei."
            )
    return found


def _together(result: Result) -> list[str]:
    """How protons of one event cross, and that no way with one of them across was looked for."""
    found = []
    for k, band in zip(result.used, result.bands, strict=True):
        crossing = crossing_of(band)
        if crossing is not None and (result.ends is None or int(result.ends.same_as[k]) == k):
            found.append(f"event {k}: {crossing_words(crossing)}")
    return found


def _lowest(result: Result) -> list[str]:
    """Where the first minimum is not the lowest of those that a search has found."""
    energies = () if result.explored is None else result.explored.energies
    if not len(energies) or min(energies) > -1e-3:
        return []
    return [
        f"explore: a minimum lies {-float(min(energies)):.3f} eV below the first, of which A and C are the spectra; start "
        "from that one if the sample is in it."
    ]


def _jumps(result: Result) -> list[str]:
    """Pairs of basins between which nobody knows a way."""
    found, exchange, ends = [], result.exchange, result.ends
    for g, states in enumerate(exchange.states if exchange is not None else ()):
        n = int((states >= 0).sum())
        if exchange is None or n < 3 or (np.isfinite(exchange.counted[:, g]).all()):
            continue
        motion = [-1 if s < 1 or ends is None or not ends.factors else ends.factors[s - 1] for s in states[:n]]
        pairs = [(i, j) for i in range(1, n) for j in range(i + 1, n) if motion[i] == motion[j]]
        # Minima of several motions together are reached by one after the other.
        pairs = [(i, j) for i, j in pairs if ends is None or all(ends.alone(int(states[x]) - 1) for x in (i, j))]
        missing = [f"{i}-{j}" for i, j in pairs if exchange.through[g, j, i] < 0]
        if missing:
            found.append(
                f"group {g}: no path was searched between basins {', '.join(missing)}, which look like none that was; there "
                "the nuclei jump by way of others."
            )
    return found


def _crossings(result: Result) -> list[str]:
    """Where the share of crossings that stay across has come to no plateau, and what its starts say of the saddle."""
    found = []
    for k, each in zip(result.used, result.recrossed, strict=False):
        for t, kelvin in enumerate(result.config.experiment.temperatures_k):
            late = each.series[t, each.series.shape[1] // 2 :]
            one, two = (float(part.mean()) for part in np.array_split(late, 2))
            if abs(two - one) > max(0.05, 3 * float(each.stderr[t])):
                found.append(
                    f"event {k}, {kelvin:g} K: the share of crossings that stay across goes from {one:.2f} to {two:.2f} in "
                    f"the last {each.time[-1] / 2:g} fs: no plateau; change rates.recrossing_fs."
                )
            count, ratio = float(each.effective[t]), float(each.anharmonic[t])
            if count < _STARTS:
                found.append(
                    f"event {k}, {kelvin:g} K: {count:.0f} of the starts at the saddle count, the others are too high in "
                    "energy; the share that stays across is uncertain: take more rates.recrossing_pairs."
                )
            if abs(np.log(ratio)) > np.log(2):
                found.append(
                    f"event {k}, {kelvin:g} K: the plane through the saddle has {ratio:.2g} times the states that harmonic "
                    "theory gives it, which is not in the rate; the minima may be anharmonic too. What the motion counts "
                    "knows both."
                )
    return found


def _motion(result: Result) -> list[str]:
    """What the averages over the motion leave open."""
    found = []
    for average in result.sampled:
        at = f"{average.kelvin:g} K"
        mean, error = average.found_kelvin
        if abs(mean - average.kelvin) > max(4 * error, 0.05 * average.kelvin):
            found.append(
                f"sample, {at}: the motion's temperature is {mean:.0f} K; take a longer warmup_ps, or a smaller dt_fs."
            )
        exchange = result.exchange
        if exchange is not None and result.ends is not None:
            t = result.config.experiment.temperatures_k.index(average.kelvin)
            for g in np.flatnonzero(np.isfinite(exchange.counted[t]).all(axis=-1)):
                saddles = (
                    [float(result.rates.htst[t, c]) for c, k in enumerate(result.used) if result.ends.groups[k] == g]
                    if result.rates is not None
                    else []
                )
                taken = ", ".join(f"{k:.2e}" for k in exchange.rates[t, g, 1 : 1 + len(saddles), 0])
                found.append(
                    f"sample, {at}: group {g} hops so often that the exchange takes what was counted, {taken} /s "
                    f"(± {100 * exchange.counted[t, g, 0]:.0f} %), in the place of the saddle's "
                    f"{', '.join(f'{k:.2e}' for k in saddles)} /s"
                    + ("." if exchange.counted[t, g, 1] > 0 else "; so few jumps tell no shares (rates.share_error).")
                )
        for g, states in enumerate(exchange.states if exchange is not None else ()):
            for basin, state in enumerate(states):
                if state < 0 or len(states) < 2:
                    continue
                spent = average.spent_ps[g, basin]
                if spent == 0:
                    found.append(
                        f"sample, {at}: basin {basin} of group {g} was never visited; its static tensors stand in C and D."
                    )
        times = average.time_fs[np.isfinite(average.time_fs)]
        if times.size and 1e3 * average.length_ps < 50 * times.max():
            found.append(
                f"sample, {at}: the slowest tensor forgets itself in {times.max():.0f} fs, and {average.length_ps:g} ps is "
                "less than fifty times that: averages and their errors are uncertain; take a longer length_ps."
            )
        nucleus = isotope(result.config.experiment.isotope)
        larmor = [2 * np.pi * abs(float(np.asarray(nucleus.larmor_frequency(b)))) for b in result.config.experiment.fields_t]
        # Only the central line of a half-integer spin is the second order's alone.
        central = nucleus.is_quadrupolar and not float(nucleus.spin).is_integer()
        if central and times.size and 1e-15 * times.max() * max(larmor) > 0.1:
            found.append(
                f"sample, {at}: a tensor's correlation time is not short beside 1/ω₀; its mean is not what the "
                "second order sees."
            )
    return found
