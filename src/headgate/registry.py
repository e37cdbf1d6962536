"""Finds plugins by looking in a folder: the whole mechanism. Nothing is registered at import."""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def modules(package: ModuleType) -> tuple[ModuleType, ...]:
    """The package's modules, imported, in name order."""
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return tuple(importlib.import_module(f"{package.__name__}.{name}") for name in names)


def classes(package: ModuleType, base: type[T]) -> tuple[type[T], ...]:
    """Every concrete subclass of *base* defined in *package*'s modules, in order of module and name."""
    found: list[type[T]] = []
    for module in modules(package):
        for _, member in sorted(inspect.getmembers(module, inspect.isclass)):
            if (
                issubclass(member, base)
                and member.__module__ == module.__name__
                and not inspect.isabstract(member)
            ):
                found.append(member)
    return tuple(found)


def values(package: ModuleType, base: type[T]) -> tuple[T, ...]:
    """Every module-level instance of *base* in *package*'s modules, in order of module and name."""
    found: list[T] = []
    for module in modules(package):
        found += [member for _, member in sorted(inspect.getmembers(module)) if isinstance(member, base)]
    return tuple(found)


def plugin_type(class_name: str) -> str:
    """`LeastRequests` → `least-requests`: the word for a plugin in configuration, terms and records."""
    return "".join(
        f"-{letter.lower()}" if letter.isupper() else letter for letter in class_name
    ).removeprefix("-")
