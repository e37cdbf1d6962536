"""Whatever becomes of requests and endpoints: what endpoints carry is the sum of the bookings, and ends at none."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.unit.picker.picker_builders import (
    address,
    an_endpoint,
    blocks,
    booking,
    ends,
    no_scrape,
    scrape,
    starts,
    token,
    tracking,
)
from tests.unit.picker.picker_builders import arrives as arrival

from headgate.model.ids import StreamId
from headgate.picker.events import StageEnded
from headgate.picker.fleet import Fleet
from headgate.picker.ledger import Ledger
from headgate.picker.settings import MachineSettings
from headgate.picker.tracked import Role

NAMES = "abcd"
names = st.sampled_from(NAMES)
tokens = st.integers(0, 500)


class Books(RuleBasedStateMachine):
    """A ledger over a fleet whose requests are computed at one endpoint and answered by another."""

    @initialize()
    def start(self) -> None:
        self.fleet = Fleet(MachineSettings())
        self.ledger = Ledger(self.fleet)
        self.now = 0.0
        self.next_stream = 0
        self.change(set(NAMES))

    def check(self) -> None:
        self.fleet.check()
        self.ledger.check()

    def some_stream(self, n: int) -> int:
        known = [*self.ledger.requests, 999_999]
        return known[n % len(known)]

    @rule(picked=st.sets(names))
    def change(self, picked: set[str]) -> None:
        self.fleet.change([an_endpoint(name) for name in sorted(picked)], self.now, serving=True)
        self.check()

    @precondition(lambda self: self.fleet.members)
    @rule(
        n=st.integers(0),
        own=tokens,
        context=tokens,
        streaming=st.booleans(),
        unseen=st.booleans(),
        prompt=st.text("ab", max_size=6),
        stages=st.lists(st.tuples(st.integers(0), tokens, tokens, st.sampled_from(["prefill", "decode"]))),
    )
    def arrives(
        self,
        n: int,
        own: int,
        context: int,
        streaming: bool,
        unseen: bool,
        prompt: str,
        stages: list[tuple[int, int, int, Role]],
    ) -> None:
        self.next_stream += 1
        members = list(self.fleet.members.values())
        member = members.pop(n % len(members))
        event = arrival(self.next_stream, prompt, streaming=streaming, unseen=unseen)
        made = tracking(
            event,
            self.now,
            blocks=blocks(prompt),
            prompt_tokens=own,
            own_tokens=own,
            context_tokens=context,
            predicted_s=0.5,
            role="decode" if stages else "whole",
        )
        self.ledger.book(made, member, self.now)
        for where, own_there, context_there, role in stages:
            if members:
                other = members.pop(where % len(members))
                part = booking(
                    self.next_stream,
                    own_tokens=own_there,
                    context_tokens=context_there,
                    role=role,
                    silent=True,
                )
                self.ledger.book_stage(made, part, other, self.now)
        self.check()

    @rule(
        n=st.integers(0),
        status=st.sampled_from([200, 200, 429, 500]),
        local=st.booleans(),
        served=st.none() | names,
    )
    def starts(self, n: int, status: int, local: bool, served: str | None) -> None:
        event = starts(self.some_stream(n), status, served=served, local=local and status >= 500)
        self.ledger.response_started(event, self.now)
        self.check()

    @rule(n=st.integers(0))
    def first_token(self, n: int) -> None:
        stream = self.some_stream(n)
        self.ledger.first_token(token(stream), self.now)
        tracked = self.ledger.requests.get(stream)  # type: ignore[call-overload]
        if tracked is not None:
            assert all(stage.role == "decode" for stage in tracked.stages), "prefills are over"
        self.check()

    @rule(n=st.integers(0), computed=st.booleans())
    def a_stage_is_over(self, n: int, computed: bool) -> None:
        tracked = self.ledger.requests.get(self.some_stream(n))  # type: ignore[call-overload]
        if tracked is not None and tracked.stages:
            stage = tracked.stages[n % len(tracked.stages)]
            self.ledger.release(tracked, stage, computed=computed)
            assert stage.member is None and not stage.pending and not stage.expected
        self.check()

    @rule(n=st.integers(0), name=names, computed=st.booleans())
    def a_server_says_that_its_stage_is_over(self, n: int, name: str, computed: bool) -> None:
        stream = self.some_stream(n)
        tracked = self.ledger.requests.get(stream)  # type: ignore[call-overload]
        before = () if tracked is None else tracked.stages
        self.ledger.stage_ended(StageEnded(StreamId(stream), address(name), computed), self.now)
        if tracked is not None:
            here = [each for each in before if each not in tracked.stages]
            assert all(each.member is None and not each.expected for each in here)
            assert all(each.member is not None for each in tracked.stages)
            assert not any(each.member.state.id == address(name) for each in tracked.stages)
            assert tracked.booking.stream in self.ledger.requests, "the answer is still to come"
        self.check()

    @rule(n=st.integers(0), ending=st.sampled_from(["complete", "aborted", "failed", "lost", "evicted"]))
    def ends(self, n: int, ending: str) -> None:
        stream = self.some_stream(n)
        self.ledger.ended(ends(stream, ending), self.now)  # type: ignore[arg-type]
        assert stream not in self.ledger.requests
        self.check()

    @rule(name=names, waiting=st.integers(0, 5), running=st.integers(0, 5), progress=st.floats(0, 9))
    def scraped(self, name: str, waiting: int, running: int, progress: float) -> None:
        event = scrape(name, waiting, running, progress=progress)
        self.ledger.give_up(self.fleet.scraped(event, self.now, 10.0, 20.0), self.now)
        self.check()

    @rule(name=names)
    def crashes(self, name: str) -> None:
        self.fleet.scraped(no_scrape(name), self.now, 10.0, 20.0)
        self.check()

    @rule(passed=st.sampled_from([0.3, 2.0, 20.0]))
    def time_passes(self, passed: float) -> None:
        self.now += passed
        self.ledger.release_due(self.now)
        self.fleet.tick(self.now)
        self.fleet.settle(self.now)
        self.check()

    @precondition(lambda self: self.ledger.requests)
    @rule()
    def all_expire(self) -> None:
        self.ledger.expire(float("inf"), self.now, "too-long")
        self.nothing_is_left()

    def nothing_is_left(self) -> None:
        self.check()
        assert not self.ledger.requests and not self.ledger.sharers
        assert not self.fleet.leaving and self.fleet.concerns.awaiting == 0
        for member in self.fleet.members.values():
            state = member.state
            assert (state.in_flight, state.pending_tokens, state.context_tokens) == (0, 0, 0)
            assert (member.queue.requests, member.queue.tokens) == (0, 0)
            assert not self.fleet.index.expected(state.slot)

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            for stream in list(self.ledger.requests):
                self.ledger.ended(ends(stream), self.now)
            self.nothing_is_left()


Books.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBooks = Books.TestCase
