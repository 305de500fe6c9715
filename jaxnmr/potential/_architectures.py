"""The architectures by their names, and the formats in which others publish weights of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, SerializeAsAny

from jaxnmr.errors import near
from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._weights import Weights
from jaxnmr.potential.nequip import NequipConfig, is_nqx, read_nqx

__all__ = ["FOREIGN", "AnyBackbone", "Foreign", "add_architecture"]


class Foreign(NamedTuple):
    """Weights as another program writes them.

    Attributes:
        suffix: of such files by custom, ".nqx".
        recognises: whether a file's content is of this format.
        read: from content and name to the weights.
    """

    suffix: str
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes, str], Weights]


# A further architecture is a folder with the same few files (configuration, network, foreign weights) and a line here.
_ARCHITECTURES: dict[str, type[BackboneConfig]] = {"nequip": NequipConfig}
FOREIGN = (Foreign(".nqx", is_nqx, read_nqx),)


def add_architecture(config: type[BackboneConfig]) -> None:
    """Make an architecture known, so that model files and checkpoints with it can be read.

    Args:
        config: its configuration; the default of `architecture` is the name.

    Raises:
        ValueError: a configuration without a name of its own, or with that of another architecture.
    """
    name = config.model_fields["architecture"].default
    if not isinstance(name, str):
        raise ValueError(f'config: {config.__name__} has no name; write architecture: Literal["..."] = "..." in it.')
    if _ARCHITECTURES.setdefault(name, config) is not config:
        raise ValueError(f"config: architecture {name!r} is that of {_ARCHITECTURES[name].__name__}; give another name.")


def _by_architecture(given: Any) -> Any:
    """The entry "architecture" says which class the others are checked by."""
    if not isinstance(given, Mapping):
        return given
    name = given.get("architecture")
    if name not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise ValueError(f"architecture {name!r} is not known{near(str(name), _ARCHITECTURES)}; this package knows {known}")
    return _ARCHITECTURES[name].model_validate(given)


# A configuration of any architecture, as a field of another: kept with all its entries, read by its name.
AnyBackbone = Annotated[SerializeAsAny[BackboneConfig], BeforeValidator(_by_architecture)]
