"""What is known of the experiment behind a spectrum or a decay: checks that both share."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.errors import is_concrete
from jaxnmr.isotopes import isotope as look_up

__all__ = ["check_label", "checked_scalar", "isotope_name"]

# Lowest and highest allowed value, the lowest excluded, and advice.
_RANGES = {
    "field": (0.0, np.inf, "the static field in tesla, > 0"),
    "dt": (0.0, np.inf, "the time between points in s, > 0"),
    "larmor_frequency": (0.0, np.inf, "the reference's absolute frequency in Hz, > 0"),
}


def checked_scalar(name: str, value: ArrayLike | None) -> Any:
    """One number as an array, or None; refused if it is out of range."""
    if value is None:
        return None
    if is_concrete(value):
        known = np.asarray(value)
        if known.ndim:
            raise ValueError(f"{name}: got shape {known.shape}; give one number (vmap over more).")
        if name == "rate":
            # inf is the limit without sidebands.
            if not known >= 0:
                raise ValueError(f"rate: got {known:g}; give the rotor frequency in Hz, 0 for a rotor at rest.")
        elif name in _RANGES:
            low, high, advice = _RANGES[name]
            if not low < known < high:
                raise ValueError(f"{name}: got {known:g}; give {advice}.")
        elif not np.isfinite(known):
            raise ValueError(f"{name}: got {known:g}; give a finite number.")
    return jnp.asarray(value, jnp.result_type(float))


def isotope_name(name: str | None) -> str | None:
    """The table's spelling, "17O" for "O-17"."""
    return None if name is None else look_up(name).name


def check_label(label: str) -> None:
    """A label is one line, because it is a comment in files."""
    if not isinstance(label, str) or len(label.splitlines()) > 1 or label != label.strip():
        raise ValueError(f"label: got {label!r}; give one line of text without blanks at its ends.")
