"""Files of spectra and decays: one format a module, all through the records that they hand over."""

from jaxnmr.spectrum.files._axes import is_uniform
from jaxnmr.spectrum.files._formats import read_file, write_fid, write_spectrum
from jaxnmr.spectrum.files._record import FIDRecord, Meta, SpectrumRecord
from jaxnmr.spectrum.files._settle import settle_fid, settle_spectrum

__all__ = [
    "FIDRecord",
    "Meta",
    "SpectrumRecord",
    "is_uniform",
    "read_file",
    "settle_fid",
    "settle_spectrum",
    "write_fid",
    "write_spectrum",
]
