"""GIAO labels of KHCO3 frames unlike those that its tensor model has learnt from: at 900 K, and with protons on their way.

    python scripts/khco3_shifted.py [COUNT]

COUNT frames (16 unless given) of each of these two groups of scripts/data/khco3-frames.extxyz.xz, evenly chosen, are
labelled as those of scripts/data/khco3-labels.extxyz.xz were: one bicarbonate dimer of the frame, isolated and of charge -2,
RKS-PBE, pcSseg-1, half a minute each. Needs pyscf, pyscf-properties and basis_set_exchange. A run that was broken off
goes on from build/khco3-shifted.extxyz. With `--check` a frame of known labels is computed again instead and compared. The
result, scripts/data/khco3-shifted.extxyz.xz, is free to copy; benchmarks/tensors.py tests the shipped model on it.
"""

from __future__ import annotations

import lzma
import sys
import time

import numpy as np
from _khco3 import ROOT, frames

from jaxnmr.potential import EFG, SHIELDING
from jaxnmr.saving import written_aside
from jaxnmr.structure import Structure

TARGET, PART = ROOT / "scripts" / "data" / "khco3-shifted.extxyz.xz", ROOT / "build" / "khco3-shifted.extxyz"
GROUPS = ("900K", "transfer")


def responses(mf, mo_coeff, mo_occ):
    """Response potential for any number of vectors; that of pyscf-properties 0.1.0 assumes three."""
    from pyscf import lib

    response = mf.gen_response(singlet=True, hermi=2)
    occupied = mo_coeff[:, mo_occ > 0]
    n_occupied, n_orbitals = occupied.shape[1], mo_coeff.shape[1]

    def vind(first_order):
        half = [mo_coeff @ (x * 2) @ occupied.T.conj() for x in first_order.reshape(-1, n_orbitals, n_occupied)]
        densities = np.asarray([d - d.conj().T for d in half])
        return lib.einsum("xpq,pi,qj->xij", response(densities), mo_coeff.conj(), occupied).ravel()

    return vind


def dimer(structure: Structure, carbon: int, others: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray] | None:
    """Atoms and positions of the dimer of a carbon: two of C, three of O each, the two H between; None if there is none.

    Args:
        structure: the crystal.
        carbon: which of its carbons.
        others: atoms that it has to consist of.
    """
    cell, n, repeats = np.asarray(structure.cell), len(structure), np.array([3, 3, 5])
    shifts = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3) - repeats // 2
    x = (np.asarray(structure.positions)[None] + (shifts @ cell)[:, None]).reshape(-1, 3)
    symbols = np.tile(np.array(structure.species), len(shifts))
    carbons, oxygens, hydrogens = (np.flatnonzero(symbols == symbol) for symbol in "COH")

    def near(i: int, group: np.ndarray) -> np.ndarray:
        return group[np.argsort(np.linalg.norm(x[group] - x[i], axis=1))]

    def reach(h: int, group: list[int]) -> float:
        return min(float(np.linalg.norm(x[h] - x[o])) for o in group)

    middle = int(np.flatnonzero((shifts == 0).all(axis=1))[0])
    first = n * middle + int(np.flatnonzero(np.array(structure.species) == "C")[carbon])
    own = [int(o) for o in near(first, oxygens)[:3]]
    protons = [int(h) for h in near(first, hydrogens)[:12] if reach(h, own) < 2.0]
    for second in (int(c) for c in near(first, carbons)[1:9]):
        theirs = [int(o) for o in near(second, oxygens)[:3]]
        shared = [h for h in protons if reach(h, theirs) < 2.1]
        members = np.array([first, second, *own, *theirs, *shared])
        if len(shared) == 2 and (others is None or set(others) == set((members % n).tolist())):
            return members % n, x[members]
    return None


