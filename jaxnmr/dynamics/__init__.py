"""Minima, saddles, paths, vibrations and motion on any potential-energy surface."""

from jaxnmr.dynamics._adapters import from_ase, from_jax_md
from jaxnmr.dynamics._band import Spring, String
from jaxnmr.dynamics._band_search import Path
from jaxnmr.dynamics._dimer import Saddle, dimer
from jaxnmr.dynamics._ensembles import NVE, Langevin, NoseHoover
from jaxnmr.dynamics._fingerprint import fingerprint
from jaxnmr.dynamics._frames import Frames
from jaxnmr.dynamics._hopping import Hops, minima_hopping
from jaxnmr.dynamics._idpp import idpp
from jaxnmr.dynamics._images import nearest_image
from jaxnmr.dynamics._implicit import stationary
from jaxnmr.dynamics._matching import Matching, match_endpoints
from jaxnmr.dynamics._md import md
from jaxnmr.dynamics._md_result import MDResult, Observed
from jaxnmr.dynamics._minimise import Minimum, minimise
from jaxnmr.dynamics._neb import neb
from jaxnmr.dynamics._npt import NPT
from jaxnmr.dynamics._observe import Observable, mean_error
from jaxnmr.dynamics._optimisers import FIRE, LBFGS
from jaxnmr.dynamics._status import SearchError, Status
from jaxnmr.dynamics._surface import Surface
from jaxnmr.dynamics._system import Ending, MDState, MotionError
from jaxnmr.dynamics._trajectory import read_trajectory
from jaxnmr.dynamics._units import ATOMIC, OMEGA, REDUCED, Units
from jaxnmr.dynamics._vibrations import Vibrations, vibrations

__all__ = [
    "ATOMIC",
    "FIRE",
    "LBFGS",
    "NPT",
    "NVE",
    "OMEGA",
    "REDUCED",
    "Ending",
    "Frames",
    "Hops",
    "Langevin",
    "MDResult",
    "MDState",
    "Matching",
    "Minimum",
    "MotionError",
    "NoseHoover",
    "Observable",
    "Observed",
    "Path",
    "Saddle",
    "SearchError",
    "Spring",
    "Status",
    "String",
    "Surface",
    "Units",
    "Vibrations",
    "dimer",
    "fingerprint",
    "from_ase",
    "from_jax_md",
    "idpp",
    "match_endpoints",
    "md",
    "mean_error",
    "minima_hopping",
    "minimise",
    "nearest_image",
    "neb",
    "read_trajectory",
    "stationary",
    "vibrations",
]
