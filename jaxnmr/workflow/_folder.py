"""A run's folder: one writer at a time, and results that are kept by what they were made from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np

from jaxnmr._version import __version__
from jaxnmr.saving import written_aside
from jaxnmr.workflow._heard import listening, repeated, sentences

__all__ = ["Kept", "Step", "Store", "digest_of_array", "digest_of_file", "digest_of_record", "locked", "same_material"]

# Cells that were relaxed on their own differ by a per cent or two; those of two polymorphs by more.
_SAME_CELL = 0.03

Record = TypeVar("Record")


class Step(NamedTuple):
    """What a run tells of itself: a step's name, and whether it "begins", is "done", or was "kept" from before.

    Long steps tell how far they are in between.
    """

    name: str
    state: str


class Kept(NamedTuple):
    """A result, the digest of its numbers, which what is made from it depends on, and the warnings of its making."""

    record: Any
    digest: str
    heard: tuple[str, ...] = ()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone, until it ends, however it ends.

    Raises:
        ValueError: another process is running there.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise ValueError(
                f"output.folder: {folder} is in use by process {file.read().strip() or '?'}; wait for it, or name another."
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def same_material(folder: Path, species: tuple[str, ...], cell: np.ndarray | None, force: bool) -> None:
    """Refuse a folder of other atoms or of another cell, and mark one that has no mark yet.

    Raises:
        ValueError: results of another material lie there, and nobody said that they may go.
    """
    mark, atoms = folder / "material.txt", " ".join(species)
    rows = [] if cell is None else [" ".join(f"{x:.3f}" for x in row) for row in np.asarray(cell, np.float64)]
    # An empty mark is none: a disk was full when it was to be written.
    was = mark.read_text(encoding="utf-8").split("\n") if mark.exists() else []
    was = [line.strip() for line in was if line.strip()]
    if was and not force:
        if was[0] != atoms:
            raise ValueError(
                f"output.folder: {folder} holds a run of other atoms; name another folder, or replace it with force."
            )
        # Marks of earlier versions have no cell, and say nothing of it.
        if was[1:] and not _alike(was[1:], cell):
            raise ValueError(
                f"output.folder: {folder} holds a run of these atoms in another cell ({'; '.join(was[1:])} Å), as of "
                "another polymorph; name another folder, or replace it with force."
            )
    if was[:1] != [atoms] or len(was) == 1 or force:
        with written_aside(mark) as aside:
            aside.write_text("\n".join([atoms, *(rows or ["no cell"])]) + "\n", encoding="utf-8")


def _alike(rows: list[str], cell: np.ndarray | None) -> bool:
    if cell is None or rows == ["no cell"]:
        return cell is None and rows == ["no cell"]
    before = np.array([row.split() for row in rows], np.float64)
    return bool(np.linalg.norm(before - cell) <= _SAME_CELL * np.linalg.norm(before))


@dataclasses.dataclass(frozen=True)
class Store:
    """Steps on disk, one file each: there whole or not at all.

    Args:
        folder: of the run.
        force: make every step anew.
        told: is called when a step begins, ends, or was kept.
        origin: versions and model files, for provenance.
        heard: warnings of the steps that were made or kept, which grow as the run goes on.
    """

    folder: Path
    force: bool
    told: Callable[[Step], None]
    origin: Mapping[str, Any]
    heard: list[str] = dataclasses.field(default_factory=list)

    def within(self, name: str) -> Callable[[str], None]:
        """For a step to tell how far it is."""
        return lambda text: self.told(Step(name, text))

    def path(self, name: str) -> Path:
        """Where a step is kept."""
        return self.folder / "stages" / f"{name}.npz"

    def key(self, kind: type[Any], inputs: Mapping[str, Any]) -> str:
        """Digest of all that a step is made from."""
        fields = [field.name for field in dataclasses.fields(kind)]
        text = json.dumps([kind.__name__, fields, __version__, dict(inputs)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def step(self, name: str, kind: type[Record], inputs: Mapping[str, Any], make: Callable[[], Record]) -> Kept:
        """The result of a step, from disk where all that it depends on is the same.

        Args:
            name: of the step and its file.
            kind: dataclass of the result: arrays, numbers, strings and tuples of them.
            inputs: digests of earlier results and settings.
            make: the work.
        """
        key = self.key(kind, inputs)
        found = None if self.force else self.kept(name, kind, inputs)
        if found is not None:
            self.told(Step(name, "kept"))
            self.heard.extend(found.heard)
            return found
        self.told(Step(name, "begins"))
        caught: list[warnings.WarningMessage] = []
        try:
            with listening(caught):
                record = make()
            self._write(name, key, record, inputs, sentences(caught))
        finally:
            repeated(caught)
        self.told(Step(name, "done"))
        # From the file: a run that is resumed then goes on from the same bits as one that was not.
        again = self.kept(name, kind, inputs)
        if again is None:
            raise OSError(f"{self.path(name)} cannot be read back; look for another program that writes there.")
        self.heard.extend(again.heard)
        return again

    def kept(self, name: str, kind: type[Record], inputs: Mapping[str, Any]) -> Kept | None:
        """The step's result if it is there, whole, and made from the same; otherwise None."""
        try:
            with self.path(name).open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                head = json.loads(str(file["_head"][()]))
                arrays = {field: file[field] for field in file.files if field != "_head"}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None  # not there, cut short or foreign: made anew
        if head["key"] != self.key(kind, inputs):
            return None
        record = kind(**arrays, **{field: _tuples(value) for field, value in head["rest"].items()})
        digest = digest_of_record(record)
        return Kept(record, digest, tuple(head.get("heard", ()))) if digest == head["digest"] else None

    def _write(self, name: str, key: str, record: Any, inputs: Mapping[str, Any], heard: tuple[str, ...]) -> None:
        arrays, rest = _parts(record)
        head = {"key": key, "digest": digest_of_record(record), "rest": rest, "heard": heard}
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        about = {"step": name, "key": key, "inputs": dict(inputs), "provenance": dict(self.origin)}
        with written_aside(self.path(name).with_suffix(".json")) as aside:
            aside.write_text(json.dumps(about, indent=2, default=str) + "\n", encoding="utf-8")
        with written_aside(self.path(name)) as aside, aside.open("wb") as file:
            whole: dict[str, Any] = {"_head": np.array(json.dumps(head)), **arrays}
            # No `allow_pickle`: NumPy below 2.1 would write it as an array of that name.
            np.savez(file, **whole)


def digest_of_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def digest_of_array(array: np.ndarray) -> str:
    """SHA-256 of an array's numbers and shape."""
    whole = np.ascontiguousarray(array)
    return hashlib.sha256(f"{whole.dtype.str} {whole.shape}".encode() + whole.tobytes()).hexdigest()


def digest_of_record(record: Any) -> str:
    """SHA-256 of a dataclass of arrays, numbers, strings and tuples."""
    arrays, rest = _parts(record)
    total = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _parts(record: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    return arrays, {name: value for name, value in values.items() if name not in arrays}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
