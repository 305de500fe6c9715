"""Atoms with their magnetic-resonance tensors, and the files they come from."""

from jaxnmr.structure._read import read, read_all
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._write import write

__all__ = ["Structure", "read", "read_all", "write"]
