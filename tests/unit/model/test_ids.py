"""Names as Envoy and users write them."""

from headgate.model.ids import endpoint_id, pool_key


def test_endpoints_are_written_as_envoy_writes_them() -> None:
    assert endpoint_id("10.0.0.1", 8000) == "10.0.0.1:8000"
    assert endpoint_id("fd00::1", 8000) == "[fd00::1]:8000"


def test_a_pool_is_namespace_and_name() -> None:
    assert pool_key("team", "llm") == "team/llm"
