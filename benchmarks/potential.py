"""Energy and forces of alpha-quartz supercells: compile time, run time, memory, and how they grow with the atoms.

    python benchmarks/potential.py ../shared/weights/nequix-oam-1.nqx
    python benchmarks/potential.py ../shared/weights/nequix-oam-1.nqx --cells 3,3,3 10,10,11 --repeats 3

Single precision. Wall time is the fastest of the repeats; processor time, summed over threads, is what the calculation
takes where the machine is shared. With `--frames` also how many sizes of arrays the structures of a file need, that is
how often a new structure compiles.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import numpy as np
from _measure import environment, load

from jaxnmr.potential import Potential, load_potential
from jaxnmr.potential._evaluate import derivatives
from jaxnmr.structure import Structure, bucket, neighbor_pairs, read_all

A, C = 4.916, 5.4054


def quartz(repeats: tuple[int, int, int]) -> Structure:
    """Alpha-quartz P3_2 21, repeated."""
    sites = {"Si": (0.4697, 0.0, 2 / 3), "O": (0.4135, 0.2669, 0.7858)}
    species, fractional = [], []
    for symbol, (x, y, z) in sites.items():
        images = [(x, y, z), (-y, x - y, z + 2 / 3), (y - x, -x, z + 1 / 3)]
        if symbol == "O":  # silicon lies on the twofold axes
            images += [(y, x, -z), (x - y, -y, 1 / 3 - z), (-x, y - x, 2 / 3 - z)]
        species += [symbol] * len(images)
        fractional += images
    cell = np.array([[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0], [0, 0, C]])
    shifts = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
    everywhere = (np.array(fractional)[None] + shifts[:, None]).reshape(-1, 3) @ cell
    return Structure(species * len(shifts), everywhere, cell * np.array(repeats)[:, None])


def run(potential: Potential, structure: Structure, repeats: int) -> str:
    """One line of the table."""
    start = time.perf_counter()
    batch = potential.prepare([structure])
    listed = time.perf_counter() - start
    arguments = jax.device_put((potential._network, batch.positions, batch.cell, batch.graph))
    start = time.perf_counter()
    compiled = derivatives.lower(*arguments).compile()
    compiling = time.perf_counter() - start
    result = jax.block_until_ready(compiled(*arguments))
    wall, processor = [], []
    for _ in range(repeats):
        begin, used = time.perf_counter(), time.process_time()
        result = jax.block_until_ready(compiled(*arguments))
        wall.append(time.perf_counter() - begin)
        processor.append(time.process_time() - used)
    size = compiled.memory_analysis().temp_size_in_bytes / 1e6
    n = len(structure)
    assert np.isfinite(result[1]).all()
    return (
        f"{n:6d} {batch.graph.n_edges:8d} {batch.graph.n_atoms:6d}x{batch.graph.n_neighbors:<4d} {listed:7.3f} "
        f"{compiling:8.1f} {min(wall):8.3f} {min(processor):9.3f} {1e3 * min(processor) / n:8.2f} {size:9.0f}"
    )


def sizes(path: Path, cutoff: float) -> str:
    """How many shapes the structures of a file fall into."""
    shapes = []
    for structure in read_all(path):
        i, _, _, _ = neighbor_pairs(structure, cutoff)
        shapes.append((bucket(len(structure)), bucket(int(np.bincount(i, minlength=1).max()))))
    return f"{path.name}: {len(shapes)} structures, {len(set(shapes))} sizes"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--cells", nargs="+", default=["2,2,2", "3,3,3", "4,4,4", "6,6,6"])
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--frames", nargs="*", type=Path, default=[])
    given = parser.parse_args()
    potential = load_potential(given.model, "float32")
    print(environment(), f"load {load()}")
    for path in given.frames:
        print(sizes(path, potential.cutoff))
    print(" atoms    edges     arrays  list/s compile/s   wall/s  proc'r/s ms/atom    MB temp")
    for text in given.cells:
        a, b, c = map(int, text.split(","))
        print(run(potential, quartz((a, b, c)), given.repeats), flush=True)


if __name__ == "__main__":
    main()
