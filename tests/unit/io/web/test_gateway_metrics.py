"""The page of what Envoy counts."""

from headgate.io.web.gateway_metrics import page


def test_errors_by_reason() -> None:
    answer = page({"too-large": 2, "no-route": 3})
    lines = answer.body.decode().splitlines()
    assert answer.content_type == "text/plain"
    assert lines[-2:] == [
        'headgate_gateway_errors_total{reason="no-route"} 3.0',
        'headgate_gateway_errors_total{reason="too-large"} 2.0',
    ]


def test_before_any_error_there_is_a_family_without_samples() -> None:
    assert b"# TYPE headgate_gateway_errors_total counter" in page({}).body
