"""The whole chain for one material, from its atoms to its spectra, kept on disk as it goes, with a report."""

from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._cost import STAGES, Cost, plan, seconds_of_a_call
from jaxnmr.workflow._folder import Step
from jaxnmr.workflow._inputs import Inputs, prepared
from jaxnmr.workflow._records import (
    Band,
    Ends,
    ExchangeOfNuclei,
    Explored,
    Point,
    RatesOfEvents,
    Relaxed,
    Sampled,
    SpectraAtField,
    TensorsOfStates,
)
from jaxnmr.workflow._result import Result
from jaxnmr.workflow._run import run

__all__ = [
    "STAGES",
    "Band",
    "Cost",
    "Ends",
    "ExchangeOfNuclei",
    "Explored",
    "Inputs",
    "Point",
    "RatesOfEvents",
    "Relaxed",
    "Result",
    "RunConfig",
    "Sampled",
    "SpectraAtField",
    "Step",
    "TensorsOfStates",
    "plan",
    "prepared",
    "run",
    "seconds_of_a_call",
]
