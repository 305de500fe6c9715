"""The training itself: steps, validation, running means, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.errors import missing_extra
from jaxnmr.potential._weights import flatten
from jaxnmr.potential.training._checkpoint import read_checkpoint, write_checkpoint
from jaxnmr.potential.training._course import METRICS, Progress, Score, add_line, resumed
from jaxnmr.potential.training._settings import Settings
from jaxnmr.potential.training._tasks import Measure, Sums

__all__ = ["CHECKPOINT", "Batches", "Task", "check_frozen", "judge", "optimise"]

CHECKPOINT = "checkpoint.safetensors"


@runtime_checkable
class Task(Protocol):
    """What is to be learnt; see `EnergyTask` and `TensorTask`."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is reported."""
        ...

    def sums(self, params: dict, batch: Any) -> Sums:
        """Loss and errors of a batch."""
        ...


@runtime_checkable
class Batches(Protocol):
    """Where batches come from; see `StructureBatches` and `FeatureBatches`."""

    count: int

    def epoch(self, seed: int, epoch: int) -> Iterator[Any]:
        """All batches of an epoch."""
        ...

    def ordered(self) -> Iterator[tuple[np.ndarray, Any]]:
        """All batches once."""
        ...


class _State(NamedTuple):
    params: Any
    ema: Any
    best: Any
    optimiser: Any
    step: Array
    loss: Array
    weight: Array
    best_loss: Array
    waited: Array


def optimise(
    task: Task,
    params: dict,
    train: Batches,
    validation: Batches | None,
    settings: Settings,
    *,
    folder: Path | None = None,
    fingerprint: str = "",
    report: Callable[[Progress], None] | None = None,
) -> tuple[dict, tuple[Progress, ...]]:
    """Make the loss small.

    Args:
        task: loss and errors.
        params: to start from.
        train: batches to learn from.
        validation: batches to choose the best epoch by; the last one is taken without.
        settings: how.
        folder: for checkpoint and metrics, taken up where they are found; made where it is not there; None for neither.
        fingerprint: of all that the training depends on.
        report: called after each validation.

    Returns:
        The best parameters (their running mean) and the course.

    Raises:
        ValueError: names to freeze that are not there, a loss or parameters that are not finite, a checkpoint of another
            training, a folder that cannot be made, a validation set without any label to compare with.
        ImportError: optax is not installed.
    """
    total = settings.epochs * train.count
    optimiser = _optimiser(settings, params, total)
    params = jax.tree.map(jnp.asarray, params)
    zero, infinite = jnp.zeros((), jax.tree.leaves(params)[0].dtype), jnp.asarray(np.inf, jax.tree.leaves(params)[0].dtype)
    start = _State(params, params, params, optimiser.init(params), jnp.zeros((), jnp.int32), zero, zero, infinite,
                   jnp.zeros((), jnp.int32))  # fmt: skip
    epoch, batch_in_epoch, course, state = 0, 0, [], start
    if folder is not None:
        _make(folder)
        found = read_checkpoint(folder / CHECKPOINT, start, fingerprint)
        if found is not None:
            state, place = _State(*found[0]), found[1]
            epoch, batch_in_epoch = int(place["epoch"]), int(place["batch"])
        course = resumed(folder / METRICS, epoch)
    step, sums = _step(task, optimiser, settings), jax.jit(lambda params, batch: task.sums(params, batch))

    def save(epoch: int, batch: int) -> None:
        if folder is not None:
            write_checkpoint(folder / CHECKPOINT, state, {"fingerprint": fingerprint, "epoch": epoch, "batch": batch})

    def due() -> bool:
        return int(state.step) % settings.checkpoint_steps == 0

    done = _stopped(settings, state)
    while epoch < settings.epochs and not done:
        for k, batch in enumerate(train.epoch(settings.seed, epoch)):
            if k < batch_in_epoch:
                continue
            state = step(state, batch)
            if k + 1 < train.count and due():
                _check_finite(state)
                save(epoch, k + 1)
        _check_finite(state)
        epoch, batch_in_epoch = epoch + 1, 0
        if epoch % settings.validate_epochs == 0 or epoch == settings.epochs:
            state, progress = _validated(task, sums, state, validation, settings, epoch)
            course.append(progress)
            if folder is not None:
                add_line(folder / METRICS, progress)
            save(epoch, 0)
            done = _stopped(settings, state)
            if report is not None:
                report(progress)
        elif due():
            save(epoch, 0)
    return state.best, tuple(course)


