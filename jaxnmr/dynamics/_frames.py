"""Frames of a trajectory, as arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Frames"]


class Frames(NamedTuple):
    """Frames one after the other.

    Attributes:
        time: fs, (frame,).
        energy: potential energy, eV, (frame,).
        positions: Å, (frame, atom, 3).
        velocities: Å/fs, (frame, atom, 3).
        cell: Å, (frame, 3, 3), or None.
    """

    time: Any
    energy: Any
    positions: Any
    velocities: Any
    cell: Any
