"""Files of spectra and decays: one format a module, all through the records that they hand over."""

from jaxnmr.spectrum.files._axes import is_uniform
from jaxnmr.spectrum.files._formats import read_file, write_fid, write_spectrum
from jaxnmr.spectrum.files._record import FIDRecord, Meta, SpectrumRecord, Told
from jaxnmr.spectrum.files._settle import settle

__all__ = [
    "FIDRecord",
    "Meta",
    "SpectrumRecord",
    "Told",
    "is_uniform",
    "read_file",
    "settle",
    "write_fid",
    "write_spectrum",
]
