"""Energy and forces of alpha-quartz supercells: compile time, run time, memory, how they grow, and what others take.

    python benchmarks/potential.py ../shared/weights/nequix-oam-1.nqx            # everything
    python benchmarks/potential.py ../shared/weights/nequix-oam-1.nqx --cells 3,3,3 10,10,11 --peers
    python benchmarks/potential.py ../shared/weights/nequix-oam-1.nqx --cells --peers mlip --contractions e3j e3nn
    python benchmarks/potential.py ../shared/weights/nequix-oam-1.nqx --cells --peers --teacher   # the shipped one beside
    python benchmarks/potential.py ../shared/weights/nequix-oam-1.nqx --cells --peers --kernels   # cuEquivariance's beside

Single precision. First supercells of growing size, then 243 atoms beside the nequix package with the same weights and mlip's
MACE with random ones; a peer that is not installed is said and left out. All programs of the comparison are compiled first
and then called in turns, so that what else the machine does falls on all alike. Wall time is the median of the repeats;
processor time, summed over threads, is the least of them: what the calculation takes where the machine is shared.

Results are merged into `--out` case by case, with a picture of the same name: a run of some sizes or peers keeps the others.
With `--frames` also how many sizes of arrays the structures of a file need, that is how often a new structure compiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _figures import COLOURS
from _measure import ROOT, environment, load
from _potential_peers import CONTRACTIONS, PEERS, Contraction, Kinds, Program, ase_step, compiled, peers

from jaxnmr.potential import Potential, load_potential
from jaxnmr.potential._evaluate import derivatives
from jaxnmr.structure import Structure, neighbor_graph, read, read_all, repeated

A, C = 4.916, 5.4054
COMPARED = (3, 3, 3)  # 243 atoms
OURS, OURS_ASE = "jaxnmr", "jaxnmr, step of ASE"
# MACE's degrees of harmonics and of features between layers, each with the contraction to time: at 1,1 all take the same,
# at 3,3 gaunt_tp (a contraction without Clebsch-Gordan coefficients) took the least; `--contractions` times the others.
USUAL: Contraction = "e3j"  # mlip's own choice
BEST: dict[tuple[int, int], Contraction] = {(1, 1): "e3j", (3, 1): "e3j", (3, 3): "gaunt_tp"}
SAME_ENERGY, SAME_FORCES = 1e-4, 1e-3  # eV an atom, eV/Å: single precision of two programs with the same weights


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


def ours(potential: Potential, structure: Structure, name: str = OURS) -> tuple[Program, dict[str, Any]]:
    """Our calculation, compiled, and the sizes of its arrays."""
    start = time.perf_counter()
    batch = potential.prepare([structure])
    listed = time.perf_counter() - start
    n = len(structure)

    def value(result: Any) -> tuple[Any, Any]:
        return potential._host_energies(result[0], batch).sum(), result[1][:n]

    arguments = (potential._network, batch.positions, batch.cell, batch.graph)
    program = compiled(name, "energy, forces, stress", derivatives, *arguments, value=value)
    graph = batch.graph
    return program, {"edges": graph.n_edges, "rows": graph.n_atoms, "row_length": graph.n_neighbors, "list_s": listed}


def called(programs: Sequence[Program], repeats: int, budget: float = 60.0) -> list[dict[str, Any]]:
    """Times and values of programs that are called in turns.

    Args:
        programs: compiled.
        repeats: turns, after one that does not count.
        budget: seconds after which no further turn starts; two are made in any case.
    """
    values = [program.call(0) for program in programs]
    wall: list[list[float]] = [[] for _ in programs]
    processor: list[list[float]] = [[] for _ in programs]
    for turn in range(1, repeats + 1):
        if turn > 2 and sum(map(sum, wall)) > budget:
            break
        for program, seconds, used in zip(programs, wall, processor, strict=True):
            begin, before = time.perf_counter(), time.process_time()
            program.call(turn)
            seconds.append(time.perf_counter() - begin)
            used.append(time.process_time() - before)
    return [
        {
            "run_s": statistics.median(seconds),
            "spread_s": [min(seconds), max(seconds)],
            "processor_s": min(used),
            "value": value,
        }
        for seconds, used, value in zip(wall, processor, values, strict=True)
    ]


def row_of(program: Program, timed: dict[str, Any], n: int) -> dict[str, Any]:
    """What is written down of a program; the forces are not."""
    energy, forces = timed.pop("value")
    if not np.isfinite(np.asarray(forces)).all():
        raise FloatingPointError(f"{program.name}: forces that are no numbers")
    cached = jax.config.values["jax_compilation_cache_dir"] is not None
    return {
        "program": program.name,
        "gives": program.gives,
        "atoms": n,
        "compile_s": None if cached else program.compile_s,  # a time from a cache says nothing
        "memory_mb": program.memory_mb,
        "energy_ev_per_atom": float(energy) / n,
    } | timed


def growth(potential: Potential, structure: Structure, repeats: int) -> dict[str, Any]:
    """One size of ours."""
    before = load()
    program, arrays = ours(potential, structure)
    (timed,) = called([program], repeats)
    row = row_of(program, timed, len(structure)) | arrays
    return {"case": f"{len(structure)} atoms"} | row | {"load": [before, load()]}


def beside_peers(potential: Potential, weights: Path, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Ours and the peers on the same structure, a row a program, each with our time of the same turns."""
    before = load()
    structure = quartz(COMPARED)
    n = len(structure)
    wanted: Sequence[Contraction] = given.contractions or ()
    kinds: Kinds = [(degrees, kind) for degrees in given.mace for kind in wanted or (BEST.get(degrees, USUAL),)]
    programs = [ours(potential, structure)[0], ase_step(OURS_ASE, structure, potential.calculator())]
    programs += peers(weights, structure, given.peers, kinds)
    timed = called(programs, given.repeats)
    results = {program.name: result for program, result in zip(programs, timed, strict=True)}
    times = {name: result["run_s"] for name, result in results.items()}
    values = {name: result["value"] for name, result in results.items()}
    for program in programs:
        row = {"case": f"{n} atoms in turns: {program.name}"} | row_of(program, results[program.name], n)
        base = OURS_ASE if program.name.endswith("step of ASE") else OURS
        row |= {"ours_s": times[base], "ratio": row["run_s"] / times[base]}
        if program.name.startswith("nequix"):
            row |= differences(values[program.name], values[base], n)
        yield row | {"load": [before, load()]}


