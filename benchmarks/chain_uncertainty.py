"""Whether the chain's 95 % band about spectrum D holds the spectrum of reference tensors, on frames that were held out.

    python benchmarks/chain_uncertainty.py           # some minutes on two cores
    python benchmarks/chain_uncertainty.py --only 4 --out benchmarks/results/scratch

A case is one bicarbonate dimer of KHCO3 in two of its basins, 17O of its six oxygens at 14.1 T and 20 kHz. One held-out
frame stands for the first basin; another of the same temperature, its dimer laid over the first with the oxygens of each
bridge exchanged, for the second: each atom then has the tensors that it would have after the protons' transfer. The chain's
code makes D and its band from the model's tensors and their uncertainties, and D from the labels, with the same rates,
which go through all regimes from case to case. Rates and shares are given: the band is of the tensors alone.

`means` are the same of averages over all held-out frames of a temperature and dimer, as those of the chain's motion, with
the uncertainties of the model at the crystal's published atoms.

Frames are those that scripts/khco3_tensors.py held out: the last tenth of each trajectory, which neither trained nor
calibrated the model.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
from _measure import ROOT, environment  # noqa: E402

import jaxnmr as jn  # noqa: E402
from jaxnmr.errors import ResolutionWarning  # noqa: E402
from jaxnmr.structure import Structure, read  # noqa: E402
from jaxnmr.workflow import ExchangeOfNuclei, RunConfig, Sampled, SpectraAtField, TensorsOfStates  # noqa: E402
from jaxnmr.workflow._lines import Bench  # noqa: E402
from jaxnmr.workflow._nuclei import tensors_in  # noqa: E402
from jaxnmr.workflow._spectra import spectra_at  # noqa: E402

sys.path.insert(0, str(ROOT / "scripts"))
from khco3_tensors import samples  # noqa: E402

CRYSTAL = Path(str(files("jaxnmr") / "data" / "khco3.extxyz"))
SHARES = (0.7, 0.3)
# A point belongs to the line where the reference is above this share of its highest.
LINE = 0.01


class Dimer(NamedTuple):
    """One dimer: atoms with bonds unbroken by the cell's edge, and tensors of its oxygens.

    Attributes:
        places: Å, (8, 3): of each molecule donor, acceptor and third oxygen; then both carbons.
        given: labels of the six oxygens, (kind, 6, 3, 3): shielding, ppm, and field gradient, atomic units.
        found: the model's.
        error: its uncertainty of an element, (kind, 6).
        atoms: the oxygens' numbers.
    """

    places: np.ndarray
    given: np.ndarray
    found: np.ndarray
    error: np.ndarray
    atoms: tuple[int, ...]


def ordered(structure: Structure, atoms: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Oxygens and carbons as in `Dimer.places`, with positions that bonds join."""
    cell, start = np.asarray(structure.cell, float), np.asarray(structure.positions, float)

    def step(a: int, b: int) -> np.ndarray:
        # The nearest of the images about the reduced one: the cell is oblique.
        raw = start[b] - start[a]
        raw = raw - np.round(raw @ np.linalg.inv(cell)) @ cell
        images = raw + np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ cell
        return images[np.argmin(np.linalg.norm(images, axis=1))]

    def near(a: int, among: Sequence[int]) -> list[int]:
        return sorted(among, key=lambda b: float(np.linalg.norm(step(a, b))))

    kinds = {s: [int(k) for k in atoms if structure.species[k] == s] for s in "COH"}
    one, other = kinds["C"]
    mine = {c: near(c, kinds["O"])[:3] for c in (one, other)}
    if set(mine[one]) & set(mine[other]):
        raise ValueError("two carbons share an oxygen")
    bridges = []
    for proton in kinds["H"]:
        ends = [near(proton, mine[c])[0] for c in (one, other)]
        donor = int(np.linalg.norm(step(proton, ends[0])) > np.linalg.norm(step(proton, ends[1])))
        bridges.append((proton, ends, donor))
    # The first bridge is the one whose proton is with the first carbon, where they differ.
    bridges.sort(key=lambda each: each[2])
    (first, up, _), (_, down, _) = bridges
    third = [next(o for o in mine[c] if o not in (up[k], down[k])) for k, c in enumerate((one, other))]
    places = {one: start[one]}
    for oxygen in mine[one]:
        places[oxygen] = start[one] + step(one, oxygen)
    proton = places[up[0]] + step(up[0], first)
    places[up[1]] = proton + step(first, up[1])
    places[other] = places[up[1]] + step(up[1], other)
    for oxygen in mine[other]:
        places[oxygen] = places[other] + step(other, oxygen)
    order = (up[0], down[0], third[0], down[1], up[1], third[1])
    return order, np.array([places[k] for k in (*order, one, other)])


