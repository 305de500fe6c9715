"""What `jaxnmr predict` does once its flags are read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import typer

import jaxnmr as jn
from jaxnmr.cli._predict_frames import check_elements, places_of, predictions, progress
from jaxnmr.cli._say import Failure, say, warnings_to
from jaxnmr.potential import NOVEL
from jaxnmr.potential.training import uncalibrated
from jaxnmr.saving import written_aside

__all__ = ["predict"]

# The names of columns of extxyz files.
_COLUMNS = {"shielding": "ms", "efg": "efg"}
# Atoms whose rows are written together: some ten megabytes of text.
_PIECE = 20000


def predict(
    structures: Path,
    model: Path,
    output: Path,
    frame: int | None,
    *,
    energies: bool,
    force: bool,
    x64: bool,
    as_json: bool,
) -> None:
    """Read, predict, write.

    Raises:
        Failure: an ending that is not known, a file that exists, several structures or energies for magres.
        ValueError: what the library refuses.
    """
    energies = energies or model.suffix.lower() == ".nqx"
    if energies and output.suffix.lower() not in (".xyz", ".extxyz"):
        raise Failure(f"output: {output.name!r} does not end in .xyz or .extxyz, which hold energies and forces.")
    if output.suffix.lower() not in (".magres", ".xyz", ".extxyz"):
        raise Failure(f"output: {output.name!r} does not end in .magres, .xyz or .extxyz.")
    if not output.parent.is_dir() or not os.access(output.parent, os.W_OK | os.X_OK):
        raise Failure(f"output: the folder {output.parent} does not exist or cannot be written to; name another.")
    if output.exists() and not force:
        raise Failure(f"output: {output} exists; add --force to replace it, or name another.")
    if x64:
        jax.config.update("jax_enable_x64", True)
    if energies:
        _energies(structures, model, output, frame, as_json)
        return
    _all_tensors(structures, model, output, frame, as_json)


def _all_tensors(structures: Path, model: Path, output: Path, frame: int | None, as_json: bool) -> None:
    """Shieldings and field gradients of each frame, with their uncertainties."""
    rows: list[dict] = []
    with warnings_to([]):
        network = _tensor_model(model)
        names = [prop.name for prop in network.properties]
        asked = [name for name in ("shielding", "efg") if name in names]
        if not asked:
            known = ", ".join(names)
            raise Failure(
                f"model: {model} predicts neither shielding nor efg, which such files hold; in Python "
                f"jn.load_tensor_model(...).predict(atoms, {names[0]!r}) gives its {known}."
            )
        frames = _frames(structures, frame)
        if output.suffix.lower() == ".magres" and len(frames) > 1:
            raise Failure(f"output: magres holds one structure, {structures} has {len(frames)}; add --frame, or use extxyz.")
        if output.suffix.lower() == ".magres" and any(any(each.pbc) != all(each.pbc) for each in frames):
            raise Failure(f"output: magres cannot say that {structures} is periodic in some directions only; use extxyz.")
        places = places_of(structures, len(frames), frame)
        check_elements(frames, places, network.elements)
        uncertainties: dict[str, list[np.ndarray]] = {name: [] for name in asked}
        novelties: list[np.ndarray] = []
        with _in_pieces(output) as add, progress(len(frames)) as done:
            for number, found in predictions(network, frames, places, done):
                labelled = network.label(frames[number], found)
                told = {name: found[names.index(name)].uncertainty for name in asked}
                columns = {f"{_COLUMNS[name]}_uncertainty": values for name, values in told.items()}
                # The same for all properties, where it is not that an element has no labels of one.
                novelty = np.fmax.reduce([found[names.index(name)].novelty for name in asked])
                if network.domain is not None:
                    columns["novelty"] = novelty
                novelties.append(novelty)
                add(labelled, columns)
                for name, values in told.items():
                    uncertainties[name].append(values)
                if as_json:
                    rows += _rows(labelled, told, novelty, number if len(frames) > 1 else None)
    _warn(network, asked, frames)
    _warn_of_far(np.concatenate(novelties))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for name in asked:
        each = np.concatenate(uncertainties[name])
        each = each[~np.isnan(each)]
        unit = next(prop.unit for prop in network.properties if prop.name == name)
        if each.size:
            say(f"{name}: median uncertainty {np.median(each):.3g} {unit}, largest {each.max():.3g} {unit}")
    say(f"Wrote {output}")


def _frames(structures: Path, frame: int | None) -> tuple[jn.Structure, ...]:
    return jn.structure.read_all(structures) if frame is None else (jn.structure.read(structures, frame=frame),)


@contextmanager
def _in_pieces(path: Path) -> Iterator[Callable[[jn.Structure, dict[str, np.ndarray]], None]]:
    """A file of frames, written beside its place as they come, so that the text of a few is held; whole or not at all.

    Args:
        path: .magres for one frame, or extxyz.

    Yields:
        What to call with a structure and its further columns.
    """
    frames: list[jn.Structure] = []
    columns: list[dict[str, np.ndarray]] = []
    atoms = 0
    with written_aside(path) as aside, TemporaryDirectory() as spare:
        piece = Path(spare) / f"piece{path.suffix}"
        with aside.open("wb") as whole:

            def flush() -> None:
                nonlocal atoms
                if frames:
                    # magres has no room for uncertainties.
                    jn.structure.write(frames, piece, columns=None if path.suffix.lower() == ".magres" else columns)
                    whole.write(piece.read_bytes())
                    frames.clear()
                    columns.clear()
                    atoms = 0

            def add(structure: jn.Structure, further: dict[str, np.ndarray]) -> None:
                nonlocal atoms
                frames.append(structure)
                columns.append(further)
                atoms += len(structure)
                if atoms >= _PIECE:
                    flush()

            yield add
            flush()


def _warn(network: jn.TensorModel, asked: Sequence[str], frames: Sequence[jn.Structure]) -> None:
    """What the file does not hold, and what its numbers are not."""
    present = sorted({symbol for structure in frames for symbol in structure.elements})
    for name in asked:
        without = [symbol for symbol in present if symbol not in network.predicts(name)]
        if without:
            say(f"warning: {name}: no values of {', '.join(without)}, of which the model has learnt nothing.")
    if any(prop.name == "shielding" and prop.shape == () for prop in network.properties):
        say("warning: shielding: the model has learnt isotropic values alone; the tensors have no anisotropy.")
    bare = [name for name in uncalibrated(network) if name in asked]
    if bare:
        single = network.config.heads.members == 1
        what = "unknown (a single head)" if single else "the bare spread of the heads, too small as a rule"
        say(f"warning: the uncertainty of {', '.join(bare)} was never calibrated; it is {what}.")


def _warn_of_far(novelty: np.ndarray) -> None:
    """How many atoms are unlike those that the model has learnt from."""
    known = novelty[~np.isnan(novelty)]
    far = known[known > NOVEL]
    if far.size:
        say(
            f"warning: {far.size} of {known.size} atoms are unlike those the model has learnt from, up to {far.max():.2g} "
            "times as far from these as they reach (novelty). Their values are extrapolated, and their uncertainties "
            "only grow in proportion to that distance."
        )


def _tensor_model(model: Path) -> jn.TensorModel:
    try:
        return jn.load_tensor_model(model)
    except ValueError as error:
        if "load_potential" not in str(error):
            raise
        raise Failure(f"model: {model} is a potential; add --energies for its energies, forces and stresses.") from None


def _potential(model: Path) -> jn.Potential:
    try:
        return jn.load_potential(model)
    except ValueError as error:
        if "load_tensor_model" not in str(error):
            raise
        raise Failure(f"model: {model} is a tensor model, which has no energies; leave out --energies.") from None


def _energies(structures: Path, model: Path, output: Path, frame: int | None, as_json: bool) -> None:
    """Energy, forces and stress of each frame, as `jaxnmr train` and ASE read them."""
    rows: list[dict[str, Any]] = []
    with warnings_to([]):
        potential = _potential(model)
        frames = _frames(structures, frame)
        places = places_of(structures, len(frames), frame)
        check_elements(frames, places, potential.elements)
        with written_aside(output) as aside, progress(len(frames)) as done, aside.open("w", encoding="utf-8") as file:
            for number, found in predictions(potential, frames, places, done):
                file.write(_frame(frames[number], found.energy, found.forces, found.stress))
                largest = float(np.linalg.norm(found.forces, axis=1).max())
                row: dict[str, Any] = {"energy_ev": found.energy, "largest_force_ev_per_angstrom": largest}
                rows.append({"frame": number} | row if len(frames) > 1 else row)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    each = np.array([row["energy_ev"] / len(structure) for row, structure in zip(rows, frames, strict=True)])
    largest = max(row["largest_force_ev_per_angstrom"] for row in rows)
    spread = f"{each[0]:.6g}" if len(each) == 1 else f"{each.min():.6g} to {each.max():.6g}"
    say(f"energy: {spread} eV/atom; largest force {largest:.3g} eV/Å")
    say(f"Wrote {output}")


def _frame(structure: jn.Structure, energy: float, forces: np.ndarray, stress: np.ndarray | None) -> str:
    """One frame of extxyz."""

    def numbers(values: np.ndarray) -> str:
        return " ".join(repr(float(value)) for value in np.ravel(values))

    head = ["Properties=species:S:1:pos:R:3:forces:R:3", f"energy={float(energy)!r}"]
    if structure.cell is not None:
        periodic = " ".join("T" if each else "F" for each in structure.pbc)
        head = [f'Lattice="{numbers(np.asarray(structure.cell))}"', *head, f'pbc="{periodic}"']
    if stress is not None:
        head.append(f'stress="{numbers(stress)}"')
    rows = zip(structure.species, np.asarray(structure.positions), forces, strict=True)
    lines = [f"{symbol} {numbers(position)} {numbers(force)}" for symbol, position, force in rows]
    return "\n".join([str(len(structure)), " ".join(head), *lines]) + "\n"


def _rows(structure: jn.Structure, told: dict[str, np.ndarray], novelty: np.ndarray, number: int | None) -> list[dict]:
    """One row an atom."""
    rows: list[dict[str, Any]] = [
        {"atom": name} if number is None else {"frame": number, "atom": name} for name in structure.names
    ]
    for row, each in zip(rows, novelty, strict=True):
        row["novelty"] = None if np.isnan(each) else float(each)
    for name, uncertainty in told.items():
        tensors = structure.shielding if name == "shielding" else structure.efg
        for row, tensor, each in zip(rows, np.asarray(tensors), uncertainty, strict=True):
            row[f"{name}_uncertainty"] = None if np.isnan(each) else float(each)
            there = not np.isnan(tensor).any()
            if name == "shielding":
                row["shielding_iso_ppm"] = float(np.trace(tensor) / 3) if there else None
            else:
                principal = np.linalg.eigvalsh(tensor) if there else np.zeros(3)
                row["efg_largest_au"] = float(principal[np.argmax(np.abs(principal))]) if there else None
    return rows
