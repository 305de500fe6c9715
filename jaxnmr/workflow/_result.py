"""What a run comes back with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxnmr.spectrum import Spectrum
from jaxnmr.structure import Structure
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._records import (
    Band,
    Ends,
    ExchangeOfNuclei,
    Explored,
    Neighbours,
    RatesOfEvents,
    Recrossed,
    Relaxed,
    Sampled,
    SpectraAtField,
    TensorsOfStates,
)

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """All that a run has made; None (or empty) beyond the stage it was asked to stop at.

    Attributes:
        config: what was asked for.
        structure: the atoms as they were read, repeated if so asked.
        relaxed: the first minimum.
        ends: the minima of the events.
        used: the events that have rates: those whose minimum is another one than the first.
        bands: a path and saddle for each of `used`.
        rates: their rates; columns in the order of `used`.
        recrossed: how many crossings of each of `used` stay across; none unless asked for.
        tensors: of the observed atoms in all minima.
        exchange: of each nucleus.
        explored: what a search for minima has found.
        sampled: averages over the motion in each basin, at each temperature; none without sampling.
        spectra: at each field.
        remarks: what is doubtful.
        folder: of the run, with report.html and report.json.
        neighbours: how events of different groups change each other's energies; None where that was not looked at.
    """

    config: RunConfig
    structure: Structure
    relaxed: Relaxed
    ends: Ends | None = None
    used: tuple[int, ...] = ()
    bands: tuple[Band, ...] = ()
    rates: RatesOfEvents | None = None
    recrossed: tuple[Recrossed, ...] = ()
    tensors: TensorsOfStates | None = None
    exchange: ExchangeOfNuclei | None = None
    explored: Explored | None = None
    sampled: tuple[Sampled, ...] = ()
    spectra: tuple[SpectraAtField, ...] = ()
    remarks: tuple[str, ...] = ()
    folder: Path = Path()
    neighbours: Neighbours | None = None

    def still(self, field: int = 0) -> Spectrum:
        """Spectrum A: every nucleus at rest in the first minimum.

        Raises:
            ValueError: the run stopped before.
        """
        found = self._at(field)
        return self._spectrum(found, found.still, field, "A: static minimum")

    def moving(self, field: int = 0, temperature: int = 0) -> Spectrum:
        """Spectrum B: nuclei that hop between static tensors.

        Raises:
            ValueError: the run stopped before.
        """
        found = self._at(field)
        kelvin = self.config.experiment.temperatures_k[temperature]
        return self._spectrum(found, found.moving[temperature], field, f"B: exchange, {kelvin:g} K")

    def averaged(self, field: int = 0, temperature: int = 0) -> Spectrum:
        """Spectrum C: nuclei in the first basin, with tensors averaged over the motion there.

        Raises:
            ValueError: the run stopped before, or has sampled nothing.
        """
        found = self._moved(field)
        kelvin = self.config.experiment.temperatures_k[temperature]
        return self._spectrum(found, found.fast[temperature], field, f"C: averaged tensors, {kelvin:g} K")

    def both(self, field: int = 0, temperature: int = 0) -> Spectrum:
        """Spectrum D: nuclei that hop between averaged tensors.

        Raises:
            ValueError: the run stopped before, or has sampled nothing.
        """
        found = self._moved(field)
        kelvin = self.config.experiment.temperatures_k[temperature]
        return self._spectrum(found, found.both[temperature], field, f"D: averaged tensors and exchange, {kelvin:g} K")

    def _moved(self, field: int) -> SpectraAtField:
        found = self._at(field)
        if not self.sampled:
            raise ValueError("sample.length_ps: is 0, so that nothing was averaged; give a length and run again.")
        return found

    def _at(self, field: int) -> SpectraAtField:
        if not self.spectra:
            raise ValueError("spectra: the run stopped before them; run again without until=.")
        return self.spectra[field]

    def _spectrum(self, found: SpectraAtField, intensity, field: int, label: str) -> Spectrum:
        asked = self.config.experiment
        return Spectrum(
            found.ppm,
            found.hz,
            intensity,
            label,
            isotope=asked.isotope,
            field=asked.fields_t[field],
            rate=asked.rate_hz,
        )
