"""How full a pool is, and, where no flow control lets requests wait, the verdict on one request."""

from collections.abc import Iterable

import msgspec

from headgate.model.decisions import Candidate
from headgate.picker.member import Member
from headgate.picker.queue_guess import MOST_GUESSED
from headgate.picker.settings import AdmissionSettings
from headgate.scheduling.api import SUSPECT


class Go(msgspec.Struct, frozen=True, tag=True):
    """Route it."""


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """Answer 429."""

    message: str
    retry_after_s: int


Verdict = Go | Refuse

GO = Go()


def saturation(members: Iterable[Member], settings: AdmissionSettings) -> float:
    """How full the least loaded of the healthy *members* is, as `fullness` says; 0 when none is healthy.

    The least loaded one decides and not the mean: where one has room, the pool has.
    """
    healthy = [member for member in members if member.state.severity < SUSPECT]
    return min([fullness(member, settings) for member in healthy], default=0.0)


def fullness(member: Member, settings: AdmissionSettings) -> float:
    """`max(waiting / limit, kv_used / limit)`; from 1 on the endpoint has its fill.

    Scrapes too old to be believed are left out; the router's own accounting since the scrape counts, so that
    a burst between two scrapes is seen. An endpoint without metrics is judged by own accounting alone.
    """
    load = member.state.load
    waiting = member.waiting(settings) / settings.waiting_limit
    if load is None or load.kv_used is None:
        return waiting
    return max(waiting, load.kv_used / settings.kv_limit)


def goes_anyway(priority: int | None, queueing: bool, settings: AdmissionSettings) -> bool:
    """Whether no saturation that is possible would refuse a request of *priority*.

    *priority* None: nobody gave it one; it waits in the engine's queue like without a gateway. *queueing*: an
    engine reported a queue. Without one, guesses and full caches add up to a known limit.
    """
    if priority is None or priority > 0:
        return True
    return not queueing and max(MOST_GUESSED, 1.0 / settings.kv_limit) < _bound(priority, settings)


def _bound(priority: int, settings: AdmissionSettings) -> float:
    return settings.refuse_zero_from if priority == 0 else settings.refuse_negative_from


def verdict(priority: int | None, saturated: float, wait_s: float, settings: AdmissionSettings) -> Verdict:
    """Let a request of *priority* go, or refuse it, at this saturation; *wait_s* predicts the relief."""
    if priority is None or priority > 0:
        return GO
    bound = _bound(priority, settings)
    if saturated < bound:
        return GO
    return Refuse(
        f"the pool is saturated ({saturated:.2f}; priority {priority} is refused from {bound:g}): "
        "all endpoints that may serve have too many waiting requests or too little free KV cache",
        max(1, min(30, round(wait_s))),
    )


def crowding(members: Iterable[Member], settings: AdmissionSettings, now: float) -> tuple[Candidate, ...]:
    """Why the pool counts as saturated, endpoint by endpoint."""
    return tuple([_crowded(member, settings, now) for member in members])


def _crowded(member: Member, settings: AdmissionSettings, now: float) -> Candidate:
    state = member.state
    kv_used = None if state.load is None else state.load.kv_used
    cache = "" if kv_used is None else f", KV cache {kv_used:.0%} used"
    return Candidate(
        endpoint=state.id,
        name=state.name,
        filtered_by="admission",
        filter_reason=f"{member.waiting(settings):.0f} waiting{cache}",
        in_flight=state.in_flight,
        pending_tokens=state.pending_tokens,
        metrics_age_s=None if state.scraped_at is None else now - state.scraped_at,
    )
