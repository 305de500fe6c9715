"""The four spectra of a run, and the band about the last of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from jaxnmr.errors import JaxnmrWarning
from jaxnmr.isotopes import isotope
from jaxnmr.units import BOLTZMANN_IN_EV
from jaxnmr.workflow._config import RunConfig, Uncertainty
from jaxnmr.workflow._lines import Bench, Hopping
from jaxnmr.workflow._records import ExchangeOfNuclei, Sampled, SpectraAtField, TensorsOfStates
from jaxnmr.workflow._sets import Alike, alike, mean_over, nearness

__all__ = ["spectra_at"]


class _Tensors:
    """Mean tensors of each set of nuclei in its basins, and standard deviations of their elements."""

    def __init__(self, sets: Sequence[Alike], tensors: TensorsOfStates, sampled: Sampled | None):
        self.shielding, self.efg, self.shielding_error, self.efg_error = [], [], [], []
        for each in sets:
            for name in ("shielding", "efg"):
                rest, model = getattr(tensors, name), getattr(tensors, f"{name}_error")
                mean, sampling = mean_over(each, rest), 0.0
                if sampled is not None:
                    moved = mean_over(each, getattr(sampled, name))
                    scatter = mean_over_squares(each, getattr(sampled, f"{name}_stderr"))
                    known = np.array([np.isfinite(each).all() for each in moved])
                    # A basin that the motion saw for none of the members keeps the tensors of its minimum.
                    mean, sampling = np.where(known[:, None, None], moved, mean), np.where(known, scatter, 0.0)
                own = model[each.states[0], each.members[0]]
                getattr(self, name).append(mean)
                getattr(self, f"{name}_error").append(np.sqrt(np.nan_to_num(own) ** 2 + np.nan_to_num(sampling) ** 2))


def mean_over_squares(group: Alike, errors: np.ndarray) -> np.ndarray:
    """Standard error of an element of the members' mean, (basin,), from theirs, (state, nucleus, 3, 3).

    Members without a number, as those that a motion never saw in that basin, have no part in it; NaN where none has one.
    """
    squares = np.array(
        [(errors[states, n] ** 2).mean(axis=(1, 2)) for n, states in zip(group.members, group.states, strict=True)]
    )
    there = np.isfinite(squares)
    count = there.sum(axis=0)
    return np.where(count > 0, np.sqrt(np.where(there, squares, 0.0).sum(axis=0)) / np.maximum(count, 1), np.nan)


def spectra_at(
    field: float,
    tensors: TensorsOfStates,
    sampled: Sequence[Sampled],
    exchange: ExchangeOfNuclei,
    barriers_as: np.ndarray,
    config: RunConfig,
    bench: Bench | None = None,
    recrossing: np.ndarray | None = None,
) -> SpectraAtField:
    r"""A to D at one field, each nucleus counted alike, and the band.

    A: tensors of the first minimum. B: exchange among the tensors of the minima. C: averaged tensors of the first basin. D:
    exchange among averaged tensors. The band holds 95 % of lines with drawn tensors (each nucleus in each basin for itself,
    equivalent ones alike; the isotropic part as uncertain beside the rest as a committee's members differ there), with
    rates times exp(-b/kT), b of the barriers' standard deviation, and ratios of populations times exp(-e/kT); counted ones
    also with the error of the counting, saddles' ones also with those of the share of crossings that stay across and of
    the harmonic theory, `uncertainty.rate_error`, as errors of their logarithms.

    The band's ends are the order statistics between which another draw falls with 95 %; of n draws, fewer than 39, they are
    the outermost, and hold (n - 1)/(n + 1).

    Args:
        field: tesla.
        tensors: of all minima.
        sampled: averages at each temperature; none without sampling.
        exchange: of each nucleus.
        barriers_as: of each state, that whose event has the same path, (state,): 0 for the first, 1 + event for others.
        config: conditions.
        bench: programs of earlier calls at this field and under these conditions, to be used again.
        recrossing: relative standard error of the share of crossings that stay across, for each state's own event, zero for
            the first state, (temperature, state); None where it was not looked at.

    Raises:
        ValueError: as `jaxnmr.simulate`.
    """
    bench, sets = bench or Bench(field, config), alike(tensors, exchange, nearness(tensors, config))
    weights = np.array([len(each.members) for each in sets]) / len(tensors.nuclei)
    temperatures = range(len(exchange.populations))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JaxnmrWarning)
        rest = _Tensors(sets, tensors, None)
        means = [_Tensors(sets, tensors, each) for each in sampled]

        def resting(of: _Tensors) -> tuple[np.ndarray, ...]:
            return bench.resting(np.array([x[0] for x in of.shielding]), np.array([x[0] for x in of.efg]), weights)

        ppm, hz, still = resting(rest)
        fast = [resting(of)[2] for of in means]
        moves = [k for k, each in enumerate(sets) if len(each.states[0]) > 1]
        # At every temperature: rates, and what they ask of the sizes, differ by orders of magnitude.
        for of, t in [*((rest, t) for t in temperatures), *((each, t) for t, each in enumerate(means))]:
            bench.sized([_line(sets[k], k, of, exchange, t) for k in moves])
    heard = [str(w.message) for w in caught if issubclass(w.category, JaxnmrWarning)]

    def whole(of: _Tensors, t: int, one: np.ndarray) -> np.ndarray:
        """Sum over the sets; `one` is their line without motion, for when nothing moves."""
        return one if not moves else _added(bench, sets, weights, of, exchange, t)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxnmrWarning)  # said before, from the values themselves
        moving = [whole(rest, t, still) for t in temperatures]
        both = [whole(of, t, fast[t]) for t, of in enumerate(means)]
        bands = [
            _band(
                bench,
                sets,
                weights,
                of,
                exchange,
                t,
                barriers_as,
                tensors.shielding_parts,
                config,
                np.zeros(len(barriers_as)) if recrossing is None else recrossing[t],
            )
            for t, of in zip(temperatures, means or [rest] * len(exchange.populations), strict=True)
        ]
    drawn = np.array([band for band in bands if band is not None]).reshape(-1, 2, len(ppm))
    empty = np.zeros((0, len(ppm)))
    return SpectraAtField(
        ppm,
        hz,
        still,
        np.array(moving),
        np.array(fast) if fast else empty,
        np.array(both) if both else empty,
        drawn[:, 0],
        drawn[:, 1],
        tuple(dict.fromkeys(heard)),
    )


def _line(each: Alike, k: int, of: _Tensors, exchange: ExchangeOfNuclei, t: int) -> Hopping:
    group, n = int(exchange.group[each.members[0]]), each.states.shape[1]
    return Hopping(of.shielding[k], of.efg[k], exchange.rates[t, group, :n, :n], exchange.populations[t, group, :n])


def _added(
    bench: Bench, sets: Sequence[Alike], weights: np.ndarray, of: _Tensors, exchange: ExchangeOfNuclei, t: int
) -> np.ndarray:
    resting = [k for k, each in enumerate(sets) if each.states.shape[1] == 1]
    total = np.zeros(bench.config.axis.points)
    if resting:
        shares = weights[resting]
        line = bench.resting(
            np.array([of.shielding[k][0] for k in resting]),
            np.array([of.efg[k][0] for k in resting]),
            shares / shares.sum(),
        )
        total = total + shares.sum() * line[2]
    for n in sorted({each.states.shape[1] for each in sets} - {1}):
        mine = [k for k, each in enumerate(sets) if each.states.shape[1] == n]
        lines = bench.hopping([_line(sets[k], k, of, exchange, t) for k in mine])
        total = total + weights[mine] @ lines
    return total


def _band(
    bench: Bench,
    sets: Sequence[Alike],
    weights: np.ndarray,
    of: _Tensors,
    exchange: ExchangeOfNuclei,
    t: int,
    barriers_as: np.ndarray,
    parts: np.ndarray,
    config: RunConfig,
    recrossing: np.ndarray,
) -> np.ndarray | None:
    """Ends of the band, (2, point); None where no error is known."""
    how, kelvin = config.uncertainty, config.experiment.temperatures_k[t]
    errors = [*of.shielding_error, *of.efg_error]
    moves = any(each.states.shape[1] > 1 for each in sets)
    # Of ln k of the saddles' rates, beside the barriers'.
    saddles = np.hypot(recrossing, how.rate_error)
    of_rates = max(how.barrier_ev, how.energy_ev, saddles.max()) > 0 or np.isfinite(exchange.counted[t]).any()
    if how.draws < 2 or not (any((e > 0).any() for e in errors) or (moves and of_rates)):
        return None
    rng = np.random.default_rng((how.seed, t))
    # Of counted rates; by itself, so that lines of saddles' rates are drawn as without a motion.
    statistical = np.random.default_rng((how.seed, t, 1)).normal(size=(how.draws, len(exchange.states), 2))
    # By itself as well, and one for each event, which all jumps across its saddle share.
    theory = np.exp(np.random.default_rng((how.seed, t, 2)).normal(size=(how.draws, len(saddles))) * saddles)[:, barriers_as]
    # The lines of one size of all draws together, so that they fill whole batches.
    total, shares = np.zeros((how.draws, config.axis.points)), {}
    for draw in range(how.draws):
        factors = _factors(rng, barriers_as, how, kelvin)
        for k, each in enumerate(sets):
            noise = _by_parts(rng.normal(size=(len(each.states[0]), 3, 3)), parts)
            shielding = of.shielding[k] + of.shielding_error[k][:, None, None] * noise
            efg = of.efg[k]
            if isotope(config.experiment.isotope).is_quadrupolar:
                efg = efg + of.efg_error[k][:, None, None] * _traceless(rng, len(each.states[0]))
            if each.states.shape[1] == 1:
                line = bench.resting(shielding, efg, np.ones(1))[2]
                total[draw] += weights[k] * line
                continue
            plain, group, n = _line(each, k, of, exchange, t), int(exchange.group[each.members[0]]), each.states.shape[1]
            p = np.asarray(plain.populations) * factors[1][each.states[0]]
            out = np.asarray(plain.rates) * factors[0][1 + exchange.through[group, :n, :n]]
            if np.isfinite(exchange.counted[t, group]).all():
                off = np.exp(exchange.counted[t, group] * statistical[draw, group])
                out, p = out * off[0], np.append(p[0], p[1:] * off[1])
            else:
                out = out * theory[draw][1 + exchange.through[group, :n, :n]]
            line = Hopping(shielding, efg, out, p / p.sum())
            shares.setdefault(len(p), []).append((draw, k, line))
    for jobs in shares.values():
        found = bench.hopping([line for _, _, line in jobs])
        for (draw, k, _), line in zip(jobs, found, strict=True):
            total[draw] += weights[k] * line
    # Not NumPy's own choice: between its ends another draw falls with 89 % for 32 draws.
    return np.quantile(total, [0.025, 0.975], axis=0, method="weibull")


def _factors(rng: np.random.Generator, barriers_as: np.ndarray, how: Uncertainty, kelvin: float) -> tuple[np.ndarray, ...]:
    """Of rates by way of each state's event and of its share; one for the first state, the same where paths are shared."""
    kt = BOLTZMANN_IN_EV * kelvin
    rate, share = np.exp(-rng.normal(size=(2, len(barriers_as))) * np.array([[how.barrier_ev], [how.energy_ev]]) / kt)
    rate[0], share[0] = 1.0, 1.0
    return rate[barriers_as], share[barriers_as]


def _by_parts(noise: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Noise with its isotropic, antisymmetric and symmetric traceless parts made larger or smaller."""
    even = (noise + np.swapaxes(noise, 1, 2)) / 2
    isotropic = np.trace(noise, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    return parts[0] * isotropic + parts[1] * (noise - even) + parts[2] * (even - isotropic)


def _traceless(rng: np.random.Generator, count: int) -> np.ndarray:
    """Symmetric traceless tensors whose elements have the mean square 1, without a direction of their own, (count, 3, 3)."""
    raw = rng.normal(size=(count, 3, 3))
    even = (raw + np.swapaxes(raw, 1, 2)) / 2
    even = even - np.trace(even, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    # Five independent components of variance 1 make a mean square of 5 over nine elements.
    return even * 3 / np.sqrt(5)
