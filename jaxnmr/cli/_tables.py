"""What is wrong with the tables of a TOML file, in one line each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from jaxnmr.cli._say import Failure
from jaxnmr.errors import near

__all__ = ["Table", "read_toml", "validated"]


class Table(BaseModel):
    """A table in which nothing unknown may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        found = error.errors(include_url=False)
        # An unknown key first: what is missing is often only misspelt.
        found.sort(key=lambda each: each["type"] != "extra_forbidden")
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise Failure(f"{source + ': ' if source else ''}{_message(found[0], model, cures or {})}{more}") from None


def _message(error: Any, model: type[BaseModel], cures: Mapping[str, str]) -> str:
    # Positions in lists are for the reader; pydantic's names of a union's members are not.
    names = [part for part in error["loc"] if isinstance(part, int) or str(part).isidentifier()]
    names = [part for part in names if part not in ("float", "int", "str", "bool")]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in names).lstrip(".")
    plain = ".".join(str(part) for part in names if not isinstance(part, int))
    if error["type"] == "extra_forbidden":
        known = _known(model, [part for part in names[:-1] if not isinstance(part, int)])
        return f"unknown key {where!r}{near(str(names[-1]), known)}; known here are {', '.join(known)}."
    if error["type"] == "missing":
        cure = cures.get(plain)
        return f"{where}: missing{f'; give {cure}' if cure else ''}."
    came = error["input"]
    shown = f": got {came!r}" if isinstance(came, str | int | float | list | tuple) else ""
    text = error["msg"]
    return f"{where}{shown}; {text[0].lower()}{text[1:]}."


def _known(model: type[BaseModel], names: list[Any]) -> list[str]:
    """Keys of the table at this place."""
    for name in names:
        field = model.model_fields.get(str(name))
        inner = None if field is None else _table_in(field.annotation)
        if inner is None:
            break
        model = inner
    return list(model.model_fields)


def _table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _table_in(part)) is not None), None)
