"""Rates of events so frequent that the motion itself tells them, in the place of their saddles'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from jaxnmr.units import SPEED_OF_LIGHT
from jaxnmr.workflow._config import Rates
from jaxnmr.workflow._records import Ends, ExchangeOfNuclei, Sampled

__all__ = ["slowed_by", "with_counts"]

rates: Any = import_module("jaxnmr.exchange.rates")

# Fewer jumps than these into or out of a basin tell no rate.
_JUMPS = 5


def slowed_by(friction_per_ps: float, imaginary_per_cm: np.ndarray) -> np.ndarray:
    r"""By how much of itself the thermostat's friction lowers the rate across each saddle, $1 - \kappa$.

    $$\kappa = \sqrt{1 + (\gamma/2\omega)^2} - \gamma/2\omega$$

    with ω the angular frequency of the barrier.

    Args:
        friction_per_ps: γ.
        imaginary_per_cm: of each saddle, negative.

    References:
        Kramers, Physica 7, 284 (1940).
    """
    half = 1e12 * friction_per_ps / (4 * np.pi * 100 * SPEED_OF_LIGHT * np.abs(imaginary_per_cm))
    return 1 + half - np.sqrt(1 + half**2)


def with_counts(
    exchange: ExchangeOfNuclei,
    sampled: Sequence[Sampled],
    ends: Ends,
    how: Rates,
    slowed: np.ndarray | None = None,
) -> ExchangeOfNuclei:
    """The exchange with rates and shares that the motion has counted, where it knows them better than the saddle.

    Rates and shares are the likeliest under detailed balance (`jaxnmr.rates.rates_of_counts`; for two basins k = N / T).
    Groups whose events look the same are counted together. Few jumps tell how fast they are long before they tell shares:
    where the ratio of shares has an error of `rates.share_error` or more the exchange keeps its own. A group has either the
    counted rates or the saddles', and its averaged tensors are of the moments in one basin, so that no hop counts twice.

    Motion and saddle are of one surface, so that an error of the barrier changes both alike: what counts is how
    well each knows the rate of that surface, `rates.saddle_error` for the saddle's. The motion has a thermostat, whose
    friction slows the crossing of flat barriers (`slowed_by`); what that may take counts as an error of the rate.

    Args:
        exchange: with the saddles' rates.
        sampled: at each temperature; none without sampling.
        ends: minima and groups.
        how: the theory, and whether to look at counts: motion is classical, so quantum rates are left as they are.
        slowed: relative error that friction makes in the rate of each event, (event,); None for no friction.
    """
    if how.counted == "never" or how.theory != "htst" or not sampled:
        return exchange
    slowed = np.zeros(len(ends.names)) if slowed is None else slowed
    populations, out, counted = exchange.populations.copy(), exchange.rates.copy(), exchange.counted.copy()
    felt = exchange.felt_ev.copy()
    kinds: dict[tuple[int, ...], list[int]] = {}
    for g, states in enumerate(exchange.states):
        inside = states[states >= 0]
        if len(inside) > 1:
            kinds.setdefault(tuple(int(ends.same_as[s - 1]) for s in inside[1:]), []).append(g)
    for t, found in enumerate(sampled):
        for kind, groups in kinds.items():
            n = 1 + len(kind)
            jumps = found.jumps[groups, :n, :n].sum(axis=0)
            time = 1e3 * found.spent_ps[groups, :n].sum(axis=0)
            if min(jumps.sum(axis=0).min(), jumps.sum(axis=1).min()) < _JUMPS:
                continue
            try:
                best = rates.rates_of_counts(jumps, time)
            except ValueError:  # basins that no jumps join
                continue
            seen = best.rates > 0
            # By so much friction makes each way slower than it is; no more of the sampling would mend that.
            error = float((best.stderr[seen] / best.rates[seen]).max() + np.max(slowed[list(kind)]))
            if error >= how.saddle_error:
                continue
            # Of two shares that sum to one, the errors of the logarithms add up in their ratio.
            wrong = best.population_stderr / best.populations
            ratio = float((wrong[1:] + wrong[0]).max())
            if ratio < how.share_error:
                out[t, groups, :n, :n] = np.where(seen, best.rates, 0.0)
                populations[t, groups, :n] = best.populations
                if len(felt):
                    felt[t, groups] = np.nan
            else:
                # Half of what the shares are other than counted speeds a jump up, the other half slows the way back.
                tilt = np.sqrt(populations[t, groups, :n] / best.populations)
                speed = tilt[:, :, None] / tilt[:, None, :]
                out[t, groups, :n, :n] = np.where(seen, best.rates * speed, 0.0)
                ratio = 0.0
            counted[t, groups] = error, ratio
    return replace(exchange, populations=populations, rates=out, counted=counted, felt_ev=felt)
