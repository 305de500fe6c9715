"""The whole chain on KHCO3 with the shipped potential or a foundation potential: numbers and time of each stage.

    python benchmarks/khco3_chain.py                                                  # the shipped potential, 5 ps
    python benchmarks/khco3_chain.py --potential ../shared/weights/nequix-oam-1.nqx --recrossing-pairs 16
    python benchmarks/khco3_chain.py --supercell-a 7 --length-ps 0                    # eight dimers that feel each other

Stages are kept in `--folder` with their times, so that a run that was stopped goes on; the time of a stage that was stopped
inside is that of its last part. Seconds of the processor count all threads, and mean more than the clock's where others are
at work. Published beside: static 17O lines near 160, 160 and 110 ppm; with the transfer 7.0 MHz and eta 0.2 for hydroxyl
and carbonyl together; 140 GHz at 298 K.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

from _measure import ROOT, environment  # noqa: E402

import jaxnmr as jn  # noqa: E402
from jaxnmr.cli._chain_demo import conditions  # noqa: E402
from jaxnmr.workflow import Step  # noqa: E402
from jaxnmr.workflow._numbers import numbers_of  # noqa: E402


class Clock:
    """Seconds of the wall and of the processor from a step's begin to its end, kept beside the stages."""

    def __init__(self, file: Path):
        self.file = file
        self.rows: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
        self._began = (0.0, 0.0)

    def __call__(self, step: Step) -> None:
        now = time.perf_counter(), time.process_time()
        if step.state == "begins":
            self._began = now
        elif step.state == "done":
            wall, processor = (b - a for a, b in zip(self._began, now, strict=True))
            self.rows[step.name] = {"wall_s": wall, "processor_s": processor}
            self.file.write_text(json.dumps(self.rows))
        if step.state in ("begins", "done", "kept"):
            print(f"{step.name}: {step.state}", flush=True)


def without_tensors(found: Any) -> Any:
    """Principal values tell enough here; the run's folder has the whole tensors."""
    if isinstance(found, dict):
        return {key: without_tensors(value) for key, value in found.items() if "_tensor_" not in key}
    return [without_tensors(each) for each in found] if isinstance(found, list | tuple) else found


def main() -> None:
    """Run, and write what came out."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--potential", default="khco3")
    asked.add_argument("--length-ps", type=float, default=5.0)
    asked.add_argument("--recrossing-pairs", type=int, default=0, help="pairs of trajectories from the saddle; 0 for none")
    asked.add_argument("--supercell-a", type=float, default=0.0, help="least thickness of the supercell, Å")
    asked.add_argument("--folder", type=Path)
    asked.add_argument("--until", help="last stage to make, see `jaxnmr run`")
    asked.add_argument("--out", type=Path, help="benchmarks/results/khco3_NAME.json unless given")
    given = asked.parse_args()
    name = "shipped" if given.potential == "khco3" else Path(given.potential).stem.split("-")[0]
    if given.supercell_a > 0:
        name += f"_{given.supercell_a:g}A"
    given.folder = given.folder or ROOT / "build" / f"chain-{name}"
    given.folder.mkdir(parents=True, exist_ok=True)
    clock = Clock(given.folder / "times.json")
    # The demonstration's, with a longer motion and a finer path.
    length, warmup = given.length_ps, min(0.2, given.length_ps / 4)
    config = conditions(given.folder, potential=given.potential, images=7, length_ps=length, warmup_ps=warmup)
    rates = config.rates.model_copy(update={"recrossing_pairs": given.recrossing_pairs})
    crystal = config.structure.model_copy(update={"supercell_a": given.supercell_a})
    config = config.model_copy(update={"rates": rates, "structure": crystal})
    result = jn.run(config, progress=clock, until=given.until)
    # As report.json has them; those that the run has come to.
    numbers = numbers_of(result)
    keys = ("n_atoms", "events", "sites", "neighbours", "motion", "spectra", "remarks")
    told = {"potential": Path(given.potential).stem, "until": given.until, "stages": clock.rows}
    told |= {key: without_tensors(numbers[key]) for key in keys}
    if given.supercell_a > 0:
        # Events and nuclei of a supercell that are not those of the first group again.
        told["events"] = [event for k, event in enumerate(told["events"]) if event["same_as"] == k]
        told["sites"] = [site for site in told["sites"] if site["group"] in (0, None)]
        pairs = told["neighbours"]["pairs"]
        told["neighbours"]["pairs"] = [pair for pair in pairs if pair["events"] == pair["same_as"]]
    told["concerted"] = [max(abs(x) for x in band.crossing_a) < 0.1 for band in result.bands]
    told["environment"] = environment()
    out = given.out or ROOT / "benchmarks" / "results" / f"khco3_{name}.json"
    out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for event in numbers["events"]:
        print(f"{event['name']}: barrier {event['barrier_ev']:.4f} eV, end {event['energy_ev']:+.4f} eV")
        for rate in event.get("rates", ()):
            print(f"HTST {rate['rate_per_s']:.3g}, Eyring {rate['rate_eyring_per_s']:.3g} /s, shares {rate['populations']}")


if __name__ == "__main__":
    main()
