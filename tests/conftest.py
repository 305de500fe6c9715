"""The one place where the tests configure JAX, before anything makes an array."""

import gc
import os
import subprocess
import sys
from pathlib import Path

# Figures are drawn in memory: the tests need no screen.
os.environ.setdefault("MPLBACKEND", "Agg")
# Matrices here are small: where cores are shared, LAPACK's threads wait for each other ten times as long as they work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A test runs a program once or twice, so compiling it is what costs: quick code takes two fifths off the whole. README's
# code, the demo and the benchmarks run what XLA makes by default; so do the tests with XLA_FLAGS set to
# any flag, as --xla_backend_optimization_level=3.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_multi_thread_eigen=false"
)
if "XLA_FLAGS" not in os.environ:
    # XLA ends the process at a flag that it does not know, and flags come and go: ask another process.
    asked = [sys.executable, "-c", "import jaxlib.xla_client as client; client.CompileOptions()"]
    known = subprocess.run(asked, env=os.environ | {"XLA_FLAGS": QUICK}, capture_output=True, check=False)
    if known.returncode == 0:
        os.environ["XLA_FLAGS"] = QUICK

import jax  # noqa: E402 - after the environment that it reads
import pytest  # noqa: E402

# What JAX keeps of a program's tracing is many objects that live on: looking through all of them costs a twentieth.
gc.set_threshold(10_000, 20, 10)

jax.config.update("jax_enable_x64", True)
# Users may turn these on; code that passes here is right with them off as well.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Compiled programs are kept between runs (the folder is ignored by git; remove it to start afresh).
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Compiled programs go when they are many: each maps a few pages of code, and Linux ends a process at 65530 maps."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 15_000:
        jax.clear_caches()
        gc.collect()
