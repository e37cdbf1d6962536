"""Everything that can happen to a pool's machine. Each event is a plain value and can be recorded.

What the wires say of requests stands in `wire.said`.
"""

import msgspec

from headgate.model.endpoints import Pool
from headgate.model.ids import EndpointId, StreamId
from headgate.model.load import Load, ModelCard
from headgate.scheduling.api import Profile
from headgate.wire.said import AnswerStored, FirstToken, RequestArrived, RequestEnded, ResponseStarted, Said

__all__ = [
    "AnswerStored",
    "Event",
    "FirstToken",
    "ModelsListed",
    "PoolChanged",
    "PoolRemoved",
    "ProfileChanged",
    "RequestArrived",
    "RequestEnded",
    "ResponseStarted",
    "Scraped",
    "StageEnded",
    "Woken",
]


class PoolChanged(msgspec.Struct, frozen=True, tag=True):
    """The pool as it is now: endpoints, model rules, objectives. Whole, never a difference."""

    pool: Pool


class Scraped(msgspec.Struct, frozen=True, tag=True):
    """A scrape of an endpoint's metrics ended; `load` is None when it failed, `error` says how."""

    endpoint: EndpointId
    load: Load | None
    error: str | None = None


class ModelsListed(msgspec.Struct, frozen=True, tag=True):
    """An endpoint was asked for `/v1/models`; `error` says why no list came, `models` is empty then."""

    endpoint: EndpointId
    models: tuple[ModelCard, ...]
    error: str | None = None


class StageEnded(msgspec.Struct, frozen=True, tag=True):
    """The part in a request is over of an endpoint beside the one that answers; nothing where it has none.

    *computed*: its cache has the prompt now.
    """

    stream: StreamId
    endpoint: EndpointId
    computed: bool = True


class ProfileChanged(msgspec.Struct, frozen=True, tag=True):
    """Requests are placed by this profile from now on; those that run go on."""

    profile: Profile


class PoolRemoved(msgspec.Struct, frozen=True, tag=True):
    """The pool is served no more. Every request in its hands is concluded as lost; no event follows."""


class Woken(msgspec.Struct, frozen=True, tag=True):
    """The time asked for by WakeAt has come."""


Event = PoolChanged | ProfileChanged | Said | StageEnded | Scraped | ModelsListed | PoolRemoved | Woken
