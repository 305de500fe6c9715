"""Fits of parameters to measured spectra, with their errors."""

from jaxnmr.fitting import _models as models
from jaxnmr.fitting._compare import Comparison, ResidualTest, compare, residual_test
from jaxnmr.fitting._constraints import Constraint, Free, Interval, LogRate, Ordered, Positive, Simplex, Unit
from jaxnmr.fitting._fit import fit
from jaxnmr.fitting._gradient import Gradient
from jaxnmr.fitting._kinetics import arrhenius, boltzmann, eyring
from jaxnmr.fitting._levenberg import LevenbergMarquardt
from jaxnmr.fitting._linear import Coefficients, Linear
from jaxnmr.fitting._many import FitBatch, fit_many
from jaxnmr.fitting._multistart import MultiStart
from jaxnmr.fitting._problem import Prior
from jaxnmr.fitting._profile import Profile, profile
from jaxnmr.fitting._result import Bound, FitResult, Optimum
from jaxnmr.fitting._sample import Samples, sample
from jaxnmr.fitting._status import Code, FitError, FitStatus, FitWarning

__all__ = [
    "Bound",
    "Code",
    "Coefficients",
    "Comparison",
    "Constraint",
    "FitBatch",
    "FitError",
    "FitResult",
    "FitStatus",
    "FitWarning",
    "Free",
    "Gradient",
    "Interval",
    "LevenbergMarquardt",
    "Linear",
    "LogRate",
    "MultiStart",
    "Optimum",
    "Ordered",
    "Positive",
    "Prior",
    "Profile",
    "ResidualTest",
    "Samples",
    "Simplex",
    "Unit",
    "arrhenius",
    "boltzmann",
    "compare",
    "eyring",
    "fit",
    "fit_many",
    "models",
    "profile",
    "residual_test",
    "sample",
]