def tensors(symbols: list[str], positions: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Shielding, ppm, and field gradient, a.u., of each atom; None where the density does not converge."""
    import pyscf.prop.nmr.rhf as rhf
    from pyscf import dft, gto
    from pyscf.prop import efg, nmr

    rhf.gen_vind = responses
    centred = positions - positions.mean(axis=0)
    molecule = gto.M(atom=list(zip(symbols, centred, strict=True)), basis="pcSseg-1", charge=-2, verbose=0, unit="Ang")
    field = dft.RKS(molecule)
    field.xc, field.grids.level, field.conv_tol = "pbe", 2, 1e-9
    field.grids.alignment = dft.numint.BLKSIZE
    field.kernel()
    solver = nmr.RKS(field)
    solver.verbose = 0
    return (np.array(solver.kernel()), np.array(efg.EFG(field))) if field.converged else None


def line(structure: Structure, group: str, atoms: np.ndarray, sigma: np.ndarray, gradient: np.ndarray) -> str:
    """One frame as text; zero where there is no label."""
    cell = " ".join(f"{x:.6f}" for x in np.asarray(structure.cell).ravel())
    columns = "species:S:1:pos:R:3:shielding_ppm:R:9:efg_au:R:9"
    rows = [f'{len(structure)}\nLattice="{cell}" Properties={columns} group={group} pbc="T T T"']
    place = {int(atom): k for k, atom in enumerate(atoms)}
    for atom, (symbol, position) in enumerate(zip(structure.species, np.asarray(structure.positions), strict=True)):
        k = place.get(atom)
        numbers = ["0"] * 18
        if k is not None:
            numbers = [f"{x:.3f}" for x in sigma[k].ravel()] + [f"{x:.5f}" for x in gradient[k].ravel()]
        rows.append(f"{symbol} " + " ".join([*(f"{x:.5f}" for x in position), *numbers]))
    return "\n".join(rows) + "\n"


def check() -> None:
    """A frame of known labels: the largest differences."""
    _, sample = frames("khco3-labels", "temperature_K", (SHIELDING, EFG))[0]
    given = sample.values
    there = np.flatnonzero(~np.isnan(given[0]).any(axis=(1, 2)))
    for carbon in range(4):
        found = dimer(sample.structure, carbon, tuple(there.tolist()))
        if found is not None:
            made = tensors([sample.structure.species[k] for k in found[0]], found[1])
            assert made is not None
            for name, known, new in zip(("shielding, ppm", "efg, a.u."), given, made, strict=True):
                print(f"{name}: largest difference {np.abs(known[found[0]] - new).max():.2g}")
            return
    raise RuntimeError("the labelled dimer is not found")


def main(count: int = 16) -> None:
    """Label and write."""
    every = frames("khco3-frames", "group")
    PART.parent.mkdir(exist_ok=True)
    done = PART.read_text().count("Lattice=") if PART.exists() else 0
    rng, number = np.random.default_rng(11), 0
    for group in GROUPS:
        mine = [sample.structure for name, sample in every if name == group]
        for k in np.linspace(0, len(mine) - 1, count).round().astype(int):
            structure, carbons = mine[k], rng.permutation(4)
            found = next((dimer for dimer in (dimer(structure, int(c)) for c in carbons) if dimer is not None), None)
            if found is None:
                print(f"{group} {k}: no dimer")
                continue
            number += 1
            if number <= done:
                continue
            begun = time.perf_counter()
            made = tensors([structure.species[atom] for atom in found[0]], found[1])
            if made is None:
                raise RuntimeError(f"{group} {k}: the density does not converge")
            with PART.open("a") as file:
                file.write(line(structure, group, found[0], *made))
            print(f"{group} {k}: {time.perf_counter() - begun:.0f} s", flush=True)
    with written_aside(TARGET) as aside:
        aside.write_bytes(lzma.compress(PART.read_bytes(), preset=9))
    print(f"{TARGET}: {number} frames, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    check() if "--check" in sys.argv else main(*map(int, sys.argv[1:2]))
