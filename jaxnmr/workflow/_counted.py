"""Rates of events so frequent that the motion itself tells them, in the place of their saddles'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxnmr.workflow._config import Rates
from jaxnmr.workflow._records import Ends, ExchangeOfNuclei, Sampled

__all__ = ["with_counts"]

# Fewer jumps than these each way tell no rate.
_JUMPS = 5


def with_counts(exchange: ExchangeOfNuclei, sampled: Sequence[Sampled], ends: Ends, how: Rates) -> ExchangeOfNuclei:
    r"""The exchange with rates and shares that the motion has counted, where it knows them better than the saddle.

    With N_j jumps from the first basin to j, M_j back, and times T spent,

    $$k_j = \frac{N_j}{T_0},\qquad \frac{p_j}{p_0} = \frac{N_j\,T_j}{M_j\,T_0},$$

    the likeliest under detailed balance where jumps join the first basin to the others alone; the relative error of k is
    $1/\sqrt{N_j}$. Groups whose events look the same are counted together. A group has either the counted rates or the
    saddles', and its averaged tensors are of the moments in one basin, so that no hop counts twice.

    Motion and saddle are of one surface, so that an error of the barrier changes both alike: what counts is how
    well each knows the rate of that surface, `rates.saddle_error` for the saddle's.

    Args:
        exchange: with the saddles' rates.
        sampled: at each temperature; none without sampling.
        ends: minima and groups.
        how: the theory, and whether to look at counts: motion is classical, so quantum rates are left as they are.
    """
    if how.counted == "never" or how.theory != "htst" or not sampled:
        return exchange
    populations, out, counted = exchange.populations.copy(), exchange.rates.copy(), exchange.counted.copy()
    kinds: dict[tuple[int, ...], list[int]] = {}
    for g, states in enumerate(exchange.states):
        inside = states[states >= 0]
        if len(inside) > 1:
            kinds.setdefault(tuple(int(ends.same_as[s - 1]) for s in inside[1:]), []).append(g)
    for t, found in enumerate(sampled):
        for kind, groups in kinds.items():
            n = 1 + len(kind)
            jumps = found.jumps[groups, :n, :n].sum(axis=0)
            time = 1e-12 * found.spent_ps[groups, :n].sum(axis=0)
            there, back = jumps[1:, 0], jumps[0, 1:]
            if jumps[1:, 1:].any() or min(there.min(), back.min()) < _JUMPS:
                continue
            error = np.sqrt(1 / there).max()
            if error >= how.saddle_error:
                continue
            shares = np.concatenate([[1.0], there * time[1:] / (back * time[0])])
            populations[t, groups, :n] = shares / shares.sum()
            out[t, groups, 1:n] = there / time[0]
            counted[t, groups] = error, np.sqrt(1 / there + 1 / back).max()
    return replace(exchange, populations=populations, rates=out, counted=counted)
