"""Minima, saddles, paths, vibrations and motion on any potential-energy surface."""

from jaxnmr.dynamics._adapters import from_ase, from_jax_md
from jaxnmr.dynamics._band import Spring, String
from jaxnmr.dynamics._dimer import Saddle, dimer
from jaxnmr.dynamics._idpp import idpp
from jaxnmr.dynamics._implicit import stationary
from jaxnmr.dynamics._matching import Matching, match_endpoints
from jaxnmr.dynamics._minimise import Minimum, minimise
from jaxnmr.dynamics._neb import Path, neb
from jaxnmr.dynamics._optimisers import FIRE, LBFGS
from jaxnmr.dynamics._status import SearchError, Status
from jaxnmr.dynamics._surface import Surface
from jaxnmr.dynamics._vibrations import OMEGA, Vibrations, vibrations

__all__ = [
    "FIRE",
    "LBFGS",
    "OMEGA",
    "Matching",
    "Minimum",
    "Path",
    "Saddle",
    "SearchError",
    "Spring",
    "Status",
    "String",
    "Surface",
    "Vibrations",
    "dimer",
    "from_ase",
    "from_jax_md",
    "idpp",
    "match_endpoints",
    "minimise",
    "neb",
    "stationary",
    "vibrations",
]
