"""From minima and saddles to rates and shares, and from these to the exchange of each nucleus."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnmr.dynamics import OMEGA, Surface, Vibrations
from jaxnmr.errors import JaxnmrWarning
from jaxnmr.units import BOLTZMANN_IN_EV, ELECTRON_VOLT, HBAR
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._mean_field import MOST_STATES, exact_shares, mean_field, with_the_rest
from jaxnmr.workflow._records import Ends, ExchangeOfNuclei, Neighbours, RatesOfEvents, Recrossed

__all__ = ["beyond_pairs", "exchange_of", "rates_of", "recrossed"]

# Jumps that differ by less look the same: ways of atoms, Å, and energies of ends, eV. Shares and rates beyond are none.
_ALIKE, _LEVEL, _LEAST, _FASTEST = 0.15, 1e-3, 1e-12, 1e15
_HOT, _NEVER = 1e12, 1e-300  # K, and a share
# Public as `jaxnmr.rates`; its room does not load it by itself, since it needs that of the dynamics.
rates: Any = import_module("jaxnmr.exchange.rates")


def rates_of(
    first: Vibrations,
    saddles: Sequence[Vibrations],
    ends: Sequence[Vibrations],
    temperatures: Sequence[float],
    theory: str,
    whole: Vibrations | None = None,
) -> RatesOfEvents:
    """Rates of all events at all temperatures.

    Args:
        first: vibrations at the first minimum.
        saddles: of each event.
        ends: of each event.
        temperatures: K.
        theory: whose populations to give: classical oscillators with "htst", quantum ones otherwise.
        whole: where all events have happened, if there is such a minimum; without shares where it is a saddle after all.

    Raises:
        ValueError: a point of the wrong kind, see `jaxnmr.rates.htst`.
    """
    t = jnp.asarray(temperatures, jnp.asarray(0.0).dtype)
    columns: list[list[np.ndarray]] = [[], [], [], []]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", JaxnmrWarning)
        for saddle, end in zip(saddles, ends, strict=True):
            columns[0].append(np.asarray(rates.htst(first, saddle, t), np.float64))
            columns[1].append(np.asarray(rates.eyring(first, saddle, t), np.float64))
            tunnelled = rates.eyring(first, saddle, t, product=end, tunnelling=rates.Wigner())
            columns[2].append(np.asarray(tunnelled, np.float64))
            shares = rates.populations([first, end], t, quantum=theory != "htst")
            columns[3].append(np.asarray(shares, np.float64))
        log_whole = np.zeros(0)
        if whole is not None and int(whole.n_negative) == 0:
            shares = np.asarray(rates.populations([first, whole], t, quantum=theory != "htst"), np.float64)
            # One that underflows is as good as never.
            log_whole = np.log(np.maximum(shares[:, 1], _NEVER)) - np.log(np.maximum(shares[:, 0], _NEVER))
    htst, eyring, wigner = (np.stack(c, axis=1) for c in columns[:3])
    energies = [[float(x.energy) for x in points] for points in (saddles, ends)]
    barrier, level = (np.array(e) - float(first.energy) for e in energies)
    # The classical rate where the barrier counts for nothing: a rate that is zero but for exp(-barrier/kT) tells nothing.
    attempts = np.array([float(rates.htst(first, s, _HOT)) for s in saddles]) * np.exp(barrier / (BOLTZMANN_IN_EV * _HOT))
    return RatesOfEvents(
        np.asarray(temperatures, np.float64),
        htst,
        eyring,
        wigner,
        np.stack(columns[3], axis=1),
        barrier,
        barrier - level,
        barrier + np.array([_zero_point(s) - _zero_point(first) for s in saddles]),
        level,
        attempts,
        np.array([float(np.min(np.asarray(s.wavenumbers))) for s in saddles]),
        tuple(dict.fromkeys(str(w.message) for w in heard if issubclass(w.category, JaxnmrWarning))),
        log_whole,
    )


def beyond_pairs(neighbours: Neighbours, found: RatesOfEvents, t: int) -> float:
    """Free energy of all events at once above the sum of their own and of the pairs' couplings, eV; 0 if not looked at."""
    if not len(found.log_whole):
        return 0.0
    alone = np.log(np.maximum(found.populations[t], _NEVER))
    whole = -BOLTZMANN_IN_EV * float(found.temperatures[t]) * float(found.log_whole[t] - (alone[:, 1] - alone[:, 0]).sum())
    return whole - float(np.nansum(neighbours.energies))


