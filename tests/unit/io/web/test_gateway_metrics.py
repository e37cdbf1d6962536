"""The page of what Envoy counts."""

from headgate.io.web.gateway_metrics import page


def test_errors_by_listener_and_reason() -> None:
    answer = page({("port-80", "too-large"): 2, ("port-80", "no-route"): 3, ("port-443", "no-route"): 1})
    lines = answer.body.decode().splitlines()
    assert answer.content_type == "text/plain"
    assert lines[-3:] == [
        'headgate_gateway_errors_total{listener="port-443",reason="no-route"} 1.0',
        'headgate_gateway_errors_total{listener="port-80",reason="no-route"} 3.0',
        'headgate_gateway_errors_total{listener="port-80",reason="too-large"} 2.0',
    ]


def test_before_any_error_there_is_a_family_without_samples() -> None:
    assert b"# TYPE headgate_gateway_errors_total counter" in page({}).body
