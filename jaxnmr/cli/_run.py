"""Computing the spectra of a job: sizes, compilation and runs, each with its time."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import jaxnmr as jn
from jaxnmr.cli._problem import Job
from jaxnmr.errors import JaxnmrWarning

__all__ = ["Program", "memory", "prepared"]

# Crystallites x steps of a period x sites^3 x spectra below which a program pays for less optimisation: on a CPU that
# saves most of the compilation and makes a run three times as long, 1e-7 s for each of these.
_LIGHT = 1e7
_QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@dataclasses.dataclass(frozen=True)
class Program:
    """A job with its sizes chosen, traced but not compiled.

    Attributes:
        job: what to compute.
        resolution: sizes.
        traced: the program, of sites and exchange.
    """

    job: Job
    resolution: jn.Resolution
    traced: Any

    def compiled(self) -> Any:
        """The program for this machine."""
        lowered = self.traced.lower()
        if jax.default_backend() == "cpu" and self._work() < _LIGHT:
            try:
                return lowered.compile(compiler_options=_QUICK)
            except (RuntimeError, ValueError):  # XLA's options come and go
                pass
        return lowered.compile()

    def spectra(self, compiled: Any) -> Iterator[tuple[jn.Spectrum, float]]:
        """Each spectrum as it comes, with the seconds that it took."""
        job = self.job
        for index, model in enumerate(job.models):
            start = time.perf_counter()
            spectrum = jax.block_until_ready(compiled(job.sites, model))
            spent = time.perf_counter() - start
            label = f"k = {job.rates[index]:g} /s" if job.rates else ""
            yield dataclasses.replace(spectrum, label=label), spent

    def _work(self) -> int:
        sizes = self.resolution
        steps = (sizes.phases or 1) * (sizes.substeps or 1)
        return (sizes.orientations or 1) * steps * len(self.job.sites) ** 3 * len(self.job.models)


def prepared(job: Job) -> Program:
    """Chooses the sizes, warning of what is doubtful, and traces the program.

    Raises:
        ValueError: what `jaxnmr.simulate` refuses.
    """
    # All rates ask for the same sizes; each is checked against the sites, and warned of.
    sizes = [
        jn.spectrum.resolve(
            job.sites,
            job.experiment,
            job.axis,
            exchange=model,
            linewidth=job.linewidth,
            gaussian=job.gaussian,
            resolution=job.resolution,
        )
        for model in _extremes(job)
    ]
    resolution = sizes[-1]

    def program(sites: jn.Sites, exchange: jn.ExchangeModel | None) -> jn.Spectrum:
        return jn.simulate(
            sites,
            job.experiment,
            job.axis,
            exchange=exchange,
            linewidth=job.linewidth,
            gaussian=job.gaussian,
            resolution=resolution,
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxnmrWarning)  # said before, from the values themselves
        traced = jax.jit(program).trace(job.sites, job.models[0])
    return Program(job, resolution, traced)


def _extremes(job: Job) -> list[jn.ExchangeModel | None]:
    """The models of the slowest and the fastest rate: what can be warned of happens at one of them."""
    if len(job.rates) < 2:
        return list(job.models)
    order = np.argsort(job.rates)
    return [job.models[order[0]], job.models[order[-1]]]


def memory(program: Program) -> int:
    """Bytes of the operation with the largest operands and results: what the run needs at least, and about."""
    return _largest(program.traced.jaxpr.jaxpr)


def _largest(jaxpr: Any) -> int:
    best = 0
    for equation in jaxpr.eqns:
        inner = [
            getattr(part, "jaxpr", part)
            for value in equation.params.values()
            for part in (value if isinstance(value, tuple | list) else (value,))
            if hasattr(part, "jaxpr") or hasattr(part, "eqns")
        ]
        held = sum(_bytes(variable.aval) for variable in (*equation.invars, *equation.outvars))
        best = max([best, *map(_largest, inner)] if inner else [best, held])
    return best


def _bytes(aval: Any) -> int:
    shape, dtype = getattr(aval, "shape", None), getattr(aval, "dtype", None)
    size = getattr(dtype, "itemsize", None)
    return 0 if shape is None or size is None else int(np.prod(shape, dtype=np.int64)) * size
