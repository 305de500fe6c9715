"""Nuclei, their transitions, and their interactions as generators."""

from jaxnmr.spins._generator import PAIR_RANKS, RANKS, coupling_irreps, frequency_irreps, quadrupolar_ratio
from jaxnmr.spins._sites import Sites
from jaxnmr.spins._transitions import Transition, transitions

__all__ = [
    "PAIR_RANKS",
    "RANKS",
    "Sites",
    "Transition",
    "coupling_irreps",
    "frequency_irreps",
    "quadrupolar_ratio",
    "transitions",
]
