"""Who a request counts as: priorities, fairness ids, sessions, and which headers are believed."""

import pytest
from tests.unit.picker.picker_builders import CRITICAL, KEY, asks

from headgate.model.endpoints import Pool
from headgate.model.flow_rules import Caller, FlowRules
from headgate.model.ids import PoolKey, RequestId
from headgate.model.requests import InferenceRequest
from headgate.picker.claims import fairness_id, priority, session, trusted

POOL = Pool(KEY, models=(CRITICAL,), objectives={"high": 7, "low": -7})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asks("chat"), 1),
        (asks("chat", objective="low"), -7),
        (asks("chat", objective="unknown"), 1),
        (asks("nobody"), None),
        (asks("nobody", objective="unknown"), None),
        (asks(None), None),
        (asks(None, objective="high"), 7),
    ],
)
def test_priority(request_: InferenceRequest, expected: int | None) -> None:
    assert priority(POOL, request_) == expected


def test_a_pool_without_rules_gives_nobody_a_priority() -> None:
    assert priority(Pool(PoolKey("default/plain")), asks("chat", objective="low")) is None


OF_POOL = FlowRules(
    "d/pool",
    trusted=frozenset({"slo"}),
    fairness_id="of-pool",
    priority=1,
    callers={"alice": Caller("team", 3), "bob": Caller("bob", None)},
)
OF_ROUTE = FlowRules("d/route", priority=-10, callers={"alice": Caller("alice", None)})
FAIR = Pool(
    KEY, models=(CRITICAL,), objectives={"high": 7}, flow=OF_POOL, flows_of_routes={"d/route": OF_ROUTE}
)


@pytest.mark.parametrize(
    ("request_", "who", "important"),
    [
        (asks("chat"), "of-pool", 1),
        (asks("chat", client="carol"), "of-pool", 1),
        (asks("chat", client="alice"), "team", 3),
        (asks("chat", client="bob"), "bob", 1),
        (asks("chat", client="alice", fairness_id="said"), "said", 3),
        (asks("chat", flow_policy="d/route"), "of-pool", -10),
        (asks("chat", flow_policy="d/route", client="alice"), "alice", -10),
        (asks("chat", flow_policy="d/route", client="bob"), "bob", -10),
        (asks("chat", flow_policy="d/route", objective="high"), "of-pool", 7),
        (asks("chat", flow_policy="d/gone"), "of-pool", 1),
    ],
)
def test_a_routes_policy_is_before_the_pools(request_: InferenceRequest, who: str, important: int) -> None:
    assert (fairness_id(FAIR, request_), priority(FAIR, request_)) == (who, important)


def test_headers_are_believed_as_the_first_policy_says_that_says_anything() -> None:
    otherwise = frozenset({"objective"})
    loose = FlowRules("d/loose", trusted=frozenset())
    pool = Pool(KEY, flow=OF_POOL, flows_of_routes={"d/route": OF_ROUTE, "d/loose": loose})
    assert trusted(Pool(KEY), asks("chat"), otherwise) == otherwise
    assert trusted(pool, asks("chat"), otherwise) == {"slo"}
    assert trusted(pool, asks("chat", flow_policy="d/route"), otherwise) == {"slo"}
    assert trusted(pool, asks("chat", flow_policy="d/loose"), otherwise) == frozenset()


SAID = (("body:user", "u"), ("cookie:sid", "c"), ("header:x-session-id", "s"))


@pytest.mark.parametrize(
    ("of_pool", "of_route", "told", "expected"),
    [
        (None, None, SAID, "s"),
        (None, None, SAID[:2], None),
        (("body:user", "cookie:sid"), None, SAID, "u"),
        (("cookie:sid", "body:user"), None, SAID, "c"),
        (("header:x-a", "body:user"), None, SAID, "u"),
        (("header:x-a",), None, SAID, None),
        ((), None, SAID, None),
        (("cookie:sid",), ("body:user",), SAID, "u"),
        (("cookie:sid",), ("body:user",), SAID[1:], None),
        (("cookie:sid",), (), SAID, None),
        (None, ("cookie:sid",), SAID, "c"),
        (("cookie:sid",), None, (), None),
    ],
)
def test_the_first_source_that_has_a_value_names_the_session(
    of_pool: tuple[str, ...] | None,
    of_route: tuple[str, ...] | None,
    told: tuple[tuple[str, str], ...],
    expected: str | None,
) -> None:
    routes = {"d/route": FlowRules("d/route", sessions=of_route)}
    pool = Pool(KEY, flow=FlowRules("d/pool", sessions=of_pool), flows_of_routes=routes)
    request_ = InferenceRequest(
        id=RequestId("r"), api="chat", sessions=told, flow_policy="d/route" if of_route is not None else None
    )
    assert session(pool, request_) == expected
