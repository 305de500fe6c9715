"""Training from samples to a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxnmr.potential._domain import Domain
from jaxnmr.potential._potential import Potential
from jaxnmr.potential._tensor_model import TensorModel
from jaxnmr.potential._tensor_network import Calibration, scalar_place
from jaxnmr.potential._weights import flatten
from jaxnmr.potential.training._batches import FeatureBatches, StructureBatches
from jaxnmr.potential.training._calibrate import BARE, fit_calibration
from jaxnmr.potential.training._course import Progress
from jaxnmr.potential.training._domain import Seen, fit_domain
from jaxnmr.potential.training._frozen import digest, even_scalars, features, refuse_pooled
from jaxnmr.potential.training._loop import check_frozen, optimise
from jaxnmr.potential.training._samples import Sample
from jaxnmr.potential.training._settings import Settings
from jaxnmr.potential.training._tasks import EnergyTask, TensorTask

__all__ = ["Trained", "calibrated", "check_settings", "train"]


class Trained(NamedTuple):
    """The result of a training.

    Attributes:
        model: with the best parameters (their running mean), the domain of the learnt atoms, and uncertainties calibrated on
            the validation set. Those of a property of which it has no label are the bare spread of the committee; see
            `uncalibrated`.
        course: each validation.
    """

    model: Potential | TensorModel
    course: tuple[Progress, ...]


def train(
    model: Potential | TensorModel,
    samples: Sequence[Sample],
    validation: Sequence[Sample] = (),
    settings: Settings | None = None,
    *,
    frozen: bool = False,
    folder: Path | None = None,
    cache: Path | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Trained:
    """Fit a model to labels.

    Deterministic on one machine: the same model, samples and settings give the same result, also when the training was
    interrupted in between and taken up from its checkpoint.

    Args:
        model: to start from; see `new_potential` and `new_tensor_model`.
        samples: to learn from.
        validation: to choose the best epoch by and to calibrate uncertainties on.
        settings: how.
        frozen: leave the backbone of a tensor model as it is and learn from features computed once.
        folder: for checkpoint and metrics (JSON lines), taken up where they are found; made where it is not there.
        cache: folder for frozen features, a file of each structure, which serve other trainings too; "features" in `folder`
            unless given.
        report: called after each validation.

    Raises:
        ValueError: a potential with frozen features, labels that are missing, or as `jaxnmr.potential.training.optimise`.
        ImportError: flax, e3nn-jax, optax or safetensors is not installed.
    """
    settings = settings or Settings()
    if isinstance(model, Potential):
        if frozen:
            raise ValueError("frozen: energies need the backbone to move; use freeze = ['backbone/layer_0', ...] instead.")
        return _train_potential(model, samples, validation, settings, folder, report)
    config, params = model.config, dict(model.params)
    if frozen:
        cache = folder / "features" if cache is None and folder is not None else cache
        backbone = params.pop("backbone")
        learnt, owner = features(config, backbone, samples, cache)
        held = features(config, backbone, validation, cache)[0] if validation else None
        batches = FeatureBatches(learnt, settings.batch_size)
        judged = None if held is None else FeatureBatches(held, 1024)
        seen = Seen(np.asarray(learnt.chunks[scalar_place(config.network)])[:, 0, :], np.asarray(learnt.species), owner)
    else:
        backbone = seen = None
        batches = StructureBatches(config.network, config.properties, samples, settings.batch_size)
        judged = StructureBatches(config.network, config.properties, validation, settings.batch_size) if validation else None
    task = TensorTask(config, model.scales, settings)
    found, course = optimise(
        task,
        params,
        batches,
        judged,
        settings,
        folder=folder,
        fingerprint=_fingerprint(model, samples, validation, settings, frozen),
        report=report,
    )
    whole = found if backbone is None else found | {"backbone": backbone}
    # What an earlier training found belongs to its parameters.
    bare = tuple(_number(BARE, model) for _ in model.properties)
    done = TensorModel(config, whole, model.scales, bare, model.card)
    done = dataclasses.replace(done, domain=_domain(done, _seen(done, samples) if seen is None else seen))
    if judged is not None:
        done = _calibrated(done, task, found, judged)
    return Trained(done, course)


def check_settings(model: Potential | TensorModel, settings: Settings, *, frozen: bool = False) -> None:
    """Refuses settings that do not fit a model, before anything is written or computed.

    Args:
        model: to be trained.
        settings: how.
        frozen: as for `train`.

    Raises:
        ValueError: names to freeze that are not there, properties of whole structures on frozen features.
    """
    if frozen and isinstance(model, TensorModel):
        refuse_pooled(model.config)
    params = {name: part for name, part in model.params.items() if not (frozen and name == "backbone")}
    check_frozen(settings, params)


def calibrated(model: TensorModel, samples: Sequence[Sample], learnt: Sequence[Sample] = ()) -> TensorModel:
    """The model with uncertainties that fit its errors on samples it has not seen.

    Args:
        model: trained.
        samples: held out. The uncertainty of a property of which they have no label stays as it is.
        learnt: what it has learnt from, for the domain of these atoms; without, the model keeps the domain that it has.
    """
    if learnt:
        model = dataclasses.replace(model, domain=_domain(model, _seen(model, learnt)))
    task = TensorTask(model.config, model.scales, Settings())
    batches = StructureBatches(model.config.network, model.config.properties, samples, 4)
    return _calibrated(model, task, model.params, batches)


def _train_potential(
    model: Potential,
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    settings: Settings,
    folder: Path | None,
    report: Callable[[Progress], None] | None,
) -> Trained:
    if not any(np.isfinite(sample.energy) or np.isfinite(sample.forces).any() for sample in samples):
        raise ValueError("samples: none has an energy or forces; look at the names of the files' columns and entries.")
    references = np.asarray(model.scale.references) + float(model.scale.shift)
    batches = StructureBatches(model.config, (), _bare(samples), settings.batch_size, references)
    judged = StructureBatches(model.config, (), _bare(validation), settings.batch_size, references) if validation else None
    found, course = optimise(
        EnergyTask(model.config, model.scale, settings),
        model.params,
        batches,
        judged,
        settings,
        folder=folder,
        fingerprint=_fingerprint(model, samples, validation, settings, False),
        report=report,
    )
    return Trained(Potential(model.config, found, model.scale, model.card), course)


def _bare(samples: Sequence[Sample]) -> list[Sample]:
    return [sample._replace(values=()) for sample in samples]


def _calibrated(
    model: TensorModel, task: TensorTask, params: dict, batches: StructureBatches | FeatureBatches
) -> TensorModel:
    found: list[list[tuple[np.ndarray, ...]]] = [[] for _ in model.properties]
    compute = jax.jit(lambda params, batch: task.spreads(params, batch, model.domain))
    for _, batch in batches.ordered():
        for collected, each in zip(found, compute(params, batch), strict=True):
            error, spread, size, away = (np.asarray(part, np.float64) for part in each)
            collected.append((error, spread, size, away))
    calibrations = []
    for collected, before in zip(found, model.calibrations, strict=True):
        error, spread, size, away = (np.concatenate(part) for part in zip(*collected, strict=True))
        fitted = fit_calibration(error, spread, size, away)
        calibrations.append(before if fitted is BARE else _number(fitted, model))
    return dataclasses.replace(model, calibrations=tuple(calibrations))


def _seen(model: TensorModel, samples: Sequence[Sample]) -> Seen | None:
    """Features of atoms with labels, as the trained backbone makes them; None without any label."""
    pooled = any(prop.pooling != "none" for prop in model.properties)
    return even_scalars(model.config, model.params["backbone"], samples, every=pooled)


def _domain(model: TensorModel, learnt: Seen | None) -> Domain | None:
    """Where learnt atoms lie, in the model's precision."""
    if learnt is None:
        return model.domain
    found = fit_domain(learnt, len(model.config.network.elements))
    return Domain(*(jax.numpy.asarray(part, model.dtype) for part in found))


