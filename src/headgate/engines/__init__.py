"""A metrics page → `Load`. One file per engine in `plugins/`; nobody else knows an engine's names."""

from headgate.engines.reader import LoadReader, read_load

__all__ = ["LoadReader", "read_load"]
