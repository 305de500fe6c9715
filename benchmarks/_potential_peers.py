"""What other programs take for energies and forces of the structure that `potential.py` times.

Each function compiles and returns programs to be called in turns with ours; nothing is imported before it is wanted.
Positions are those of the structure; programs that ASE drives are given displaced ones, for ASE keeps what has not moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
from numpy.typing import NDArray

from jaxnmr.structure import Structure

PEERS = ("nequix", "mlip")
Contraction = Literal["e3j", "e3nn", "e3nn_symmetric", "gaunt_tp"]
CONTRACTIONS: tuple[Contraction, ...] = get_args(Contraction)
Kinds = Sequence[tuple[tuple[int, int], Contraction]]
CUTOFF = 5.0  # Å, of MACE
DISPLACEMENT = 0.02  # Å; no atom then rests by symmetry, and the list of neighbours changes


@dataclass(frozen=True)
class Program:
    """A compiled calculation of one structure.

    Attributes:
        name: program, version and how it is called.
        call: given the turn, computes and waits; energy (eV) and forces (eV/Å).
        compile_s: tracing, lowering and compiling; for a step of ASE the first call with all that it does.
        memory_mb: temporaries, 1e6 bytes; None where the program is not at hand.
        gives: what a call computes.
    """

    name: str
    call: Callable[[int], tuple[Any, Any]]
    compile_s: float
    memory_mb: float | None
    gives: str


def compiled(name: str, gives: str, function: Callable, *args, value: Callable[[Any], tuple[Any, Any]]) -> Program:
    """A program of a traceable function, whose result `value` turns into energy and forces."""
    args = jax.device_put(args)
    start = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - start
    memory = program.memory_analysis()
    size = None if memory is None else memory.temp_size_in_bytes / 1e6
    return Program(name, lambda _: value(jax.block_until_ready(program(*args))), seconds, size, gives)


def ase_step(name: str, structure: Structure, calculator: Any, precision: str | None = None) -> Program:
    """Energy, forces, stress and the list of neighbours as ASE asks for them, at two places in turns."""
    atoms = structure.to_ase()
    noise = np.random.default_rng(0).normal(size=(2, len(atoms), 3))
    places = atoms.positions + DISPLACEMENT * noise
    atoms.calc = calculator

    def step(turn: int) -> tuple[float, NDArray[np.float64]]:
        atoms.positions = places[turn % 2]
        with jax.default_matmul_precision(precision):
            energy, forces, _ = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        return energy, forces

    start = time.perf_counter()
    step(0)
    seconds = time.perf_counter() - start
    step(1)  # more neighbours may compile once more
    return Program(name, step, seconds, None, "energy, forces, stress, list")


def nequix(weights: Path, structure: Structure) -> Iterator[Program]:
    """The nequix package with its own reading of the weights: the bare network, and its calculator."""
    import jraph

    before = jax.config.values["jax_default_matmul_precision"]
    from nequix.calculator import NequixCalculator
    from nequix.data import dict_to_graphstuple, preprocess_graph

    # The package asks for "highest" on import, for the whole process: here for its own programs only.
    jax.config.update("jax_default_matmul_precision", before)
    name = f"nequix package {version('nequix')}"
    calculator = NequixCalculator(model_path=str(weights), backend="jax", use_kernel=False)
    graph = dict_to_graphstuple(preprocess_graph(structure.to_ase(), calculator.atom_indices, calculator.cutoff, False))
    # The model takes the last graph for one that fills up; one atom of it is the least that it needs.
    n = len(structure)
    graph = jraph.pad_with_graphs(graph, n_node=n + 1, n_edge=int(graph.n_edge[0]), n_graph=2)
    with jax.default_matmul_precision("highest"):
        bare = compiled(
            name,
            "energy, forces, stress",
            lambda model, graph: model(graph),
            calculator.model,
            graph,
            value=lambda result: (result[0][0], result[1][:n]),
        )
    yield bare
    yield ase_step(f"{name}, step of ASE", structure, calculator, "highest")


def mace(structure: Structure, degrees: tuple[int, int], contraction: Contraction) -> Program:
    """MACE of mlip with random weights: 128 channels, 2 layers, correlation 3, 5 Å, energy and forces.

    Args:
        structure: what to compute.
        degrees: highest of the spherical harmonics (`l_max`) and of the features between layers (`node_symmetry`).
        contraction: mlip's `symmetric_contraction_backend`.
    """
    from mlip.data.chemical_system import ChemicalSystem
    from mlip.data.dataset_info import DatasetInfo
    from mlip.graph import Graph
    from mlip.models import ForceField, Mace

    system = ChemicalSystem.from_ase_atoms(structure.to_ase(), get_property_fields=False)
    graph = Graph.from_chemical_system(system, CUTOFF)
    n = len(structure)
    info = DatasetInfo(
        atomic_energies_map={int(z): 0.0 for z in np.unique(system.atomic_numbers)},
        graph_cutoff_angstrom=CUTOFF,
        avg_num_neighbors=np.size(graph.senders) / n,
        avg_r_min_angstrom=1.6,
    )
    config = Mace.Config(
        num_channels=128,
        num_layers=2,
        correlation=3,
        l_max=degrees[0],
        node_symmetry=degrees[1],
        symmetric_contraction_backend=contraction,
    )
    predictors = []

    def built() -> Any:
        field = ForceField.from_mlip_network(Mace(config, info))
        predictors.append(field.predictor)
        return field.params

    # mlip's own initial numbers take a minute of small compilations and change no time: its shapes, normal numbers.
    # Smaller ones would let the features die away: with these the energy is 10 eV for harmonics to degree 1.
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), jax.eval_shape(built))

    def energy_and_forces(params: Any, graph: Graph) -> tuple[Any, Any]:
        result = predictors[0].apply(params, graph).to_prediction()
        return result.energy[0], result.forces

    name = f"mlip {version('mlip')} MACE, l = {degrees[0]}, features to {degrees[1]}, {contraction}"
    return compiled(name, "energy, forces", energy_and_forces, params, graph, value=tuple)


def peers(weights: Path, structure: Structure, names: Sequence[str], kinds: Kinds) -> Iterator[Program]:
    """Those of `names` that are installed; the others are said.

    Args:
        weights: a .nqx file.
        structure: what all compute.
        names: of `PEERS`.
        kinds: degrees of MACE, each with a contraction.
    """
    absent = [name for name in names if find_spec(name) is None]
    for name in absent:
        print(f"{name} is not installed and is left out", flush=True)
    if "nequix" in names and "nequix" not in absent:
        yield from nequix(weights, structure)
    if "mlip" in names and "mlip" not in absent:
        for degrees, contraction in kinds:
            yield mace(structure, degrees, contraction)