def _number(calibration: Calibration, model: TensorModel) -> Calibration:
    """In the model's precision."""
    return Calibration(*(jax.numpy.asarray(number, model.dtype) for number in calibration))


def _fingerprint(
    model: Potential | TensorModel,
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    settings: Settings,
    frozen: bool,
) -> str:
    # What may change without making it another training.
    free = {"patience", "checkpoint_steps", "validate_epochs"}
    parts: list[bytes | str | np.ndarray] = [model.config.model_dump_json(), settings.model_dump_json(exclude=free)]
    weights = sorted(flatten(model.params).items())
    # "standard" and the scales follow from the rest by calculations whose last digits a GPU may change from run to run.
    parts += [str(frozen), *(np.asarray(array) for name, array in weights if not name.startswith("standard"))]
    scales = (model.scale,) if isinstance(model, Potential) else model.scales
    parts += [f"{number:.3e}" for scale in scales for array in scale for number in np.ravel(array).tolist()]
    for each in (samples, validation):
        parts.append(str(len(each)))
        for sample in each:
            structure = sample.structure
            cell = np.zeros(0) if structure.cell is None else np.asarray(structure.cell)
            parts += [" ".join(structure.species), str(structure.pbc), np.asarray(structure.positions), cell]
            parts += [np.asarray(sample.energy), sample.forces, sample.stress, *sample.values]
    return digest(*parts)
