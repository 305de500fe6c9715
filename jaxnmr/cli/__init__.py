"""The command line: arguments, files, progress and printing."""

from jaxnmr.cli._main import main

__all__ = ["main"]
