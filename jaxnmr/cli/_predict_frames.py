"""Frames of a file through a model: in batches of few shapes, in the file's order, with progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import jaxnmr as jn
from jaxnmr.cli._say import Failure, say
from jaxnmr.structure import Batch

__all__ = ["check_elements", "places_of", "predictions", "progress"]

# Atoms that go through the network together: enough to hide what a call costs, few enough for any memory.
_ATOMS = 256
# Frames of up to so many times the atoms of another are given the same room: compiling costs more than filling up.
_SPREAD = 1.6
# A batch waits for its like so many frames at most, for all results behind it wait with it.
_WAIT = 1000
# Between two lines of progress, where no terminal shows a bar.
_SECONDS = 10.0

Result = TypeVar("Result", covariant=True)


@runtime_checkable
class Predictor(Protocol[Result]):
    """A potential or a tensor model."""

    def prepare(self, atoms: Sequence[jn.Structure], *, n_atoms: int | None, n_neighbors: int | None) -> Batch:
        """Structures with their neighbours."""
        ...

    def evaluate(self, batch: Batch) -> tuple[Result, ...]:
        """What the model says of each."""
        ...


class _Group(NamedTuple):
    """Frames of like size: how many go together, and the room that each of them gets."""

    size: int
    n_atoms: int
    n_neighbors: int


def places_of(structures: object, count: int, frame: int | None) -> list[str]:
    """Each frame's name for messages.

    Args:
        structures: the file.
        count: of frames that are taken from it.
        frame: the one that was asked for, or None for all.
    """
    several = frame is not None or count > 1
    return [f"{structures}, frame {frame or k}" if several else str(structures) for k in range(count)]


def check_elements(frames: Sequence[jn.Structure], places: Sequence[str], known: Sequence[str]) -> None:
    """Before hours have gone into the frames in front of one that cannot be taken.

    Raises:
        Failure: a frame has an element that the model does not know.
    """
    for place, structure in zip(places, frames, strict=True):
        strange = sorted(set(structure.elements) - set(known))
        if strange:
            raise Failure(f"{place}: has {', '.join(strange)}, which the model does not know; it knows {', '.join(known)}.")


def predictions(
    model: Predictor[Result], frames: Sequence[jn.Structure], places: Sequence[str], done: Callable[[str, int], None]
) -> Iterator[tuple[int, Result]]:
    """What a model says of each frame, with its number, in the file's order.

    All neighbour lists are made twice, the first time for the sizes that batches need: that costs little beside a network,
    and compiling for every other size much. It also finds each frame that cannot be taken before any is computed.

    Args:
        model: what predicts.
        frames: the structures.
        places: their names for messages.
        done: called with what is going on and how many frames are through.

    Raises:
        Failure: a frame that the model cannot take.
    """
    groups, owner = _grouped(model, frames, places, done)
    ready: dict[int, Result] = {}
    start = computed = 0
    for g, members in _batches(groups, owner):
        group = groups[g]
        # The last batch of a kind is filled up to the shape that is compiled already.
        filled = [frames[k] for k in members] + [frames[members[-1]]] * (group.size - len(members))
        batch = model.prepare(filled, n_atoms=group.size * group.n_atoms, n_neighbors=group.n_neighbors)
        ready |= dict(zip(members, model.evaluate(batch), strict=False))
        computed += len(members)
        done("predicted", computed)
        while start in ready:
            yield start, ready.pop(start)
            start += 1


def _grouped(
    model: Predictor, frames: Sequence[jn.Structure], places: Sequence[str], done: Callable[[str, int], None]
) -> tuple[list[_Group], list[int]]:
    """Groups of frames of like size, and the group of each."""
    rooms = []
    for k, (place, structure) in enumerate(zip(places, frames, strict=True)):
        try:
            graph = model.prepare([structure], n_atoms=None, n_neighbors=None).graph
        except ValueError as error:
            raise Failure(f"{place}: {error}") from None
        rooms.append((graph.n_atoms, graph.n_neighbors))
        done("checked", k + 1)
    sorts: list[list[int]] = []
    for k in sorted(range(len(rooms)), key=lambda k: rooms[k][0]):
        if not sorts or rooms[k][0] > _SPREAD * rooms[sorts[-1][0]][0]:
            sorts.append([])
        sorts[-1].append(k)
    groups, owner = [], [0] * len(rooms)
    for g, members in enumerate(sorts):
        n_atoms, n_neighbors = (max(rooms[k][axis] for k in members) for axis in (0, 1))
        groups.append(_Group(max(1, min(_ATOMS // n_atoms, len(members))), n_atoms, n_neighbors))
        for k in members:
            owner[k] = g
    return groups, owner


def _batches(groups: Sequence[_Group], owner: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Each group's frames as they follow one another, a batch as soon as it is full or has waited long."""
    open_ones: dict[int, list[int]] = {}
    for k, g in enumerate(owner):
        open_ones.setdefault(g, []).append(k)
        for other in [o for o, members in open_ones.items() if len(members) == groups[o].size or k - members[0] >= _WAIT]:
            yield other, open_ones.pop(other)
    yield from open_ones.items()


@contextmanager
def progress(total: int) -> Iterator[Callable[[str, int], None]]:
    """A bar on a terminal, else a line now and then, on stderr; nothing is left of what took a moment.

    Args:
        total: of frames.

    Yields:
        What to call with a word and a number of frames.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar

    console, said = Console(stderr=True), time.monotonic()
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("frames", total=total)

        def done(what: str, count: int) -> None:
            nonlocal said
            bar.update(task, completed=count, description=f"frames {what}")
            if not console.is_terminal and time.monotonic() - said >= _SECONDS:
                said = time.monotonic()
                say(f"{count}/{total} frames {what}")

        yield done
