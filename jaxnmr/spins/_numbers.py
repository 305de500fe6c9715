"""Arguments that are single numbers, or one per site: brought to arrays, refused where known and out of range.

What the user gave is checked, not the array made of it: inside `jit` a constant is known only until JAX has touched it.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.errors import is_concrete
from jaxnmr.rotations import Numeric, as_floats
from jaxnmr.spins._sites import Sites

__all__ = ["check_at_least_zero", "check_positive", "numbers", "per_site"]


def numbers(**named: Numeric) -> tuple[Array, ...]:
    """Single finite numbers of one floating type; the keys are the names for messages."""
    for name, value in named.items():
        if np.ndim(value):
            raise ValueError(f"{name}: got shape {np.shape(value)}; give one number, and vmap over several.")
        _finite(name, value)
    return as_floats(*named.values())


def per_site(name: str, value: Numeric, sites: Sites) -> Float[Array, " site"]:
    """One finite number for each site."""
    _finite(name, value)
    out = jnp.asarray(value, sites.shift.dtype)
    if out.shape not in ((), (len(sites),)):
        raise ValueError(f"{name}: got shape {out.shape}; give one number, or one per site, ({len(sites)},).")
    return jnp.broadcast_to(out, (len(sites),))


def check_positive(name: str, value: Numeric, advice: str) -> None:
    """Refuse known values that are not > 0."""
    if is_concrete(value) and not (np.asarray(value) > 0).all():
        raise ValueError(f"{name}: got {np.asarray(value).tolist()}; give a value > 0, {advice}.")


def check_at_least_zero(name: str, value: Numeric, advice: str) -> None:
    """Refuse known values that are not >= 0."""
    if is_concrete(value) and not (np.asarray(value) >= 0).all():
        raise ValueError(f"{name}: got {np.asarray(value).tolist()}; give a value >= 0, {advice}.")


def _finite(name: str, value: Numeric) -> None:
    if is_concrete(value) and not np.isfinite(np.asarray(value, np.float64)).all():
        raise ValueError(f"{name}: got {np.asarray(value).tolist()}; give finite numbers.")