def beside_kernels(potential: Potential, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Our products and cuEquivariance's in the same network, in turns."""
    structure, before = quartz(COMPARED), load()
    n, other = len(structure), f"{OURS}, products by cuEquivariance"
    kernels = potential.with_products("cuequivariance")
    programs = [ours(potential, structure)[0], ours(kernels, structure, other)[0]]
    timed = called(programs, given.repeats)
    own, theirs = (each["value"] for each in timed)
    seconds = timed[0]["run_s"]
    for program, each in zip(programs, timed, strict=True):
        row = {"case": f"{n} atoms, kernels: {program.name}"} | row_of(program, each, n)
        row |= {"ours_s": seconds, "ratio": row["run_s"] / seconds}
        if program.name == other:
            row |= differences(theirs, own, n)
        yield row | {"load": [before, load()]}


def beside_teacher(teacher: Potential, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The potential for KHCO3 that the package ships and its teacher, in turns on one cell and on eight."""
    student = load_potential("khco3", "float32")
    crystal = read(ROOT / "jaxnmr" / "data" / "khco3.extxyz")
    for times in ((1, 1, 1), (2, 2, 2)):
        structure, before = repeated(crystal, times), load()
        n = len(structure)
        programs = [ours(each, structure)[0] for each in (student, teacher)]
        small, large = called(programs, max(given.repeats, 10))
        for name, program, timed in (("shipped", programs[0], small), ("teacher", programs[1], large)):
            seconds = timed["run_s"]
            row = {"case": f"KHCO3, {n} atoms: {name}"} | row_of(program, timed, n) | {"program": f"{name}, KHCO3"}
            yield row | {"shipped_s": small["run_s"], "ratio": seconds / small["run_s"], "load": [before, load()]}


def differences(theirs: tuple[Any, Any], ours: tuple[Any, Any], n: int) -> dict[str, Any]:
    """How far two programs with the same weights are apart."""
    energy = abs(float(theirs[0]) - float(ours[0])) / n
    forces = float(np.abs(np.asarray(theirs[1], np.float64) - np.asarray(ours[1], np.float64)).max())
    agree = energy <= SAME_ENERGY and forces <= SAME_FORCES
    return {"energy_apart_ev_per_atom": energy, "forces_apart_ev_per_a": forces, "agree": agree}


def told(row: dict[str, Any]) -> str:
    """One line of the table."""
    compiling = "-" if row["compile_s"] is None else f"{row['compile_s']:.1f}"
    memory = "-" if row["memory_mb"] is None else f"{row['memory_mb']:.0f}"
    line = (
        f"{row['atoms']:6d} {compiling:>9} {row['run_s']:8.3f} {row['processor_s']:8.3f} "
        f"{1e3 * row['run_s'] / row['atoms']:8.2f} {memory:>8} {row['energy_ev_per_atom']:11.5f}  {row['program']}"
    )
    if row.get("ratio", 1.0) != 1.0:
        line += f": {row['ratio']:.2f} x ours"
    if "agree" in row:
        apart = f"{row['energy_apart_ev_per_atom']:.1e} eV an atom, {row['forces_apart_ev_per_a']:.1e} eV/Å"
        line += f"; apart by {apart}{'' if row['agree'] else ': THEY DO NOT AGREE'}"
    return line


def sizes(path: Path, cutoff: float) -> str:
    """How many shapes the structures of a file fall into."""
    shapes = []
    for structure in read_all(path):
        graph = neighbor_graph(structure, cutoff)
        shapes.append((graph.n_atoms, graph.n_neighbors))
    return f"{path.name}: {len(shapes)} structures, {len(set(shapes))} sizes"


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log value against log size over the larger half of the points, where fixed costs matter least."""
    upper = -max(2, (len(sizes) + 1) // 2)
    return float(np.polyfit(np.log(sizes[upper:]), np.log(values[upper:]), 1)[0])


def shown_peers(known: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The peers' rows to draw: of MACE at each degree the fastest contraction."""
    fastest: dict[str, dict[str, Any]] = {}
    for case, row in known.items():
        name = row["program"]
        if "in turns" not in case or name == OURS:
            continue
        label = name.rpartition(", ")[0] if "MACE" in name else name
        if label not in fastest or row["run_s"] < fastest[label]["run_s"]:
            fastest[label] = row
    return fastest


def draw(known: dict[str, dict[str, Any]], path: Path) -> None:
    """Time and memory against atoms: ours at all sizes with a line of slope one, the peers where they were timed."""
    from matplotlib.figure import Figure

    rows = sorted((row for case, row in known.items() if case.endswith(" atoms")), key=lambda row: row["atoms"])
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, key, label in zip(panels, ("run_s", "memory_mb"), ("time of a call / s", "temporaries / MB"), strict=True):
        points = [(row["atoms"], row[key]) for row in rows if row[key] is not None]
        if len(points) > 1:
            atoms, values = map(list, zip(*points, strict=True))
            slope = exponent(atoms, values)
            panel.loglog(atoms, values, "o-", color=COLOURS[0], label=f"{OURS}: exponent {slope:.2f}, larger half")
            panel.loglog(atoms, [values[-1] * n / atoms[-1] for n in atoms], ":", color="0.6", lw=1, label="slope one")
        for marker, (name, row) in zip("sD^v<>ph", shown_peers(known).items(), strict=False):
            if row[key] is not None:
                colour = COLOURS[0] if name.startswith(OURS) else "0.3"
                panel.loglog(row["atoms"], row[key], marker, fillstyle="none", color=colour, ms=6, label=name)
        panel.set(xlabel="atoms", ylabel=label)
        panel.set_xticks([row["atoms"] for row in rows], [str(row["atoms"]) for row in rows], fontsize=7)
        panel.minorticks_off()
        panel.legend(frameon=False, fontsize=7, loc="lower right")  # below the line of slope one
    figure.savefig(path, dpi=150)


def rows(potential: Potential, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of all sizes, then those of the comparison."""
    for text in given.cells:
        a, b, c = map(int, text.split(","))
        yield growth(potential, quartz((a, b, c)), given.repeats)
    if given.teacher:
        yield from beside_teacher(potential, given)
    if given.kernels:
        yield from beside_kernels(potential, given)
    if given.peers:
        yield from beside_peers(potential, given.model, given)


def pair(text: str) -> tuple[int, int]:
    """Two numbers with a comma between."""
    first, second = map(int, text.split(","))
    return first, second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="weights of Nequix, .nqx")
    parser.add_argument(
        "--cells", nargs="*", default=["2,2,2", "3,3,3", "4,4,4", "6,6,6", "10,10,11"], help="none: no growth"
    )
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS, help="none: no comparison")
    parser.add_argument(
        "--mace", nargs="+", type=pair, default=list(BEST), help="degrees: harmonics,features", metavar="L,L"
    )
    parser.add_argument("--contractions", nargs="+", choices=CONTRACTIONS, help="of MACE; without, the fastest known")
    parser.add_argument("--teacher", action="store_true", help="the potential for KHCO3 beside these weights, its teacher")
    parser.add_argument("--kernels", action="store_true", help="products by cuEquivariance beside ours")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", nargs="*", type=Path, default=[])
    parser.add_argument("--out", type=Path, default=None, help="a JSON file, and a picture of the same name")
    given = parser.parse_args()
    out = (
        given.out or Path(__file__).parent / "results" / f"potential{'' if jax.default_backend() == 'cpu' else '-gpu'}.json"
    )
    known = json.loads(out.read_text())["rows"] if out.exists() else {}
    potential = load_potential(given.model, "float32")
    print(environment(), flush=True)
    for path in given.frames:
        print(sizes(path, potential.cutoff))
    print(" atoms compile/s    run/s proc'r/s  ms/atom  MB temp eV per atom")
    for row in rows(potential, given):
        print(told(row), flush=True)
        known[row.pop("case")] = row | {"model": given.model.stem, "environment": environment()}
        out.write_text(json.dumps({"rows": known}, indent=1) + "\n")
    draw(known, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
