"""What `jaxnmr train` does once its file is read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import jax
import numpy as np
import typer

from jaxnmr.cli._say import Failure, say, warnings_to
from jaxnmr.cli._train_config import Config, Network
from jaxnmr.cli._train_report import learning_curves, parity, reliability, table
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
    check_atoms,
    check_plausible,
    check_settings,
    compare,
    elements_of,
    keeps_heads,
    new_potential,
    new_tensor_model,
    read_samples,
    shifted_potential,
    train as run,
    uncalibrated,
)
from jaxnmr.saving import written_aside

__all__ = ["train"]

MODEL, REPORT = "model.safetensors", "report.json"
# Of held-out frames in a file, at most.
_BLOCKS = 5


def train(config: Config, *, restart: bool, dry_run: bool, as_json: bool, x64: bool, began: float) -> None:
    """Read, train, report.

    Args:
        config: what.
        restart: begin anew where a checkpoint is found, and remove what was made before.
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
        model = _start(config, sets)
        check_settings(model, config.training, frozen=config.model.frozen)
        say(", ".join(_counted(name, some, config) for name, some in sets.items() if some))
        for name, files in (("validation", config.data.validation), ("test", config.data.test)):
            for twice in sorted({each.resolve() for each in files} & {each.resolve() for each in config.data.train}):
                say(f"warning: {twice.name} is in data.train and in data.{name}: errors there tell nothing of others.")
        if not sets["validation"]:
            say(
                "warning: nothing is held out, so that the last epoch is taken and no uncertainty is calibrated; name "
                "data.validation, or give more structures for data.validation_fraction."
            )
        if dry_run:
            return
        folder.mkdir(exist_ok=True)
        if restart:
            _remove(folder, config.model.start)
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
        # Before the errors are known, so that nothing which goes wrong with them loses the training.
        _save(done.model, folder / MODEL, _card(done.model, config, sets, []))
        found = {name: compare(done.model, sets[name]) for name in ("validation", "test") if sets[name]}
        rows = [row for name, each in found.items() for row in table(name, each)]
        _save(done.model, folder / MODEL, _card(done.model, config, sets, rows))
        bare = uncalibrated(done.model) if isinstance(done.model, TensorModel) else ()
        said = {
            "model": str(folder / MODEL),
            "epochs": done.course[-1].epoch if done.course else 0,
            "seconds": round(time.perf_counter() - began, 1),
            "structures": {name: len(some) for name, some in sets.items()},
            "uncalibrated": list(bare),
            "errors": rows,
        }
        with written_aside(folder / REPORT) as aside:
            aside.write_text(json.dumps(said, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        learning_curves(done.course, folder / "learning.png")
        for name, each in found.items():
            parity(each, folder / f"parity-{name}.png")
            reliability(each, folder / f"uncertainty-{name}.png")
    if as_json:
        typer.echo(json.dumps(said, indent=2))
    else:
        for row in rows:
            what = f"{row['set']} {row['quantity']}" + (f" {row['element']}" if row["element"] else "")
            typer.echo(f"{what}: RMSE {row['rmse']:.4g}, MAE {row['mae']:.4g} {row['unit']}, {row['count']} labels")
    if bare:
        unknown = isinstance(done.model, TensorModel) and done.model.config.heads.members == 1
        what = "unknown, for the model has a single head" if unknown else "the bare spread of the heads, too small as a rule"
        say(
            f"warning: the uncertainty of {', '.join(bare)} is not calibrated but {what}: validation has no labels of it; "
            "give some (data.validation or data.validation_fraction)."
        )
    say(f"Wrote {folder / MODEL}")


def _remove(folder: Path, start: Path | None) -> None:
    """What an earlier training left, which would stand beside the metrics of this one; but not what this one starts from."""
    pictures = [folder / "learning.png", *folder.glob("parity-*.png"), *folder.glob("uncertainty-*.png")]
    for path in (*(folder / name for name in (CHECKPOINT, METRICS, MODEL, REPORT)), *pictures):
        if start is None or path.resolve() != start.resolve():
            path.unlink(missing_ok=True)


def _sets(config: Config) -> dict[str, tuple[Sample, ...]]:
    """Samples to learn from, to choose by, to be tested on."""
    data, properties = config.data, config.model.properties
    sets = {"train": read_samples(data.train, properties, data.names)}
    for name, files in (("validation", data.validation), ("test", data.test)):
        sets[name] = read_samples(files, properties, data.names, strict=False) if files else ()
    if data.check:
        for each in sets.values():
            check_plausible(each, properties)
    if not sets["validation"]:
        every, held = sets["train"], _held_out([sample.source for sample in sets["train"]], data.validation_fraction)
        sets["validation"] = tuple(every[k] for k in sorted(held))
        sets["train"] = tuple(every[k] for k in range(len(every)) if k not in held)
    if not sets["train"]:
        raise Failure("data.train: nothing is left to learn from; give more structures, or a smaller validation_fraction.")
    return sets


def _held_out(sources: Sequence[str], share: float) -> set[int]:
    """Which frames to validate on: blocks of consecutive ones, for neighbours in a trajectory are near copies.

    Up to five blocks end the equal stretches of a file, so that one which goes through temperatures gives some of each;
    of files with few frames, one in so many is taken.
    """
    held, start = set(), 0
    for _, group in groupby(sources, key=lambda source: source.rpartition(", frame ")[0]):
        n = len(list(group))
        # Rounded over all files, so that many small ones give their share together.
        count = round(share * (start + n)) - round(share * start)
        blocks = min(_BLOCKS, count)
        for b in range(blocks):
            end, size = n * (b + 1) // blocks, count * (b + 1) // blocks - count * b // blocks
            held |= set(range(start + end - size, start + end))
        start += n
    return held


def _counted(name: str, samples: Sequence[Sample], config: Config) -> str:
    """How many structures a set has, and how many of them lack what a potential learns from."""
    text = f"{name}: {len(samples)} structures"
    if config.model.properties:
        return text
    without = {
        "energy": sum(np.isnan(sample.energy) for sample in samples),
        "forces": sum(np.isnan(sample.forces).any() for sample in samples),
    }
    lacking = [f"{count} without {what}" for what, count in without.items() if count]
    return f"{text} ({', '.join(lacking)})" if lacking else text


def _start(config: Config, sets: dict[str, tuple[Sample, ...]]) -> Potential | TensorModel:
    """The model to train, with what an earlier one has learnt where one is named; it can take the structures of all sets."""
    properties, seed, start, samples = config.model.properties, config.training.seed, config.model.start, sets["train"]
    every = [sample for some in sets.values() for sample in some]
    if start is None:
        sizes = config.model.network or Network()
        near = average_neighbors(samples, sizes.cutoff)
        network = NequipConfig(
            **sizes.model_dump(), elements=elements_of(samples), average_neighbors=near, scalar_output=not properties
        )
        check_atoms(network, every)
        if not properties:
            return new_potential(network, samples, seed=seed)
        return new_tensor_model(network, properties, samples, heads=config.model.heads, seed=seed)
    if not properties:
        known = _known(start)
        check_atoms(known.config, every)
        return shifted_potential(known, samples)
    try:
        base: Potential | TensorModel = load_potential(start)
    except ValueError as error:
        if "load_tensor_model" not in str(error):
            raise
        base = load_tensor_model(start)
    check_atoms(base.config if isinstance(base, Potential) else base.config.network, every)
    if isinstance(base, TensorModel) and not keeps_heads(base, properties, config.model.heads):
        key, own = "properties", ", ".join(prop.name for prop in base.properties)
        if properties == base.properties:
            key, own = "heads", ", ".join(f"{name} = {size}" for name, size in base.config.heads)
        say(f"The heads begin anew, for model.{key} differ from those of {start} ({own}).")
    return new_tensor_model(base, properties, samples, heads=config.model.heads, seed=seed)


def _known(start: Path) -> Potential:
    try:
        return load_potential(start)
    except ValueError as error:
        if "load_tensor_model" not in str(error):
            raise
        raise Failure(
            f"model.start: {start} is a tensor model, which knows nothing of energies; give model.properties to train "
            "tensors, or start from a potential."
        ) from None


def _card(
    model: Potential | TensorModel, config: Config, sets: dict[str, tuple[Sample, ...]], rows: list[dict]
) -> ModelCard:
    """What the file says of the model: the entries of the one it started from, unless the configuration has its own.

    Its name is its own in any case: two models with heads on one backbone must not be taken for each other, or for that.
    """
    own = {"name": config.output.folder.resolve().name} | {name: text for name, text in config.card if text}
    if config.model.start is not None and not config.card.description:
        own["description"] = f"Trained from {model.card.name or config.model.start.name}. {model.card.description}".strip()
    return model.card.model_copy(update=own | {"training": _record(config, sets, rows)})


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
