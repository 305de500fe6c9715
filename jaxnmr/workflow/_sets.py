"""Nuclei that have the same spectrum: their tensors in all states differ by one rotation, and they hop alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnmr.isotopes import isotope
from jaxnmr.units import EFG_AU_TO_HZ_PER_BARN
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._records import ExchangeOfNuclei, TensorsOfStates

__all__ = ["Alike", "alike", "mean_over", "nearness", "states_of"]

# Norm of what a rotation may leave of each tensor at most: minima of like energy are converged to about a tenth of that.
_PPM, _AU = 1.0, 4e-3
# Of a line's width, by which merged lines may lie apart.
_SHARE = 0.05
# Relative difference of shares and rates that are the same: what neighbours add is summed for each group by itself.
_OFTEN = 1e-3
_SIGNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)


class Alike(NamedTuple):
    """One set.

    Attributes:
        members: positions in the list of nuclei.
        turns: rotations that take each member's tensors onto the first's, (member, 3, 3).
        states: minima of each member's basins, (member, basin).
    """

    members: tuple[int, ...]
    turns: np.ndarray
    states: np.ndarray


def states_of(exchange: ExchangeOfNuclei, nucleus: int) -> np.ndarray:
    """Minima of a nucleus' basins; the first one alone where nothing moves it."""
    group = int(exchange.group[nucleus])
    return np.array([0]) if group < 0 else exchange.states[group][exchange.states[group] >= 0]


def nearness(tensors: TensorsOfStates, config: RunConfig) -> tuple[float, float]:
    r"""Norms of what a rotation may leave of shieldings, ppm, and of field gradients, a.u., for lines that look the same.

    Frequencies then differ by less than a twentieth of the width: of a shift $\nu_0\,|\Delta\delta|$ in the highest field;
    of couplings $\nu_Q$ where satellites are seen, and of the central line's second order $\nu_Q^2 [I(I + 1) - 3/4]/(16
    \nu_0)$ in the lowest field, with $\nu_Q = 3 C_Q / [2I(2I - 1)]$ of the largest. Never above 1 ppm and 0.004 a.u.

    Args:
        tensors: in all minima.
        config: nucleus, fields and widths.
    """
    asked = config.experiment
    nucleus, allowed = isotope(asked.isotope), _SHARE * max(asked.linewidth_hz, asked.gaussian_hz)
    larmor = [abs(float(np.asarray(nucleus.larmor_frequency(field)))) for field in asked.fields_t]
    ppm = min(_PPM, 1e6 * allowed / max(larmor))
    if not nucleus.is_quadrupolar:
        return ppm, _AU
    spin = float(nucleus.spin)
    # Hz of ν_Q for a norm of one a.u.: of a traceless tensor the largest principal value is at most √(2/3) of it.
    unit = np.sqrt(2 / 3) * abs(EFG_AU_TO_HZ_PER_BARN * nucleus.quadrupole_moment) * 3 / (2 * spin * (2 * spin - 1))
    if spin.is_integer():
        return ppm, min(_AU, allowed / unit)
    largest = float(np.linalg.norm(tensors.efg, axis=(-2, -1)).max())
    steepest = unit**2 * largest * (spin * (spin + 1) - 0.75) / (8 * min(larmor))
    return ppm, min(_AU, allowed / steepest) if steepest > 0 else _AU


def alike(
    tensors: TensorsOfStates, exchange: ExchangeOfNuclei, within: tuple[float, float] = (_PPM, _AU)
) -> tuple[Alike, ...]:
    """Sets of equivalent nuclei, told by their tensors at rest; proper and improper rotations act alike on them.

    Args:
        tensors: in all minima.
        exchange: groups, with populations and rates that must be the same.
        within: norms of what a rotation may leave, ppm and a.u., see `nearness`.
    """
    found: list[tuple[np.ndarray, tuple, list[int], list[np.ndarray]]] = []
    for n in range(len(tensors.nuclei)):
        states, group = states_of(exchange, n), int(exchange.group[n])
        stack = np.concatenate([tensors.shielding[states, n] / within[0], tensors.efg[states, n] / within[1]])
        hops = () if group < 0 else (exchange.populations[:, group], exchange.rates[:, group])
        for target, jumps, members, turns in found:
            if not _as_often(jumps, hops) or len(target) != len(stack):
                continue
            turn = _turn(stack, target)
            if np.linalg.norm(_turned(turn, stack) - target, axis=(1, 2)).max() <= 1:
                members.append(n)
                turns.append(turn)
                break
        else:
            found.append((stack, hops, [n], [np.eye(3)]))
    return tuple(
        Alike(tuple(members), np.array(turns), np.array([states_of(exchange, n) for n in members]))
        for _, _, members, turns in found
    )


def _as_often(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    """Whether shares and rates are the same."""
    return len(one) == len(other) and all(np.allclose(a, b, rtol=_OFTEN, atol=0) for a, b in zip(one, other, strict=True))


def mean_over(group: Alike, values: np.ndarray) -> np.ndarray:
    """Mean of the members' tensors in the frame of the first, (basin, 3, 3), over the members that have one.

    A member without is one that a motion never saw in that basin; NaN where no member was.

    Args:
        group: the set.
        values: (state, nucleus, 3, 3); all NaN where there is nothing.
    """
    parts = [
        _turned(turn, values[states, n]) for n, turn, states in zip(group.members, group.turns, group.states, strict=True)
    ]
    there = np.isfinite(parts)
    count = there.sum(axis=0)
    return np.where(count > 0, np.where(there, parts, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _turned(turn: np.ndarray, tensors: np.ndarray) -> np.ndarray:
    return np.einsum("ik,tkl,jl->tij", turn, tensors, turn)


def _turn(tensors: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation that brings tensors nearest to a target, by the axes of mixtures of them all."""
    best, error = np.eye(3), np.linalg.norm(tensors - target)
    for shift in range(3):
        # Weights without a common divisor, so that no accident makes a mixture axial.
        weights = np.cos(1.0 + shift + 2.39996 * np.arange(len(tensors)))
        frames = [_frame(np.tensordot(weights, each, 1)) for each in (tensors, target)]
        for signs in _SIGNS:
            turn = frames[1] @ np.diag(signs) @ frames[0].T
            left = np.linalg.norm(_turned(turn, tensors) - target)
            if left < error:
                best, error = turn, left
    return best


def _frame(tensor: np.ndarray) -> np.ndarray:
    frame = np.linalg.eigh((tensor + tensor.T) / 2)[1]
    return frame * np.sign(np.linalg.det(frame))
