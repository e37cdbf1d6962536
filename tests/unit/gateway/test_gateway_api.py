"""Effects of several filters add up in their order."""

from headgate.gateway.api import Effect


def test_effects_add_up_in_order() -> None:
    first = Effect(request_add=({"a": 1},), request_remove=("x",), action={"prefix_rewrite": "/1", "t": 1})
    second = Effect(request_add=({"b": 2},), response_remove=("y",), action={"prefix_rewrite": "/2"})
    both = first.then(second)
    assert both.request_add == ({"a": 1}, {"b": 2})
    assert (both.request_remove, both.response_remove) == (("x",), ("y",))
    assert both.action == {"prefix_rewrite": "/2", "t": 1}
    assert both.then(Effect()) == both == Effect().then(both)


def test_a_redirect_stays() -> None:
    redirect = Effect(redirect={"response_code": "FOUND"})
    assert redirect.then(Effect()).redirect == {"response_code": "FOUND"}
