"""Lines of a text file with their numbers, so that every complaint names the place."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["NUMBER", "Text", "load"]

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?")
# Positions beyond and gradients beyond this are no numbers of atoms; a format that overflowed prints stars.
_LARGE = 1e12


@dataclass(frozen=True)
class Text:
    """A file's lines.

    Attributes:
        path: where they come from, for messages.
        lines: without their ends.
    """

    path: str
    lines: tuple[str, ...]

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Line numbers, from 1, and lines."""
        return enumerate(self.lines, start=1)

    def error(self, line: int, what: str) -> ValueError:
        """The error to raise: file, line, what is wrong and what would do."""
        return ValueError(f"{self.path}, line {line}: {what}")

    def cut(self, what: str) -> ValueError:
        """The error for a file that ends too early."""
        return self.error(len(self.lines), f"the file ends {what}; it was cut short, copy or compute it again.")

    def floats(self, line: int, words: Sequence[str]) -> np.ndarray:
        """Numbers of one line; Fortran's exponent D is welcome, stars and blanks are not."""
        values = []
        for word in words:
            try:
                value = float(word.replace("D", "E").replace("d", "e"))
            except ValueError:
                raise self.error(line, f"{word!r} is not a number; correct it, or compute the file again.") from None
            if math.isinf(value) or abs(value) > _LARGE:
                raise self.error(line, f"{word!r} is not a finite number of reasonable size; compute the file again.")
            values.append(value)
        return np.array(values)


def load(path: str | os.PathLike[str]) -> Text:
    """Read a text file.

    Raises:
        ValueError: no such file, or no text.
    """
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        what = "is a folder" if isinstance(error, IsADirectoryError) else "does not exist"
        raise ValueError(f"path: {name} {what}; give a magres, extxyz, OUTCAR, POSCAR or CIF file.") from None
    if b"\0" in data[:4096]:
        raise ValueError(f"path: {name} is a binary file; unpack it, or give a magres, extxyz, OUTCAR, POSCAR or CIF file.")
    return Text(name, tuple(data.decode("utf-8", errors="replace").splitlines()))
