"""What a run would do, and about how long, told without compiling anything."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np

from jaxnmr.dynamics import Surface
from jaxnmr.workflow._combined import grouped
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._inputs import Inputs, prepared
from jaxnmr.workflow._sample import steps_of

__all__ = ["STAGES", "Cost", "plan", "seconds_of_a_call"]

# Of energy and forces in double precision on two cores of 2025, s for each pair of neighbours, against numbers in the model:
# the shipped potential and a foundation potential of 700 thousand numbers, both on 24 atoms of KHCO3.
_MODEL, _SECONDS = (25e3, 700e3), (1.3e-5, 1.4e-4)

STAGES = (
    "relax",
    "explore",
    "ends",
    "saddles",
    "vibrations",
    "rates",
    "recrossing",
    "tensors",
    "exchange",
    "sample",
    "spectra",
    "report",
)


class Cost(NamedTuple):
    """About how many evaluations of the forces a stage needs, and whether it is there already.

    Attributes:
        stage: its name.
        evaluations: of one structure; 0 where it needs none.
        kept: whether the folder holds a result; it is taken if what it was made from is still the same.
    """

    stage: str
    evaluations: int
    kept: bool


def plan(config: RunConfig, inputs: Inputs | None = None) -> tuple[Cost, ...]:
    """What a run would do. Numbers of steps are guesses from runs of molecular crystals.

    Args:
        config: what to do.
        inputs: read before, or None to read them here.
    """
    inputs = prepared(config) if inputs is None else inputs
    searches = config.motion.hops == "explore"
    events, n = (1 if searches else len(inputs.events)), len(inputs.structure)
    inner, how = config.motion.images - 2, config.sample
    # Of n equivalent groups symmetry leaves about n - 1 kinds of pairs; all events at once come with vibrations.
    others = len(grouped(inputs.events)) - 1 if config.motion.neighbours == "hop" and inputs.events else 0
    whole = int(others > 0 and len(inputs.events) == others + 1)
    replicas = how.replicas * (2 if events else 1)
    counts = dict.fromkeys(STAGES, 0) | {
        "relax": 60,
        # An escape is about 100 steps of motion, and the way down 60.
        "explore": 160 * config.motion.explore_hops * config.motion.explore_walkers if searches else 0,
        "sample": steps_of(how) * replicas * len(config.experiment.temperatures_k),
        "ends": 60 * events + 30 * (others + (whole if others > 1 else 0)),
        # A band takes about 40 steps, the saddle 25 with five products of the Hessian each, its two sides 40 each.
        "saddles": events * (40 * inner + 25 * 5 * 2 + 80),
        # One product of the Hessian, two evaluations, for each coordinate of minimum, saddle and end.
        "vibrations": (1 + whole + 2 * events) * 2 * 3 * n,
        "recrossing": int(events * 2 * config.rates.recrossing_pairs * config.rates.recrossing_fs / how.dt_fs)
        * len(config.experiment.temperatures_k),
    }
    folder = config.output.folder / "stages"
    return tuple(Cost(s, counts[s], any(folder.glob(f"{s}.npz")) or any(folder.glob(f"{s}-*.npz"))) for s in STAGES)


def seconds_of_a_call(surface: Surface) -> float:
    """About how long one evaluation of energy and forces takes, from the size of model and atoms alone.

    Within a factor of about three: processors differ, and so do networks of one size.
    """
    arrays = jax.tree.leaves(eqx.filter(surface.energy_fn, eqx.is_array))
    size = max(sum(int(np.size(array)) for array in arrays), 1)
    edges = getattr(getattr(surface.neighbors, "graph", None), "is_edge", np.ones(1))
    pairs = int(np.asarray(edges).sum())
    # A power law through the two that were measured.
    power = np.log(_SECONDS[1] / _SECONDS[0]) / np.log(_MODEL[1] / _MODEL[0])
    return max(1e-5, float(pairs * _SECONDS[0] * (size / _MODEL[0]) ** power))
