"""The demonstration's second part: the whole chain on potassium hydrogen carbonate with the models that come along."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jaxnmr.workflow import RunConfig

__all__ = ["NEEDS", "Told", "conditions", "khco3", "missing"]

# What the models, the neighbour lists and the symmetry of pairs import.
NEEDS = {"safetensors": "safetensors", "e3nn_jax": "e3nn-jax", "vesin": "vesin", "flax": "flax", "spglib": "spglib"}


class Told(NamedTuple):
    """What the run says in the end: sentences, files, seconds in all and of these compiling."""

    lines: tuple[str, ...]
    files: tuple[Path, ...]
    seconds: float
    compiling: float


def missing() -> str | None:
    """The first package that is not installed, or None."""
    return next((name for module, name in NEEDS.items() if find_spec(module) is None), None)


def conditions(
    folder: Path, *, potential: str = "khco3", images: int = 5, length_ps: float = 0.25, warmup_ps: float = 0.05
) -> RunConfig:
    """What is run on KHCO3: 17O at 14.1 T and 20 kHz, 298 K; a short motion unless told otherwise.

    Args:
        folder: of the run.
        potential: the one that comes along, or a file.
        images: of a proton's path, its ends included.
        length_ps: of the motion in each basin; 0 for none.
        warmup_ps: before it.
    """
    from jaxnmr.workflow import RunConfig

    return RunConfig.from_tables(
        {
            "structure": {"file": Path(str(files("jaxnmr") / "data" / "khco3.extxyz"))},
            "motion": {"hops": "protons", "images": images},
            "potential": {"file": potential},
            "tensors": {"file": "khco3", "reference_ppm": 255.0},
            "experiment": {
                "isotope": "17O",
                "fields_t": [14.1],
                "rate_hz": 20e3,
                "temperatures_k": [298.0],
                "linewidth_hz": 300.0,
            },
            "axis": {"ppm": [300.0, -50.0], "points": 512},
            "sample": {"length_ps": length_ps, "warmup_ps": warmup_ps, "replicas": 1},
            "uncertainty": {"draws": 40, "barrier_ev": 0.02, "energy_ev": 0.01},
            "output": {"folder": folder},
        }
    )


def khco3(folder: Path, tell: Callable[[str], None]) -> Told:
    """Run the chain on KHCO3 under `conditions`, so that it takes minutes.

    Args:
        folder: of the run; one that is there is taken up again.
        tell: called with the name of each step as it begins.

    Raises:
        ValueError: a folder of another material, or in use.
    """
    import jax

    from jaxnmr.workflow import Step, run

    spent = {"compile": 0.0}

    def heard(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.endswith(("backend_compile_duration", "jaxpr_to_mlir_module_duration")):
            spent["compile"] += duration_secs

    def progress(step: Step) -> None:
        # Up to here most of the time is compiling; from here on programs run long enough to be worth it.
        if step.state == "begins" and step.name.startswith("sample"):
            jax.config.update("jax_disable_most_optimizations", False)
        if step.state not in ("done", "kept"):
            tell(step.name if step.state == "begins" else f"{step.name}: {step.state}")

    began, before = time.perf_counter(), bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    config = conditions(folder)
    jax.monitoring.register_event_duration_secs_listener(heard)
    jax.config.update("jax_enable_x64", True)  # vibrations need double precision
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        result = run(config, progress=progress)
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
        jax.config.update("jax_enable_x64", before)
        jax.monitoring.unregister_event_duration_listener(heard)
    lines = []
    if result.rates is not None:
        rates = result.rates
        lines.append(
            f"KHCO3: protons cross a barrier of {1e3 * rates.barrier_ev[0]:.0f} meV to a minimum "
            f"{1e3 * rates.energy_ev[0]:+.0f} meV away, {rates.htst[0, 0]:.1e} times a second at 298 K (classical)."
        )
    made = tuple(folder / name for name in ("report.html", "report.json", "spectra-14.1T.png"))
    return Told(tuple(lines), made, time.perf_counter() - began, spent["compile"])
