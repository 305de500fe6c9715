"""How a model is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Optimiser, loss and bookkeeping; unknown keys are refused.

    Errors enter the loss in units of what is typical: energies an atom, forces and virials an atom by the scale of the
    potential (times 1 Å), which is the root mean square force of the labels for a new one and the start's own for one that
    is taken up; tensors by the size of their element's. With "huber" large ones count linearly.

    Labels of tensor models count alike, each once. Where some properties are of atoms and others of whole structures, each
    property of a structure counts once, that of its atoms with their mean: neither drowns the other, however many atoms
    there are.

    Args:
        epochs: at most.
        batch_size: structures of a step, or atoms where features are frozen.
        learning_rate: largest; it rises over `warmup` of all steps and falls along a cosine to `final_rate` of it.
        warmup: share of all steps.
        final_rate: share of the learning rate at the end.
        weight_decay: of AdamW. Heads on frozen features of a thousand atoms want about 1: with much less they learn
            the sites by heart.
        clip: largest norm of a gradient.
        ema: decay of the running mean of parameters, which is what is validated and kept.
        patience: epochs without a better validation after which to stop; None for never.
        loss: of each error.
        huber_delta: where "huber" turns from quadratic to linear, in typical errors.
        energy_weight: of energies.
        forces_weight: of forces.
        stress_weight: of stresses.
        freeze: parameters whose names begin so stay as they are, as "backbone/layer_0".
        checkpoint_steps: steps between two checkpoints; there is one after each validation as well.
        validate_epochs: epochs between two validations.
        seed: of the start and of the order of batches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Count = 200
    batch_size: Count = 8
    learning_rate: Positive = 5e-3
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.03
    final_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    weight_decay: Weight = 0.0
    clip: Positive = 10.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    patience: Count | None = None
    loss: Literal["huber", "mse"] = "huber"
    huber_delta: Positive = 1.0
    energy_weight: Weight = 1.0
    forces_weight: Weight = 1.0
    stress_weight: Weight = 0.1
    freeze: tuple[str, ...] = ()
    checkpoint_steps: Count = 500
    validate_epochs: Count = 1
    seed: int = 0
