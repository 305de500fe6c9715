"""What a model given in Python is made of, so that a change of it is seen: numbers, settings, and the code that it runs."""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import sys
import types
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import jax
import numpy as np

__all__ = ["likeness_of"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), PurePath)
_METHODS = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
_OF_CLASSES = (*_PLAIN, *_METHODS, tuple, list, np.ndarray, jax.Array)
_KEPT_FOR_ITSELF = frozenset({"__doc__", "__module__", "__firstlineno__", "__static_attributes__", "__slots__"})
# A neighbour list belongs to the atoms, which count by themselves.
_PASSED_OVER = frozenset({"neighbors"})


def likeness_of(model: Any) -> tuple[str, tuple[str, ...]]:
    """A digest of an object, the same in another process, and names of what in it could not be looked into.

    Counted are arrays, numbers and text in fields, in arguments of `functools.partial`, in closures, defaults and constants,
    and in globals that the code names; the code of functions and methods, of those that they name, and of what `jax.jit` and
    other decorators wrap. Of installed packages their functions' names and versions count, and not their code.

    Args:
        model: anything.
    """
    found = _Sum()
    found.add(model)
    return found.total.hexdigest(), tuple(dict.fromkeys(found.blind))


class _Sum:
    """The digest as it grows.

    Attributes:
        total: what was added.
        blind: names of what is a number or code to nobody.
    """

    def __init__(self):
        self.total = hashlib.sha256()
        self.blind: list[str] = []
        # Objects are kept, so that their numbers stay theirs; one that comes again, as in a ring, counts by its place.
        self._seen: dict[int, tuple[int, Any]] = {}

    def say(self, *words: Any) -> None:
        for word in words:
            self.total.update(repr(word).encode() + b"\0")

    def add(self, value: Any, inside: bool = False) -> None:
        """Add anything.

        Args:
            value: what to add.
            inside: whether it belongs to an installed package's function, whose own parts need not be known.
        """
        if isinstance(value, enum.Enum):
            self.say(type(value).__qualname__, value.name)
        elif isinstance(value, _PLAIN):
            self.say(type(value).__name__, value)
        elif isinstance(value, np.ndarray | np.generic | jax.Array):
            self._add_array(value)
        elif id(value) in self._seen:
            self.say("again", self._seen[id(value)][0])
        else:
            self._seen[id(value)] = len(self._seen), value
            self._add_new(value, inside)

    def _add_new(self, value: Any, inside: bool) -> None:
        if isinstance(value, types.ModuleType):
            self.say("module", value.__name__)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, types.CodeType):
            self._add_code(value, {})
        elif isinstance(value, tuple | list):
            self.say(type(value).__name__, len(value))
            for each in value:
                self.add(each, inside)
        elif isinstance(value, set | frozenset):
            self.say(type(value).__name__, sorted(map(_told, value)))
        elif isinstance(value, Mapping):
            self.say("mapping", len(value))
            for key, each in value.items():
                self.add(key, inside)
                self.add(each, inside)
        elif isinstance(value, functools.partial):
            self.say("partial")
            for each in (value.func, value.args, dict(sorted(value.keywords.items()))):
                self.add(each, inside)
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, types.MethodType | staticmethod | classmethod):
            self.add(value.__func__)
            self.add(getattr(value, "__self__", None))
        elif isinstance(value, property | functools.cached_property):
            self.add(value.fget if isinstance(value, property) else value.func)
        elif dataclasses.is_dataclass(value):  # equinox' and flax' modules too
            self._add_class(type(value))
            for field in dataclasses.fields(value):
                if field.name not in _PASSED_OVER:
                    self.say(field.name)
                    self.add(getattr(value, field.name, None), inside)
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType | np.ufunc):
            self._add_builtin(value, inside)
        else:
            self._add_object(value, inside)

    def _add_array(self, value: Any) -> None:
        try:
            whole = np.ascontiguousarray(jax.device_get(value))
        except (TypeError, ValueError, RuntimeError):  # as a key of random numbers, or one being traced
            self._unknown(value)
            return
        if whole.dtype == object:
            self.add(whole.tolist())
            return
        self.say(whole.dtype.str, np.shape(value))
        self.total.update(whole.tobytes())

    def _add_function(self, function: types.FunctionType) -> None:
        code, installed = function.__code__, _is_installed(function.__globals__.get("__name__"))
        # Code that a decorator has written, as one that checks types, is that package's.
        installed = installed or (hasattr(function, "__wrapped__") and code.co_filename.startswith("<"))
        if installed:
            self.say(*_named(function.__globals__.get("__name__")), code.co_name)
        else:
            self._add_code(code, function.__globals__)
            self.add(function.__defaults__)
            self.add(function.__kwdefaults__)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self.say(name)
            try:
                content = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            self.add(content, installed)
        if hasattr(function, "__wrapped__"):
            self.add(function.__wrapped__)

    def _add_code(self, code: types.CodeType, names: Mapping[str, Any]) -> None:
        self.say(code.co_code, code.co_names, code.co_argcount)
        for each in code.co_consts:
            if isinstance(each, types.CodeType):
                self._add_code(each, names)
            else:
                self.add(each)
        loaded = {each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        for name in sorted(loaded & names.keys()):
            value = names[name]
            self.say(name)
            self.add(value)
            if isinstance(value, types.ModuleType) and not _is_installed(value.__name__):
                # Of a module of one's own, what the code takes from it.
                for part in sorted(set(code.co_names) & vars(value).keys()):
                    self.say(part)
                    self.add(vars(value)[part])

    def _add_class(self, kind: type) -> None:
        for each in kind.__mro__:
            self.say(each.__module__, each.__qualname__)
            if _is_installed(each.__module__):
                continue
            for name, part in sorted(vars(each).items()):
                # equinox wraps methods.
                part = getattr(part, "method", part) if _is_installed(type(part).__module__) else part
                # Fields of instances count by themselves, and what the interpreter keeps for its own use does not.
                if isinstance(part, _OF_CLASSES) and name not in _KEPT_FOR_ITSELF:
                    self.say(name)
                    self.add(part)

    def _add_builtin(self, value: Any, inside: bool) -> None:
        owner = getattr(value, "__self__", None)
        module = getattr(value, "__module__", None) or type(value if owner is None else owner).__module__
        self.say(*_named(module), getattr(value, "__name__", ""))
        if not isinstance(owner, types.ModuleType | None):
            self.add(owner, inside)
        elif not _is_installed(module) and not inside:
            self._unknown(value)

    def _add_object(self, value: Any, inside: bool) -> None:
        kind = type(value)
        self._add_class(kind)
        installed, parts = _is_installed(kind.__module__), _parts(value)
        foreign = installed and not kind.__module__.startswith("jaxnmr") and kind is not types.SimpleNamespace
        if hasattr(value, "__wrapped__"):
            self.add(value.__wrapped__)
        elif foreign and (inside or not callable(value)):
            # A part of another package.
            self.say(_told(value))
            return
        elif callable(value) and not isinstance(kind.__call__, types.FunctionType):
            # Compiled: a function of an installed package, or something that nothing is known of.
            self._add_builtin(value, inside) if hasattr(value, "__qualname__") else self._unknown(value)
        elif parts is None:
            self._unknown(value)
            return
        cached = {
            name for each in kind.__mro__ for name, p in vars(each).items() if isinstance(p, functools.cached_property)
        }
        for name, part in sorted((parts or {}).items()):
            if name not in _PASSED_OVER | cached | {"__wrapped__", "__doc__"}:
                self.say(name)
                self.add(part, inside)

    def _unknown(self, value: Any) -> None:
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or f"a {type(value).__qualname__}"
        self.say(type(value).__module__, name)
        self.blind.append(str(name))


def _told(value: Any) -> str:
    """What an object tells of itself; nothing where that has its place in memory, which is another one each time."""
    text = repr(value)
    return text if " at 0x" not in text else ""


def _parts(value: Any) -> dict[str, Any] | None:
    """Attributes of an object; None where it has no place for any."""
    slots = [
        name
        for each in type(value).__mro__
        for name in np.atleast_1d(getattr(each, "__slots__", ())).tolist()
        if name not in ("__dict__", "__weakref__")
    ]
    if not hasattr(value, "__dict__") and not slots:
        return None
    return {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})


@functools.cache
def _is_installed(module: str | None) -> bool:
    """Whether a module is Python's, this package's, or one that was installed."""
    if not module:
        return False
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root == __name__.partition(".")[0]:
        return True
    found = sys.modules.get(root)
    file = getattr(found, "__file__", None) or next(iter(getattr(found, "__path__", ())), "")
    return bool({"site-packages", "dist-packages"} & set(Path(file).parts))


def _named(module: str | None) -> tuple[str, str]:
    root = (module or "").partition(".")[0]
    return module or "", str(getattr(sys.modules.get(root), "__version__", ""))
