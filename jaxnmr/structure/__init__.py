"""Atoms with their magnetic-resonance tensors, the files they come from, and the graphs of their neighbours."""

from jaxnmr.structure._elements import ELEMENTS
from jaxnmr.structure._frames import Frame, read_frames
from jaxnmr.structure._graph import Batch, Graph, bucket
from jaxnmr.structure._graph_build import as_structure, atomic_numbers, batch_graphs, neighbor_graph, neighbor_pairs
from jaxnmr.structure._graph_update import NeighborList
from jaxnmr.structure._read import read, read_all
from jaxnmr.structure._structure import Structure
from jaxnmr.structure._supercell import repeated, supercell
from jaxnmr.structure._symmetry import Operation, symmetries
from jaxnmr.structure._write import write

__all__ = [
    "ELEMENTS",
    "Batch",
    "Frame",
    "Graph",
    "NeighborList",
    "Operation",
    "Structure",
    "as_structure",
    "atomic_numbers",
    "batch_graphs",
    "bucket",
    "neighbor_graph",
    "neighbor_pairs",
    "read",
    "read_all",
    "read_frames",
    "repeated",
    "supercell",
    "symmetries",
    "write",
]
