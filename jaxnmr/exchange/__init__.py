"""Jump motion between sites, and its generator."""

from jaxnmr.exchange._averaged import AveragedExchange, liouvillian
from jaxnmr.exchange._liouvillian import Liouvillian, exchange_populations
from jaxnmr.exchange._merge import Reduced, merge
from jaxnmr.exchange._model import ExchangeModel
from jaxnmr.exchange._motion import Motion, Moving
from jaxnmr.exchange._motions import cone, flip, jumps, n_site_jump, tetrahedral_jump
from jaxnmr.exchange._regimes import Regimes, Scale, regimes_at

__all__ = [
    "AveragedExchange",
    "ExchangeModel",
    "Liouvillian",
    "Motion",
    "Moving",
    "Reduced",
    "Regimes",
    "Scale",
    "cone",
    "exchange_populations",
    "flip",
    "jumps",
    "liouvillian",
    "merge",
    "n_site_jump",
    "regimes_at",
    "tetrahedral_jump",
]
