"""How programs are compiled: little ones in little time, and matrix products in the precision of their numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

__all__ = ["QUICK", "exact_products", "known", "quick_jit"]

# On a CPU these save most of the compilation and make a run three times as long.
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}

Function = TypeVar("Function", bound=Callable[..., Any])


def exact_products(function: Function) -> Function:
    """A function whose matrix products keep the precision of their numbers, and so do those of its derivatives.

    A GPU multiplies matrices of single precision in TF32 unless told otherwise, with ten bits.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return call  # type: ignore[return-value]


@functools.cache
def known() -> bool:
    """Whether this machine's XLA takes the options of `QUICK`: they come and go."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: x).lower(0.0).compile(compiler_options=QUICK)
    except (RuntimeError, ValueError):
        return False
    return True


def quick_jit(function: Function) -> Function:
    """`jax.jit` for what runs in no time: compiled with less care, where this XLA knows the options."""
    quick, plain = jax.jit(function, compiler_options=QUICK), jax.jit(function)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return (quick if known() else plain)(*args)

    return call  # type: ignore[return-value]
