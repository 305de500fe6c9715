"""What a run is asked for: one TOML file, or the same from Python."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jaxnmr.errors import near

__all__ = ["RunConfig"]

# Names without an ending are those of the models that come with the package.
_MODELS = ("potential", "tensors")

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Width = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise ValueError(f"unknown key {name!r}{near(str(name), cls.model_fields)}; known here are {known}")
        return given


class Crystal(_Table):
    """Where the atoms come from."""

    file: Path
    frame: int | None = None
    supercell_a: Width = 0.0
    atoms: tuple[int | str, ...] | None = None


class Motion(_Table):
    """Which minima the atoms hop to: protons across their hydrogen bonds, or minima given as files."""

    hops: Literal["protons", "none"] = "none"
    ends: tuple[Path, ...] = ()
    images: Annotated[int, Field(ge=3)] = 7
    max_force_ev_a: Positive = 0.03
    max_steps: Annotated[int, Field(ge=1)] = 500


class ModelFile(_Table):
    """A potential."""

    file: Path | None = None


class TensorFile(_Table):
    """A tensor model, and what turns its shieldings into shifts: σ_ref, ppm, or (slope, intercept)."""

    file: Path | None = None
    reference_ppm: Finite | tuple[Finite, Finite]


class Rates(_Table):
    """Which rate the exchange takes; the others stand beside it in the report."""

    theory: Literal["htst", "eyring", "eyring-wigner"] = "htst"


class Conditions(_Table):
    """Nucleus, magnets, rotor (0 for a rotor at rest), temperatures and widths."""

    isotope: str
    fields_t: Annotated[tuple[Positive, ...], Field(min_length=1)]
    rate_hz: Annotated[float, Field(ge=0)] = 0.0
    temperatures_k: Annotated[tuple[Positive, ...], Field(min_length=1)] = (298.0,)
    linewidth_hz: Positive
    gaussian_hz: Width = 0.0


class Window(_Table):
    """Ends of the frequency axis."""

    ppm: tuple[Finite, Finite]
    points: Annotated[int, Field(ge=2)] = 1024


class Sizes(_Table):
    """Sizes of the powder average; what is left out is chosen."""

    orientations: Annotated[int, Field(ge=1)] | None = None
    phases: Annotated[int, Field(ge=2)] | None = None
    samples: Annotated[int, Field(ge=2)] | None = None


class Output(_Table):
    """The folder of the run, made if need be; a run of the same material there is taken up again."""

    folder: Path


class RunConfig(_Table):
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
    resolution: Sizes = Sizes()
    output: Output

    @model_validator(mode="after")
    def _one_way(self) -> RunConfig:
        if self.motion.ends and self.motion.hops != "none":
            raise ValueError("motion: hops and ends both came; give one of them")
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
        for table, key in (("structure", "file"), ("potential", "file"), ("tensors", "file"), ("output", "folder")):
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
            # An unknown key first: what is missing is often only misspelt.
            order = lambda each: ("unknown key" not in each["msg"], each["type"] == "missing")  # noqa: E731
            found = sorted(error.errors(include_url=False), key=order)
        first = found[0]
        where = ".".join(str(part) for part in first["loc"] if str(part) not in ("float", "int", "str", "bool"))
        text = first["msg"].removeprefix("Value error, ")
        came = first["input"]
        shown = f" (got {came!r})" if isinstance(came, str | int | float) else ""
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        cure = " is missing; give it" if first["type"] == "missing" else f": {text}{shown}"
        raise ValueError(f"{source}: {where}{cure if where else cure.removeprefix(': ')}.{more}")


def _is_shipped(table: str, name: str, folder: Path) -> bool:
    return table in _MODELS and not Path(name).suffix and Path(name).name == name and not (folder / name).exists()