def dimers(model: jn.TensorModel) -> dict[str, list[Dimer]]:
    """Of every held-out frame, by temperature."""
    found: dict[str, list[Dimer]] = {}
    for name, frames in samples().items():
        if not name.endswith(" K"):
            continue
        for sample in frames:
            there = np.flatnonzero(~np.isnan(sample.values[0].reshape(len(sample.structure), -1)).any(axis=1))
            order, places = ordered(sample.structure, there)
            told = [model.predict(sample.structure, prop) for prop in ("shielding", "efg")]
            mine = list(order)
            found.setdefault(name, []).append(
                Dimer(
                    places,
                    np.array([np.asarray(each)[mine] for each in sample.values], float),
                    np.array([np.asarray(each.values)[mine] for each in told], float),
                    np.array([np.asarray(each.uncertainty)[mine] for each in told], float),
                    order,
                )
            )
    return found


SWAP = np.array([1, 0, 2, 4, 3, 5])  # donor and acceptor of each molecule trade places with the transfer


def after(first: Dimer, second: Dimer) -> Dimer:
    """The second dimer as the product of a transfer of the first: in its frame, donors now acceptors."""
    order = np.concatenate([SWAP, [6, 7]])
    goal, mine = first.places - first.places.mean(axis=0), second.places[order] - second.places[order].mean(axis=0)
    u, _, vh = np.linalg.svd(goal.T @ mine)
    turn = u @ np.diag([1, 1, np.linalg.det(u @ vh)]) @ vh

    def turned(tensors: np.ndarray) -> np.ndarray:
        return np.einsum("ik,pnkl,jl->pnij", turn, tensors[:, SWAP], turn)

    return Dimer(mine @ turn.T, turned(second.given), turned(second.found), second.error[:, SWAP], first.atoms)


def averaged(group: Sequence[Dimer], error: np.ndarray) -> Dimer:
    """Means over frames, which are of one crystal; the same errors for all."""
    given, found = (np.mean([getattr(each, name) for each in group], axis=0) for name in ("given", "found"))
    # Places are of the first frame: they only tell the frame of the second basin.
    return Dimer(group[0].places, given, found, error, group[0].atoms)


class Case(NamedTuple):
    """One comparison: both basins, and the rate from the first, s⁻¹."""

    name: str
    basins: tuple[Dimer, Dimer]
    rate: float


