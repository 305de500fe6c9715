"""Fine-tuning a foundation potential on 450 frames of a molecule, tested at two temperatures and along two paths.

    python benchmarks/acac.py ../shared/weights/nequix-oam-1.nqx --folder build/acac

Acetylacetone at 300 K (PBE; BOTNet's data, MIT), in ../shared/data (or $JAXNMR_DATA) and no part of this package. Its
energies count from another zero than the foundation potential's, whose references are moved first. 450 frames are learnt
from, 50 choose the epoch. Started again with the same folder and settings, a training that was broken off goes on.
Results go to benchmarks/results/acac.json and .png.

Published, trained from nothing on the same frames (MACE; Batatia et al. 2022): 300 K 0.9 meV and 5.1 meV/Å, 600 K 4.6 meV
and 22.4 meV/Å; energies of the molecule, root mean square.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from _measure import environment, load

from jaxnmr.potential import Potential, load_potential, save_potential
from jaxnmr.potential.training import Sample, Settings, compare, read_samples, shifted_potential, train

DATA = Path(os.environ.get("JAXNMR_DATA", Path(__file__).parents[2] / "shared" / "data")) / "botnet-acac"
RESULTS, METRICS = Path(__file__).parent / "results", "metrics.jsonl"
TESTS = {"300 K": "test_MD_300K", "600 K": "test_MD_600K", "dihedral": "test_dihedral", "H transfer": "test_H_transfer"}
PUBLISHED = {"300 K": (0.9, 5.1), "600 K": (4.6, 22.4)}


def errors(potential: Potential, samples: list[Sample]) -> dict:
    """Of energies of the molecule, meV, also with the mean difference taken out; of forces, meV/Å, where there are any."""
    found, atoms = {each.name: each for each in compare(potential, samples)}, len(samples[0].structure)
    wrong = 1e3 * atoms * (found["energy"].found - found["energy"].given)
    row = {
        "frames": len(samples),
        "energy_mev": float(np.sqrt(np.mean(wrong**2))),
        "energy_mev_about_its_mean": float(np.std(wrong)),
    }
    return row | ({"forces_mev_per_a": 1e3 * found["forces"].rmse} if "forces" in found else {})


def profiles(potential: Potential, samples: list[Sample]) -> dict[str, list[float]]:
    """Energies along a path above that of its lowest frame, meV."""
    given = np.array([sample.energy for sample in samples])
    found = np.array([potential.energy(sample.structure) for sample in samples])
    lowest = int(np.argmin(given))
    given, found = (1e3 * (each - each[lowest]) for each in (given, found))
    return {"given_mev": given.tolist(), "found_mev": found.tolist()}


def draw(results: dict, course: list[tuple[int, float, float]], path: Path) -> None:
    """The course of the training and the two paths."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    left, *panels = figure.subplots(1, 3)
    epochs, energies, forces = zip(*course, strict=True)
    left.semilogy(epochs, forces, color="#0072B2", label="forces / meV Å⁻¹")
    left.semilogy(epochs, energies, color="#D55E00", label="energy / meV")
    left.set(xlabel="epoch", title="50 frames that choose", ylabel="error, rms")
    left.legend(frameon=False, fontsize="small")
    for panel, name in zip(panels, ("dihedral", "H transfer"), strict=True):
        row = results[name]["profile"]
        order = np.arange(len(row["given_mev"]))
        panel.plot(order, row["given_mev"], "o", ms=3, color="#1b1b1b", label="PBE")
        panel.plot(order, row["found_mev"], color="#0072B2", label="fine-tuned")
        panel.plot(order, results[name]["before"]["profile"]["found_mev"], color="#8a8a8a", ls="--", label="before")
        panel.set(xlabel="frame", ylabel="energy / meV", title=name)
        panel.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("build/acac"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--energy-weight", type=float, default=100.0)
    parser.add_argument("--test", action="store_true", help="only test what a training has left in the folder")
    given = parser.parse_args()
    settings = Settings(
        epochs=given.epochs,
        batch_size=given.batch,
        learning_rate=given.rate,
        energy_weight=given.energy_weight,
        stress_weight=0.0,
        ema=0.995,
        checkpoint_steps=30,
    )
    samples = list(read_samples([DATA / "train_300K.xyz"]))
    order = np.random.default_rng(0).permutation(len(samples))
    learn, choose = [samples[k] for k in order[:450]], [samples[k] for k in order[450:]]
    start = shifted_potential(load_potential(given.weights, "float32"), learn)
    given.folder.mkdir(parents=True, exist_ok=True)
    clock, before = given.folder / "clock.json", load()
    # Of this run and of those that were broken off before it, as far as their epochs went.
    spent = json.loads(clock.read_text()) if clock.exists() else {"wall_s": 0.0, "processor_s": 0.0}
    wall, processor = time.perf_counter(), time.process_time()

    def so_far() -> dict[str, float]:
        return {
            "wall_s": spent["wall_s"] + time.perf_counter() - wall,
            "processor_s": spent["processor_s"] + time.process_time() - processor,
        }

    def report(progress) -> None:
        clock.write_text(json.dumps(so_far()))
        scores = ", ".join(f"{each.name} {1e3 * each.rmse:.3f}" for each in progress.scores if each.count)
        print(f"{progress.epoch:4d} {so_far()['wall_s']:6.0f} s  {scores} m{'*' * progress.best}", flush=True)

    kept, atoms = given.folder / "acac.safetensors", len(samples[0].structure)
    if not given.test:
        model = train(start, learn, choose, settings, folder=given.folder, report=report).model
        save_potential(model, kept, model.card)
        clock.write_text(json.dumps(so_far()))
    model, times = load_potential(kept, "float32"), json.loads(clock.read_text())
    results: dict = {}
    for name, file in TESTS.items():
        tested = list(read_samples([DATA / f"{file}.xyz"]))
        results[name] = errors(model, tested) | {"before": errors(start, tested)}
        if name in PUBLISHED:
            results[name]["published_energy_mev"], results[name]["published_forces_mev_per_a"] = PUBLISHED[name]
        else:
            results[name]["profile"] = profiles(model, tested)
            results[name]["before"]["profile"] = profiles(start, tested)
        told = {key: value for key, value in results[name].items() if isinstance(value, float)}
        print(name, ", ".join(f"{key} {value:.2f}" for key, value in told.items()), flush=True)
    course = []
    for line in (given.folder / METRICS).read_text().splitlines():
        progress = json.loads(line)
        scores = {each["name"]: 1e3 * each["rmse"] for each in progress["scores"]}
        course.append((progress["epoch"], atoms * scores["energy"], scores["forces"]))
    RESULTS.mkdir(exist_ok=True)
    record = {"environment": environment(), "load": [before, load()], "settings": settings.model_dump(), **times}
    record |= {"weights": given.weights.name, "learnt_from": len(learn), "chosen_by": len(choose), "results": results}
    record["course"] = [{"epoch": e, "energy_mev": a, "forces_mev_per_a": b} for e, a, b in course]
    (RESULTS / "acac.json").write_text(json.dumps(record, indent=1) + "\n")
    draw(results, course, RESULTS / "acac.png")


if __name__ == "__main__":
    main()
