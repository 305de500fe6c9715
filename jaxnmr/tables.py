"""Tables of a configuration, in which nothing unknown may stand, and what is wrong with them in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jaxnmr.errors import near

__all__ = ["Count", "Finite", "Positive", "Table", "Width", "fault"]

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Width = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """A table in which nothing unknown may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def fault(error: ValidationError, model: type[BaseModel], cures: Mapping[str, str] | None = None) -> str:
    """The first thing that is wrong, and how many more there are.

    Args:
        error: of the validation.
        model: of the whole.
        cures: by key ("experiment.isotope"), what to give where it is missing.
    """
    found = error.errors(include_url=False)
    # An unknown key first: what is missing is often only misspelt.
    found.sort(key=lambda each: (each["type"] != "extra_forbidden", each["type"] == "missing"))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{_message(found[0], model, cures or {})}{more}"


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
    text = error["msg"].removeprefix("Value error, ")
    # What a whole table says of itself names its keys.
    return f"{where}{shown}; {text[0].lower()}{text[1:]}." if where else f"{text}."


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