def recrossed(surface: Surface, saddle: Vibrations, config: RunConfig) -> Recrossed:
    """Transmission coefficients of a saddle at all temperatures, of classical nuclei without friction.

    Args:
        surface: the surface.
        saddle: its vibrations.
        config: temperatures, pairs of trajectories, their length and step.

    Raises:
        ValueError: a saddle so anharmonic that few starts count, see `jaxnmr.rates.transmission`; trajectories so long that
            most have come back.
        MotionError: a time step too large.
    """
    how, step = config.rates, config.sample.dt_fs
    found = [
        rates.transmission(
            surface,
            saddle,
            kelvin,
            time=how.recrossing_fs,
            dt=step,
            samples=how.recrossing_pairs,
            every=max(1, int(how.recrossing_fs / step / 50)),
            seed=config.sample.seed,
        )
        for kelvin in config.experiment.temperatures_k
    ]
    for kelvin, each in zip(config.experiment.temperatures_k, found, strict=True):
        if not each.value > 0:
            raise ValueError(
                f"rates.recrossing_fs: after {how.recrossing_fs:g} fs at {kelvin:g} K most trajectories are back where they "
                f"came from ({each.value:.2f} stay across): the plateau is over; give a shorter time."
            )
    return Recrossed(
        np.array([each.value for each in found]),
        np.array([each.value_stderr for each in found]),
        np.array([each.effective for each in found]),
        np.array([each.anharmonic for each in found]),
        np.asarray(found[0].time, np.float64),
        np.array([each.series for each in found]),
    )


