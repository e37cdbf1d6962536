"""Prefer endpoints that have the request's LoRA adapter loaded."""

from collections.abc import Sequence

from headgate.scheduling.api import Ask, EndpointState, Scorer


class LoraLoad(Scorer, frozen=True):
    """Loading an adapter takes `load_s`; where all places are taken another one is evicted: twice that.

    Silent for requests that name no known adapter, and for endpoints whose engine reports nothing about LoRA.
    """

    load_s: float = 0.5

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        """Seconds of loading per endpoint; empty without an adapter."""
        adapter = ask.adapter
        return [] if adapter is None else [self._one(adapter, state) for state in endpoints]

    def _one(self, adapter: str, state: EndpointState) -> float:
        if adapter in state.adapters or state.load is None:
            return 0.0
        limit = state.load.lora_limit
        if limit is None:
            return self.load_s if state.adapters else 0.0
        return self.load_s if len(state.adapters) < limit else 2 * self.load_s
