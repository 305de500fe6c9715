"""Arrhenius' law, and its fit to rates at several temperatures."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxnmr.exchange._partition import check_temperature
from jaxnmr.units import BOLTZMANN_IN_EV

__all__ = ["ArrheniusFit", "arrhenius", "arrhenius_fit"]


def arrhenius(
    prefactor: ArrayLike, activation_energy: ArrayLike, temperature: ArrayLike, *, boltzmann: float = BOLTZMANN_IN_EV
) -> Float[Array, ...]:
    r"""$k = A\,e^{-E_a/kT}$; arguments broadcast.

    Args:
        prefactor: A, s⁻¹.
        activation_energy: E_a, eV.
        temperature: K.
        boltzmann: k_B, eV/K.

    Returns:
        s⁻¹.

    Raises:
        ValueError: a temperature that is not positive.
    """
    check_temperature(temperature)
    return jnp.asarray(prefactor) * jnp.exp(-jnp.asarray(activation_energy) / (boltzmann * jnp.asarray(temperature)))


class ArrheniusFit(eqx.Module):
    """Arrhenius' law through some rates.

    Attributes:
        prefactor: A, s⁻¹.
        activation_energy: E_a, eV.
        prefactor_stderr: of ln A, so a relative error.
        energy_stderr: eV.
        covariance: of (ln A, E_a).
        residuals: ln k minus the fit's.
        boltzmann: k_B that it was made with, eV/K.
    """

    prefactor: Float[Array, ""]
    activation_energy: Float[Array, ""]
    covariance: Float[Array, "2 2"]
    residuals: Float[Array, " rate"]
    boltzmann: float = eqx.field(static=True, default=BOLTZMANN_IN_EV)

    @property
    def prefactor_stderr(self) -> Float[Array, ""]:
        """Of ln A."""
        return jnp.sqrt(self.covariance[0, 0])

    @property
    def energy_stderr(self) -> Float[Array, ""]:
        """Of E_a, eV."""
        return jnp.sqrt(self.covariance[1, 1])

    def __call__(self, temperature: ArrayLike) -> Float[Array, ...]:
        """The fitted rate, s⁻¹."""
        return arrhenius(self.prefactor, self.activation_energy, temperature, boltzmann=self.boltzmann)


def arrhenius_fit(temperature: Any, rate: Any, stderr: Any = None, *, boltzmann: float = BOLTZMANN_IN_EV) -> ArrheniusFit:
    """Straight line through ln k against 1/T, by weighted least squares.

    Args:
        temperature: K, (rate,), at least two different ones.
        rate: s⁻¹, > 0.
        stderr: standard errors of the rates, s⁻¹; without them the scatter about the line says what they are, for which
            three temperatures are needed.
        boltzmann: k_B, eV/K; 1 for a surface without units, whose temperatures are energies.

    Raises:
        ValueError: shapes that do not fit, too few temperatures, rates or errors that are not positive.
    """
    t, k = np.asarray(temperature, np.float64), np.asarray(rate, np.float64)
    check_temperature(t)
    if t.ndim != 1 or t.shape != k.shape:
        raise ValueError(f"temperature, rate: got shapes {t.shape} and {k.shape}; give one rate for each temperature.")
    if not (np.isfinite(k).all() and (k > 0).all()):
        raise ValueError("rate: must be finite and > 0; leave out temperatures at which no jump was seen.")
    needed = 2 if stderr is not None else 3
    if len(np.unique(t)) < needed:
        raise ValueError(
            f"temperature: {len(np.unique(t))} different ones came; give at least {needed}, or stderr with two."
        )
    sigma = np.ones_like(k) if stderr is None else np.asarray(stderr, np.float64) / k
    if sigma.shape != k.shape or not (sigma > 0).all():
        raise ValueError("stderr: give one error > 0 for each rate, in 1/s.")
    # About the mean of 1/T: the two columns are nearly parallel otherwise.
    beta = 1 / (boltzmann * t)
    weight = 1 / sigma**2
    centre = (weight * beta).sum() / weight.sum()
    spread = (weight * (beta - centre) ** 2).sum()
    slope = (weight * (beta - centre) * np.log(k)).sum() / spread
    level = (weight * np.log(k)).sum() / weight.sum()
    residuals = np.log(k) - level - slope * (beta - centre)
    scale = 1.0 if stderr is not None else (residuals**2).sum() / (len(k) - 2)
    slope_variance, level_variance = scale / spread, scale / weight.sum()
    # ln A = level - slope centre; E_a = -slope.
    covariance = np.array(
        [
            [level_variance + centre**2 * slope_variance, centre * slope_variance],
            [centre * slope_variance, slope_variance],
        ]
    )
    prefactor = np.exp(level - slope * centre)
    return ArrheniusFit(*(jnp.asarray(value) for value in (prefactor, -slope, covariance, residuals)), boltzmann=boltzmann)
