"""What is observed along a run: running means, covariances, correlations in time, and honest error bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from jaxnmr.dynamics._system import MDState

__all__ = ["Observable", "Sums", "mean_error"]

# Averages over blocks of 1, 2, 4 ... samples are kept apart; 2^30 samples are more than a run has.
_LEVELS = 30


class Observable(eqx.Module):
    """A function of the state and what is kept of its values.

    Mean, variance, and variances of blocks of all lengths are always kept, in memory that does not grow with the run.

    Args:
        function: `MDState` of one replica -> array or pytree of arrays; jitted along with the motion. Coordinates are
            `state.positions`, `state.cell`; neighbours `state.neighbors.graph`.
        lags: how many lags of the autocorrelation to sum, in samples; memory grows with it.
        covariance: keep the whole covariance matrix of the values.
        keep: keep every value too.
    """

    function: Callable[[MDState], Any]
    lags: int = eqx.field(static=True, default=0)
    covariance: bool = eqx.field(static=True, default=False)
    keep: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if not callable(self.function):
            raise ValueError(f"observe: got {type(self.function).__name__}; give a function of the state.")
        if not 0 <= self.lags <= 100_000:
            raise ValueError(f"Observable.lags: got {self.lags}; give a number of samples, 0 or more.")

    def flat(self, state: MDState) -> Float[Array, " value"]:
        """All values of one replica in a row."""
        values = jax.tree.map(lambda x: jnp.asarray(x, state.energy.dtype), self.function(state))
        return ravel_pytree(values)[0]


class Sums(eqx.Module):
    """Running sums of an observable's values, (*replica, value); what they say of it is in the methods.

    Attributes:
        first: the first values, which all sums are counted from, so that nothing cancels.
        mean: of each level's blocks, minus the first, (level, *replica, value).
        squares: sum of squared deviations of each level's blocks from their mean.
        count: of samples.
        waiting: the half of each level's next block that has come.
        cross: sum of products of deviations, (*replica, value, value), or None.
        recent: the last values minus the first, newest first, (lag, *replica, value); None without lags.
        early: the first values minus the very first, oldest first.
        products: sums of products at each lag.
    """

    first: Float[Array, "*replica value"]
    mean: Float[Array, "level *replica value"]
    squares: Float[Array, "level *replica value"]
    count: Int[Array, ""]
    waiting: Float[Array, "level *replica value"]
    cross: Array | None
    recent: Array | None
    early: Array | None
    products: Array | None

    @classmethod
    def empty(cls, like: Array, lags: int, covariance: bool) -> Sums:
        """Nothing seen yet; `like` has the shape of the values."""
        zero, levels = jnp.zeros_like(like), jnp.zeros((_LEVELS, *like.shape), like.dtype)
        cross = jnp.zeros((*like.shape, like.shape[-1]), like.dtype) if covariance else None
        shelf = jnp.zeros((lags + 1, *like.shape), like.dtype) if lags else None
        return cls(zero, levels, levels, jnp.zeros((), jnp.int32), levels, cross, shelf, shelf, shelf)

    def added(self, values: Array) -> Sums:
        """With one more sample."""
        first = jnp.where(self.count == 0, values, self.first)
        x, n = values - first, self.count + 1

        def level(carry: Any) -> Any:
            k, block, mean, squares, waiting = carry
            known = (n >> k).astype(x.dtype)
            away = block - mean[k]
            new_mean = mean[k] + away / known
            squares = squares.at[k].add(away * (block - new_mean))
            merged = (waiting[k] + block) / 2
            return k + 1, merged, mean.at[k].set(new_mean), squares, waiting.at[k].set(block)

        # The block of level k is whole each time that 2^k divides the count.
        whole = lambda carry: (carry[0] < _LEVELS) & ((n & ((1 << carry[0]) - 1)) == 0)  # noqa: E731
        start = (jnp.zeros((), n.dtype), x, self.mean, self.squares, self.waiting)
        _, _, mean, squares, waiting = jax.lax.while_loop(whole, level, start)
        cross, recent, early, products = self.cross, self.recent, self.early, self.products
        if cross is not None:
            cross = cross + (x - self.mean[0])[..., :, None] * (x - mean[0])[..., None, :]
        if recent is not None and early is not None and products is not None:
            recent = jnp.concatenate([x[None], recent[:-1]])
            early = early.at[jnp.minimum(self.count, len(early) - 1)].set(x)
            reached = jnp.arange(len(recent), dtype=self.count.dtype) <= self.count
            reached = reached.reshape(-1, *(1,) * x.ndim)
            products = products + jnp.where(reached, x[None] * recent, 0.0)
        return Sums(first, mean, squares, n, waiting, cross, recent, early, products)

    def average(self) -> np.ndarray:
        """Mean."""
        return np.asarray(self.first, np.float64) + np.asarray(self.mean[0], np.float64)

    def variance(self) -> np.ndarray:
        """Of single samples."""
        return np.asarray(self.squares[0], np.float64) / max(int(self.count) - 1, 1)

    def covariance(self) -> np.ndarray | None:
        """Matrix of the values' covariances, (*replica, value, value), if it was asked for."""
        return None if self.cross is None else np.asarray(self.cross, np.float64) / max(int(self.count) - 1, 1)

    def standard_error(self) -> tuple[Any, Any]:
        """Of the mean, and whether blocks long enough to be independent were seen."""
        return _blocked(np.asarray(self.squares, np.float64), int(self.count))

    def correlation(self) -> np.ndarray | None:
        """Autocovariance at lags 0 ... in samples, (lag, *replica, value), each about the means of its two parts."""
        if self.products is None or self.recent is None or self.early is None:
            return None
        n = int(self.count)
        products, recent, early = (np.asarray(part, np.float64) for part in (self.products, self.recent, self.early))
        reach = min(len(products), n)
        total = np.asarray(self.mean[0], np.float64) * n
        zero = np.zeros((1, *total.shape))
        heads = total - np.concatenate([zero, np.cumsum(early, axis=0)])[:reach]
        tails = total - np.concatenate([zero, np.cumsum(recent, axis=0)])[:reach]
        known = (n - np.arange(reach)).reshape(-1, *(1,) * total.ndim)
        return products[:reach] / known - heads * tails / known**2


