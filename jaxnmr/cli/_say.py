"""What the user reads: one line for each error and warning, on stderr; stdout is for results."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from jaxnmr.errors import JaxnmrWarning

__all__ = ["Failure", "one_line", "plainly", "say", "warnings_to"]


class Failure(Exception):
    """Bad input, or a file that cannot be written: one line for the user, and exit status 2."""


def say(text: str) -> None:
    """Print on stderr."""
    typer.echo(text, err=True)


def one_line(text: object) -> str:
    """A message without its line breaks."""
    return " ".join(str(text).split())


@contextmanager
def plainly(command: str) -> Iterator[None]:
    """Turn what bad input raises into one line on stderr and exit status 2; faults of the program keep their traceback."""
    try:
        yield
    except (Failure, ValueError) as error:
        message, status = one_line(error), 2
    except ImportError as error:
        if "pip install" not in str(error):
            raise
        message, status = one_line(error), 1
    except OSError as error:
        name = "" if error.filename is None else f"{os.fspath(error.filename)}: "
        message, status = f"{name}{error.strerror or error}", 2
    else:
        return
    say(f"jaxnmr {command}: {message}")
    raise typer.Exit(status)


@contextmanager
def warnings_to(heard: list[str]) -> Iterator[None]:
    """Print each of the package's warnings once, in one line, and keep it in `heard`."""

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        text = one_line(message)
        if text not in heard:
            heard.append(text)
            say(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages: nothing that the user could do
        warnings.simplefilter("always", JaxnmrWarning)
        warnings.showwarning = show
        yield
