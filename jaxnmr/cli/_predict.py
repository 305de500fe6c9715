"""What `jaxnmr predict` does once its flags are read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import typer

import jaxnmr as jn
from jaxnmr.cli._say import Failure, say, warnings_to

__all__ = ["predict"]


def predict(
    structures: Path, model: Path, output: Path, frame: int | None, *, force: bool, x64: bool, as_json: bool
) -> None:
    """Read, predict, write.

    Raises:
        Failure: an ending that is not known, a file that exists, several structures for magres.
        ValueError: what the library refuses.
    """
    if output.suffix.lower() not in (".magres", ".xyz", ".extxyz"):
        raise Failure(f"output: {output.name!r} does not end in .magres, .xyz or .extxyz.")
    if not output.parent.is_dir() or not os.access(output.parent, os.W_OK | os.X_OK):
        raise Failure(f"output: the folder {output.parent} does not exist or cannot be written to; name another.")
    if output.exists() and not force:
        raise Failure(f"output: {output} exists; add --force to replace it, or name another.")
    if x64:
        jax.config.update("jax_enable_x64", True)
    with warnings_to([]):
        network = jn.load_tensor_model(model)
        asked = [name for name in ("shielding", "efg") if name in [prop.name for prop in network.properties]]
        if not asked:
            raise Failure(f"model: {model} predicts neither shielding nor efg, which such files hold.")
        frames = jn.structure.read_all(structures) if frame is None else (jn.structure.read(structures, frame=frame),)
        if output.suffix.lower() == ".magres" and len(frames) > 1:
            raise Failure(f"output: magres holds one structure, {structures} has {len(frames)}; add --frame, or use extxyz.")
        labelled, rows = [], []
        for number, structure in enumerate(frames):
            labelled.append(network.label(structure))
            rows += _rows(network, labelled[-1], asked, number if len(frames) > 1 else None)
        labelled[0].write(output) if len(labelled) == 1 else jn.structure.write(labelled, output)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for name in asked:
        told = [row[f"{name}_uncertainty"] for row in rows if row.get(f"{name}_uncertainty") is not None]
        unit = next(prop.unit for prop in network.properties if prop.name == name)
        without = sorted({row["atom"].rstrip("0123456789_") for row in rows} if not told else set())
        if told:
            say(f"{name}: median uncertainty {np.median(told):.3g} {unit}, largest {np.max(told):.3g} {unit}")
        else:
            say(f"{name}: none; the model has learnt nothing of {', '.join(without)}")
    say(f"Wrote {output}")


def _rows(network: jn.TensorModel, structure: jn.Structure, asked: list[str], number: int | None) -> list[dict]:
    """One row an atom."""
    rows: list[dict[str, Any]] = [
        {"atom": name} if number is None else {"frame": number, "atom": name} for name in structure.names
    ]
    for name in asked:
        uncertainty = network.uncertainty(structure, name)
        tensors = structure.shielding if name == "shielding" else structure.efg
        for row, tensor, each in zip(rows, np.asarray(tensors), uncertainty, strict=True):
            there = not np.isnan(each)
            row[f"{name}_uncertainty"] = float(each) if there else None
            if name == "shielding":
                row["shielding_iso_ppm"] = float(np.trace(tensor) / 3) if there else None
            else:
                principal = np.linalg.eigvalsh(tensor) if there else np.zeros(3)
                row["efg_largest_au"] = float(principal[np.argmax(np.abs(principal))]) if there else None
    return rows