def _blocked(squares: np.ndarray, count: int) -> tuple[Any, Any]:
    r"""Standard error of the mean from the shortest block B with $B^3 > 2n(\sigma_B/\sigma_1)^4$.

    Wolff, Comput. Phys. Commun. 156, 143 (2004) weighs bias against noise like this; the criterion for blocks is of Lee et
    al., Phys. Rev. E 83, 066706 (2011).
    """
    levels = [k for k in range(len(squares)) if count >> k >= 4]
    if not levels:
        return np.full(squares.shape[1:], np.nan), np.zeros(squares.shape[1:], bool)
    blocks = np.array([count >> k for k in levels], np.float64).reshape(-1, *(1,) * (squares.ndim - 1))
    errors = np.sqrt(squares[: len(levels)] / (blocks * (blocks - 1)))
    ratio = np.divide(errors, errors[:1], out=np.ones_like(errors), where=errors[:1] > 0)
    length = np.array([1 << k for k in levels], np.float64).reshape(blocks.shape)
    enough = length**3 > 2 * count * ratio**4
    last = len(levels) - 1
    chosen = np.where(enough.any(axis=0), np.argmax(enough, axis=0), last)
    # Fewer than sixteen blocks say little of their own spread.
    sure = enough.any(axis=0) & (np.take_along_axis(np.broadcast_to(blocks, errors.shape), chosen[None], 0)[0] >= 16)
    return np.take_along_axis(errors, chosen[None], 0)[0], sure


def mean_error(series: Any) -> tuple[Any, Any, Any]:
    """Mean of a series whose samples depend on each other, its standard error, and the effective number of samples.

    Args:
        series: samples along the last axis.

    Returns:
        Mean, standard error by blocking, and variance over the squared error.

    Raises:
        ValueError: fewer than eight samples.
    """
    x = np.asarray(series, np.float64)
    if x.ndim < 1 or x.shape[-1] < 8:
        raise ValueError(f"series: got shape {x.shape}; give eight samples at least, along the last axis.")
    n, squares = x.shape[-1], []
    while x.shape[-1] >= 4:
        squares.append(((x - x.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1))
        even = x[..., : x.shape[-1] // 2 * 2]
        x = even.reshape(*even.shape[:-1], -1, 2).mean(axis=-1)
    error, _ = _blocked(np.array(squares), n)
    mean = np.asarray(series, np.float64).mean(axis=-1)
    variance = squares[0] / (n - 1)
    effective = np.divide(variance, error**2, out=np.full_like(variance, float(n)), where=error > 0)
    return mean, error, np.minimum(effective, n)