def judge(task: Task, sums: Callable[[dict, Any], Sums], params: dict, batches: Batches) -> tuple[float, tuple[Score, ...]]:
    """Loss and errors over a set.

    Args:
        task: whose measures are told.
        sums: of the task, compiled once for all validations.
        params: to judge.
        batches: the set.
    """
    total: list[np.ndarray] | None = None
    for _, batch in batches.ordered():
        each = [np.asarray(part, np.float64) for part in sums(params, batch)]
        total = each if total is None else [a + b for a, b in zip(total, each, strict=True)]
    if total is None:
        return math.nan, ()
    loss, weight, absolute, square, count = total
    scores = []
    for k, measure in enumerate(task.measures):
        if count[k]:
            scores.append(
                Score(
                    measure.name,
                    measure.unit,
                    math.sqrt(square[k] / count[k]),
                    float(absolute[k] / count[k]),
                    int(count[k]),
                )
            )
    return float(loss / max(weight, 1.0)), tuple(scores)


def check_frozen(settings: Settings, params: dict) -> None:
    """Refuses names to freeze that no parameter has.

    Raises:
        ValueError: such a name, with those that are there.
    """
    names = flatten(params)
    for prefix in settings.freeze:
        if not any(name.startswith(prefix) for name in names):
            known = sorted({"/".join(name.split("/")[:2]) for name in names})
            raise ValueError(f"freeze: no parameter begins with {prefix!r}; there are {', '.join(known)}.")


def _optimiser(settings: Settings, params: dict, total: int) -> Any:
    try:
        import optax
    except ImportError:
        raise missing_extra("optax", "atoms") from None
    check_frozen(settings, params)
    prefixes = ("standard", *settings.freeze)
    frozen = jax.tree_util.tree_map_with_path(
        lambda path, _: "/".join(str(key.key) for key in path).startswith(prefixes), params
    )
    warm = round(settings.warmup * total)
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=settings.learning_rate * (1.0 if warm == 0 else 1e-2),
        peak_value=settings.learning_rate,
        warmup_steps=warm,
        decay_steps=max(total, warm + 1),
        end_value=settings.learning_rate * settings.final_rate,
    )
    return optax.chain(
        optax.masked(optax.set_to_zero(), frozen),
        optax.clip_by_global_norm(settings.clip),
        optax.adamw(schedule, weight_decay=settings.weight_decay),
        optax.masked(optax.set_to_zero(), frozen),
    )


def _step(task: Task, optimiser: Any, settings: Settings) -> Callable[[_State, Any], _State]:
    def loss(params: Any, batch: Any) -> tuple[Array, tuple[Array, Array]]:
        sums = task.sums(params, batch)
        return sums.loss / jnp.maximum(sums.weight, 1.0), (sums.loss, sums.weight)

    @jax.jit
    def step(state: _State, batch: Any) -> _State:
        slopes, (added, weight) = jax.grad(loss, has_aux=True)(state.params, batch)
        # optax mixes ranks and dtypes, which users may have forbidden.
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            updates, optimiser_state = optimiser.update(slopes, state.optimiser, state.params)
            params = jax.tree.map(lambda p, u: (p + u).astype(p.dtype), state.params, updates)
            decay = jnp.minimum(settings.ema, (1.0 + state.step) / (10.0 + state.step))
            # In this form what is frozen stays as it is to the last bit.
            ema = jax.tree.map(lambda old, new: (old + (1 - decay) * (new - old)).astype(new.dtype), state.ema, params)
        return state._replace(
            params=params,
            ema=ema,
            optimiser=optimiser_state,
            step=state.step + 1,
            loss=state.loss + added,
            weight=state.weight + weight,
        )

    return step


def _validated(
    task: Task,
    sums: Callable[[dict, Any], Sums],
    state: _State,
    validation: Batches | None,
    settings: Settings,
    epoch: int,
) -> tuple[_State, Progress]:
    train_loss = float(state.loss / jnp.maximum(state.weight, 1.0))
    loss, scores = (math.nan, ()) if validation is None else judge(task, sums, state.ema, validation)
    if validation is not None and not scores:
        raise ValueError(
            "validation: has no label that can be judged, none of an element with labels in training; give some, "
            "or no validation."
        )
    best = validation is None or loss < float(state.best_loss)
    zero = jnp.zeros_like(state.loss)
    state = state._replace(
        loss=zero,
        weight=zero,
        best=state.ema if best else state.best,
        best_loss=jnp.asarray(loss if best else float(state.best_loss), zero.dtype),
        waited=jnp.zeros_like(state.waited) if best else state.waited + settings.validate_epochs,
    )
    return state, Progress(epoch, settings.epochs, int(state.step), train_loss, loss, scores, best)


def _stopped(settings: Settings, state: _State) -> bool:
    return settings.patience is not None and int(state.waited) >= settings.patience


def _check_finite(state: _State) -> None:
    """Before a state is kept: a slope that is not finite spoils the parameters one step before it spoils a loss."""
    sound = np.isfinite(float(state.loss))
    if not sound or not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params)):
        what = "parameters are" if sound else "loss is"
        raise ValueError(
            f"learning_rate: the {what} no longer finite at step {int(state.step)}; lower the rate or clip, and look for "
            "labels far from all others."
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"folder: cannot make {folder}: {error.strerror or error}; name another.") from None
