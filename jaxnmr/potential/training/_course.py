"""The course of a training, and the file of JSON lines that tells it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from jaxnmr.saving import written_aside

__all__ = ["METRICS", "Progress", "Score", "add_line", "resumed"]

METRICS = "metrics.jsonl"


class Score(NamedTuple):
    """An error over a set: root mean square and mean absolute, in the unit, and of how many numbers."""

    name: str
    unit: str
    rmse: float
    mae: float
    count: int


class Progress(NamedTuple):
    """How far a training is.

    Attributes:
        epoch: finished epochs.
        epochs: at most.
        step: finished steps.
        train_loss: mean over the steps since the last validation.
        validation_loss: of the running mean of parameters; NaN without validation.
        scores: on the validation set.
        best: whether it is the best so far.
    """

    epoch: int
    epochs: int
    step: int
    train_loss: float
    validation_loss: float
    scores: tuple[Score, ...]
    best: bool


def add_line(path: Path, progress: Progress) -> None:
    """One more line at the end of the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_line(progress)) + "\n")


def resumed(path: Path, epoch: int) -> list[Progress]:
    """The course up to an epoch; later lines, written by a run that was cut off, are dropped from the file."""
    if not path.exists():
        return []
    course, kept = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if entry["epoch"] > epoch:
            continue
        kept.append(line)
        loss = math.nan if entry["validation_loss"] is None else entry["validation_loss"]
        scores = tuple(Score(**score) for score in entry["scores"])
        course.append(
            Progress(entry["epoch"], entry["epochs"], entry["step"], entry["train_loss"], loss, scores, entry["best"])
        )
    with written_aside(path) as aside:
        aside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return course


def _line(progress: Progress) -> dict[str, Any]:
    line: dict[str, Any] = {
        "epoch": progress.epoch,
        "epochs": progress.epochs,
        "step": progress.step,
        "train_loss": progress.train_loss,
        "validation_loss": None if math.isnan(progress.validation_loss) else progress.validation_loss,
        "best": progress.best,
    }
    line["scores"] = [score._asdict() for score in progress.scores]
    return line
