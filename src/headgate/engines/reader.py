"""Finds out which engine wrote a page, and reads it."""

from headgate import registry
from headgate.engines import plugins
from headgate.engines.api import EngineMetrics
from headgate.engines.exposition import Extractor, Line, Series
from headgate.model.load import Load

ENGINES = registry.values(plugins, EngineMetrics)
"""Every engine, in the order in which a page is tried."""

_EXTRACTORS: tuple[tuple[EngineMetrics, Extractor], ...] = tuple(
    (engine, engine.extractor()) for engine in ENGINES
)


def read_load(page: bytes) -> Load | None:
    """The load that a metrics *page* tells; None when no engine's names are in it."""
    return LoadReader().read(page)


class LoadReader:
    """Reads the pages of one endpoint. It remembers the engine, so that the next page costs one search, and
    what was found, so that a load that did not change is not built again.
    """

    def __init__(self) -> None:
        self._order = _EXTRACTORS
        self._lines: list[Line] = []
        self._load: Load | None = None
        self._series = Series()

    def read(self, page: bytes) -> Load | None:
        """The load that *page* tells; None when no engine's names are in it."""
        for position, (engine, extractor) in enumerate(self._order):
            lines = extractor.lines(page)
            if lines and lines == self._lines:
                return self._load
            load = engine.load(self._series.take(lines))
            if load is not None:
                if position:
                    self._order = (
                        self._order[position],
                        *self._order[:position],
                        *self._order[position + 1 :],
                    )
                self._lines, self._load = lines, load
                return load
        return None
