"""Plugins are found by looking; nothing that is not meant is taken for one."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from headgate import registry
from headgate.engines import plugins as engine_plugins
from headgate.engines.api import EngineMetrics
from headgate.gateway import filters
from headgate.gateway.api import FilterPlugin


class Bird:
    """A base class of plugins."""


@pytest.fixture
def birds(tmp_path: Path) -> Iterator[ModuleType]:
    folder = tmp_path / "some_birds"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    base = "from tests.unit.test_registry import Bird\n"
    (folder / "wren.py").write_text(f"{base}class Wren(Bird): ...\nfirst, second = Wren(), Wren()\n")
    (folder / "crow.py").write_text(
        f"{base}import abc\nclass Rook(Bird): ...\nclass Crow(Bird): ...\n"
        "class Corvid(Bird, abc.ABC):\n    @abc.abstractmethod\n    def caw(self): ...\n"
    )
    (folder / "nest.py").write_text("from some_birds.crow import Crow\ntwigs = 12\n")
    sys.path.insert(0, str(tmp_path))
    import some_birds  # type: ignore[import-not-found]

    yield some_birds
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "some_birds"]:
        del sys.modules[name]


def test_concrete_classes_come_by_module_and_name_and_imported_ones_only_once(birds: ModuleType) -> None:
    assert [each.__name__ for each in registry.classes(birds, Bird)] == ["Crow", "Rook", "Wren"]


def test_values_come_by_module_and_name(birds: ModuleType) -> None:
    wren = registry.modules(birds)[-1]
    assert registry.values(birds, Bird) == (wren.first, wren.second)
    assert registry.values(birds, int) == (12,)


def test_every_file_of_a_plugin_folder_holds_a_plugin() -> None:
    kinds = registry.classes(filters, FilterPlugin)  # type: ignore[type-abstract]
    assert {each.__module__ for each in kinds} == {each.__name__ for each in registry.modules(filters)}
    assert len({each.TYPE for each in kinds}) == len({each.ORDER for each in kinds}) == len(kinds)
    assert len(registry.values(engine_plugins, EngineMetrics)) >= len(registry.modules(engine_plugins))
