"""Prints README.md's Python as one program: `python tests/readme_blocks.py [--without plot] [--setup]`.

A block opens with ```python; one that needs an extra names it after that word (```python plot). With
`--setup`, the set-up commands are printed instead, one a line. Standard library only, so that it works in
an environment that holds nothing but the package.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)


def python_blocks(without: tuple[str, ...] = ()) -> list[str]:
    """The Python blocks in order, less those that need one of the extras in `without`."""
    found = FENCE.findall(README.read_text(encoding="utf-8"))
    return [body for language, needs, body in found if language == "python" and not set(needs.split()) & {*without}]


def setup_commands() -> list[str]:
    """The lines of README's one shell block that is marked `setup`."""
    found = FENCE.findall(README.read_text(encoding="utf-8"))
    (body,) = [body for language, marks, body in found if language == "bash" and "setup" in marks.split()]
    return [line.split("  #")[0].rstrip() for line in body.splitlines() if line.strip()]


if __name__ == "__main__":
    if "--setup" in sys.argv:
        print("\n".join(setup_commands()))
    else:
        skipped = sys.argv[sys.argv.index("--without") + 1 :] if "--without" in sys.argv else []
        print("\n".join(python_blocks(tuple(skipped))))
