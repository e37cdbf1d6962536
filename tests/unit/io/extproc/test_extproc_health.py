"""Health answers by service name."""

import pytest

from headgate.io.extproc.health import NOT_SERVING, SERVICES, SERVING, UNKNOWN, Health, service_name


async def test_only_liveness_serves_before_and_after() -> None:
    health = Health()
    assert {name: health.status(name) for name in SERVICES if name != "liveness"} == dict.fromkeys(
        ("", "readiness", "inference-extension", "envoy.service.ext_proc.v3.ExternalProcessor"), NOT_SERVING
    )
    assert health.status("liveness") == SERVING
    await health.set_ready(True)
    assert {health.status(name) for name in SERVICES} == {SERVING}
    await health.set_ready(False)
    assert health.status("") == NOT_SERVING
    assert health.status("nobody") == UNKNOWN


@pytest.mark.parametrize(("request_", "name"), [(b"", ""), (b"\x0a\x03abc", "abc"), (b"\x0a\x00", "")])
def test_names(request_: bytes, name: str) -> None:
    assert service_name(request_) == name


@pytest.mark.parametrize("request_", [b"\x0a", b"\x0a\x05abc", b"\x12\x01a", b"\x0a\x01ab", b"\x0a\x81\x01a"])
def test_other_bytes_are_refused(request_: bytes) -> None:
    with pytest.raises(ValueError, match="not a HealthCheckRequest"):
        service_name(request_)
