"""Disorder of motion: distributions of jump rates, and the average of anything over them in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.errors import JaxnmrWarning, is_concrete, warn
from jaxnmr.rotations import Numeric, as_floats
from jaxnmr.spins._nodes import gaussian_nodes, node_count
from jaxnmr.spins._numbers import check_at_least_zero, check_positive, numbers
from jaxnmr.units import BOLTZMANN_IN_EV

__all__ = ["RateDistribution", "barrier_rates", "log_normal_rates"]

Result = TypeVar("Result")


class RateDistribution(eqx.Module):
    r"""Rates and the share of the nuclei that move with each.

    Args:
        rates: k >= 0, s^-1, (node,).
        weights: shares, summing to one, (node,).

    Raises:
        ValueError: shapes that differ, rates or weights that are negative or not finite, weights that do not sum to one.
    """

    rates: Float[Array, " node"]
    weights: Float[Array, " node"]

    def __init__(self, rates: Numeric, weights: Numeric):
        self.rates, self.weights = as_floats(rates, weights)

    def __check_init__(self):
        if self.rates.ndim != 1 or self.rates.shape != self.weights.shape or not len(self.rates):
            raise ValueError(f"weights: shape {self.weights.shape} came for rates {self.rates.shape}; give (node,) twice.")
        for name, value in (("rates", self.rates), ("weights", self.weights)):
            if is_concrete(value):
                known = np.asarray(value)
                if not (np.isfinite(known).all() and (known >= 0).all()):
                    raise ValueError(f"{name}: got {known.tolist()}; give finite numbers >= 0.")
        if is_concrete(self.weights):
            total = float(np.asarray(self.weights, np.float64).sum())
            if abs(total - 1) > 1e-5:
                raise ValueError(f"weights: the sum is {total:.6g}; it must be one (divide by the sum).")

    def mean(self, function: Callable[[Float[Array, ""]], Result]) -> Result:
        r"""The average $\sum_i w_i f(k_i)$, all rates in one `vmap`ped call.

        Each nucleus keeps its rate for the time of the experiment, so spectra add, and not rates.

            rates.mean(lambda k: simulate(..., exchange=ExchangeModel.from_rates({(0, 1): k}, n_sites=2), ...))

        Differentiable where `function` is.

        Args:
            function: from one rate to arrays, or to a tree of them such as a `Spectrum`; traced, so its sizes must not
                depend on the rate.

        Returns:
            The same tree, every leaf averaged.
        """

        def average(leaf: Array) -> Array:
            leaf = jnp.asarray(leaf)
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                leaf = leaf.astype(self.weights.dtype)
            return jnp.tensordot(self.weights.astype(leaf.dtype), leaf, axes=1, precision="highest")

        return jax.tree.map(average, jax.vmap(function)(self.rates))


def log_normal_rates(k: Numeric, decades: Numeric, *, nodes: int = 16) -> RateDistribution:
    r"""Rates whose logarithms are normally distributed.

    $$\log_{10} k_i = \log_{10} k + s\,z_i,\qquad z \sim N(0, 1)$$

    Nodes are even in the logarithm over 4.5 deviations either way. With 16 of them they are 0.56 s decades apart; spectra
    change over about a decade of rates, so up to s = 1 the error is below 1e-3 (`quadrature_error`). Smooth in `k` > 0 and
    `decades`, both modes.

    Args:
        k: median rate > 0, s^-1.
        decades: standard deviation s of log10 k, >= 0. In natural logarithms it is ln 10 times larger; the full width of
            the distribution at half maximum is 2.355 s decades.
        nodes: number of rates.

    Returns:
        Rates, rising, and weights.

    Raises:
        ValueError: a rate that is not finite and > 0, decades not finite and >= 0, values that are no single numbers, no
            nodes.
    """
    count = node_count("nodes", nodes, 1)
    check_positive("k", k, "a median rate in s^-1, such as 1e4")
    check_at_least_zero("decades", decades, "the standard deviation of log10 k, such as 0.5")
    median, width = numbers(k=k, decades=decades)
    offset, weights = gaussian_nodes(count)
    log = jnp.log(median) + np.log(10).item() * width * jnp.asarray(offset, median.dtype)
    return RateDistribution(jnp.exp(log), jnp.asarray(weights, median.dtype))


def barrier_rates(
    barrier: Numeric, deviation: Numeric, temperature: Numeric, prefactor: Numeric, *, nodes: int = 16
) -> RateDistribution:
    r"""Rates over barriers that are normally distributed.

    $$k_i = A\,e^{-E_i/k_BT},\qquad E_i = E + s\,z_i,\qquad z \sim N(0, 1)$$

    The rates are log-normal, $s/(k_BT \ln 10)$ decades wide: the distribution narrows as the sample warms, and one set of
    parameters describes every temperature. Nodes as in `log_normal_rates`. Smooth in every argument, both modes.

    Args:
        barrier: mean E > 0, eV (1 kJ/mol is 0.010364 eV).
        deviation: standard deviation s >= 0, eV.
        temperature: T > 0, K.
        prefactor: A > 0, s^-1.
        nodes: number of rates.

    Returns:
        Rates, falling (the lowest barrier first), and weights.

    Raises:
        ValueError: a barrier, temperature or prefactor that is not finite and > 0, a deviation not finite and >= 0, values
            that are no single numbers, no nodes.

    Warns:
        JaxnmrWarning: barriers of more than 1e-3 of the nuclei are negative.
    """
    count = node_count("nodes", nodes, 1)
    check_positive("barrier", barrier, "the mean barrier in eV, such as 0.3")
    check_at_least_zero("deviation", deviation, "the barriers' standard deviation in eV, such as 0.02")
    check_positive("temperature", temperature, "in K, such as 300")
    check_positive("prefactor", prefactor, "in s^-1, such as 1e12")
    offset, weights = gaussian_nodes(count)
    if is_concrete(barrier, deviation):
        lost = float(weights[np.asarray(barrier) + np.asarray(deviation) * offset < 0].sum())
        if lost > 1e-3:
            warn(
                f"deviation: {100 * lost:.2g} % of the barriers are negative, their rates above the prefactor; use a "
                "smaller deviation, or `log_normal_rates`.",
                JaxnmrWarning,
            )
    energy, width, kelvin, factor = numbers(
        barrier=barrier, deviation=deviation, temperature=temperature, prefactor=prefactor
    )
    barriers = energy + width * jnp.asarray(offset, energy.dtype)
    log = jnp.log(factor) - barriers / (BOLTZMANN_IN_EV * kelvin)
    return RateDistribution(jnp.exp(log), jnp.asarray(weights, energy.dtype))
