"""Warnings point at the user's line, tracers are recognised, advice is given."""

import subprocess
import sys
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr import errors


def test_concrete():
    """Numbers, arrays and trees of them are; anything under jit, vmap or grad is not."""
    assert errors.is_concrete(1.0, np.zeros(3), jnp.zeros(3), {"a": [jnp.ones(2), None, "x"]})
    seen = []
    for transform in (jax.jit, jax.vmap, lambda f: jax.grad(lambda x: f(x).sum())):

        def look(x):
            seen.append(errors.is_concrete({"a": [1.0, x]}))
            return 2 * x

        transform(look)(jnp.zeros(3))
    assert seen == [False, False, False]


def test_near():
    assert errors.near("centrl", ("central", "all")) == " (did you mean 'central'?)"
    assert errors.near("CENTRAL", ("central", "all")) == " (did you mean 'central'?)"
    assert errors.near("zzz", ("central", "all")) == ""


def test_missing_extra():
    error = errors.missing_extra("ase", "atoms")
    assert isinstance(error, ImportError)
    assert str(error) == "needs ase: pip install 'jaxnmr[atoms]'"
    assert error.name == "ase"


@pytest.mark.parametrize("kind", [errors.PerturbationWarning, errors.ResolutionWarning, errors.AxisWarning])
def test_warnings_point_at_the_caller(kind):
    """From however deep, past wrappers: the file of the warning is this one."""
    scope = {"__name__": "jaxnmr.inner", "warn": errors.warn, "eqx": eqx, "kind": kind}
    lines = ["def deep(x):", "    warn('doubtful', kind)", "    return x"]
    source = "\n".join([*lines, "@eqx.filter_jit", "def public(x):", "    return deep(x)"])
    exec(compile(source, "inner.py", "exec"), scope)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scope["public"](jnp.zeros(2))
    assert [w.category for w in caught] == [kind]
    assert issubclass(kind, errors.JaxnmrWarning)
    assert caught[0].filename == __file__


def test_needs_no_jax():
    """The command line may use this module before jax is loaded."""
    code = "import sys, jaxnmr.errors as e; assert e.is_concrete(1.0); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
