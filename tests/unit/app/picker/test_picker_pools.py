"""Pool values to machines."""

import asyncio
import random

import pytest
import uvloop
from msgspec.structs import replace

from headgate.app.picker.pools import Pools, fixed_pool
from headgate.io.extproc.hub import Hub
from headgate.model.decisions import Decision
from headgate.model.endpoints import ForeignPicker, Pool
from headgate.model.flow_rules import FlowRules
from headgate.model.ids import EndpointId, PoolKey, StreamId
from headgate.model.requests import InferenceRequest, Outcome
from headgate.model.sessions import DEFAULT, USUAL, Sources, sources
from headgate.picker.choice import Choice
from headgate.picker.settings import MachineSettings
from headgate.scheduling.prefix import BlockIndex, PrefixIndex

SETTLE_S = 0.02

A, B = PoolKey("default/a"), PoolKey("default/b")
FOREIGN = ForeignPicker(service="default/other:9002")
ADDRESSES = (EndpointId("10.0.0.2:80"), EndpointId("10.0.0.1:80"), EndpointId("[::1]:80"))


class Silent:
    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        pass

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        pass


@pytest.fixture
def hub() -> Hub:
    return Hub(Silent(), lambda: 1.0)


def pools(hub: Hub, own: PoolKey | None = None) -> Pools:
    return Pools(hub, "default", MachineSettings(), random.Random(1), own, 0.2, settle_s=SETTLE_S)


def test_a_fixed_pool_has_its_addresses_in_order() -> None:
    pool = fixed_pool(A, ADDRESSES)
    assert [(each.id, each.ip, each.port) for each in pool.endpoints] == [
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("10.0.0.2:80", "10.0.0.2", 80),
        ("[::1]:80", "::1", 80),
    ]


async def test_pools_come_and_go(hub: Hub) -> None:
    work = pools(hub)
    work.update([fixed_pool(A, ADDRESSES), fixed_pool(B, ADDRESSES[:1])])
    assert (hub.serves(A), hub.serves(B)) == (True, True)
    assert [(view.pool, len(view.endpoints)) for view in work.views()] == [(A, 3), (B, 1)]
    work.update([fixed_pool(A, ADDRESSES[:2])], [B])
    assert (hub.serves(A), hub.serves(B)) == (True, True), "Envoy may not have heard of it yet"
    await asyncio.sleep(2 * SETTLE_S)
    assert (hub.serves(A), hub.serves(B)) == (True, False)
    assert [(view.pool, len(view.endpoints)) for view in work.views()] == [(A, 2)]
    hub.remove_pool(A)


async def test_a_pool_that_comes_while_a_change_settles_is_served_at_once_and_stays(hub: Hub) -> None:
    work = pools(hub)
    work.update([fixed_pool(A, ADDRESSES)])
    work.update([fixed_pool(A, ADDRESSES[:1])])
    work.update([fixed_pool(B, ADDRESSES)])
    seen = set()
    for _ in range(6):
        seen.add(hub.serves(B))
        await asyncio.sleep(SETTLE_S / 2)
    assert seen == {True}
    assert [(view.pool, len(view.endpoints)) for view in work.views()] == [(A, 1), (B, 3)]
    for key in (A, B):
        hub.remove_pool(key)


@pytest.mark.parametrize(("before", "between"), [(3, 2), (2, 3)], ids=["a pod that flaps", "a ghost"])
async def test_what_was_told_last_counts_though_it_was_so_before(hub: Hub, before: int, between: int) -> None:
    work = pools(hub)
    for count in (before, between, before):
        work.update([fixed_pool(A, ADDRESSES[:count])])
    for _ in range(3):
        await asyncio.sleep(SETTLE_S)
        assert [len(view.endpoints) for view in work.views()] == [before]
    hub.remove_pool(A)


@pytest.mark.parametrize(("own", "served"), [(None, False), (A, True), (B, False)])
async def test_a_foreign_pickers_pool_is_served_only_when_it_is_ours(
    hub: Hub, own: PoolKey | None, served: bool
) -> None:
    pools(hub, own).update([Pool(key=A, endpoints=fixed_pool(A, ADDRESSES).endpoints, picker=FOREIGN)])
    assert hub.serves(A) is served
    hub.remove_pool(A)


