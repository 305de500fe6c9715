"""Lines of many sets of nuclei by two programs: nuclei that rest, and nuclei that hop among N basins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.exchange import ExchangeModel
from jaxnmr.isotopes import isotope
from jaxnmr.spectrum import MAS, Axis, Resolution, Static, resolve, simulate
from jaxnmr.spins import Sites
from jaxnmr.workflow._config import RunConfig

__all__ = ["Bench", "Hopping"]

# Spectra of one program side by side; more need more memory and are no faster on few cores.
_AT_ONCE = 4


Numbers = np.ndarray | jax.Array


class Hopping(NamedTuple):
    """Nuclei that hop: tensors in each basin, rates, and populations.

    Attributes:
        shielding: ppm, (basin, 3, 3).
        efg: atomic units, (basin, 3, 3).
        rates: [i, j] from basin j to i, s⁻¹, (basin, basin); those from lower to higher numbers count, for populations tell
            the others.
        populations: (basin,).
    """

    shielding: Numbers
    efg: Numbers
    rates: Numbers
    populations: Numbers


class Bench:
    """The conditions of one field, and the programs that were compiled for them.

    Args:
        field: tesla.
        config: nucleus, rotor, axis, widths, reference and sizes.
    """

    def __init__(self, field: float, config: RunConfig):
        asked = config.experiment
        self.config, self.nucleus = config, isotope(asked.isotope)
        self.experiment = MAS(field, asked.rate_hz) if asked.rate_hz > 0 else Static(field)
        self.axis = Axis(ppm=config.axis.ppm, points=config.axis.points)
        sizes = config.resolution.model_dump()
        self.sizes = Resolution(**{name: value for name, value in sizes.items() if value is not None})
        self._programs: dict = {}

    def resting(self, shielding: np.ndarray, efg: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
        """Shifts, ppm, frequencies, Hz, and intensities of sites that rest, (site, 3, 3) each."""
        sites = replace(self._sites(shielding, efg), weights=jnp.asarray(weights, jnp.asarray(0.0).dtype))
        found = simulate(
            sites,
            self.experiment,
            self.axis,
            linewidth=self.config.experiment.linewidth_hz,
            gaussian=self.config.experiment.gaussian_hz,
            resolution=self.sizes,
        )
        return tuple(np.asarray(part, np.float64) for part in (found.ppm, found.hz, found.intensity))

    def sized(self, lines: Sequence[Hopping]) -> None:
        """Choose sizes that do for all of these lines, and warn of what is doubtful in them."""
        for line in lines:
            n = len(line.populations)
            now = resolve(
                self._sites(line.shielding, line.efg),
                self.experiment,
                self.axis,
                exchange=self._model(line.rates, line.populations),
                linewidth=self.config.experiment.linewidth_hz,
                gaussian=self.config.experiment.gaussian_hz,
                resolution=self.sizes,
            )
            before, program = self._programs.get(n, (None, None))
            larger = _larger(before, now)
            self._programs[n] = (larger, program if larger == before else None)

    def hopping(self, lines: Sequence[Hopping]) -> np.ndarray:
        """Intensities, (line, point), of lines with one number of basins, after `sized`."""
        dtype = jnp.asarray(0.0).dtype
        n = len(lines[0].populations)
        sizes, program = self._programs[n]
        if program is None:

            def one(line: Hopping) -> jax.Array:
                return simulate(
                    self._sites(line.shielding, line.efg),
                    self.experiment,
                    self.axis,
                    exchange=self._model(line.rates, line.populations),
                    linewidth=self.config.experiment.linewidth_hz,
                    gaussian=self.config.experiment.gaussian_hz,
                    resolution=sizes,
                ).intensity

            program = jax.jit(jax.vmap(one))
            self._programs[n] = sizes, program
        # Filled up to whole batches, so that one program serves any number.
        count = -(-len(lines) // _AT_ONCE) * _AT_ONCE
        padded = [*lines, *[lines[-1]] * (count - len(lines))]
        parts = []
        for start in range(0, count, _AT_ONCE):
            batch = padded[start : start + _AT_ONCE]
            stacked = Hopping(
                *(jnp.asarray(np.stack([np.asarray(x) for x in part]), dtype) for part in zip(*batch, strict=True))
            )
            parts.append(np.asarray(program(stacked), np.float64))
        return np.concatenate(parts)[: len(lines)]

    def _sites(self, shielding, efg) -> Sites:
        return Sites.from_tensors(
            self.nucleus.name,
            shielding,
            efg if self.nucleus.is_quadrupolar else None,
            reference=self.config.tensors.reference_ppm,
        )

    def _model(self, rates, populations) -> ExchangeModel:
        n = len(populations)
        pairs = {(j, i): rates[i, j] for j in range(n) for i in range(j + 1, n)}
        return ExchangeModel.from_rates(pairs, populations, n)


def _larger(one: Resolution | None, other: Resolution) -> Resolution:
    if one is None:
        return other
    names = ("orientations", "phases", "samples", "substeps")
    return replace(other, **{n: max(getattr(one, n) or 0, getattr(other, n) or 0) or None for n in names})
