"""What a run was asked for, so that a report can be made again from itself: settings, conventions, and digests of models."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._folder import digest_of_file

__all__ = ["CONVENTIONS", "models_of", "settings_of"]

CONVENTIONS = {
    "tensors": "shift_tensor_ppm and coupling_tensor_hz (eQV/h) are 3 x 3 in the Cartesian frame of minimum-0.extxyz; the "
    "shift keeps its antisymmetric part. shift_ppm, zeta_ppm, eta: Haeberlen, |zz - iso| largest; cq_hz, eta_q: |zz| "
    "largest.",
    "config": "as given, what was left out with its default; paths count from the run's folder; a name without an ending is "
    "that of a model that comes with jaxnmr.",
    "rate_hz": "of the rotor, the same as spinning_rate_hz; kept for earlier readers.",
    "averaged": "of a basin: over the motion in it, the same as motion_averages; of a site: over its basins, weighted by "
    "their populations, the same as mean_of_basins; kept for earlier readers.",
    "populations": "of an event's rate: the first minimum and the event's, the two alone, by harmonic theory. "
    "populations_taken: of these two, as the exchange has them, which do not sum to one where the group has more basins; "
    "populations_of_group has all, in the order of minima_of_group.",
    "free_energy_ev": "of an event's rate: of its minimum above the first, the two alone and neighbours at rest, by "
    "harmonic theory; felt_ev: what neighbours that hop as well add to it, null where shares were counted or they stay.",
    "neighbours": "energy_ev of a pair: of both events at once above the sum of what each costs alone; nearest_a: between "
    "atoms that jump. all_at_once_ev: free energy with all events above the first minimum; beyond_pairs_ev: what is in "
    "no pair's energy, which the pairs take by their size. other_order_ev: of the order found from all groups hopped.",
}


def settings_of(config: RunConfig) -> dict[str, Any]:
    """All tables of the configuration; paths count from the run's folder, so that the folder can move with its inputs."""
    folder, tables = config.output.folder, config.model_dump()
    return {name: {key: _plain(value, folder) for key, value in table.items()} for name, table in tables.items()}


def models_of(config: RunConfig, origin: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The model files by name, with their digests and what these are digests of.

    Args:
        config: with the names.
        origin: the run's, with the digests under "potential_sha256" and "tensors_sha256".
    """
    found = {}
    for name, path in (("potential", config.potential.file), ("tensors", config.tensors.file)):
        digest = origin.get(f"{name}_sha256")
        whole = path is not None and path.is_file() and digest_of_file(path) == digest
        of = "the file" if whole else "the arrays of the model in memory and the code of its functions"
        found[name] = {"file": None if path is None else path.name, "sha256": digest, "sha256_of": of}
    return found


def _plain(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return _beside(value, folder)
    if isinstance(value, tuple | list):
        return [_plain(each, folder) for each in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def _beside(path: Path, folder: Path) -> str:
    if path.name == str(path) and not path.suffix and not path.exists():
        return str(path)
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # on another drive
        return str(path)
