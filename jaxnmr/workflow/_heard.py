"""Warnings of the package on the way of a run: let through, and remembered for its report."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from jaxnmr.errors import JaxnmrWarning

__all__ = ["listening", "repeated", "sentences"]


@contextmanager
def listening(caught: list[warnings.WarningMessage]) -> Iterator[None]:
    """Keep warnings for `repeated`, also where the work ends in an error."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", JaxnmrWarning)
        try:
            yield
        finally:
            caught += found


def repeated(caught: list[warnings.WarningMessage]) -> None:
    """Warn as if nobody had listened."""
    for each in caught:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def sentences(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """What the package's own warnings said, each once."""
    return tuple(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, JaxnmrWarning)))
