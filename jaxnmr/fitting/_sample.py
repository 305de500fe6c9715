"""Posterior samples by Hamiltonian Monte Carlo (NUTS)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.errors import missing_extra, near
from jaxnmr.fitting._result import FitResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Samples", "sample"]


class Samples(eqx.Module):
    """Draws from the posterior.

    Attributes:
        names: of the columns.
        values: (chain, draw, P), the user's numbers.
        divergences: draws at which the integrator failed; more than a few per cent call for another parametrisation.
        r_hat: (P,), between-chain over within-chain spread (split chains), 1 when converged.
        effective: (P,), effective number of independent draws.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    values: np.ndarray
    divergences: int
    r_hat: np.ndarray
    effective: np.ndarray

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Central credible interval.

        Args:
            name: which.
            level: its probability.

        Raises:
            ValueError: unknown name, a level outside 0..1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level: got {level}; give a probability between 0 and 1, such as 0.95.")
        if name not in self.names:
            raise ValueError(f"name: no parameter {name!r}{near(name, self.names)}; there are {', '.join(self.names)}.")
        column = self.values[:, :, self.names.index(name)].ravel()
        low, high = np.quantile(column, [0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)

    def plot(
        self,
        names: Sequence[str] | None = None,
        figure: Figure | None = None,
        *,
        marks: Mapping[str, float] | None = None,
    ) -> Figure:
        """Draw each parameter's histogram and each pair's draws; those over several decades by their logarithm.

        Args:
            names: which, in this order; by default the first eight.
            figure: a matplotlib Figure or SubFigure; a new one by default.
            marks: values to mark by lines, by name: those of the fit, or a known truth.

        Returns:
            The figure.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: unknown name.
        """
        from jaxnmr.fitting._plot import plot_samples

        return plot_samples(self, names, figure, marks)


def sample(result: FitResult, *, draws: int = 1000, warmup: int = 300, chains: int = 2, seed: int = 0) -> Samples:
    r"""Draw from the posterior of the parameters, with the No-U-Turn sampler of blackjax.

    Likelihood and priors are those of the fit, the noise that of the result; before the data each variable of the search is
    equally likely everywhere within its constraint, that is θ for linear ones and ln θ for positive ones and rates. Scales
    and baselines are at their best for each θ. The covariance of the fit is taken out first, so no mass is adapted.

    Args:
        result: of `fit`.
        draws: kept for each chain.
        warmup: before them, in which the step is adapted.
        chains: independent chains, started around the optimum.
        seed: of the random numbers.

    Raises:
        ImportError: blackjax is missing.
        ValueError: a fit without optimum, fewer than 4 draws, no warm-up, no chain.

    References:
        Hoffman and Gelman, J. Mach. Learn. Res. 15, 1593 (2014).
    """
    # blackjax rather than numpyro: it takes a log-density as it is, and brings only optax along.
    try:
        import blackjax.mcmc.nuts as nuts
        from blackjax.adaptation.step_size import dual_averaging_adaptation
    except ImportError:
        raise missing_extra("blackjax", "bayes") from None

    if not result.status.ok:
        raise ValueError(f"result: {result.status}")
    if draws < 4 or warmup < 1 or chains < 1:
        raise ValueError(f"draws, warmup, chains: got {draws}, {warmup}, {chains}; give at least 4, 1 and 1.")
    step: Any = nuts.build_kernel()
    adapt_init, adapt, _ = dual_averaging_adaptation(0.8)
    y = np.asarray(result.inner, np.float64)
    root = jnp.asarray(_root(result, y), result.inner.dtype)
    centre = jnp.asarray(_opened(result, y), result.inner.dtype)

    @eqx.filter_jit
    def run(problem: Any, key: Any) -> Any:
        def density(z: Any) -> Any:
            y, volume = _closed(problem.space, centre + root @ z)
            residual = problem(y)[0]
            value = volume - 0.5 * residual @ residual / result.variance
            return jnp.where(jnp.isfinite(value), value, -jnp.inf)

        def chain(key: Any) -> Any:
            first, key = jax.random.split(key)
            state = nuts.init(0.5 * jax.random.normal(first, centre.shape, centre.dtype), density)
            eye = jnp.ones_like(centre)

            def one(carry: Any, row: Any) -> Any:
                state, adaptation = carry
                index, key = row
                size = jnp.where(index < warmup, adaptation.log_step_size, adaptation.log_step_size_avg)
                state, info = step(key, state, density, jnp.exp(size).astype(centre.dtype), eye)
                new = adapt(adaptation, info.acceptance_rate)
                adaptation = jax.tree.map(lambda a, b: jnp.where(index < warmup, a, b), new, adaptation)
                position: Any = state.position
                y, _ = _closed(problem.space, centre + root @ position)
                return (state, adaptation), (problem.space.values(y), info.is_divergent)

            total = warmup + draws
            rows = jnp.arange(total), jax.random.split(key, total)
            _, (values, divergent) = jax.lax.scan(one, (state, adapt_init(0.5)), rows)
            return values[warmup:], divergent[warmup:]

        return jax.lax.map(chain, jax.random.split(key, chains))

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # blackjax mixes them
        values, divergent = run(result.problem, jax.random.key(seed))
    values = np.asarray(values, np.float64)
    r_hat, effective = _diagnosed(values)
    return Samples(result.names, values, int(np.asarray(divergent).sum()), r_hat, effective)


def _opened(result: FitResult, y: np.ndarray) -> np.ndarray:
    """Variables without ends: a logit between two, a logarithm from one."""
    low, high = (np.asarray(x, np.float64) for x in (result.problem.space.lower, result.problem.space.upper))
    out = y.copy()
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        if math.isfinite(a) and math.isfinite(b):
            part = np.clip((y[i] - a) / (b - a), 1e-3, 1 - 1e-3)  # not at an end, where nothing moves
            out[i] = math.log(part / (1 - part))
        elif math.isfinite(a):
            out[i] = math.log(max(y[i] - a, 1e-3))
        elif math.isfinite(b):
            out[i] = -math.log(max(b - y[i], 1e-3))
    return out


def _closed(space: Any, v: Any) -> tuple[Any, Any]:
    """The inner variables, and the logarithm of the volume that they bring along."""
    low, high = space.lower, space.upper
    has_low, has_high = jnp.isfinite(low), jnp.isfinite(high)
    a, b = jnp.where(has_low, low, 0.0), jnp.where(has_high, high, 1.0)
    both, only_low, only_high = has_low & has_high, has_low & ~has_high, ~has_low & has_high
    width = jnp.where(both, b - a, 1.0)
    y = jnp.where(both, a + width * jax.nn.sigmoid(v), v)
    y = jnp.where(only_low, a + jnp.exp(jnp.where(only_low, v, 0.0)), y)
    y = jnp.where(only_high, b - jnp.exp(jnp.where(only_high, -v, 0.0)), y)
    volume = jnp.where(both, jax.nn.log_sigmoid(v) + jax.nn.log_sigmoid(-v), 0.0)
    volume = volume + jnp.where(only_low, v, 0.0) + jnp.where(only_high, -v, 0.0)
    return y, jnp.sum(volume)


def _root(result: FitResult, y: np.ndarray) -> np.ndarray:
    """A root of the covariance in the opened variables, of moderate size where the data say nothing."""
    v = jnp.asarray(_opened(result, y), result.inner.dtype)
    slope = np.diag(np.asarray(jax.jacfwd(lambda v: _closed(result.problem.space, v)[0])(v), np.float64))
    covariance = np.asarray(result.inner_covariance, np.float64) * result.variance / np.outer(slope, slope)
    sigma = np.sqrt(np.diag(covariance))
    # An error beyond 2 in these variables is the linear model's, not the posterior's.
    loose = np.asarray(result.blind) | ~(sigma < 2) | ~(sigma > 0)
    covariance[loose, :] = covariance[:, loose] = 0.0
    covariance[loose, loose] = 1.0
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 1e-14 * values.max()))


def _diagnosed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split R-hat and effective draws (Geyer's initial positive sequence) of each column."""
    half = values.shape[1] // 2
    split = np.concatenate([values[:, :half], values[:, half : 2 * half]])
    chains, n, _ = split.shape
    within = split.var(axis=1, ddof=1).mean(axis=0)
    between = n * split.mean(axis=1).var(axis=0, ddof=1)
    safe = np.where(within > 0, within, 1.0)
    total = (n - 1) / n * within + between / n
    r_hat = np.where(within > 0, np.sqrt(total / safe), np.inf)
    centred = split - split.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
    autocovariance = np.fft.irfft(power, axis=1)[:, :n].mean(axis=0) / n
    correlation = 1 - (within - autocovariance) / np.where(total > 0, total, 1.0)
    pairs = correlation[: n // 2 * 2].reshape(n // 2, 2, -1).sum(axis=1)
    positive = np.cumprod(pairs > 0, axis=0)
    time = np.maximum(2 * (pairs * positive).sum(axis=0) - 1, 1 / math.log10(max(chains * n, 10)))
    return r_hat, chains * n / time
