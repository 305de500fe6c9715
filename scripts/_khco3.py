"""What both trainings share: reading the labelled frames, and telling how far they are."""

from __future__ import annotations

import lzma
import tempfile
from pathlib import Path

from jaxnmr.potential import Property
from jaxnmr.potential.training import Progress, Sample, read_samples

ROOT = Path(__file__).parents[1]
ELEMENTS, CUTOFF = (1, 6, 8, 19), 4.5


def frames(name: str, key: str, properties: tuple[Property, ...] = ()) -> list[tuple[str, Sample]]:
    """Every frame of scripts/data/`name`.extxyz.xz, behind the value of `key` in its comment line."""
    text = lzma.decompress((ROOT / "scripts" / "data" / f"{name}.extxyz.xz").read_bytes()).decode()
    values = [line.split(f"{key}=")[1].split()[0] for line in text.splitlines() if f"{key}=" in line]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.extxyz"
        path.write_text(text)
        return list(zip(values, read_samples([path], properties), strict=True))


def report(progress: Progress) -> None:
    """One line an epoch."""
    shown = ", ".join(f"{score.name} {score.rmse:.5f}" for score in progress.scores)
    losses = f"{progress.train_loss:.5f} {progress.validation_loss:.5f}"
    print(f"{progress.epoch}/{progress.epochs} {losses} {shown}", flush=True)
