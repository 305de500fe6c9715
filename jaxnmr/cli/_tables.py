"""The tables of a TOML file, and what is wrong with them in one line each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from jaxnmr.cli._say import Failure
from jaxnmr.tables import Count, Finite, Positive, Table, Width, fault

__all__ = ["Count", "Finite", "Positive", "Sizes", "Table", "Width", "read_toml", "validated"]


class Sizes(Table):
    """Sizes of the calculation; what is left out is chosen."""

    orientations: Count | None = None
    phases: Annotated[int, Field(ge=2)] | None = None
    samples: Annotated[int, Field(ge=2)] | None = None
    substeps: Count | None = None


Whole = TypeVar("Whole", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        Failure: no such file, or not TOML (with the line).
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise Failure(f"{path}: no such file.") from None
    except UnicodeDecodeError:
        raise Failure(f"{path}: not a text file; give TOML in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"{path}: not TOML: {error}.") from None


def validated(model: type[Whole], raw: Mapping[str, Any], source: str = "", cures: Mapping[str, str] | None = None) -> Whole:
    """Tables as a configuration.

    Args:
        model: of the whole file.
        raw: what came.
        source: the file's name, for messages, or "".
        cures: by key ("experiment.isotope"), what to give where it is missing.

    Raises:
        Failure: an unknown key (with the nearest known one), a value missing or out of range.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise Failure(f"{source + ': ' if source else ''}{fault(error, model, cures)}") from None
