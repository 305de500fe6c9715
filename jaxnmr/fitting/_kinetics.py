"""Rates and populations over temperature, for models of a series."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from jaxnmr.units import BOLTZMANN, BOLTZMANN_IN_EV, GAS_CONSTANT, PLANCK

__all__ = ["arrhenius", "boltzmann", "eyring"]


def arrhenius(temperature: ArrayLike, log_a: ArrayLike, e_a_ev: ArrayLike) -> Array:
    r"""Rate of a thermally activated jump, $k = A\,e^{-E_a/k_B T}$.

    Fitted over a narrow range of temperatures, $E_a$ and $\lg A$ are strongly correlated; the search is not hurt by
    it, and the covariance says so.

    Args:
        temperature: K.
        log_a: decimal logarithm of A in 1/s.
        e_a_ev: activation energy, eV.

    Returns:
        k, 1/s.
    """
    dtype = jnp.result_type(float)
    t, log_a, e_a = (jnp.asarray(x, dtype) for x in (temperature, log_a, e_a_ev))
    return jnp.exp(math.log(10.0) * log_a - e_a / (BOLTZMANN_IN_EV * t))


def eyring(temperature: ArrayLike, dh_kj_mol: ArrayLike, ds_j_mol_k: ArrayLike) -> Array:
    r"""Rate of transition-state theory, $k = \frac{k_B T}{h}\,e^{\Delta S^\ddagger/R - \Delta H^\ddagger/RT}$.

    Args:
        temperature: K.
        dh_kj_mol: activation enthalpy, kJ/mol.
        ds_j_mol_k: activation entropy, J/(mol K).

    Returns:
        k, 1/s.

    References:
        Eyring, J. Chem. Phys. 3, 107 (1935).
    """
    dtype = jnp.result_type(float)
    t, dh, ds = (jnp.asarray(x, dtype) for x in (temperature, dh_kj_mol, ds_j_mol_k))
    # Inside one exponential, so that neither factor overflows in single precision.
    return jnp.exp(math.log(BOLTZMANN / PLANCK) + jnp.log(t) + ds / GAS_CONSTANT - 1e3 * dh / (GAS_CONSTANT * t))


def boltzmann(temperature: ArrayLike, de_kj_mol: ArrayLike, ds_j_mol_k: ArrayLike = 0.0) -> Array:
    r"""Populations of states, $p_i \propto e^{\Delta S_i/R - \Delta E_i/RT}$, the first state being the reference.

    Args:
        temperature: K, one number.
        de_kj_mol: (state - 1,) or one number: energies above the first state, kJ/mol.
        ds_j_mol_k: entropies above the first state, J/(mol K), likewise.

    Returns:
        (state,), summing to one.
    """
    dtype = jnp.result_type(float)
    t, de, ds = (jnp.asarray(x, dtype) for x in (temperature, de_kj_mol, ds_j_mol_k))
    exponent = jnp.atleast_1d(ds / GAS_CONSTANT - 1e3 * de / (GAS_CONSTANT * t))
    return jax.nn.softmax(jnp.concatenate([jnp.zeros((1,), dtype), exponent]))
