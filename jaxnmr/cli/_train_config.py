"""What `jaxnmr train` learns from what, as TOML says it."""

from __future__ import annotations

import glob
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from jaxnmr.cli._say import Failure
from jaxnmr.cli._tables import Table, read_toml, validated
from jaxnmr.potential import EFG, SHIELDING, HeadConfig, ModelCard, Property
from jaxnmr.potential.training import LabelNames, Settings

__all__ = ["Config", "Data", "Model", "Network", "read_config"]

_KNOWN = {"shielding": SHIELDING, "efg": EFG}
Files = tuple[Path, ...]


class Data(Table):
    """Files of structures with labels: extxyz, magres and whatever else holds tensors; by their names or by patterns.

    "frames/*.magres" stands for all files that match, sorted by name, and "**" for folders within folders. A name of an
    existing file is never a pattern.

    Without files for validation, that share of the frames is held out, in blocks of consecutive ones.
    """

    train: Annotated[Files, Field(min_length=1)]
    validation: Files = ()
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    test: Files = ()
    names: LabelNames = LabelNames()
    check: bool = True


class Network(Table):
    """Sizes of a new backbone; elements and the mean number of neighbours come from the data."""

    cutoff: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    l_max: Annotated[int, Field(ge=0, le=11)] = 2
    hidden_irreps: str = "32x0e+16x1o+8x2e"
    n_layers: Annotated[int, Field(ge=1)] = 3
    n_basis: Annotated[int, Field(ge=1)] = 8
    radial_width: Annotated[int, Field(ge=1)] = 32
    radial_depth: Annotated[int, Field(ge=0)] = 2
    envelope_power: Annotated[int, Field(ge=2)] = 6
    element_skip: bool = False
    layer_norm: bool = False


class Model(Table):
    """A potential, or a model of properties: "shielding", "efg", or any other by its irreps.

    Started from a tensor model with the same properties and sizes of heads (those of the start unless given), its heads are
    kept; with others they begin anew.
    """

    start: Path | None = None
    properties: tuple[Property, ...] = ()
    frozen: bool = False
    network: Network | None = None
    heads: HeadConfig | None = None

    @field_validator("properties", mode="before")
    @classmethod
    def _by_name(cls, given: object) -> object:
        if isinstance(given, list | tuple):
            return [_KNOWN.get(each, each) if isinstance(each, str) else each for each in given]
        return given


class Output(Table):
    """The folder of model, metrics, checkpoint and report."""

    folder: Path


class Config(Table):
    """The whole."""

    data: Data
    model: Model = Model()
    training: Settings = Settings()
    card: ModelCard = ModelCard()
    output: Output


def read_config(path: Path, output: Path | None) -> Config:
    """The tables of a TOML file, checked; paths in it count from its folder.

    Args:
        path: the file.
        output: the folder, instead of that of the file.

    Raises:
        Failure: no such file, not TOML, an unknown key, a pattern without any file, values that exclude each other.
    """
    raw, folder = read_toml(path), path.parent
    data, model = raw.get("data"), raw.get("model")
    if isinstance(data, dict):
        # A pattern takes what is left: no file that another set names, or has taken before.
        asked = {
            name: [data[name]] if isinstance(data.get(name), str) else data.get(name)
            for name in ("test", "validation", "train")
        }
        asked = {name: files for name, files in asked.items() if isinstance(files, list)}
        for name, files in asked.items():
            others = [folder / each for other in asked if other != name for each in asked[other] if isinstance(each, str)]
            data[name] = _files(files, folder, f"{path}: data.{name}", {each.resolve() for each in others if each.exists()})
            asked[name] = data[name]
    if isinstance(model, dict) and isinstance(model.get("start"), str):
        model["start"] = str(folder / model["start"])
    target = raw.setdefault("output", {})
    if output is not None and isinstance(target, dict):
        target["folder"] = str(output)
    elif isinstance(target, dict):
        target["folder"] = str(folder / target.get("folder", f"{path.stem}-model"))
    config = validated(Config, raw, str(path))
    if config.model.start is not None and config.model.network is not None:
        raise Failure(f"{path}: model.network came together with model.start, whose own network is taken; give one of them.")
    if config.model.frozen and (config.model.start is None or not config.model.properties):
        raise Failure(f"{path}: model.frozen needs model.start (whose features are used) and model.properties; give both.")
    return config


def _files(given: list[Any], folder: Path, key: str, elsewhere: Collection[Path] = ()) -> list[Any]:
    """Names that count from the folder, with the files that match in the place of each pattern.

    Args:
        given: names and patterns.
        folder: of the file that names them.
        key: where, for messages.
        elsewhere: files that other sets name, which no pattern takes as well.

    Raises:
        Failure: a pattern that no file matches.
    """
    found: list[Any] = []
    for each in given:
        if not isinstance(each, str) or not set(each) & set("*?[") or (folder / each).exists():
            found.append(str(folder / each) if isinstance(each, str) else each)
            continue
        matched = sorted(folder / name for name in glob.glob(each, root_dir=folder, recursive=True))
        matched = [str(name) for name in matched if name.is_file() and name.resolve() not in elsewhere]
        if not matched:
            raise Failure(f"{key}: no file matches {each!r}, looked for from {folder}; correct the pattern.")
        # What is named already, or by two patterns, is learnt from once.
        found += [name for name in matched if name not in found]
    return found
