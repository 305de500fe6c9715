"""Nuclei, their transitions, their disorder, and their interactions as generators."""

from jaxnmr.spins._disorder import czjzek, extended_czjzek, gaussian_shift, shift_fwhm
from jaxnmr.spins._excitation import Pulse, line_amplitudes, transition_weights
from jaxnmr.spins._generator import PAIR_RANKS, RANKS, coupling_irreps, frequency_irreps, quadrupolar_ratio
from jaxnmr.spins._nodes import quadrature_error
from jaxnmr.spins._rates import RateDistribution, barrier_rates, log_normal_rates
from jaxnmr.spins._read import equivalent, selected
from jaxnmr.spins._sites import Sites
from jaxnmr.spins._transitions import Transition, transitions

__all__ = [
    "PAIR_RANKS",
    "RANKS",
    "Pulse",
    "RateDistribution",
    "Sites",
    "Transition",
    "barrier_rates",
    "coupling_irreps",
    "czjzek",
    "equivalent",
    "extended_czjzek",
    "frequency_irreps",
    "gaussian_shift",
    "line_amplitudes",
    "log_normal_rates",
    "quadrature_error",
    "quadrupolar_ratio",
    "selected",
    "shift_fwhm",
    "transition_weights",
    "transitions",
]
