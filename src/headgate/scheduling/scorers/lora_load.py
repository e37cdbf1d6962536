"""Prefer endpoints that have the request's LoRA adapter loaded."""

from collections.abc import Sequence

from headgate.scheduling.api import Ask, EndpointState, Scorer


class LoraLoad(Scorer, frozen=True):
    """Loading an adapter takes `load_s`; where all places are taken another one is evicted: twice that.

    Silent for requests that name no known adapter. An engine that reports nothing about LoRA has loaded what
    was sent to it, as far as anyone knows, and nothing else.
    """

    load_s: float = 0.5

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        """Seconds of loading per endpoint; empty without an adapter."""
        adapter = ask.adapter
        return [] if adapter is None else [self._one(adapter, state) for state in endpoints]

    def _one(self, adapter: str, state: EndpointState) -> float:
        if adapter in state.adapters:
            return 0.0
        limit = None if state.load is None else state.load.lora_limit
        return 2 * self.load_s if limit is not None and len(state.adapters) >= limit else self.load_s