def exchange_of(
    nuclei: Sequence[int],
    first: np.ndarray,
    ends: Ends,
    used: Sequence[int],
    found: RatesOfEvents,
    theory: str,
    staying: np.ndarray | float = 1.0,
    neighbours: Neighbours | None = None,
    crystal: bool = False,
) -> ExchangeOfNuclei:
    r"""States, populations and rates of each group, and the group of each nucleus.

    A group's basins are the first minimum and those of its own events, so that two groups of two basins each are not four
    states of one spin. Independent motions of one group make basins together, whose shares are

    $$p_{ab} \propto p_a\,p_b\,e^{-(E_{ab} - E_a - E_b)/kT},\qquad
      k_{ab\leftarrow b} = k_{a\leftarrow 0}\,\sqrt{\frac{p_{ab}\,p_0}{p_a\,p_b}}$$

    so that detailed balance holds where one motion changes the energies of the other. That half of it is in the jump there
    and half in the way back is an assumption, right for saddles in the middle between two wells. Other groups change the
    free energies in the same way, by the mean of what their basins do: over all states of all groups, or in a crystal in a
    mean field. Between two basins of one motion beyond the first the jump of an event is taken that looks the same (energies
    of its ends and lengths of all atoms' ways), as between the three places of a methyl group.

    Args:
        nuclei: observed atoms.
        first: positions of the first minimum, Å.
        ends: minima and groups.
        used: the events that have rates, in the order of `found`.
        found: rates.
        theory: "htst", "eyring" or "eyring-wigner".
        staying: share of crossings that stay across, (temperature, event).
        neighbours: what events of other groups do to energies; None where these stay in the first minimum.
        crystal: whether the groups repeat without end.

    Raises:
        ValueError: a rate that no nucleus has, as harmonic quantum theory gives where zero-point energies leave no barrier.
    """
    k = {"htst": found.htst, "eyring": found.eyring, "eyring-wigner": found.wigner}[theory] * staying
    if not (np.isfinite(k) & (k <= _FASTEST)).all():
        t, c = np.argwhere(~(np.isfinite(k) & (k <= _FASTEST)))[0]
        raise ValueError(
            f"rates.theory: {theory} gives {k[t, c]:.1e} /s for event {used[c]} at {found.temperatures[t]:g} K, faster than "
            "any nucleus moves; take 'htst', or a higher temperature."
        )
    column = {event: c for c, event in enumerate(used)}
    basins = [ends.basins(g, used) for g in range(len(ends.atoms))]
    n, width, t = len(basins), 1 + max((len(mine) + len(both) for mine, both in basins), default=0), len(found.temperatures)
    states = np.full((n, width), -1)
    shares, out, through = np.zeros((t, n, width)), np.zeros((t, n, width, width)), np.full((n, width, width), -1)
    # Shares of an end beside the start; one that is never visited still has a share, so that the way back has a rate.
    weight = np.maximum(found.populations[:, :, 1] / found.populations[:, :, 0], _LEAST)
    parts = [[(), *((event,) for event in mine), *(ends.parts[event] for event in both)] for mine, both in basins]
    # Of each basin, its weight if no motion did anything to another's energies, and as it is.
    free = [np.stack([np.prod(weight[:, [column[e] for e in some]], axis=1) for some in each], axis=1) for each in parts]
    true = _weights(ends, basins, parts, free, found)
    around = _Around.of(true, parts, ends, found, neighbours, crystal)
    felt = np.zeros((t if neighbours is not None else 0, n, width))
    for g, (mine, both) in enumerate(basins):
        n_states = len(parts[g])
        states[g, :n_states] = [0, *(1 + event for event in (*mine, *both))]
        whole = np.maximum(true[g] * around.factors[g], _LEAST)
        p = whole / whole.sum(axis=1, keepdims=True)
        shares[:, g, :n_states] = p
        felt[:, g, :n_states] = around.felt[g][: len(felt)]
        # Half of it speeds a jump up, the other half slows the way back down.
        tilt = np.sqrt(whole / free[g])
        for (i, j), event in _ways(first, ends, mine, parts[g], ends.atoms[g]).items():
            # From j to i as from one basin of the motion to the other; k is known from the first to the event's.
            rate = k[:, column[event]] * tilt[:, i] / tilt[:, j]
            out[:, g, i, j], out[:, g, j, i] = rate, rate * p[:, j] / p[:, i]
            through[g, i, j] = through[g, j, i] = event
    home = np.full(len(nuclei), -1)
    for g, atoms in enumerate(ends.atoms):
        if basins[g][0]:
            home[np.isin(nuclei, atoms)] = g
    none = np.full((*shares.shape[:2], 2), np.nan)
    return ExchangeOfNuclei(
        home, states, shares, out, through, none, around.treatment, felt, around.other_order, around.settled
    )


def _weights(
    ends: Ends,
    basins: Sequence[tuple[list[int], list[int]]],
    parts: Sequence[Sequence[tuple[int, ...]]],
    free: Sequence[np.ndarray],
    found: RatesOfEvents,
) -> list[np.ndarray]:
    """Weights of each group's basins, (temperature, basin), with what its own motions do to each other's energies.

    Args:
        ends: minima.
        basins: of each group, its own events and those that are made of several.
        parts: of each basin, the events that it is made of.
        free: weights without.
        found: temperatures.
    """
    true, kt = [], BOLTZMANN_IN_EV * np.asarray(found.temperatures)
    for (mine, both), some, alone in zip(basins, parts, free, strict=True):
        levels = np.array([0.0, *(ends.energies[event] for event in (*mine, *both))])
        apart = np.array([sum(ends.energies[e] for e in each) for each in some])
        true.append(np.maximum(alone * np.exp(-(levels - apart) / kt[:, None]), _LEAST))
    return true


