"""Headgate: an inference gateway for self-hosted LLMs."""

from headgate import compiled

__version__ = "0.1.0"

compiled.install()
