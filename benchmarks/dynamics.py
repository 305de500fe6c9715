"""Minima, paths, vibrations, minima hopping and motion against ASE, with the same potential in the same run.

    python benchmarks/dynamics.py --cases clusters bands hessian motion replicas
    python benchmarks/dynamics.py --cases bands --models foundation --no-times
    python benchmarks/dynamics.py --cases hopping --atoms 38 --seeds 10 --cap 2000000 --log hopping.jsonl

Results are merged into `--out` case by case, so that counts, which do not depend on the machine, need not be taken anew with
the times. Compilation is apart from times. The crystal is read from `../shared/data` or `JAXNMR_DATA`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import _dynamics_clusters as clusters  # noqa: E402
import _dynamics_networks as networks  # noqa: E402
from _measure import environment  # noqa: E402

CASES = ("clusters", "bands", "hessian", "motion", "replicas", "hopping")
MODELS = {"shipped": networks.SHIPPED, "foundation": networks.FOUNDATION}


def rows(given: argparse.Namespace):
    """The rows of all cases that were asked for, one after the other."""
    models = [MODELS[name] for name in given.models]
    if "clusters" in given.cases:
        yield clusters.minima(13, 16)
        yield clusters.path()
        yield clusters.hessian(24)
    if "bands" in given.cases:
        for model in models:
            name = f"a proton transfer of KHCO3, {networks.named(model)}"
            yield networks.band(name, networks.protons(model), peers=given.peers, times=given.times)
        if networks.FOUNDATION in models:
            name = f"a 1,3 hydrogen shift of carbonic acid, {networks.named(networks.FOUNDATION)}"
            ends = networks.shift_of_hydrogen(networks.FOUNDATION)
            yield networks.band(name, ends, peers=given.peers, times=given.times)
    if "hessian" in given.cases:
        for model in models:
            yield networks.hessian(model, peers=given.peers)
    if "motion" in given.cases:
        yield networks.motion(models[0], tuple(given.repeats))
    if "replicas" in given.cases:
        yield networks.replicas(models[0], given.most)
    if "hopping" in given.cases:
        if given.seeds:
            yield clusters.hopping(given.atoms, given.seeds, given.cap, given.walkers, False, given.log)
        if given.peer_seeds:
            yield clusters.hopping(given.atoms, given.peer_seeds, given.peer_cap or given.cap, 1, True, given.log)


def draw(known: dict, path: Path) -> None:
    """Energies along the bands, and what replicas bring."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for case, row in known.items():
        if "arc_a" in row:
            name = case.removeprefix("climbing band of ").rpartition(", ")[0]
            left.plot(row["arc_a"], row["energies_ev"], "o-", label=name, ms=4)
        if "replicas_and_steps_per_s" in row:
            right.semilogx(*zip(*row["replicas_and_steps_per_s"], strict=True), "o-", base=2)
            right.set_ylim(0, 1.1 * max(rate for _, rate in row["replicas_and_steps_per_s"]))
    left.set(xlabel="path length / Å", ylabel="energy / eV")
    left.legend(frameon=False, fontsize="x-small", loc="lower left", bbox_to_anchor=(0, 1))
    right.set(xlabel="replicas of 24 atoms", ylabel="steps of all replicas / s⁻¹")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["clusters"], choices=CASES)
    parser.add_argument("--models", nargs="+", default=["shipped"], choices=list(MODELS))
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave ASE's bands and Hessians out")
    parser.add_argument("--no-times", dest="times", action="store_false", help="count the evaluations of bands only")
    parser.add_argument("--atoms", type=int, default=13, choices=sorted(clusters.LOWEST))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cap", type=int, default=100_000, help="force calls of each seed at most")
    parser.add_argument("--walkers", type=int, default=1)
    parser.add_argument("--peer-seeds", type=int, default=0, help="of ASE's MinimaHopping")
    parser.add_argument("--peer-cap", type=int, default=None)
    parser.add_argument("--log", type=Path, default=None, help="JSON lines of seeds that are done")
    parser.add_argument("--repeats", type=int, nargs=3, default=(1, 2, 4), help="cells along a, b, c; 24 atoms each")
    parser.add_argument("--most", type=int, default=64, help="replicas")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file, and a picture of the same name")
    given = parser.parse_args()
    out = given.out
    known = json.loads(out.read_text())["rows"] if out is not None and out.exists() else {}
    for row in rows(given):
        print(json.dumps(row), flush=True)
        case = row.pop("case")
        old = known.get(case, {})
        # Times keep the environment that they were taken in; counts alone need none.
        now = environment() if given.times else old.get("environment", environment())
        known[case] = old | row | {"environment": now}
        if out is not None:
            out.write_text(json.dumps({"rows": known}, indent=1) + "\n")
    if out is not None:
        draw(known, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