class _Around(NamedTuple):
    """What other groups do to each group's basins.

    Attributes:
        felt: free energies, eV, (temperature, basin) for each group.
        factors: of the basins' weights.
        other_order: as in `ExchangeOfNuclei`.
        settled: likewise.
        treatment: likewise.
    """

    felt: list[np.ndarray]
    factors: list[np.ndarray]
    other_order: np.ndarray
    settled: np.ndarray
    treatment: str

    @classmethod
    def of(
        cls,
        true: Sequence[np.ndarray],
        parts: Sequence[Sequence[tuple[int, ...]]],
        ends: Ends,
        found: RatesOfEvents,
        neighbours: Neighbours | None,
        crystal: bool,
    ) -> _Around:
        """At every temperature: over the states of all groups where these are few and no crystal, else in a mean field."""
        kt = BOLTZMANN_IN_EV * np.asarray(found.temperatures)
        felt, none = [np.zeros_like(each) for each in true], np.zeros(0)
        if neighbours is None or not neighbours.couples:
            treatment = "still" if neighbours is None else "alone"
            return cls(felt, [np.ones_like(each) for each in true], none, none.astype(bool), treatment)
        pairs = neighbours.matrix(len(ends.names))
        exact = not crystal and np.prod([float(each.shape[1]) for each in true]) <= MOST_STATES
        # Groups whose events look the same.
        kinds = [tuple(tuple(int(ends.same_as[e]) for e in some) for some in each) for each in parts]
        numbers = [kinds.index(kind) for kind in kinds]
        other, settled = np.full(len(kt), np.nan), np.ones(len(kt), bool)
        for t, scale in enumerate(kt):
            weights = [each[t] for each in true]
            matrix = with_the_rest(pairs, beyond_pairs(neighbours, found, t))
            if exact:
                field = exact_shares(weights, parts, matrix, scale)
            else:
                field = mean_field(weights, parts, matrix, scale, kinds=numbers)
                other[t] = mean_field(weights, parts, matrix, scale, kinds=numbers, hopped=True).free_energy
                other[t], settled[t] = other[t] - field.free_energy, field.settled
            for one, energy in zip(felt, field.felt, strict=True):
                one[t] = energy
        factors = [np.exp(-each / kt[:, None]) for each in felt]
        return cls(felt, factors, none if exact else other, settled, "exact" if exact else "mean field")


def _ways(
    first: np.ndarray, ends: Ends, events: Sequence[int], parts: Sequence[tuple[int, ...]], atoms: Sequence[int]
) -> dict[tuple[int, int], int]:
    """Jumps (to, from) between basins that differ in one motion, and which event each is like.

    Args:
        first: positions of the first minimum, Å.
        ends: minima.
        events: of the group, that have rates.
        parts: of each basin, the events that it is made of.
        atoms: of the group.
    """
    motion = ends.factors or ends.groups
    found: dict[tuple[int, int], int] = {}
    for number in dict.fromkeys(motion[event] for event in events):
        mine = [event for event in events if motion[event] == number]
        alike = {pair: mine[c] for pair, c in _jumps(first, ends, mine, atoms).items()}
        for i, j in itertools.permutations(range(len(parts)), 2):
            if {e for e in parts[i] if e not in mine} != {e for e in parts[j] if e not in mine}:
                continue
            to, start = (next((1 + c for c, e in enumerate(mine) if e in parts[x]), 0) for x in (i, j))
            if (to, start) in alike:
                found[i, j] = alike[to, start]
    return found


def _jumps(first: np.ndarray, ends: Ends, events: Sequence[int], atoms: Sequence[int]) -> dict[tuple[int, int], int]:
    """Jumps (to, from) between basins and which of the events each is like; basin 0 is the first minimum."""
    inside = list(atoms)
    places = [first[inside], *(ends.positions[k][inside] for k in events)]
    levels = [0.0, *(float(ends.energies[k]) for k in events)]

    def ways(i: int, j: int) -> np.ndarray:
        return np.sort(np.linalg.norm(places[i] - places[j], axis=-1))

    found = {(1 + c, 0): c for c in range(len(events))}
    for j in range(1, len(places)):
        for i in range(j + 1, len(places)):
            for c in range(len(events)):
                if np.abs(ways(i, j) - ways(1 + c, 0)).max() > _ALIKE:
                    continue
                # Either end may be the one that looks like the first minimum.
                for to, start in ((i, j), (j, i)):
                    if abs(levels[start]) < _LEVEL and abs(levels[to] - levels[1 + c]) < _LEVEL:
                        found.setdefault((to, start), c)
            if (i, j) in found and (j, i) in found:
                del found[j, i]
    return found


def _zero_point(point: Vibrations) -> float:
    omega = np.asarray(point.omega, np.float64)
    return float(HBAR * OMEGA / ELECTRON_VOLT / 2 * omega[omega > 0].sum())
