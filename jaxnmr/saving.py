"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["written_aside"]


@contextmanager
def written_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name beside the path to write to, renamed to it if all went well; so there is never half a file.

    The name ends as the path does, and no two writers share one. The file is on the disk before it takes its name, so that
    a crash leaves the old one or the new one.

    Args:
        path: what to write; its folder exists.

    Yields:
        Where to write.

    Raises:
        OSError: a folder that is not there or cannot be written to.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".part{path.suffix}", dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        # mkstemp lets only the owner read; a result is as readable as other new files.
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
