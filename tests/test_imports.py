"""What gets loaded when, and that the package's front desk names what it has."""

import ast
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jaxnmr

ROOT = Path(__file__).parents[1]
HEAVY = ("flax", "e3nn_jax", "jax_md", "ase", "astropy")

SPECTRUM = """
import sys
import jax.numpy as jnp
import jaxnmr as jn

sites = jn.Sites(
    "17O",
    shift=jn.shift_tensor(jnp.array([110.0, 160.0]), -80.0, 0.3),
    quadrupole=jn.quadrupole_tensor(jnp.array([3e6, 2e6]), 0.3),
)
axis = jn.Axis(ppm=(300.0, -100.0), points=64)
hops = jn.ExchangeModel.from_rates({(0, 1): 1e4})
for experiment in (jn.Static(14.1), jn.MAS(14.1, 20e3)):
    sizes = jn.Resolution(32, 16)
    jn.simulate(sites, experiment, axis, exchange=hops, linewidth=2000.0, resolution=sizes).intensity
print(sorted({name.split(".")[0] for name in sys.modules}))
"""


def python(*arguments):
    """Runs Python as a user would, without the tests' settings; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_spectrum_loads_none_of_the_heavy_packages():
    """Literature values to a static and a MAS spectrum: no atoms, no networks, no file formats."""
    loaded = ast.literal_eval(python("-W", "ignore", "-c", SPECTRUM).splitlines()[-1])
    assert "jax" in loaded  # the list is real
    assert not set(HEAVY) & set(loaded)


def test_importing_the_package_loads_no_jax():
    """`import jaxnmr` is a table of names; rooms load when a name is used."""
    loaded = python("-c", "import sys, jaxnmr; dir(jaxnmr); jaxnmr.__version__; print('jax' in sys.modules)")
    assert loaded.strip() == "False"


def test_help_loads_no_jax():
    """`jaxnmr --help` prints before anything heavy is imported."""
    code = (
        "import sys\nsys.argv = ['jaxnmr', '--help']\nfrom jaxnmr.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('loaded', [n for n in {('jax', 'numpy', 'matplotlib', *HEAVY)!r} if n in sys.modules])"
    )
    shown = python("-c", code)
    assert "demo" in shown
    assert shown.splitlines()[-1] == "loaded []"


def test_help_answers_in_half_a_second():
    """The best of several, in processor time: what the user waits for on a machine that is not busy."""
    python("-m", "jaxnmr", "--help")  # writes the byte code
    spent = []
    for _ in range(5):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        python("-m", "jaxnmr", "--help")
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
        processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        # Importing runs on one core, so the smaller of the two is the wait without the neighbours.
        spent.append(min(wall, processor))
    assert min(spent) < 0.5, spent


def type_checking_names():
    """The names that the type checker sees in `jaxnmr/__init__.py`, with the module each comes from."""
    tree = ast.parse((ROOT / "jaxnmr" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_lazy_table_and_type_checker_agree():
    """One list for Python, one for the type checker: the same names from the same rooms."""
    lazy = {**dict.fromkeys(jaxnmr._ROOMS, "jaxnmr"), **jaxnmr._NAMES}
    assert type_checking_names() == lazy


@pytest.mark.parametrize("name", [*jaxnmr._ROOMS, *jaxnmr._NAMES])
def test_every_name_is_there(name):
    """Each entry of the table can be had, and `dir` shows it."""
    assert getattr(jaxnmr, name) is not None
    assert name in dir(jaxnmr)


def test_unknown_name_names_near_ones():
    """A slip of the pen is answered with what it may have meant."""
    with pytest.raises(AttributeError, match="did you mean 'Spectrum'"):
        _ = jaxnmr.Spectrun
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'$"):
        _ = jaxnmr.zzz
    assert not hasattr(jaxnmr, "__wrapped__")
