"""Drawings of the sweeps; matplotlib is imported where it is used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from _sweeps import Sweep

COLOURS = ("#1f5f8b", "#c8553d", "#588157", "#7b5ea7")


def draw_errors(sweeps: Iterable[Sweep], peers: Iterable[Sweep], note: str, path: Path) -> None:
    """Error against time, a panel a case: ours filled, other programs' open."""
    from matplotlib import pyplot as plt

    sweeps, peers = list(sweeps), list(peers)
    cases = list(dict.fromkeys(sweep.case for sweep in sweeps))
    figure, panels = plt.subplots(1, len(cases), figsize=(4.2 * len(cases), 3.8), sharey=True, squeeze=False)
    for panel, case in zip(panels[0], cases, strict=True):
        for group, marker, fill in ((sweeps, "o", "full"), (peers, "s", "none")):
            for colour, sweep in zip(COLOURS, [s for s in group if s.case == case], strict=False):
                label = f"jaxnmr, {sweep.size}" if fill == "full" else sweep.size
                shown = colour if fill == "full" else "0.3"
                times = [1e3 * point.run_s for point in sweep.points]
                errors = [point.error or float("nan") for point in sweep.points]
                panel.loglog(times, errors, marker=marker, fillstyle=fill, color=shown, label=label)
                for point, x, y in zip(sweep.points, times, errors, strict=True):
                    panel.annotate(str(point.size), (x, y), (3, 3), textcoords="offset points", fontsize=6)
        panel.axhline(1e-3, color="0.7", lw=0.8, ls=":")
        panel.set(title=case, xlabel="time of a spectrum / ms")
        panel.legend(fontsize=7)
    panels[0][0].set_ylabel("relative L2 error")
    _save(figure, note, path)


def draw_growth(sweeps: Iterable[Sweep], note: str, path: Path) -> None:
    """Time against each size, a panel a size, with the exponent of the larger half."""
    from matplotlib import pyplot as plt

    sweeps = list(sweeps)
    sizes = list(dict.fromkeys(sweep.size for sweep in sweeps))
    cases = list(dict.fromkeys(sweep.case for sweep in sweeps))
    figure, panels = plt.subplots(1, len(sizes), figsize=(3.6 * len(sizes), 3.8), sharey=True, squeeze=False)
    for panel, size in zip(panels[0], sizes, strict=True):
        for sweep in (s for s in sweeps if s.size == size):
            label = sweep.case if sweep.exponent is None else f"{sweep.case}: {sweep.exponent:.2f}"
            panel.loglog(
                [point.size for point in sweep.points],
                [1e3 * point.run_s for point in sweep.points],
                "o-",
                color=COLOURS[cases.index(sweep.case) % len(COLOURS)],
                label=label,
            )
        ticks = sorted({point.size for s in sweeps if s.size == size for point in s.points})
        panel.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7, rotation=45)
        panel.minorticks_off()
        panel.set(xlabel=size)
        panel.legend(fontsize=7, title="exponent, larger half", title_fontsize=7)
    panels[0][0].set_ylabel("time of a spectrum / ms")
    _save(figure, note, path)


def _save(figure, note: str, path: Path) -> None:
    figure.text(0.995, 0.005, note, ha="right", va="bottom", fontsize=6, color="0.4")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    figure.savefig(path, dpi=150)
