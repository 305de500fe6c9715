"""Models given in Python: a change of any number that they compute with is seen, and nothing else is one."""

import ctypes
import functools
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jaxtyping import jaxtyped

import jaxnmr as jn
from jaxnmr.dynamics import Surface
from jaxnmr.errors import JaxnmrWarning
from jaxnmr.workflow import Step
from jaxnmr.workflow._likeness import likeness_of

from . import toy

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")


def closed(scale):
    """Over a number."""
    return lambda r: scale * toy.energy(r)


def scaled(scale, r):
    """For `partial`."""
    return scale * toy.energy(r)


def defaulted(scale):
    """Of a keyword."""

    def found(r, *, factor=scale):
        return factor * toy.energy(r)

    return found


def reached(scale):
    """By a function in a function of another."""

    def outer(r):
        def inner(x):
            return base(x)

        return inner(r)

    base = closed(scale)
    return outer


def checked(scale):
    """By a decorator of an installed package, whose own parts nobody need know."""

    @jaxtyped(typechecker=beartype)
    def found(r: jax.Array):
        return scale * toy.energy(r)

    return found


def constant(scale):
    """In the code of a nested function."""
    names = {}
    exec(f"def found(r):\n    def inner(x):\n        return {scale} * x\n    return inner(r.sum())\n", names)
    return names["found"]


class Module(eqx.Module):
    """A static field."""

    scale: float = eqx.field(static=True)

    def __call__(self, r):
        """eV."""
        return self.scale * toy.energy(r)


class Plain:
    """An attribute."""

    def __init__(self, scale):
        self.scale = scale

    def energy(self, r):
        """eV."""
        return self.scale * toy.energy(r)


MODELS = {
    "closure": closed,
    "array": lambda s: closed(jnp.asarray(s)),
    "list": lambda s: closed([{"a": s}]),
    "partial": lambda s: functools.partial(scaled, s),
    "keyword of a partial": lambda s: functools.partial(scaled, scale=s),
    "pytree": lambda s: jax.tree_util.Partial(scaled, s),
    "default": defaulted,
    "another function": reached,
    "constant": constant,
    "decorated": checked,
    "jit": lambda s: jax.jit(closed(s)),
    "jit of vmap": lambda s: jax.jit(jax.vmap(closed(s))),
    "equinox' jit": lambda s: eqx.filter_jit(closed(s)),
    "checkpoint": lambda s: jax.checkpoint(closed(s)),
    "static field": Module,
    "method": lambda s: Plain(s).energy,
    "attribute": Plain,
    "surface": lambda s: Surface(closed(s), species=("C", "H")),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_changed_number_is_seen(name):
    """And the same number is the same, of another object too."""
    make = MODELS[name]
    (one, blind), (same, _), (other, _) = likeness_of(make(1.0)), likeness_of(make(1.0)), likeness_of(make(1.1))
    assert one == same != other and blind == ()


def test_a_changed_global_is_seen(monkeypatch):
    """Of the function's own module, and of another one that it takes from."""
    mine = lambda r: SCALE * toy.along(r) * toy.ACROSS  # noqa: E731
    digests = [likeness_of(mine)[0]]
    for owner, name in ((sys.modules[__name__], "SCALE"), (toy, "ACROSS"), (toy, "C")):
        monkeypatch.setattr(owner, name, 7.0)
        digests.append(likeness_of(mine)[0])
    assert len(set(digests)) == 4


SCALE = 1.0


def test_use_changes_nothing():
    """A program that was compiled meanwhile is the same; so is a method's cache."""
    for jitted in (jax.jit(closed(2.0)), eqx.filter_jit(closed(2.0))):
        before = likeness_of(jitted)
        jitted(jnp.asarray(toy.atoms(0.1).positions))
        assert likeness_of(jitted) == before


def test_another_process_finds_the_same():
    """With other places in memory and another order of hashes."""
    code = (
        "from tests.workflow.test_likeness import MODELS\n"
        "from jaxnmr.workflow._likeness import likeness_of\n"
        "print(*(likeness_of(make(1.0))[0] for name, make in MODELS.items()))"
    )
    found = set()
    for seed in ("1", "2"):
        how = {"cwd": Path(__file__).parents[2], "env": os.environ | {"PYTHONHASHSEED": seed}}
        found.add(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **how).stdout)
    assert len(found) == 1 and len(found.pop().split()) == len(MODELS)


def test_a_compiled_function_is_told_of(tmp_path):
    """Nobody sees into C: a warning and a remark name it, with what to do; NumPy's and Python's own are known."""
    foreign = ctypes.CDLL(None).cos
    assert likeness_of(lambda r: foreign)[1] and not likeness_of(closed((jnp.sin, np.sin, math.sin)))[1]

    def energy(r):
        assert foreign is not None
        return toy.energy(r)

    surface = Surface(energy, species=("C", "H"), fixed=(True, False))
    asked = toy.config(tmp_path, motion__ends=[])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", JaxnmrWarning)
        found = jn.run(asked, potential=surface, tensors=toy.Tensors(), until="relax")
    (said,) = [str(each.message) for each in heard if "cannot be looked into" in str(each.message)]
    assert said.startswith("potential: ") and "output.folder" in said and "force=True" in said
    assert said in found.remarks


@pytest.mark.parametrize("name", ["closure", "partial", "jit"])
def test_a_run_is_made_again_for_another_number(tmp_path, name):
    """And kept for the same."""
    states = []
    for scale in (1.0, 1.1, 1.1):
        told: list[Step] = []
        surface = Surface(MODELS[name](scale), species=("C", "H"), fixed=(True, False))
        jn.run(toy.config(tmp_path), potential=surface, tensors=toy.Tensors(), until="relax", progress=told.append)
        states.append(told[-1].state)
    assert states == ["done", "done", "kept"]
