"""The stage of motion: averages at each temperature, each kept on disk block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxnmr.isotopes import isotope
from jaxnmr.workflow._basins import Gauge
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._folder import Kept, Step, Store
from jaxnmr.workflow._inputs import Inputs
from jaxnmr.workflow._records import Ends, ExchangeOfNuclei, Relaxed, Sampled, TensorsOfStates
from jaxnmr.workflow._sample import sampled, starts_of

__all__ = ["averages_of"]


def averages_of(
    config: RunConfig,
    inputs: Inputs,
    store: Store,
    depends: dict[str, Any],
    told: Sequence[Gauge],
    first: Relaxed,
    minima: Ends,
    tensors: TensorsOfStates,
    exchange: ExchangeOfNuclei,
) -> list[Kept]:
    """Averages at each temperature; each motion is kept block by block, and goes on where it was stopped."""
    how, found = config.sample, []
    for kelvin in config.experiment.temperatures_k if how.length_ps > 0 else ():
        name, inside = f"sample-{kelvin:g}K", depends | {"t": kelvin}
        checkpoint = store.folder / "motion" / f"{name}-{store.key(Sampled, inside)[:16]}.npz"
        if store.force:
            checkpoint.unlink(missing_ok=True)
        found.append(
            store.step(
                name,
                Sampled,
                inside,
                lambda name=name, kelvin=kelvin, checkpoint=checkpoint: sampled(
                    inputs.surface,
                    inputs.tensors,
                    starts_of(first.positions, minima, told, how.replicas),
                    told,
                    tensors.nuclei,
                    exchange.group,
                    how,
                    kelvin,
                    quadrupolar=isotope(config.experiment.isotope).is_quadrupolar,
                    checkpoint=checkpoint,
                    progress=lambda done, total, now: store.told(Step(name, f"{done} of {total} steps, {now:.0f} K")),
                ),
            )
        )
        checkpoint.unlink(missing_ok=True)  # the result is kept: the motion is not needed any more
    return found
