"""What the package says when something is wrong, and when it may look at values at all.

JAX is imported inside the functions that need it, so that the command line starts without it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import Any

__all__ = [
    "AxisWarning",
    "JaxnmrWarning",
    "PerturbationWarning",
    "PrecisionWarning",
    "ResolutionWarning",
    "is_concrete",
    "kept",
    "missing_extra",
    "near",
    "warn",
]

_PACKAGE = __name__.partition(".")[0]
# Their frames stand between the package's public functions and the user's line.
_WRAPPERS = frozenset({"beartype", "contextlib", "equinox", "functools", "jax", "jaxtyping"})


class JaxnmrWarning(UserWarning):
    """The result stands, but not for what was perhaps meant; all warnings of the package derive from it."""


class PerturbationWarning(JaxnmrWarning):
    """An interaction is too strong, beside the Larmor frequency, for second-order perturbation theory."""


class PrecisionWarning(JaxnmrWarning):
    """The numbers span more than the working precision holds."""


class ResolutionWarning(JaxnmrWarning):
    """Too few crystallites, rotor phases or axis points for the line widths asked for."""


class AxisWarning(JaxnmrWarning):
    """The axis misses the line."""


def warn(message: str, category: type[JaxnmrWarning] = JaxnmrWarning) -> None:
    """Warn at the line of the caller's code that entered the package, however deep inside we are.

    Args:
        message: what is doubtful, with values, and what would do.
        category: the class of the warning, for filters.
    """
    frame, level, target, passed = sys._getframe(1), 2, 2, False
    while frame is not None:
        name = frame.f_globals.get("__name__", "").partition(".")[0]
        if name == _PACKAGE:
            target, passed = level + 1, True
        elif passed and name in _WRAPPERS:
            target = level + 1
        else:
            passed = False
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=target)


def is_concrete(*values: object) -> bool:
    """Whether values may be looked at: no leaf of any argument is being traced by jit, vmap or grad.

    Look at them through NumPy (`np.asarray`): inside `jit` even operations on constants are traced.

    Args:
        *values: pytrees; leaves that are not arrays count as concrete.

    Returns:
        True if every leaf has a value now.
    """
    if "jax" not in sys.modules:
        return True
    from jax import tree_util
    from jax.core import Tracer

    return not any(isinstance(leaf, Tracer) for leaf in tree_util.tree_leaves(values))


def kept(value: Any, dtype: Any) -> Any:
    """A value as an array that stays known: NumPy where it is concrete (`jnp.asarray` would trace it inside jit)."""
    import jax.numpy as jnp
    import numpy as np

    return np.asarray(value, dtype) if is_concrete(value) else jnp.asarray(value, dtype)


def near(name: str, options: Iterable[str]) -> str:
    """Advice on a misspelt name, to be put after it in a message.

    Args:
        name: what came.
        options: what is known.

    Returns:
        " (did you mean 'a' or 'b'?)", or nothing where no option is near.
    """
    from difflib import get_close_matches

    known = {option.lower(): option for option in options}
    matches = [known[match] for match in get_close_matches(str(name).lower(), known, n=3)]
    return f" (did you mean {' or '.join(map(repr, matches))}?)" if matches else ""


def missing_extra(package: str, extra: str) -> ImportError:
    """The error to raise where an optional dependency is not installed.

    Args:
        package: what could not be imported.
        extra: the extra of this package that brings it.

    Returns:
        ImportError "needs ase: pip install 'jaxnmr[atoms]'", with `name` set.
    """
    return ImportError(f"needs {package}: pip install 'jaxnmr[{extra}]'", name=package)
