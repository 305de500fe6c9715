"""What an event touches beyond the atoms of its group: other nuclei, and its own images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxnmr.isotopes import isotope
from jaxnmr.structure import Structure, neighbor_pairs
from jaxnmr.workflow._changes import moved_hz
from jaxnmr.workflow._inputs import elsewhere
from jaxnmr.workflow._result import Result

__all__ = ["images_in_step", "left_out", "nearest_image_of"]

# Groups whose images are nearer than this feel their hops, Å.
_NEAR = 5.0


def left_out(result: Result) -> list[str]:
    """Nuclei whose lines an event of another group moves by more than a linewidth, in one sentence."""
    tensors, exchange, ends, asked = result.tensors, result.exchange, result.ends, result.config.experiment
    if tensors is None or exchange is None or ends is None:
        return []
    width, nuclei, worst = asked.linewidth_hz + asked.gaussian_hz, set(), (0.0, 0, 0, asked.fields_t[0])
    for k in result.used:
        others = np.flatnonzero(exchange.group != ends.groups[k])
        for field in asked.fields_t:
            change = moved_hz(result, k, field)
            for n in others[change[others] > width]:
                nuclei.add(int(n))
                worst = max(worst, (float(change[n]), int(n), k, field))
    if not nuclei:
        return []
    change, n, k, field = worst
    ppm = 1e6 * change / abs(float(np.asarray(isotope(asked.isotope).larmor_frequency(field))))
    return [
        f"tensors: events of groups that they do not belong to move the lines of {len(nuclei)} of {len(tensors.nuclei)} "
        f"nuclei by more than the linewidth, most that of {tensors.names[n]} by {change:.0f} Hz ({ppm:.1f} ppm at "
        f"{field:g} T) with event {k} ({ends.names[k]}); that is not in B and D, where only events of its own group move a "
        "nucleus."
    ]


def images_in_step(result: Result) -> list[str]:
    """Events whose group lies next to its own image, which moves with it, in one sentence."""
    ends, structure = result.ends, elsewhere(result.structure, result.relaxed.positions)
    if ends is None or structure.cell is None:
        return []
    kinds = [k for k in result.used if int(ends.same_as[k]) == k]
    near = {k: nearest_image_of(structure, ends.atoms[ends.groups[k]]) for k in kinds}
    near = {k: distance for k, distance in near.items() if distance is not None}
    if not near:
        return []
    told = ", ".join(str(k) for k in near)
    return [
        f"event{'s' if len(near) > 1 else ''} {told}: the group lies {min(near.values()):.2f} Å from its own image "
        "in the next cell; all images move in step, and barrier and asymmetry contain their coupling. Take a larger "
        "structure.supercell_a, until they change no more."
    ]


def nearest_image_of(structure: Structure, atoms: Sequence[int]) -> float | None:
    """Shortest distance of a group of atoms to an image of itself, Å; None beyond 5 Å.

    The group is put together along its shortest distances; the shortest one that does not fit is one to an image.
    """
    inside = set(atoms)
    i, j, shifts, distance = neighbor_pairs(structure, _NEAR)
    mine = [row for row in np.argsort(distance, kind="stable") if int(i[row]) in inside and int(j[row]) in inside]
    piece = {a: a for a in inside}
    at = {a: np.zeros(3, int) for a in inside}
    for row in mine:
        a, b = int(i[row]), int(j[row])
        # Where b's cell must lie, seen from a's, for the two to be this near.
        gap = at[a] + shifts[row] - at[b]
        if piece[a] == piece[b]:
            if gap.any():
                return float(distance[row])
            continue
        old = piece[b]
        for c in inside:
            if piece[c] == old:
                piece[c], at[c] = piece[a], at[c] + gap
    return None