def cases(model: jn.TensorModel) -> Iterator[Case]:
    """Single frames, then means."""
    every = dimers(model)
    pairs = []
    for kelvin, group in every.items():
        for k, first in enumerate(group):
            # Half a block away: as far from the first as the block allows.
            pairs.append((f"{kelvin} {k}", first, group[(k + len(group) // 2) % len(group)]))
    rates = np.geomspace(1e2, 1.4e11, len(pairs))[np.random.default_rng(0).permutation(len(pairs))]
    for (name, first, second), rate in zip(pairs, rates, strict=True):
        yield Case(name, (first, after(first, second)), float(rate))
    crystal = read(CRYSTAL)
    known = np.array([np.asarray(model.uncertainty(crystal, prop)) for prop in ("shielding", "efg")], float)
    means = []
    for kelvin, group in every.items():
        for atoms in sorted({tuple(sorted(each.atoms)) for each in group}):
            mine = [each for each in group if tuple(sorted(each.atoms)) == atoms]
            # Frames in which donors and acceptors are the same atoms: those of one basin.
            basin = max({each.atoms for each in mine}, key=lambda order: sum(each.atoms == order for each in mine))
            mine = [each for each in mine if each.atoms == basin]
            if len(mine) > 1:
                means.append((f"mean of {len(mine)} at {kelvin}", averaged(mine, known[:, list(basin)])))
    for k, (name, mean) in enumerate(means):
        other = means[(k + 1) % len(means)][1]
        yield Case(name, (mean, after(mean, other)), float(np.geomspace(1e2, 1.4e11, len(means))[k]))


def records(case: Case, kind: str, parts: np.ndarray) -> tuple[TensorsOfStates, Sampled, ExchangeOfNuclei]:
    """What the chain's stages would hand on: `kind` is "given" or "found"."""
    values = np.array([getattr(each, kind) for each in case.basins])  # (state, property, nucleus, 3, 3)
    error = np.array([each.error for each in case.basins])
    nothing = np.zeros((2, 6))
    tensors = TensorsOfStates(
        tuple(range(6)), tuple(f"O{k}" for k in range(6)), values[:, 0], values[:, 1], error[:, 0], error[:, 1], parts
    )
    sampled = Sampled(
        298.0, np.array([298.0, 0.0]), 0.0, 1, values[:, 0], values[:, 1],
        np.zeros_like(values[:, 0]), np.zeros_like(values[:, 1]), nothing, nothing, nothing,
        np.zeros((1, 2)), np.zeros((1, 2, 2), int), np.full((1, 2, 2), np.nan), np.full((1, 2, 2), np.nan),
        np.full((1, 2), np.nan),
    )  # fmt: skip
    hops = ExchangeOfNuclei(
        np.zeros(6, int),
        np.array([[0, 1]]),
        np.array([[SHARES]]),
        case.rate * np.array([[[[0.0, SHARES[0] / SHARES[1]], [1.0, 0.0]]]]),
        np.zeros((1, 2, 2), int),
        np.full((1, 1, 2), np.nan),
    )
    return tensors, sampled, hops


def conditions(draws: int) -> RunConfig:
    """Those of the demonstration."""
    return RunConfig.from_tables(
        {
            "structure": {"file": CRYSTAL},
            "tensors": {"reference_ppm": 255.0},
            "experiment": {"isotope": "17O", "fields_t": [14.1], "rate_hz": 20e3, "linewidth_hz": 300.0},
            "axis": {"ppm": [300.0, -50.0], "points": 512},
            "uncertainty": {"draws": draws, "seed": 1},
            # A fifth of the directions that would be chosen: lines are right to about 0.3 %, bands tens of per cent wide.
            "resolution": {"orientations": 600},
            "output": {"folder": "unused"},
        }
    )


def main() -> None:
    """Every case, the table, the picture."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    asked.add_argument("--draws", type=int, default=40, help="those of a run by default")
    asked.add_argument("--only", type=int, help="every so many cases")
    given = asked.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    warnings.simplefilter("ignore", ResolutionWarning)
    began, config = time.perf_counter(), conditions(given.draws)
    plain = conditions(0)
    bench = Bench(14.1, config)
    rows, shown, pulls = [], [], []
    model = jn.load_tensor_model("khco3")
    # Of the crystal's oxygens, as the stage "tensors" has it.
    parts = tensors_in(model, [read(CRYSTAL)], config).shielding_parts
    for case in list(cases(model))[:: given.only or 1]:
        tensors, sampled, hops = records(case, "found", parts)
        barriers = np.array([0, 1])
        d = spectra_at(14.1, tensors, [sampled], hops, barriers, config, bench)
        labels, means, _ = records(case, "given", parts)
        reference = spectra_at(14.1, labels, [means], hops, barriers, plain, bench)
        row = measured(case, d, reference)
        error = (
            np.array([each.found - each.given for each in case.basins])
            / np.array([each.error for each in case.basins])[..., None, None]
        )
        pulls.append(error)
        row |= {"element_error_over_uncertainty": [float(np.sqrt(np.mean(error[:, kind] ** 2))) for kind in (0, 1)]}
        rows.append(row)
        shown.append((case, d, reference))
        print(f"{row['case']}: k {row['rate_per_s']:.1e} /s, {row['covered_of_line']:.3f} of the line", flush=True)
    result = summary(rows) | {
        "cases": rows,
        "parts": parts.tolist(),
        "seconds": time.perf_counter() - began,
        "draws": given.draws,
    }
    result |= {"environment": environment()}
    (given.out / "chain_uncertainty.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(shown, rows, given.out / "chain_uncertainty.png")
    print(json.dumps({k: v for k, v in result.items() if k not in ("cases", "environment")}, indent=1))


def measured(case: Case, d: SpectraAtField, reference: SpectraAtField) -> dict:
    """Of one case."""
    truth, own = reference.both[0], d.both[0]
    inside = (truth >= d.low[0]) & (truth <= d.high[0])
    line = truth > LINE * truth.max()
    size = np.linalg.norm(truth)
    return {
        "case": case.name,
        "rate_per_s": case.rate,
        "covered_of_line": float(inside[line].mean()),
        "covered_of_axis": float(inside.mean()),
        "line_share_of_axis": float(line.mean()),
        "difference": float(np.linalg.norm(own - truth) / size),
        "band_width": float(np.linalg.norm(d.high[0] - d.low[0]) / size),
    }


def summary(rows: Sequence[dict]) -> dict:
    """Means over single frames, and over means."""
    found = {}
    for name, mine in (
        ("frames", [row for row in rows if not row["case"].startswith("mean")]),
        ("means", [row for row in rows if row["case"].startswith("mean")]),
    ):
        if mine:
            share = np.array([row["covered_of_line"] for row in mine])
            found[name] = {
                "count": len(mine),
                "covered_of_line": float(share.mean()),
                "stderr": float(share.std(ddof=1) / np.sqrt(len(share))) if len(share) > 1 else None,
                "least": float(share.min()),
                "covered_of_axis": float(np.mean([row["covered_of_axis"] for row in mine])),
                "difference": float(np.mean([row["difference"] for row in mine])),
                "band_width": float(np.mean([row["band_width"] for row in mine])),
            }
    return found


def draw(shown: Sequence[tuple[Case, SpectraAtField, SpectraAtField]], rows: Sequence[dict], path: Path) -> None:
    """Best, middle and worst case, and the shares of all."""
    from matplotlib.figure import Figure

    order = np.argsort([row["covered_of_line"] for row in rows])
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    for panel, k in zip(panels, (order[-1], order[len(order) // 2], order[0]), strict=False):
        case, d, reference = shown[k]
        panel.fill_between(d.ppm, 1e6 * d.low[0], 1e6 * d.high[0], color="#c8553d", alpha=0.3, lw=0, label="95 % band of D")
        panel.plot(d.ppm, 1e6 * d.both[0], color="#c8553d", lw=1, label="D, predicted tensors")
        panel.plot(d.ppm, 1e6 * reference.both[0], color="k", lw=1, label="D, labels")
        share = rows[k]["covered_of_line"]
        panel.set(
            title=f"{case.name}, k = {case.rate:.1e} /s: {100 * share:.0f} % of the line inside", xlabel="¹⁷O shift / ppm"
        )
        panel.set(xlim=(float(d.ppm.max()), float(d.ppm.min())), ylabel="density / MHz⁻¹")
    panels[0].legend(fontsize=8)
    for name, marker in (("frames", "o"), ("means", "s")):
        mine = [row for row in rows if row["case"].startswith("mean") == (name == "means")]
        if mine:
            xy = [(row["rate_per_s"], 100 * row["covered_of_line"]) for row in mine]
            panels[3].semilogx(*zip(*xy, strict=True), marker, label=name)
    panels[3].axhline(95, color="0.6", lw=0.8)
    panels[3].axhline(90, color="0.6", lw=0.8, ls=":")
    panels[3].set(xlabel="rate / s⁻¹", ylabel="% of the line's points inside", ylim=(None, 101))
    panels[3].legend(fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