def polled(work: Pools) -> dict[str, str]:
    """Endpoints that the scraper asks, and their schemes."""
    return {key: each.scheme for key, each in work.scraper.wanted.items()}


async def test_an_endpoint_is_scraped_as_long_as_some_pool_has_it(hub: Hub) -> None:
    work = pools(hub)
    secure = fixed_pool(B, ADDRESSES[:2])
    secure = replace(secure, endpoints=tuple(replace(each, scheme="https") for each in secure.endpoints))
    work.update([fixed_pool(A, ADDRESSES[1:]), secure])
    first, second, third = ADDRESSES
    assert polled(work) == {first: "https", second: "http", third: "http"}, (
        "the pool that had it first counts"
    )
    work.update([fixed_pool(A, ADDRESSES[2:])])
    await asyncio.sleep(2 * SETTLE_S)
    assert polled(work) == {first: "https", second: "https", third: "http"}
    work.update([], [A, B])
    await asyncio.sleep(2 * SETTLE_S)
    assert polled(work) == {}


async def test_only_pools_that_changed_are_told(hub: Hub) -> None:
    work = pools(hub)
    work.update([fixed_pool(A, ADDRESSES), fixed_pool(B, ADDRESSES)])
    before = {key: work._machines[key].pool for key in (A, B)}
    work.update([fixed_pool(A, ADDRESSES[:1]), fixed_pool(B, ADDRESSES)])
    await asyncio.sleep(2 * SETTLE_S)
    assert work._machines[B].pool is before[B]
    assert [len(work._machines[A].pool.endpoints), len(before[A].endpoints)] == [1, 3]
    for key in (A, B):
        hub.remove_pool(key)


async def test_a_pool_that_meets_a_bug_costs_no_other(hub: Hub) -> None:
    made: list[BlockIndex] = []

    def make() -> BlockIndex:
        made.append(PrefixIndex())
        if len(made) == 1:
            raise OverflowError("too much")
        return made[-1]

    work = Pools(
        hub, "default", MachineSettings(), random.Random(1), None, 0.2, settle_s=SETTLE_S, make_index=make
    )
    work.update([fixed_pool(A, ADDRESSES), fixed_pool(B, ADDRESSES)])
    assert (hub.serves(A), hub.serves(B)) == (False, True)
    work.update([fixed_pool(A, ADDRESSES[:2])], [B])
    await asyncio.sleep(2 * SETTLE_S)
    assert (hub.serves(A), hub.serves(B)) == (True, False)
    work.update([], [A])
    await asyncio.sleep(2 * SETTLE_S)
    assert not hub.serves(A)


def test_what_is_due_already_is_done_on_the_pickers_own_loop(hub: Hub) -> None:
    async def main() -> None:
        work = Pools(hub, "default", MachineSettings(), random.Random(1), None, 0.2, settle_s=0.0001)
        for count in (1, 2, 3):
            work.update([fixed_pool(A, ADDRESSES[:count])])
        while len(work.views()[0].endpoints) < 3:
            await asyncio.sleep(0.001)
        hub.remove_pool(A)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_the_wires_look_for_what_any_policy_names(hub: Hub) -> None:
    work = pools(hub)
    told: list[Sources] = []
    hub.watch_pools(lambda: told.append(hub.sessions))
    routes = {"d/r": FlowRules("d/r", sessions=("cookie:sid",)), "d/q": FlowRules("d/q")}
    one = replace(fixed_pool(A, ADDRESSES), flow=FlowRules("d/p", sessions=("body:user",)))
    work.update([one, replace(fixed_pool(B, ADDRESSES), flows_of_routes=routes)])
    assert hub.sessions == told[-1] == sources([*DEFAULT, "body:user", "cookie:sid"])
    work.update([replace(one, flow=FlowRules("d/p", sessions=("cookie:sid",)))])
    await asyncio.sleep(2 * SETTLE_S)
    assert hub.sessions == told[-1] == sources([*DEFAULT, "cookie:sid"])
    work.update([], [B])
    await asyncio.sleep(2 * SETTLE_S)
    assert hub.sessions == sources([*DEFAULT, "cookie:sid"])
    work.update([], [A])
    await asyncio.sleep(2 * SETTLE_S)
    assert hub.sessions == told[-1] == USUAL
