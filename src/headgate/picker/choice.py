"""A routed request's decision as the machine keeps it: every request makes one, few are ever read."""

from typing import ClassVar

import msgspec

from headgate.model.decisions import Candidate, Decision, PriorResult, SessionResult
from headgate.model.ids import EndpointId, PoolKey, RequestId
from headgate.scheduling.placement import Placement

LONGEST = 200
"""Characters of a summary."""


class Choice(msgspec.Struct, frozen=True, gc=False):
    """Says what a `Decision` says; `written` makes one."""

    request_id: RequestId
    pool: PoolKey
    policy: str
    model: str | None
    target_model: str | None
    """Name put into the body, when it differs from `model`."""
    priority: int
    objective: str | None
    chosen: tuple[EndpointId, ...]
    """The pick, then the fallbacks in order; never empty."""
    predicted_ttft_s: float
    placement: Placement
    waited_s: float = 0.0
    queued_behind: int | None = None
    session: SessionResult | None = None
    prior: PriorResult | None = None
    refused: ClassVar[None] = None

    @property
    def at(self) -> float:
        """The machine's clock (seconds) when it decided."""
        return self.placement.at

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """How every endpoint of the pool fared."""
        return self.placement.candidates

    @property
    def looked_at(self) -> int:
        """How many endpoints that are."""
        return len(self.placement.seen)

    def written(self, *, brief: bool = False) -> Decision:
        """The record that people and other processes read; *brief*: without candidates."""
        return Decision(
            request_id=self.request_id,
            pool=self.pool,
            policy=self.policy,
            at=self.placement.at,
            model=self.model,
            target_model=self.target_model,
            priority=self.priority,
            objective=self.objective,
            prompt_tokens=self.placement.prompt_tokens,
            sharers=self.placement.sharers,
            waited_s=self.waited_s,
            queued_behind=self.queued_behind,
            session=self.session,
            prior=self.prior,
            chosen=self.chosen,
            runner_up=self.chosen[1] if len(self.chosen) > 1 else None,
            candidates=() if brief else self.candidates,
            predicted_ttft_s=self.predicted_ttft_s,
        )

    def summary(self) -> str:
        """The decision in a few words, for a response header: printable ASCII, at most `LONGEST` characters.

        `default; cost=0.41 of 3; prefix=512/640; in-flight=2; fallbacks=2`
        """
        placement = self.placement
        pick = placement.pick
        text = self.policy
        if pick is not None:
            refused = placement.refused
            text += (
                f"; cost={placement.cost:.3g} of {len(placement.seen) - len(refused or ())}"
                f"; prefix={placement.matched.get(pick.slot, 0)}/{placement.prompt_tokens}"
                f"; in-flight={pick.in_flight}"
            )
            if refused:
                text += f"; filtered={len(refused)}"
        text += f"; fallbacks={len(self.chosen) - 1}"
        if self.priority:
            text += f"; priority={self.priority}"
        if self.session is not None:
            text += f"; session={self.session}"
        if self.prior is not None:
            text += f"; prior={self.prior}"
        if self.waited_s > 0:
            text += f"; waited={self.waited_s:.3f}s"
        if not (text.isascii() and text.isprintable()):
            text = "".join([letter if " " <= letter <= "~" else "?" for letter in text])
        return text[:LONGEST]
