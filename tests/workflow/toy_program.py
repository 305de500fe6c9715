"""`jaxnmr run` with the toy's models, which no file holds: a program that can be killed."""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from jaxnmr.cli import _chain, _main
from tests.workflow import toy

_chain.run_chain = functools.partial(_chain.run_chain, potential=toy.surface(), tensors=toy.Tensors())
_main.app(sys.argv[1:])
