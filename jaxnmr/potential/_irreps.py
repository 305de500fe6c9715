"""Lists of irreps as plain numbers: multiplicity, degree and parity, without loading e3nn."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from jaxtyping import Array, Float

__all__ = ["Chunks", "Irrep", "gated", "irreps_text", "parse_irreps"]

# Features sorted by irreps, each (atom, 2l + 1, channel).
Chunks = tuple[Float[Array, "atom _ _"], ...]

_TERM = re.compile(r"(?:(\d+)x)?(\d+)([eo])")


class Irrep(NamedTuple):
    """Channels of one kind: how many, their degree l and their parity p (1 for e, -1 for o)."""

    channels: int
    degree: int
    parity: int

    @property
    def size(self) -> int:
        """Components, 2l + 1."""
        return 2 * self.degree + 1

    @property
    def name(self) -> str:
        """Degree and parity as e3nn writes them, "1o"."""
        return f"{self.degree}{'e' if self.parity == 1 else 'o'}"

    @property
    def kind(self) -> tuple[int, int]:
        """Degree and parity."""
        return self.degree, self.parity

    @property
    def order(self) -> tuple[int, int]:
        """Place among others, as e3nn sorts them: 0e 0o 1o 1e 2e 2o."""
        return self.degree, -self.parity * (-1) ** self.degree


def parse_irreps(text: str) -> tuple[Irrep, ...]:
    """Irreps as e3nn writes them, sorted and merged.

    Args:
        text: "128x0e + 64x1o".

    Raises:
        ValueError: it is none such.
    """
    found: dict[tuple[int, int], int] = {}
    for term in text.split("+"):
        match = _TERM.fullmatch(term.strip())
        if match is None:
            raise ValueError(f"irreps: got {text!r}; write them as '128x0e + 64x1o + 32x2e'.")
        kind = int(match[2]), 1 if match[3] == "e" else -1
        found[kind] = found.get(kind, 0) + int(match[1] or 1)
    every = [Irrep(channels, *kind) for kind, channels in found.items() if channels]
    return tuple(sorted(every, key=lambda irrep: irrep.order))


def irreps_text(irreps: Iterable[Irrep]) -> str:
    """The same as text, "128x0e+64x1o"."""
    return "+".join(f"{irrep.channels}x{irrep.name}" for irrep in irreps)


def gated(irreps: tuple[Irrep, ...]) -> tuple[Irrep, ...]:
    """What has to come into a gate for these irreps to go out: a further even scalar for each channel with l > 0."""
    gates = sum(irrep.channels for irrep in irreps if irrep.degree > 0)
    kept = sum(irrep.channels for irrep in irreps if irrep.kind == (0, 1))
    return (Irrep(kept + gates, 0, 1), *(irrep for irrep in irreps if irrep.kind != (0, 1)))
