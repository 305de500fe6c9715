"""The crystal seen along a lattice vector, and the graph of basins with their rates, as figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxnmr.structure import neighbor_pairs
from jaxnmr.workflow._hops import fragments
from jaxnmr.workflow._inputs import elsewhere
from jaxnmr.workflow._result import Result

__all__ = ["site_graph", "structure_picture"]

_COLOURS = {"H": "#e5e7eb", "C": "#4b5563", "N": "#3b82f6", "O": "#dc2626", "K": "#8b5cf6", "Na": "#a78bfa", "Si": "#d6b370"}
_SIZES = {"H": 60, "C": 170, "N": 170, "O": 190}


def structure_picture(result: Result) -> Any:
    """The first minimum, projected along the shortest lattice vector, molecules whole, moving protons with arrows."""
    from matplotlib.figure import Figure

    structure = elsewhere(result.structure, result.relaxed.positions)
    places = np.array(result.relaxed.positions)
    cell = None if structure.cell is None else np.asarray(structure.cell, np.float64)
    i, j, shifts, distance = neighbor_pairs(structure, 1.8)
    molecule = fragments(structure)
    bound = (molecule[i] == molecule[j]) & (distance < np.where(_is_h(structure, i) | _is_h(structure, j), 1.25, 1.8))
    # Walk along the bonds, so that each molecule is drawn in one piece.
    moved = np.zeros_like(places)
    if cell is not None:
        seen, edges = set(), [(int(a), int(b), s) for a, b, s in zip(i[bound], j[bound], shifts[bound], strict=True)]
        for start in range(len(places)):
            queue = [] if start in seen else [start]
            seen.update(queue)
            while queue:
                atom = queue.pop()
                for a, b, s in edges:
                    if a == atom and b not in seen:
                        seen.add(b)
                        moved[b] = moved[a] + s @ cell
                        queue.append(b)
    drawn = places + moved
    x, y, depth = _view(cell)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    if cell is not None:
        sides = [cell[k] for k in range(3) if k != int(np.argmin(np.linalg.norm(cell, axis=1)))]
        corners = np.array([0 * sides[0], sides[0], sides[0] + sides[1], sides[1], 0 * sides[0]])
        axes.plot(corners @ x, corners @ y, color="#9ca3af", lw=0.8)
    for a, b, s in zip(i[bound], j[bound], shifts[bound], strict=True):
        far = drawn[a] + (places[b] + (0 if cell is None else s @ cell) - places[a])
        axes.plot([drawn[a] @ x, far @ x], [drawn[a] @ y, far @ y], color="#6b7280", lw=1.6, zorder=1)
    order = np.argsort(drawn @ depth)
    colours = [_COLOURS.get(structure.species[k], "#10b981") for k in order]
    sizes = [_SIZES.get(structure.species[k], 260) for k in order]
    axes.scatter(drawn[order] @ x, drawn[order] @ y, s=sizes, c=colours, edgecolors="#1b1b1b", linewidths=0.6, zorder=3)
    if result.ends is not None:
        for k in result.used:
            step = result.ends.positions[k] - result.relaxed.positions
            for atom in np.flatnonzero(np.linalg.norm(step, axis=1) > 0.3):
                tail, head = drawn[atom], drawn[atom] + step[atom]
                how = {"arrowstyle": "-|>", "color": "#c2410c", "lw": 1.2}
                axes.annotate("", (head @ x, head @ y), (tail @ x, tail @ y), arrowprops=how, zorder=6)
    names = () if result.tensors is None else zip(result.tensors.nuclei, result.tensors.names, strict=True)
    for atom, name in names:
        axes.annotate(
            name, (drawn[atom] @ x, drawn[atom] @ y), fontsize=6, ha="center", va="center", zorder=7, color="white"
        )
    for symbol in dict.fromkeys(structure.species):
        axes.scatter([], [], s=60, c=_COLOURS.get(symbol, "#10b981"), edgecolors="#1b1b1b", linewidths=0.6, label=symbol)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def site_graph(result: Result, numbers: Mapping[str, Any]) -> Any:
    """Basins of each kind of group with their shares, and the rates between them, at the first temperature."""
    from matplotlib.figure import Figure

    kinds: dict[int, list[Mapping[str, Any]]] = {}
    for k, event in zip(result.used, numbers["events"], strict=True):
        if event["same_as"] == k and result.ends is not None:
            kinds.setdefault(result.ends.groups[k], []).append(event)
    figure = Figure(figsize=(6.4, 1.9 * max(1, len(kinds))), layout="constrained")
    panels = figure.subplots(max(1, len(kinds)), 1, squeeze=False)[:, 0]
    for axes, (group, events) in zip(panels, kinds.items(), strict=False):
        basin = {"boxstyle": "round,pad=0.5", "fc": "#eef2ff", "ec": "#4b5563"}
        for row, event in enumerate(events):
            rate, y = event["rates"][0], -float(row)
            # As the spectra have them: by the theory that was asked for, or counted.
            p, k = rate.get("populations_taken", rate["populations"]), rate.get("rate_taken_per_s", rate["rate_per_s"])
            home = f"first minimum\np = {p[0]:.3f}"
            end = f"{event['name']}\n{1e3 * event['energy_ev']:+.0f} meV, p = {p[1]:.3f}"
            back = k * p[0] / p[1] if p[1] > 0 else float("inf")
            axes.text(0.16, y, home, ha="center", va="center", fontsize=8, bbox=basin)
            axes.text(0.84, y, end, ha="center", va="center", fontsize=8, bbox=basin)
            for dy, each, ends in ((0.12, k, (0.29, 0.66)), (-0.12, back, (0.66, 0.29))):
                axes.annotate("", (ends[1], y + dy), (ends[0], y + dy), arrowprops={"arrowstyle": "-|>", "color": "#1b1b1b"})
                axes.text(0.475, y + 1.9 * dy, f"{each:.2g} s⁻¹", ha="center", va="center", fontsize=8)
            words = event.get("regimes", {})
            said = "; ".join(f"{word} beside {name}" for name, word in words.items() if word != "none")
            if said and "regimes_of" in event:
                said = f"{event['regimes_of']['atom']}: {said}"
            axes.text(0.475, y - 0.46, said, ha="center", va="center", fontsize=7, color="#c2410c")
        axes.set(xlim=(0, 1), ylim=(-len(events) + 0.4, 0.5))
        how = events[0]["rates"][0].get("rate_taken", "htst")
        axes.set_title(f"group {group}, {numbers['temperatures_k'][0]:g} K, rates: {how}", fontsize=9, loc="left")
        axes.axis("off")
    return figure


def _is_h(structure: Any, atoms: np.ndarray) -> np.ndarray:
    return np.array([structure.species[a] == "H" for a in atoms], bool)


def _view(cell: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors to the right, up, and towards the eye."""
    if cell is None:
        return np.eye(3)[0], np.eye(3)[1], np.eye(3)[2]
    # Two different ones, in a cubic cell too.
    shortest, _, longest = np.argsort(np.linalg.norm(cell, axis=1), kind="stable")
    towards = cell[shortest] / np.linalg.norm(cell[shortest])
    right = cell[longest]
    right = right - (right @ towards) * towards
    right /= np.linalg.norm(right)
    return right, np.cross(towards, right), towards
