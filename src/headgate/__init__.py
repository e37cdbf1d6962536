"""Headgate: an inference gateway for self-hosted LLMs."""

from headgate import core

__version__ = "0.1.0"

core.install()
