"""What a run is asked for: one TOML file, or the same from Python."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from jaxnmr.tables import Count, Finite, Positive, Table, Width, fault

__all__ = ["RunConfig"]

# Names without an ending are those of the models that come with the package.
_MODELS = ("potential", "tensors")
_PATHS = (
    ("structure", "file"),
    ("potential", "file"),
    ("tensors", "file"),
    ("measured", "file"),
    ("output", "folder"),
)


class Crystal(Table):
    """Where the atoms come from."""

    file: Path
    frame: int | None = None
    supercell_a: Width = 0.0
    atoms: tuple[int | str, ...] | None = None


class Motion(Table):
    """Which minima the atoms hop to: protons across their hydrogen bonds, minima given as files, or those of a search.

    The search is minima hopping from the first minimum: so many escapes (`explore_hops`) of so many walkers; minima up to
    `explore_window_ev` above the first are taken. With `symmetry` minima that were given or found come with all that the
    symmetry of the first makes of them, so that equivalent molecules move alike.

    A hop may change what another group's hop costs, as with the dimers of an ordered crystal. With `neighbours` "hop" each
    pair of events is looked at together, once for all that symmetry makes alike, and shares and rates are those among
    neighbours that hop as well: over all states of few groups, in a crystal in a mean field. With "still" they are those of
    a group whose neighbours stay in the first minimum.

    A saddle whose ways down end elsewhere than in its event's two minima is that of another jump: the run stops there, or
    takes its rate with a remark where `unjoined` is "keep".
    """

    hops: Literal["protons", "explore", "none"] = "none"
    ends: tuple[Path, ...] = ()
    symmetry: bool = True
    neighbours: Literal["hop", "still"] = "hop"
    images: Annotated[int, Field(ge=3)] = 7
    max_force_ev_a: Positive = 0.03
    max_steps: Count = 500
    unjoined: Literal["refuse", "keep"] = "refuse"
    explore_hops: Count = 30
    explore_walkers: Count = 2
    explore_window_ev: Positive = 0.5
    explore_seed: Annotated[int, Field(ge=0)] = 0


class ModelFile(Table):
    """A potential."""

    file: Path | None = None


class TensorFile(Table):
    """A tensor model, and what turns its shieldings into shifts: σ_ref, ppm, or (slope, intercept)."""

    file: Path | None = None
    reference_ppm: Finite | tuple[Finite, Finite]


class Rates(Table):
    """Which rate the exchange takes; the others stand beside it in the report.

    With `counted` "auto" events that the motion shows often have the rate that was counted there, where its relative error
    (of counting, and what the thermostat's friction may take) is below `saddle_error`, that of a harmonic rate on its own
    surface (recrossings, anharmonic wells). Their shares are taken where the relative error of the shares' ratio is below
    `share_error`, that of harmonic shares on their own surface.

    With `recrossing_pairs` above 0 so many pairs of trajectories of `recrossing_fs` start on each saddle, and the saddle's
    rate is multiplied with the share of crossings that stay across (`jaxnmr.rates.transmission`).
    """

    theory: Literal["htst", "eyring", "eyring-wigner"] = "htst"
    counted: Literal["auto", "never"] = "auto"
    saddle_error: Positive = 0.5
    share_error: Positive = 0.2
    recrossing_pairs: Annotated[int, Field(ge=0)] = 0
    recrossing_fs: Positive = 100.0


# Of fewer samples in a row no error of their mean can be told.
_FEWEST = 8


class Sampling(Table):
    """Molecular dynamics in the basins: length and what is passed over first, ps of each replica; none at length 0.

    Replicas start in each basin; `every` steps of `dt_fs` lie between samples. At least eight samples of each replica are
    left after the warm-up.
    """

    length_ps: Width = 0.0
    warmup_ps: Width = 0.2
    replicas: Count = 2
    dt_fs: Positive = 0.5
    every: Count = 10
    friction_per_ps: Positive = 5.0
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def samples(self) -> int:
        """Of each replica, the warm-up with them."""
        return self._spacings(self.length_ps)

    @property
    def skipped(self) -> int:
        """Samples of the warm-up."""
        return self._spacings(self.warmup_ps)

    def _spacings(self, ps: float) -> int:
        return math.ceil(1e3 * ps / (self.dt_fs * self.every))


class Uncertainty(Table):
    """What the band is drawn from, beside the tensors' own errors: standard deviations of barriers and of energies, eV.

    `rate_error` is the relative error of harmonic rates on their own surface (anharmonic wells, recrossings that were not
    looked at), as the standard deviation of ln k; 0 leaves it out. The share of crossings that stay across brings its own.

    A band of 95 % takes 39 draws or more; of n fewer it is one of (n - 1)/(n + 1).
    """

    draws: Annotated[int, Field(ge=0, le=1024)] = 40
    barrier_ev: Width = 0.0
    energy_ev: Width = 0.0
    rate_error: Width = 0.0
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def share(self) -> float:
        """Of what the band holds."""
        return min(0.95, max(0.0, (self.draws - 1) / (self.draws + 1)))


class Measured(Table):
    """A measured spectrum to lay beside the calculated ones, and which field and temperature it belongs to."""

    file: Path | None = None
    field: Annotated[int, Field(ge=0)] = 0
    temperature: Annotated[int, Field(ge=0)] = 0


class Conditions(Table):
    """Nucleus, magnets, rotor (0 for a rotor at rest), temperatures and widths."""

    isotope: str
    fields_t: Annotated[tuple[Positive, ...], Field(min_length=1)]
    rate_hz: Annotated[float, Field(ge=0)] = 0.0
    temperatures_k: Annotated[tuple[Positive, ...], Field(min_length=1)] = (298.0,)
    linewidth_hz: Positive
    gaussian_hz: Width = 0.0


class Window(Table):
    """Ends of the frequency axis."""

    ppm: tuple[Finite, Finite]
    points: Annotated[int, Field(ge=2)] = 1024


class Sizes(Table):
    """Sizes of the powder average; what is left out is chosen."""

    orientations: Count | None = None
    phases: Annotated[int, Field(ge=2)] | None = None
    samples: Annotated[int, Field(ge=2)] | None = None


class Output(Table):
    """The folder of the run, made if need be; a run of the same material there is taken up again."""

    folder: Path


class RunConfig(Table):
    """A run from atoms to spectra.

    Args:
        structure: file (CIF, POSCAR, extxyz, magres, OUTCAR), frame, least thickness of the supercell in Å, and which atoms
            are observed (see `Sites.read`).
        motion: hops of protons, or files of other minima; images and goals of the bands.
        potential: its file; left out where `run` is given one.
        tensors: file of the tensor model, and the reference of the shifts.
        experiment: nucleus, fields in T, rotor in Hz, temperatures in K, widths in Hz.
        axis: window in ppm.
        rates: theory of the rates that the exchange takes.
        sample: motion in the basins, for averaged tensors.
        uncertainty: of the spectra.
        measured: a spectrum to compare with; field and temperature by their place in `experiment`, from 0.
        resolution: of the powder average.
        output: the run's folder.

    Raises:
        ValueError: an unknown key (the message names the nearest), a value missing or out of range.
    """

    structure: Crystal
    motion: Motion = Motion()
    potential: ModelFile = ModelFile()
    tensors: TensorFile
    experiment: Conditions
    axis: Window
    rates: Rates = Rates()
    sample: Sampling = Sampling()
    uncertainty: Uncertainty = Uncertainty()
    measured: Measured = Measured()
    resolution: Sizes = Sizes()
    output: Output

    @model_validator(mode="after")
    def _one_way(self) -> RunConfig:
        if self.motion.ends and self.motion.hops != "none":
            raise ValueError("motion: hops and ends both came; give one of them")
        if 0 < self.sample.length_ps <= self.sample.warmup_ps:
            raise ValueError("sample: length_ps is not above warmup_ps, so that nothing would be left; make it longer")
        how, left = self.sample, self.sample.samples - self.sample.skipped
        if how.length_ps > 0 and left < _FEWEST:
            least = how.warmup_ps + 1e-3 * _FEWEST * how.dt_fs * how.every
            raise ValueError(
                f"sample: length_ps {how.length_ps:g} and every {how.every} leave {left} samples after warmup_ps "
                f"{how.warmup_ps:g}, and no error can be told of fewer than {_FEWEST}; give a length_ps of {least:.3g} or "
                "more, better some ps, or a smaller every"
            )
        pairs, longest = self.rates.recrossing_pairs, self.rates.recrossing_fs
        if 0 < pairs < 10:
            raise ValueError(f"rates.recrossing_pairs: got {pairs}; give 0 for none, or at least 10, better 100")
        if pairs and longest < 20 * self.sample.dt_fs:
            raise ValueError(f"rates.recrossing_fs: got {longest:g}; give at least twenty steps of sample.dt_fs")
        asked = self.experiment
        if self.measured.field >= len(asked.fields_t) or self.measured.temperature >= len(asked.temperatures_k):
            raise ValueError("measured: experiment has no such field or temperature; count them from 0")
        return self

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> RunConfig:
        """The configuration of a TOML file; paths in it count from its folder.

        Raises:
            ValueError: no such file, not TOML (with the line), or as `from_tables`.
        """
        path = Path(path)
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (FileNotFoundError, IsADirectoryError):
            raise ValueError(f"config: {path} is no file; name a TOML file.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"config: {path} is not TOML: {error}.") from None
        for table, key in _PATHS:
            inside = raw.get(table)
            if (
                isinstance(inside, dict)
                and isinstance(inside.get(key), str)
                and not _is_shipped(table, inside[key], path.parent)
            ):
                inside[key] = str(path.parent / inside[key])
        motion = raw.get("motion")
        if isinstance(motion, dict) and isinstance(motion.get("ends"), list):
            motion["ends"] = [str(path.parent / name) if isinstance(name, str) else name for name in motion["ends"]]
        return cls.from_tables(raw, source=str(path))

    @classmethod
    def from_tables(cls, tables: dict[str, Any], source: str = "config") -> RunConfig:
        """The configuration of nested tables, with one line of advice where something is wrong.

        Raises:
            ValueError: an unknown key, a value missing or out of range.
        """
        try:
            return cls.model_validate(tables)
        except ValidationError as error:
            raise ValueError(f"{source}: {fault(error, cls)}") from None


def _is_shipped(table: str, name: str, folder: Path) -> bool:
    return table in _MODELS and not Path(name).suffix and Path(name).name == name and not (folder / name).exists()
