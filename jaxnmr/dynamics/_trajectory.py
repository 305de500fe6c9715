"""Trajectories in files, a chunk at a time: extxyz and HDF5."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxnmr.dynamics._frames import Frames
from jaxnmr.errors import missing_extra

__all__ = ["TrajectoryWriter", "read_trajectory"]

_TEXT, _BINARY = (".xyz", ".extxyz"), (".h5", ".hdf5")


class TrajectoryWriter:
    """A file that grows by frames; whatever happens, the frames that were added are whole and on the disk.

    Args:
        path: .xyz or .extxyz, .h5 or .hdf5.
        species: symbols of the elements.
        pbc: along which lattice vectors the atoms repeat.
        keep: how many frames of a file that exists to go on from; None: begin anew.

    Raises:
        ValueError: an unknown ending, no elements, fewer frames there than are to be kept.
        ImportError: h5py is not installed.
    """

    def __init__(
        self, path: str | os.PathLike[str], species: tuple[str, ...] | None, periodic: bool, keep: int | None = None
    ):
        self.path, self.periodic = Path(path), periodic
        if self.path.suffix.lower() not in (*_TEXT, *_BINARY):
            raise ValueError(f"trajectory: got {os.fspath(path)!r}; let it end in .xyz, .extxyz, .h5 or .hdf5.")
        if species is None:
            raise ValueError("trajectory: a file needs elements; make the Surface with species=.")
        if not self.path.parent.is_dir():
            raise ValueError(f"trajectory: the folder {self.path.parent} does not exist; make it, or name another.")
        self.species = species
        self.binary = self.path.suffix.lower() in _BINARY
        if self.binary:
            _h5py()
        if keep is None:
            self.path.unlink(missing_ok=True)
        else:
            self._cut(keep)

    def _cut(self, keep: int) -> None:
        """What was written after the checkpoint goes, so that the run that goes on writes it again."""
        found = 0
        if self.binary and self.path.exists():
            with _h5py().File(self.path, "r+") as file:
                found = len(file["time"]) if "time" in file else 0
                for name in list(file) if found >= keep else []:
                    if file[name].attrs.get("per_frame", False):
                        file[name].resize(keep, axis=0)
        elif self.path.exists():
            lines = len(self.species) + 2
            with open(self.path, "rb+") as file:
                while found < keep and all(file.readline().endswith(b"\n") for _ in range(lines)):
                    found += 1
                if found == keep:
                    file.truncate()
        if found < keep:
            raise ValueError(
                f"trajectory: {self.path} has {found} whole frames, but the checkpoint was written after {keep}; put the "
                "whole file back, or give another name to write only the rest."
            )

    def append(self, frames: Frames) -> None:
        """Add frames."""
        if not len(frames.time):
            return
        if self.binary:
            self._append_binary(frames)
            return
        with open(self.path, "a", encoding="utf-8") as file:
            for k in range(len(frames.time)):
                file.write(self._text(frames, k))
            file.flush()
            os.fsync(file.fileno())

    def _text(self, frames: Frames, k: int) -> str:
        head = "Properties=species:S:1:pos:R:3:vel:R:3"
        if self.periodic and frames.cell is not None:
            head = f'Lattice="{" ".join(f"{x:.10f}" for x in frames.cell[k].ravel())}" {head} pbc="T T T"'
        head += f" time_fs={frames.time[k]:.9g} energy={frames.energy[k]:.10g}"
        rows = zip(self.species, frames.positions[k], frames.velocities[k], strict=True)
        body = (f"{s} {' '.join(f'{x:.8f}' for x in r)} {' '.join(f'{x:.8e}' for x in v)}" for s, r, v in rows)
        return "\n".join((str(len(self.species)), head, *body)) + "\n"

    def _append_binary(self, frames: Frames) -> None:
        with _h5py().File(self.path, "a") as file:
            if "species" not in file:
                file["species"] = np.array(self.species, "S2")
                file.attrs["periodic"] = self.periodic
                file.attrs["units"] = "positions, cell: Å; velocities: Å/fs; time: fs; energy: eV"
            for name in Frames._fields:
                value = getattr(frames, name)
                if value is None:
                    continue
                value = np.asarray(value)
                if name not in file:
                    chunk = (max(1, min(len(value), (1 << 16) // max(value[0].size, 1))), *value.shape[1:])
                    file.create_dataset(name, data=value, maxshape=(None, *value.shape[1:]), chunks=chunk)
                    file[name].attrs["per_frame"] = True
                    continue
                old = len(file[name])
                file[name].resize(old + len(value), axis=0)
                file[name][old:] = value


def read_trajectory(path: str | os.PathLike[str], *, partial: bool = False) -> tuple[tuple[str, ...], Frames]:
    """Elements and frames of a file that `md` has written.

    Args:
        path: .xyz, .extxyz, .h5 or .hdf5.
        partial: leave out a last frame that was cut short.

    Raises:
        ValueError: a file that was cut short, with the frame; a file that is something else.
        ImportError: h5py is not installed.
    """
    path = Path(path)
    if path.suffix.lower() in _BINARY:
        return _read_binary(path, partial)
    lines = path.read_text(encoding="utf-8").splitlines()
    rows: list[tuple[float, float, Any, np.ndarray]] = []
    species: tuple[str, ...] = ()
    at = 0
    while at < len(lines) and lines[at].strip():
        try:
            n = int(lines[at])
            body = [line.split() for line in lines[at + 2 : at + 2 + n]]
            if len(body) < n or len(body[-1]) < 7:
                raise IndexError
            numbers = np.array([[float(x) for x in row[1:7]] for row in body])
            time, energy = (float(lines[at + 1].split(f"{key}=")[1].split()[0]) for key in ("time_fs", "energy"))
            cell = lines[at + 1].split('Lattice="')[1].split('"')[0].split() if "Lattice=" in lines[at + 1] else None
        except (IndexError, ValueError):
            if partial and rows:
                break
            raise ValueError(
                f"path: {path} is cut short or damaged in frame {len(rows)} (line {at + 1}); the {len(rows)} frames before "
                "are whole: read them with partial=True, and resume the run from its checkpoint to write the rest."
            ) from None
        species = tuple(row[0] for row in body)
        rows.append((time, energy, None if cell is None else np.array(cell, float).reshape(3, 3), numbers))
        at += 2 + n
    if not rows:
        raise ValueError(f"path: {path} has no frame; name a trajectory that md has written.")
    times, energies, cells, numbers = zip(*rows, strict=True)
    both = np.array(numbers)
    cell = None if cells[0] is None else np.array(cells)
    return species, Frames(np.array(times), np.array(energies), both[..., :3], both[..., 3:], cell)


def _read_binary(path: Path, partial: bool) -> tuple[tuple[str, ...], Frames]:
    h5py = _h5py()
    advice = "read the whole frames with partial=True, and resume the run from its checkpoint to write the rest."
    try:
        with h5py.File(path, "r") as file:
            species = tuple(name.decode() for name in file["species"][()])
            parts = {name: file[name][()] for name in Frames._fields if name in file}
    except (OSError, KeyError) as error:
        raise ValueError(
            f"path: {path} is cut short or no trajectory of md ({error}); resume from the checkpoint."
        ) from None
    lengths = {len(part) for part in parts.values()}
    if len(lengths) > 1 and not partial:
        raise ValueError(f"path: {path} is cut short after frame {min(lengths)}; {advice}")
    parts = {name: part[: min(lengths)] for name, part in parts.items()}
    return species, Frames(*(parts.get(name) for name in Frames._fields))


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise missing_extra("h5py", "atoms") from None
    return h5py
