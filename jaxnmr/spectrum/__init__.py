"""Experiments, line-shape solvers, spectra and their processing."""

from jaxnmr.spectrum import processing
from jaxnmr.spectrum._assemble import Decay
from jaxnmr.spectrum._axis import Axis
from jaxnmr.spectrum._echoes import HahnEcho, SolidEcho
from jaxnmr.spectrum._experiments import MAGIC_ANGLE, MAS, Static
from jaxnmr.spectrum._fid import FID
from jaxnmr.spectrum._grids import Fibonacci, Octahedral
from jaxnmr.spectrum._plot import plot_stack
from jaxnmr.spectrum._plot_regimes import plot_regimes
from jaxnmr.spectrum._plot_sites import plot_sites, site_spectra
from jaxnmr.spectrum._regimes import reduce, regimes
from jaxnmr.spectrum._resolution import Resolution
from jaxnmr.spectrum._simulate import Convergence, convergence, decay, resolve, simulate
from jaxnmr.spectrum._spectrum import Spectrum

__all__ = [
    "FID",
    "MAGIC_ANGLE",
    "MAS",
    "Axis",
    "Convergence",
    "Decay",
    "Fibonacci",
    "HahnEcho",
    "Octahedral",
    "Resolution",
    "SolidEcho",
    "Spectrum",
    "Static",
    "convergence",
    "decay",
    "plot_regimes",
    "plot_sites",
    "plot_stack",
    "processing",
    "reduce",
    "regimes",
    "resolve",
    "simulate",
    "site_spectra",
]
