"""What `jaxnmr train` does once its file is read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import typer

from jaxnmr.cli._say import Failure, say, warnings_to
from jaxnmr.cli._train_config import Config, Network
from jaxnmr.cli._train_report import learning_curves, parity, table
from jaxnmr.potential import (
    ModelCard,
    NequipConfig,
    Potential,
    TensorModel,
    load_potential,
    load_tensor_model,
    save_potential,
    save_tensor_model,
)
from jaxnmr.potential.training import (
    CHECKPOINT,
    METRICS,
    Progress,
    Sample,
    average_neighbors,
    check_plausible,
    compare,
    elements_of,
    new_potential,
    new_tensor_model,
    read_samples,
    shifted_potential,
    train as run,
)

__all__ = ["train"]

MODEL, REPORT = "model.safetensors", "report.json"


def train(config: Config, *, restart: bool, dry_run: bool, as_json: bool, x64: bool, began: float) -> None:
    """Read, train, report.

    Args:
        config: what.
        restart: begin anew where a checkpoint is found.
        dry_run: stop before training.
        as_json: the errors on stdout.
        x64: double precision.
        began: `time.perf_counter()` at the start.

    Raises:
        Failure, ValueError, ImportError, OSError: bad input, or a folder that cannot be written.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar

    if x64:
        jax.config.update("jax_enable_x64", True)
    folder = config.output.folder
    if not folder.parent.is_dir():
        raise Failure(f"output.folder: the folder {folder.parent} does not exist; make it, or name another.")
    with warnings_to([]):
        sets = _sets(config)
        model = _start(config, sets["train"])
        say(", ".join(f"{name}: {len(some)} structures" for name, some in sets.items() if some))
        if dry_run:
            return
        folder.mkdir(exist_ok=True)
        if restart:
            for name in (CHECKPOINT, METRICS):
                (folder / name).unlink(missing_ok=True)
        console = Console(stderr=True)
        with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("epochs", total=config.training.epochs)

            def report(progress: Progress) -> None:
                bar.update(task, completed=progress.epoch, description=_shown(progress))
                if not console.is_terminal:
                    say(f"{progress.epoch}/{progress.epochs} {_shown(progress)}")

            done = run(
                model,
                sets["train"],
                sets["validation"],
                config.training,
                frozen=config.model.frozen,
                folder=folder,
                report=report,
            )
        found = {name: compare(done.model, sets[name]) for name in ("validation", "test") if sets[name]}
        rows = [row for name, each in found.items() for row in table(name, each)]
        card = config.card.model_copy(update={"training": _record(config, sets, rows)})
        _save(done.model, folder / MODEL, card)
        said = {
            "model": str(folder / MODEL),
            "epochs": done.course[-1].epoch if done.course else 0,
            "seconds": round(time.perf_counter() - began, 1),
            "structures": {name: len(some) for name, some in sets.items()},
            "errors": rows,
        }
        (folder / REPORT).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        learning_curves(done.course, folder / "learning.png")
        for name, each in found.items():
            parity(each, folder / f"parity-{name}.png")
    if as_json:
        typer.echo(json.dumps(said, indent=2))
    else:
        for row in rows:
            what = f"{row['set']} {row['quantity']}" + (f" {row['element']}" if row["element"] else "")
            typer.echo(f"{what}: RMSE {row['rmse']:.4g}, MAE {row['mae']:.4g} {row['unit']}, {row['count']} labels")
    say(f"Wrote {folder / MODEL}")


def _sets(config: Config) -> dict[str, tuple[Sample, ...]]:
    """Samples to learn from, to choose by, to be tested on."""
    data, properties = config.data, config.model.properties
    sets = {"train": read_samples(data.train, properties, data.names)}
    for name, files in (("validation", data.validation), ("test", data.test)):
        sets[name] = read_samples(files, properties, data.names) if files else ()
    if data.check:
        for each in sets.values():
            check_plausible(each, properties)
    count = round(data.validation_fraction * len(sets["train"]))
    if not sets["validation"] and count:
        order = np.random.default_rng(config.training.seed).permutation(len(sets["train"]))
        held = set(order[:count].tolist())
        every = sets["train"]
        sets["validation"] = tuple(every[k] for k in sorted(held))
        sets["train"] = tuple(every[k] for k in range(len(every)) if k not in held)
    if not sets["train"]:
        raise Failure("data.train: nothing is left to learn from; give more structures, or a smaller validation_fraction.")
    return sets


def _start(config: Config, samples: Sequence[Sample]) -> Potential | TensorModel:
    """The model to train, with what an earlier one has learnt where one is named."""
    properties, seed, start = config.model.properties, config.training.seed, config.model.start
    if start is None:
        sizes = config.model.network or Network()
        near = average_neighbors(samples, sizes.cutoff)
        network = NequipConfig(
            **sizes.model_dump(), elements=elements_of(samples), average_neighbors=near, scalar_output=not properties
        )
        if not properties:
            return new_potential(network, samples, seed=seed)
        return new_tensor_model(network, properties, samples, heads=config.model.heads, seed=seed)
    if not properties:
        return shifted_potential(load_potential(start), samples)
    try:
        base: Potential | TensorModel = load_potential(start)
    except ValueError as error:
        if "load_tensor_model" not in str(error):
            raise
        base = load_tensor_model(start)
    _check_elements(base, samples)
    return new_tensor_model(base, properties, samples, heads=config.model.heads, seed=seed)


def _check_elements(base: Potential | TensorModel, samples: Sequence[Sample]) -> None:
    for sample in samples:
        unknown = sorted(set(sample.structure.species) - set(base.elements))
        if unknown:
            raise Failure(f"model.start: knows nothing of {', '.join(unknown)}, which {sample.source} has; train anew.")


def _record(config: Config, sets: dict[str, tuple[Sample, ...]], rows: list[dict]) -> str:
    """For the model file."""
    return json.dumps(
        {
            "settings": config.training.model_dump(mode="json"),
            "frozen": config.model.frozen,
            "start": None if config.model.start is None else config.model.start.name,
            "structures": {name: len(some) for name, some in sets.items()},
            "errors": rows,
        }
    )


def _save(model: Potential | TensorModel, path: Path, card: ModelCard) -> None:
    if isinstance(model, Potential):
        save_potential(model, path, card)
    else:
        save_tensor_model(model, path, card)


def _shown(progress: Progress) -> str:
    errors = ", ".join(f"{score.name} {score.rmse:.3g} {score.unit}" for score in progress.scores)
    return f"loss {progress.train_loss:.3g}" + (f"; validation RMSE: {errors}" if errors else "")
