"""Endpoint states, asks and schedulers for tests of plugins."""

import random

from headgate.model.endpoints import Endpoint
from headgate.model.ids import RequestId, endpoint_id
from headgate.model.requests import InferenceRequest
from headgate.scheduling.api import Ask, EndpointState, Filter, Profile, Scorer
from headgate.scheduling.scheduler import Scheduler


def a_state(slot: int, ip: str = "", **fields: object) -> EndpointState:
    """Endpoint *slot* (10.0.0.<slot + 1>:8000) with these fields set."""
    where = ip or f"10.0.0.{slot + 1}"
    state = EndpointState(Endpoint(endpoint_id(where, 8000), where, 8000, f"pod-{slot}"), slot)
    for name, value in fields.items():
        setattr(state, name, value)
    return state


def an_ask(
    prompt_tokens: int = 1000,
    matched: dict[int, int] | None = None,
    adapter: str | None = None,
    sharers: int = 0,
    **fields: object,
) -> Ask:
    """A chat request of so many tokens, some of them cached at some slots."""
    request = InferenceRequest(id=RequestId("r"), api="chat", model="m", **fields)  # type: ignore[arg-type]
    return Ask(request, 10.0, prompt_tokens, matched or {}, "m", adapter, sharers=sharers)


def a_scheduler(*plugins: Filter | Scorer, most: int = 4) -> Scheduler:
    """A scheduler of the profile `test` with these plugins, in this order."""
    filters = tuple(plugin for plugin in plugins if isinstance(plugin, Filter))
    scorers = tuple(plugin for plugin in plugins if isinstance(plugin, Scorer))
    profile = Profile(name="test", filters=filters, scorers=scorers, max_endpoints=most)
    return Scheduler(profile, random.Random(1))
