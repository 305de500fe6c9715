"""Rates counted in long trajectories: which state a moment belongs to, and the reversible process that jumped like that."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxnmr.dynamics import ATOMIC, Units
from jaxnmr.errors import warn
from jaxnmr.exchange._model import ExchangeModel

__all__ = ["CountedRates", "assign_states", "counted_rates", "rates_of_counts"]

# Jumps for each sample of a state. Between two samples a state may be left and entered again unseen: of k times the
# spacing 0.1 this takes about a tenth off the rate, of 0.5 more than a third.
_OFTEN = 0.1


def assign_states(values: Any, centres: Any, radius: Any) -> Int[np.ndarray, ...]:
    """The state of each moment: the last core that was entered.

    A core is a ball about its centre. Between cores the state stays what it was, so that crossings of a barrier which turn
    back at once count as none. Moments before the first core are -1.

    Args:
        values: coordinates that tell states apart, (sample, coordinate), or (sample, replica, coordinate).
        centres: of the cores, (state, coordinate).
        radius: of each core, or one for all, in the coordinates' unit; cores must not overlap.

    Returns:
        (sample,), or (sample, replica).

    Raises:
        ValueError: shapes that do not fit, cores that overlap.
    """
    x, c = np.asarray(values, np.float64), np.asarray(centres, np.float64)
    if c.ndim != 2 or x.ndim not in (2, 3) or x.shape[-1] != c.shape[1]:
        raise ValueError(
            f"values, centres: got shapes {x.shape} and {c.shape}; give (sample, coordinate) or (sample, replica, "
            "coordinate), and (state, coordinate)."
        )
    r = np.broadcast_to(np.asarray(radius, np.float64), len(c))
    if not (r > 0).all():
        raise ValueError(f"radius: got {radius}; give distances > 0.")
    apart = np.linalg.norm(c[:, None] - c[None], axis=-1)
    overlap = np.argwhere(np.triu(apart < r[:, None] + r[None], 1))
    if len(overlap):
        i, j = overlap[0]
        raise ValueError(
            f"radius: the cores of states {i} and {j} overlap ({apart[i, j]:.3g} between centres); take smaller ones."
        )
    now = np.full(x.shape[:-1], -1)
    for k, centre in enumerate(c):
        now[((x - centre) ** 2).sum(axis=-1) < r[k] ** 2] = k
    # The index of the last moment in a core, carried forward.
    steps = np.arange(len(now)).reshape(-1, *(1,) * (now.ndim - 1))
    last = np.maximum.accumulate(np.where(now >= 0, steps, -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(now, np.maximum(last, 0), axis=0), -1)


class CountedRates(eqx.Module):
    """A reversible jump process as a trajectory has shown it.

    Attributes:
        rates: K, s⁻¹, (state, state); K[i, j] is the rate j -> i, columns sum to zero.
        stderr: standard error of each rate off the diagonal, s⁻¹; zero where no jump was seen.
        populations: stationary, summing to one.
        population_stderr: their standard errors.
        counts: jumps seen, [i, j] from j to i.
        times: time spent in each state, in the trajectory's unit.
    """

    rates: Float[np.ndarray, "state state"]
    stderr: Float[np.ndarray, "state state"]
    populations: Float[np.ndarray, " state"]
    population_stderr: Float[np.ndarray, " state"]
    counts: Int[np.ndarray, "state state"]
    times: Float[np.ndarray, " state"]

    def exchange_model(self) -> ExchangeModel:
        """The process for spectra."""
        n = len(self.rates)
        pairs = {(j, i): float(self.rates[i, j]) for i in range(n) for j in range(n) if i > j and self.rates[i, j] > 0}
        return ExchangeModel.from_rates(pairs, self.populations, n)


def counted_rates(labels: Any, spacing: float, *, n_states: int | None = None, units: Units = ATOMIC) -> CountedRates:
    r"""Rates of largest likelihood under detailed balance, with their errors.

    With $N_{ij}$ jumps j -> i and $T_j$ spent in j, fluxes $x_{ij} = x_{ji} = K_{ij}p_j$ and populations maximise

    $$\ln L = \sum_{i\ne j} N_{ij}\ln\frac{x_{ij}}{p_j} - \sum_{j} \frac{T_j}{p_j}\sum_{i\ne j}x_{ij};$$

    for two states that is N/T each way. It is concave in the logarithms once x is eliminated, so Newton's steps find the
    one maximum; errors are from the second derivatives there (Poisson statistics of independent jumps).

    Args:
        labels: state of each moment, (sample,) or (sample, replica), from `assign_states`; -1 where it is not known.
        spacing: time between samples, fs.
        n_states: how many states; one more than the largest label unless given.
        units: of the time; `REDUCED` for a surface without units.

    Raises:
        ValueError: labels that are none, states that were never visited, left or entered, as they have no rate.

    Warns:
        JaxnmrWarning: a state is left after fewer than ten samples on average; jumps between two samples are then missed,
            and the rate is too low.

    References:
        Bladt, Sørensen, J. R. Stat. Soc. B 67, 395 (2005); McGibbon, Pande, J. Chem. Phys. 143, 034109 (2015).
    """
    s = np.asarray(labels)
    if s.ndim not in (1, 2) or not np.issubdtype(s.dtype, np.integer) or len(s) < 2:
        raise ValueError(f"labels: got shape {s.shape} of {s.dtype}; give whole numbers, (sample,) or (sample, replica).")
    if not (np.isfinite(spacing) and spacing > 0):
        raise ValueError(f"spacing: got {spacing}; give the time between samples, > 0, in fs.")
    s = s.reshape(len(s), -1)
    n = int(s.max()) + 1 if n_states is None else n_states
    if n < 2 or s.max() >= n or s.min() < -1:
        raise ValueError(f"labels: go from {s.min()} to {s.max()}; give 0 to {n - 1} for {n} states, two at least.")
    before, after = s[:-1].ravel(), s[1:].ravel()
    known = (before >= 0) & (after >= 0)
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (after[known], before[known]), 1)
    visits = counts.sum(axis=0)
    never = np.flatnonzero(visits == 0)
    if len(never):
        raise ValueError(
            f"labels: states {', '.join(map(str, never))} were never visited before the last moment, and have no rate; run "
            f"longer, start replicas there, or number the other states without a gap (n_states {n - len(never)})."
        )
    np.fill_diagonal(counts, 0)
    times = spacing * visits.astype(float)
    found = rates_of_counts(counts, times, units=units)
    jumps = counts.sum(axis=0)
    j = int(np.argmax(jumps / visits))
    if jumps[j] > _OFTEN * visits[j]:
        warn(
            f"spacing: state {j} is left {jumps[j]} times in {visits[j]} samples, {jumps[j] / visits[j]:.2g} for each; "
            "jumps there and back between two samples are not seen, and its rate is too low by about as much. Keep samples "
            "more often, until a state lasts for ten and more."
        )
    return found


def rates_of_counts(counts: Any, times: Any, *, units: Units = ATOMIC) -> CountedRates:
    """As `counted_rates`, from jumps that were counted already, perhaps of several equivalent groups together.

    Args:
        counts: jumps seen, [i, j] from j to i, (state, state).
        times: spent in each state, fs, (state,).
        units: of the time.

    Raises:
        ValueError: shapes that do not fit, a state without time, states that were never left or entered.
    """
    n, spent = np.asarray(counts), np.asarray(times, np.float64)
    if n.ndim != 2 or n.shape != (len(spent), len(spent)) or len(spent) < 2 or not np.issubdtype(n.dtype, np.integer):
        raise ValueError(
            f"counts, times: got shapes {n.shape} and {spent.shape}; give (state, state) whole numbers and (state,)."
        )
    if not (np.isfinite(spent) & (spent > 0)).all():
        raise ValueError(f"times: got {spent.tolist()}; each state needs a time > 0, or is to be left out.")
    n = n - np.diag(np.diag(n))
    _check_connected(n)
    scale = units.frequency / units.clock
    rates, stderr, p, p_stderr = _reversible(n, spent)
    return CountedRates(rates * scale, stderr * scale, p, p_stderr, n, spent)


def _check_connected(counts: np.ndarray) -> None:
    """Each state must be left towards, and be entered from, all others of its group: else the likelihood has no maximum."""
    n = len(counts)
    reach = (counts > 0) | np.eye(n, dtype=bool)
    for _ in range(n):
        reach = reach | ((reach.astype(int) @ reach.astype(int)) > 0)
    if reach.all():
        return
    j, i = np.argwhere(~reach.T)[0]
    raise ValueError(
        f"labels: no way from state {j} to state {i} was seen ({int(counts.sum())} jumps in all); run longer, start "
        "replicas in both, or leave one state out."
    )


def _reversible(counts: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, ...]:
    n = len(counts)
    both = counts + counts.T
    i, j = np.nonzero(np.triu(both, 1))
    c, out = both[i, j].astype(float), counts.sum(axis=0).astype(float)
    theta = np.log(times / times.sum())
    log_t = np.log(times)
    # Newton's steps on the concave profile; the last population is held, since only ratios count.
    for _ in range(100):
        a, b = log_t[i] - theta[i], log_t[j] - theta[j]
        share = 1 / (1 + np.exp(b - a))
        slope = -out.copy()
        np.add.at(slope, i, c * share)
        np.add.at(slope, j, c * (1 - share))
        bend, curved = np.zeros((n, n)), c * share * (1 - share)
        for (p, q), sign in zip(((i, i), (j, j), (i, j), (j, i)), (1, 1, -1, -1), strict=True):
            np.add.at(bend, (p, q), -sign * curved)
        step = np.zeros(n)
        step[:-1] = np.linalg.solve(bend[:-1, :-1], -slope[:-1])
        theta = theta + step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
        if np.abs(step).max() < 1e-13:
            break
    theta = theta - np.log(np.exp(theta).sum())
    y = np.log(c) - np.log(times[i] * np.exp(-theta[i]) + times[j] * np.exp(-theta[j]))

    def likelihood(z: jax.Array) -> jax.Array:
        t, flux = jnp.concatenate([z[: n - 1], jnp.zeros(1, z.dtype)]), z[n - 1 :]
        lost = jnp.asarray(times[i], z.dtype) * jnp.exp(flux - t[i]) + jnp.asarray(times[j], z.dtype) * jnp.exp(flux - t[j])
        return jnp.sum(jnp.asarray(c, z.dtype) * flux) - jnp.sum(jnp.asarray(out, z.dtype) * t) - jnp.sum(lost)

    # In the gauge where the last ln p is zero.
    z = jnp.asarray(np.concatenate([theta[:-1] - theta[-1], y - theta[-1]]))
    covariance = np.linalg.inv(-np.asarray(jax.hessian(likelihood)(z), np.float64))
    rates, stderr = np.zeros((n, n)), np.zeros((n, n))
    for k, (a, b) in enumerate(zip(i, j, strict=True)):
        for to, start in ((a, b), (b, a)):
            rates[to, start] = np.exp(y[k] - theta[start])
            gradient = np.zeros(len(z))
            gradient[n - 1 + k] = 1.0
            if start < n - 1:
                gradient[start] -= 1.0
            stderr[to, start] = rates[to, start] * np.sqrt(gradient @ covariance @ gradient)
    np.fill_diagonal(rates, -rates.sum(axis=0))
    p = np.exp(theta)
    # p_k = softmax: d p_k / d t_l = p_k (delta - p_l).
    jacobian = (np.diag(p) - np.outer(p, p))[:, :-1]
    p_stderr = np.sqrt(np.einsum("kl,lm,km->k", jacobian, covariance[: n - 1, : n - 1], jacobian))
    return rates, stderr, p, p_stderr
