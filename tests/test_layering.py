"""The rooms' rules, read from the source: imports go down, through front desks, and only `cli` talks."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jaxnmr"

# Modules of rank 0 may use each other, though never in a circle; rooms of one rank may not.
RANKS = {
    "_version": 0,
    "compiling": 0,
    "data": 0,
    "errors": 0,
    "harmonics": 0,
    "isotopes": 0,
    "rotations": 0,
    "saving": 0,
    "tables": 0,
    "units": 0,
    "tensors": 1,
    "structure": 1,
    "potential": 2,
    "dynamics": 2,
    "spins": 2,
    "exchange": 3,
    "spectrum": 4,
    "fitting": 5,
    "workflow": 6,
    "cli": 7,
    "__main__": 8,
}
TALKERS = {"cli", "__main__"}
CLOCKS = {"time", "datetime", "timeit"}


def room_of(path: Path) -> str:
    """The room or the rank-0 module that a file belongs to; "" for the package's own `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports(tree: ast.AST, path: Path) -> list[str]:
    """Full names of what is imported from this package, in functions too: `jaxnmr.spins.Sites`."""
    package = ("jaxnmr", *path.relative_to(PACKAGE).with_suffix("").parts[:-1])
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found += [f"{module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.split(".")[0] == "jaxnmr"]


def layering_faults(source: str, path: Path) -> list[str]:
    """What a file imports against the rules."""
    room, faults = room_of(path), []
    if room not in RANKS:
        return [f"{path.name}: {room!r} has no rank"]
    for name in imports(ast.parse(source), path):
        _, *rest = name.split(".")
        target = rest[0] if rest else ""
        if target == room:
            continue  # inside a room everything may be imported
        if target not in RANKS:  # a public name of the top front desk, or the package itself
            if room not in TALKERS:
                faults.append(f"{name}: only cli uses the package's front desk")
            continue
        if RANKS[target] > RANKS[room] or (RANKS[target] == RANKS[room] != 0):
            faults.append(f"{name}: rank {RANKS[target]} from {room} of rank {RANKS[room]}")
        # jaxnmr.room.name is a front desk's, and jaxnmr.room.folder.name that of a folder in it; anything longer, a file of
        # the room, or an underscore is not.
        is_file = len(rest) > 1 and (PACKAGE / target / f"{rest[1]}.py").exists()
        is_private = len(rest) > 1 and rest[1].startswith("_") and target != "_version"
        in_folder = len(rest) == 3 and (PACKAGE / target / rest[1] / "__init__.py").exists()
        if (len(rest) > 2 and not in_folder) or is_file or is_private:
            faults.append(f"{name}: not through the front desk of {target}")
    return faults


def talking_faults(source: str) -> list[str]:
    """Where a file prints, exits or reads a clock."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        else:
            modules = []
        faults += [f"line {node.lineno}: imports {m}" for m in modules if m.split(".")[0] in CLOCKS]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in {"print", "input", "exit", "quit", "breakpoint", "sys.exit", "os._exit"} or (
                called.startswith(("sys.stdout.", "sys.stderr.", "jax.debug.print"))
            ):
                faults.append(f"line {node.lineno}: calls {called}")
        if isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc):
            faults.append(f"line {node.lineno}: raises SystemExit")
    return faults


def desk_faults(source: str) -> list[str]:
    """What a room's `__init__` holds beside its docstring, imports and `__all__`."""
    faults = []
    for node in ast.parse(source).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not (is_docstring or is_all or isinstance(node, ast.Import | ast.ImportFrom)):
            faults.append(f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}")
    return faults


FILES = sorted(PACKAGE.rglob("*.py"))
INSIDE = [path for path in FILES if room_of(path)]


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", INSIDE, ids=name_of)
def test_imports_go_down_through_front_desks(path):
    """No file imports from its own rank or above, nor past another room's `__init__`."""
    assert not layering_faults(path.read_text(encoding="utf-8"), path)


def test_rank_zero_has_no_circle():
    """Rank 0 may import rank 0, and some order of the files still has every import pointing down."""
    needs = {}
    for path in INSIDE:
        if RANKS[room_of(path)] == 0:
            found = imports(ast.parse(path.read_text(encoding="utf-8")), path)
            targets = {name.split(".")[1] for name in found if "." in name}
            needs.setdefault(room_of(path), set()).update(targets - {room_of(path)})
    while needs:
        free = {room for room, targets in needs.items() if not targets & needs.keys()}
        assert free, f"a circle among {sorted(needs)}"
        needs = {room: targets for room, targets in needs.items() if room not in free}


@pytest.mark.parametrize("path", [p for p in INSIDE if room_of(p) not in TALKERS], ids=name_of)
def test_only_cli_talks(path):
    """Nothing but `cli` prints, exits or reads a clock."""
    assert not talking_faults(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [p for p in INSIDE if p.name == "__init__.py"], ids=name_of)
def test_front_desks_hold_no_logic(path):
    """A room's `__init__` is imports and `__all__`."""
    assert not desk_faults(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("tensors/_new.py", "from jaxnmr.spins import Sites"),
        ("tensors/_new.py", "import jaxnmr.spectrum"),
        ("tensors/_new.py", "from ..spins import Sites"),
        ("tensors/_new.py", "def f():\n    from jaxnmr.exchange import ExchangeModel"),
        ("dynamics/_new.py", "from jaxnmr.potential import load_potential"),
        ("spins/_new.py", "from jaxnmr.tensors._private import x"),
        ("spins/_new.py", "from jaxnmr.tensors import _private"),
        ("spins/_new.py", "import jaxnmr.tensors.anything.deep"),
        ("spins/_new.py", "import jaxnmr as jn"),
        ("spins/_new.py", "from jaxnmr import simulate"),
        ("spins/_new.py", "from jaxnmr import spectrum"),
        ("nowhere/_new.py", "import math"),
    ],
)
def test_layering_check_sees(file, source):
    """The check finds what it is for."""
    assert layering_faults(source, PACKAGE / file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("spins/_new.py", "from jaxnmr.tensors import shift_tensor\nfrom jaxnmr import units"),
        ("spins/_new.py", "from jaxnmr.spins._other import x\nfrom ._third import y\nimport jax.numpy"),
        ("isotopes.py", "from jaxnmr.units import PLANCK"),
        ("cli/_new.py", "import jaxnmr as jn\nfrom jaxnmr import simulate"),
    ],
)
def test_layering_check_allows(file, source):
    """The check leaves the right imports alone."""
    assert not layering_faults(source, PACKAGE / file)


@pytest.mark.parametrize(
    "source",
    ["print(1)", "import sys\nsys.exit(2)", "from time import perf_counter", "raise SystemExit(1)"],
)
def test_talking_check_sees(source):
    """The check finds what it is for."""
    assert talking_faults(source)


def test_desk_check_sees():
    """Logic in a front desk is found; imports and `__all__` are not."""
    assert desk_faults("def f():\n    return 1")
    assert not desk_faults('"""A room."""\nfrom jaxnmr.spins._sites import Sites\n__all__ = ["Sites"]')
