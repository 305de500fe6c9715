"""The table, for the eye."""

from __future__ import annotations

from _measure import load
from _table import Goal, Row


def print_table(machine: dict, rows: list[Row], rate: float, goals: list[Goal], *, quick: bool) -> None:
    """The rows, their peers, single sites, throughput and goals.

    Args:
        machine: of `environment`.
        rows: of the table.
        rate: spectra per minute under vmap.
        goals: with what was measured.
        quick: says that the figures are not to be quoted.
    """
    print(f"\n{in_a_line(machine)}, load {machine['load_average_1min'] or 0:.1f} at start, {load() or 0:.1f} now")
    print("  ".join(f"{name} {found}" for name, found in machine["versions"].items() if found))
    if quick:
        print("quick: fewer sites, repeats and sizes; not to be quoted")
    head = ("case", "compile", "run", "a site", "call", "error", "f32-f64", "grad/value", "memory")
    print("\n{:<22}{:>9}{:>11}{:>10}{:>10}{:>10}{:>10}{:>11}{:>9}".format(*head))
    print("{:<22}{:>9}{:>11}{:>10}{:>10}{:>10}{:>10}{:>11}{:>9}".format("", "s", "ms", "ms", "ms", "", "", "", "MB"))
    for r in rows:
        ratio = "" if r.gradient_ratio is None else f"{r.gradient_ratio:.2f}"
        memory = "" if r.memory_mb is None else f"{r.memory_mb:.1f}"
        print(
            f"{r.name:<22}{r.compile_s:>9.2f}{1e3 * r.run_s:>11.2f}{1e3 * r.run_s / r.sites:>10.3f}"
            f"{1e3 * r.call_s:>10.2f}{r.error:>10.1e}{r.float32:>10.1e}{ratio:>11}{memory:>9}"
        )
    if any(r.peer for r in rows):
        print(f"\n{'case':<22}{'peer ms':>11}{'ratio':>9}{'its error':>11}{'from us':>10}  program")
    for r in rows:
        if r.peer:
            print(
                f"{r.name:<22}{1e3 * r.peer.run_s:>11.1f}{r.peer.ratio:>9.1f}{r.peer.error:>11.1e}"
                f"{r.peer.difference:>10.1e}  {r.peer.program}"
            )
    if any(r.one_site_error is not None for r in rows):
        print("\nworst of single sites, each against its own converged spectrum:")
    for r in rows:
        if r.one_site_error is not None:
            text = f"{r.name:<22} jaxnmr {r.one_site_error:.1e}"
            if r.one_site_peer_error is not None:
                text += f"   mrsimulator {r.one_site_peer_error:.1e}"
            if r.one_site_peer_converged is not None:
                text += f"; on a dense grid {r.one_site_peer_converged:.1e}"
            print(text)
    print(f"\nvmap: {rate:.3g} two-site MAS exchange spectra a minute")
    print("\ngoals")
    for goal in goals:
        sign = ">=" if goal.at_least else "<="
        print(f"  {'met   ' if goal.met else 'MISSED'} {goal.what}: {goal.measured:.3g} ({sign} {goal.bound:g})")


def in_a_line(machine: dict) -> str:
    """Device, threads, precision and commit."""
    device, threads, precision, commit = (machine[k] for k in ("device", "threads", "precision", "commit"))
    return f"{device}, {threads} threads, {precision}, commit {commit}"
