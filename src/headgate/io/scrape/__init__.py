"""Polls model servers: `/metrics` several times a second, `/v1/models` now and then."""

from headgate.io.scrape.scraper import Scraper

__all__ = ["Scraper"]
