"""Jump motion between sites, and its generator."""

from jaxnmr.exchange._liouvillian import Liouvillian, exchange_populations, liouvillian
from jaxnmr.exchange._model import ExchangeModel

__all__ = ["ExchangeModel", "Liouvillian", "exchange_populations", "liouvillian"]
