"""NequIP-class networks: configuration, flax module, and the weights of Nequix."""

from jaxnmr.potential.nequip._config import NequipConfig
from jaxnmr.potential.nequip._nqx import is_nqx, read_nqx

__all__ = ["NequipConfig", "is_nqx", "read_nqx"]
