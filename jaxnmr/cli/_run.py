"""Computing the spectra of a job: sizes, compilation and runs, each with its time."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import jaxnmr as jn
from jaxnmr.cli._problem import Job
from jaxnmr.compiling import QUICK, known
from jaxnmr.errors import JaxnmrWarning

__all__ = ["Program", "memory", "prepared"]

# Crystallites x steps of a period x sites^3 x spectra below which a program pays for less optimisation: a run then takes
# 1e-7 s for each of these.
_LIGHT = 1e7


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
        light = self._work() < _LIGHT and known()
        return self.traced.lower().compile(compiler_options=QUICK if light else None)

    def spectra(self, compiled: Any) -> Iterator[tuple[jn.Spectrum, float]]:
        """Each spectrum as it comes, with the seconds that it took."""
        job = self.job
        for index in range(job.stack.count):
            start = time.perf_counter()
            spectrum = jax.block_until_ready(compiled(*_arguments(job, index)))
            spent = time.perf_counter() - start
            yield dataclasses.replace(spectrum, label=job.stack.label(index)), spent

    def _work(self) -> int:
        sizes = self.resolution
        steps = (sizes.phases or 1) * (sizes.substeps or 1)
        rates = 1 if self.job.shares is None else len(self.job.shares)
        return (sizes.orientations or 1) * steps * len(self.job.sites) ** 3 * self.job.stack.count * rates


def prepared(job: Job) -> Program:
    """Chooses the sizes, warning of what is doubtful, and traces the program.

    Raises:
        ValueError: what `jaxnmr.simulate` refuses.
    """
    sizes = [
        jn.spectrum.resolve(
            job.sites,
            job.experiments[index],
            job.axis,
            exchange=job.model(index, node),
            linewidth=job.linewidth,
            gaussian=job.gaussians[index],
            resolution=job.resolution,
        )
        for index in _extremes(job)
        for node in ((0, -1) if job.shares is not None else (0,))  # the distribution's slowest and fastest
    ]
    # One program for all: the largest of each size.
    names = ("orientations", "phases", "samples", "substeps")
    largest = {name: max((getattr(each, name) or 0) for each in sizes) or None for name in names}
    resolution = dataclasses.replace(sizes[0], **largest)

    # One width for all stays known, so that `simulate` can refuse none at all.
    common = job.gaussians[0] if len(set(job.gaussians)) == 1 else None

    def program(
        sites: jn.Sites, experiment: jn.Static | jn.MAS, exchange: jn.ExchangeModel | None, gaussian: Any
    ) -> jn.Spectrum:
        def one(model: jn.ExchangeModel | None) -> jn.Spectrum:
            return jn.simulate(
                sites,
                experiment,
                job.axis,
                exchange=model,
                linewidth=job.linewidth,
                gaussian=gaussian if common is None else common,
                resolution=resolution,
            )

        if job.shares is None:
            return one(exchange)
        # One after the other: a spectrum's memory is that of one rate. Nuclei keep their rates, so spectra add.
        parts = jax.lax.map(one, exchange)
        mean = jnp.tensordot(job.shares.astype(parts.intensity.dtype), parts.intensity, 1, precision="highest")
        return eqx.tree_at(lambda spectrum: spectrum.intensity, jax.tree.map(lambda leaf: leaf[0], parts), mean)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxnmrWarning)  # said before, from the values themselves
        traced = jax.jit(program).trace(*_arguments(job, 0))
    return Program(job, resolution, traced)


def _arguments(job: Job, index: int) -> tuple[Any, ...]:
    """Of the program, for one spectrum."""
    return job.sites, job.experiments[index], job.models[index], job.gaussians[index]


def _extremes(job: Job) -> list[int]:
    """Which spectra to look at: all fields; the slowest and the fastest rate, where sizes are equal and one is warned of."""
    if len(job.rates) < 2:
        return list(range(job.stack.count))
    order = np.argsort(job.rates)
    return [int(order[0]), int(order[-1])]


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
