"""Simulated model servers over HTTP: vLLM's API and metrics in front of `sim.engine`."""
