"""Trajectories in files, a chunk at a time: extxyz and HDF5."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxnmr.dynamics._frames import Frames
from jaxnmr.errors import missing_extra

__all__ = ["TrajectoryWriter", "read_trajectory"]

_TEXT, _BINARY = (".xyz", ".extxyz"), (".h5", ".hdf5")
_TIME = re.compile(rb"\btime_fs=(\S+)")
_ANEW = "resume with another name of the trajectory, of no file yet, to write the rest."


class TrajectoryWriter:
    """A file that grows by frames; those that `append` has returned from are on the disk.

    A crash in the middle of a chunk leaves half a frame at the end of an extxyz file, which is cut off when the run is
    resumed; it can leave an HDF5 file that no one can read.

    Args:
        path: .xyz or .extxyz, .h5 or .hdf5.
        species: symbols of the elements.
        pbc: along which lattice vectors the atoms repeat; None without a cell.
        spacing: time between frames, fs.
        keep: the number of the last frame to keep of a file that exists, counted from the run's beginning; None: begin anew.

    Raises:
        ValueError: an unknown ending, no elements, a file that cannot be gone on with.
        ImportError: h5py is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        species: tuple[str, ...] | None,
        pbc: tuple[bool, ...] | None,
        spacing: float,
        keep: int | None = None,
    ):
        self.path, self.pbc = Path(path), pbc
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
        elif self.path.exists():
            self._cut(keep, spacing)

    def _cut(self, keep: int, spacing: float) -> None:
        """What was written after the checkpoint goes, so that the run that goes on writes it again."""
        if not self.binary:
            times, ends = self._whole()
            kept = self._kept(times, keep, spacing)
            with open(self.path, "rb+") as file:
                file.truncate(ends[kept - 1] if kept else 0)
            return
        try:
            with _h5py().File(self.path, "r+") as file:
                names = [name for name in file if file[name].attrs.get("per_frame", False)]
                found = min((len(file[name]) for name in names), default=0)
                kept = self._kept(file["time"][:found] if found else np.zeros(0), keep, spacing)
                for name in names:
                    file[name].resize(kept, axis=0)
        except (OSError, KeyError) as error:
            raise ValueError(f"trajectory: {self.path} is damaged ({error}); {_ANEW}") from None

    def _whole(self) -> tuple[np.ndarray, list[int]]:
        """Times of the whole frames of an extxyz file, and where each ends."""
        times, ends = [], []
        with open(self.path, "rb") as file:
            while True:
                lines = [file.readline() for _ in range(len(self.species) + 2)]
                found = _TIME.search(lines[1])
                if not lines[-1].endswith(b"\n") or found is None:
                    return np.array(times), ends
                times.append(float(found[1]))
                ends.append(file.tell())

    def _kept(self, times: np.ndarray, keep: int, spacing: float) -> int:
        """How many frames stay.

        Raises:
            ValueError: the file does not go on to the checkpoint's, or is not this run's.
        """
        numbers = np.rint(times / spacing)
        # Times have nine digits in the file.
        own = (np.abs(times - numbers * spacing) <= 0.01 * spacing + 1e-8 * times).all() and (np.diff(numbers) == 1).all()
        kept = int((numbers <= keep).sum())
        last = numbers[kept - 1] if kept else numbers[0] - 1 if len(numbers) else 0
        # A file without a frame may be something else; an empty one is not.
        if (own and last == keep) or self.path.stat().st_size == 0:
            return kept
        raise ValueError(
            f"trajectory: {self.path} has {len(times)} whole frames, but the checkpoint was written after {keep}, one each "
            f"{spacing:g} fs; put the whole file back, or {_ANEW}"
        )

    def append(self, frames: Frames) -> None:
        """Add frames; they are on the disk afterwards."""
        if not len(frames.time):
            return
        if self.binary:
            self._append_binary(frames)
        else:
            with open(self.path, "a", encoding="utf-8", newline="\n") as file:
                for k in range(len(frames.time)):
                    file.write(self._text(frames, k))
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())

    def _text(self, frames: Frames, k: int) -> str:
        head = "Properties=species:S:1:pos:R:3:vel:R:3"
        if self.pbc is not None and frames.cell is not None:
            repeats = " ".join("FT"[along] for along in self.pbc)
            head = f'Lattice="{" ".join(f"{x:.10f}" for x in frames.cell[k].ravel())}" {head} pbc="{repeats}"'
        head += f" time_fs={frames.time[k]:.9g} energy={frames.energy[k]:.10g}"
        rows = zip(self.species, frames.positions[k], frames.velocities[k], strict=True)
        body = (f"{s} {' '.join(f'{x:.8f}' for x in r)} {' '.join(f'{x:.8e}' for x in v)}" for s, r, v in rows)
        return "\n".join((str(len(self.species)), head, *body)) + "\n"

    def _append_binary(self, frames: Frames) -> None:
        with _h5py().File(self.path, "a") as file:
            if "species" not in file:
                file["species"] = np.array(self.species, "S2")
                file.attrs["periodic"] = self.pbc is not None
                file.attrs["pbc"] = np.array(self.pbc or (False,) * 3)
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
    # A line without its end may be the beginning of a number.
    *lines, rest = path.read_text(encoding="utf-8").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    rows: list[tuple[float, float, Any, np.ndarray]] = []
    species: tuple[str, ...] = ()
    at = 0
    while at < len(lines):
        try:
            n = int(lines[at])
            body = [line.split() for line in lines[at + 2 : at + 2 + n]]
            if not 0 < n == len(body) or min(map(len, body)) < 7 or (rows and n != len(species)):
                raise IndexError
            numbers = np.array([[float(x) for x in row[1:7]] for row in body])
            time, energy = (float(lines[at + 1].split(f"{key}=")[1].split()[0]) for key in ("time_fs", "energy"))
            cell = lines[at + 1].split('Lattice="')[1].split('"')[0].split() if "Lattice=" in lines[at + 1] else None
            lattice = None if cell is None else np.array(cell, float).reshape(3, 3)
        except (IndexError, ValueError):
            rest = "."
            break
        species = tuple(row[0] for row in body)
        rows.append((time, energy, lattice, numbers))
        at += 2 + n
    if rest.strip() and not (partial and rows):
        raise ValueError(
            f"path: {path} is cut short or damaged in frame {len(rows)} (line {at + 1}); the {len(rows)} frames before are "
            "whole: read them with partial=True, and resume the run from its checkpoint to write the rest."
        )
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
        raise ValueError(f"path: {path} is damaged or no trajectory of md ({error}); {_ANEW}") from None
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
