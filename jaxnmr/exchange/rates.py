"""Rates of jumps from saddles and minima, in s⁻¹, and the exchange models that they make."""

from jaxnmr.dynamics import ATOMIC, REDUCED, Units
from jaxnmr.exchange._arrhenius import ArrheniusFit, arrhenius, arrhenius_fit
from jaxnmr.exchange._counted import CountedRates, assign_states, counted_rates, rates_of_counts
from jaxnmr.exchange._partition import log_partition, populations
from jaxnmr.exchange._transmission import Transmission, transmission
from jaxnmr.exchange._tst import exchange_model, eyring, htst
from jaxnmr.exchange._tunnelling import Eckart, TransitionStateWarning, TunnellingWarning, Wigner

__all__ = [
    "ATOMIC",
    "REDUCED",
    "ArrheniusFit",
    "CountedRates",
    "Eckart",
    "TransitionStateWarning",
    "Transmission",
    "TunnellingWarning",
    "Units",
    "Wigner",
    "arrhenius",
    "arrhenius_fit",
    "assign_states",
    "counted_rates",
    "exchange_model",
    "eyring",
    "htst",
    "log_partition",
    "populations",
    "rates_of_counts",
    "transmission",
]
