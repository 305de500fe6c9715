"""Frames of KHCO3 with a teacher's energies, forces and stresses, for the potential that the package ships.

    python scripts/khco3_frames.py FRAMES TEACHER

FRAMES are the 300 molecular-dynamics frames (300, 500, 700 K) made for this project, TEACHER a foundation potential such as
nequix-oam-1.nqx. All frames are labelled anew (stresses included), and others are added: strained cells with protons on
their way across the hydrogen bonds, and molecular dynamics at 200 and 900 K to learn from, at 400 and 600 K to be tested on.
The result, scripts/data/khco3-frames.extxyz.xz, is what scripts/khco3_potential.py reads; it is free to copy.
"""

from __future__ import annotations

import lzma
import sys
from pathlib import Path

import numpy as np

from jaxnmr.potential import Potential, load_potential
from jaxnmr.saving import written_aside
from jaxnmr.structure import Structure, neighbor_pairs, read_frames

HERE = Path(__file__).parent
TARGET = HERE / "data" / "khco3-frames.extxyz.xz"
# What each group is for: learning, choosing the best epoch (every tenth of those), or testing only.
LEARN, TEST = "learn", "test"


def line(structure: Structure, potential: Potential, group: str, purpose: str) -> str:
    """One frame as text, labelled."""
    result = potential.energy_forces_stress(structure)
    cell = " ".join(f"{x:.6f}" for x in np.asarray(structure.cell).ravel())
    stress = " ".join(f"{x:.7f}" for x in np.asarray(result.stress).ravel())
    head = f'Lattice="{cell}" Properties=species:S:1:pos:R:3:forces:R:3 energy={result.energy:.5f} stress="{stress}"'
    rows = [
        f"{symbol} " + " ".join(f"{x:.5f}" for x in position) + " " + " ".join(f"{x:.4f}" for x in force)
        for symbol, position, force in zip(structure.species, structure.positions, result.forces, strict=True)
    ]
    return "\n".join([str(len(structure)), f'{head} group={group} purpose={purpose} pbc="T T T"', *rows])


def moved(structure: Structure, positions: np.ndarray, cell: np.ndarray | None = None) -> Structure:
    """The same atoms elsewhere."""
    return Structure(structure.species, positions, structure.cell if cell is None else cell, structure.pbc)


def transferred(structure: Structure, rng: np.random.Generator) -> Structure:
    """A strained cell, shaken atoms, and some protons on their way to the oxygen on the other side."""
    positions, cell = np.array(structure.positions), np.array(structure.cell)
    i, j, shifts, distances = neighbor_pairs(structure, 2.2)
    for proton in [k for k, symbol in enumerate(structure.species) if symbol == "H"]:
        mine = np.flatnonzero((i == proton) & (np.array(structure.species)[j] == "O"))
        if len(mine) < 2 or rng.uniform() < 0.4:
            continue
        near, far = mine[np.argsort(distances[mine])[:2]]
        ends = [positions[j[k]] + shifts[k] @ cell for k in (near, far)]
        # So far along the line between the oxygens, beside where it was across that line.
        share, axis = rng.uniform(0.0, 1.0), ends[1] - ends[0]
        across = (ends[0] + ends[1] - 2 * positions[proton]) @ axis / (axis @ axis)
        positions[proton] = positions[proton] + share * across * axis
    positions += rng.normal(0, 0.02, positions.shape)
    strain = rng.normal(0, 0.015, (3, 3))
    stretch = np.eye(3) + (strain + strain.T) / 2
    return moved(structure, positions @ stretch, cell @ stretch)


def dynamics(start: Structure, potential: Potential, kelvin: float, steps: int, every: int, seed: int) -> list[Structure]:
    """Langevin dynamics of 0.5 fs a step; frames after the first 60 fs."""
    from ase import Atoms, units
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    atoms = Atoms(list(start.species), np.asarray(start.positions), cell=np.asarray(start.cell), pbc=True)
    atoms.calc = potential.calculator()
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=kelvin, rng=rng)
    motion = Langevin(atoms, 0.5 * units.fs, temperature_K=kelvin, friction=0.05 / units.fs, rng=rng)
    frames = []
    for step in range(steps):
        motion.run(1)
        if step >= 120 and step % every == 0:
            frames.append(moved(start, atoms.get_positions()))
    return frames


def main(source: str, teacher: str) -> None:
    """Label and write."""
    potential, rng = load_potential(teacher), np.random.default_rng(7)
    frames = [frame.structure for frame in read_frames(source)]
    groups = [("300-700K", LEARN, frames)]
    groups.append(("transfer", LEARN, [transferred(frames[k], rng) for k in rng.permutation(len(frames))[:150]]))
    hot = {"200K": (200, frames[50], LEARN), "900K": (900, frames[290], LEARN)}
    hot |= {"400K": (400, frames[150], TEST), "600K": (600, frames[250], TEST)}
    for name, (kelvin, start, purpose) in hot.items():
        groups.append((name, purpose, dynamics(start, potential, kelvin, 420, 6, seed=kelvin)))
        print(name, flush=True)
    text = "\n".join(line(each, potential, name, purpose) for name, purpose, some in groups for each in some) + "\n"
    TARGET.parent.mkdir(exist_ok=True)
    with written_aside(TARGET) as aside:
        aside.write_bytes(lzma.compress(text.encode(), preset=9))
    print(f"{TARGET}: {sum(len(some) for *_, some in groups)} frames")


if __name__ == "__main__":
    main(*sys.argv[1:3])
