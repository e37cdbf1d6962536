"""What `headgate status` says of queues and quotas, and of which process."""

from typing import Any

from headgate.cli.commands.status import MOST_FLOWS, queue_lines, whole


def a_flow(name: str, queued: int = 0, left: float | None = None) -> dict[str, Any]:
    return {"id": name, "queued": queued, "running": 1, "tokens": 20.0, "quota_left": left}


def lines(*flows: dict[str, Any]) -> list[str]:
    queued = sum(each["queued"] for each in flows)
    bands = [{"band": 0, "queued": queued, "oldest_s": 1.5}] if queued else []
    queue = {"queued": queued, "bands": bands, "drain_per_s": 2.0, "flows": list(flows)}
    return list(queue_lines({"queue": queue}))


def test_what_is_left_of_quotas_is_shown_while_nobody_waits() -> None:
    found = lines(a_flow("a", left=-12.4), a_flow("b"))
    assert found == ["  a: 0 waiting, 1 running, 20 tokens used, -12 left of its quota"]


def test_who_waits_is_shown_band_by_band_and_no_more_than_a_few() -> None:
    found = lines(*[a_flow(f"f{number}", queued=1) for number in range(MOST_FLOWS + 2)])
    assert found[0] == "waiting: 12 of priority 0 (the oldest for 1.5 s); 2.0 go a second"
    assert found[1] == "  f0: 1 waiting, 1 running, 20 tokens used"
    assert found[-1] == "  and 2 more: --output json shows them"
    assert len(found) == MOST_FLOWS + 2


def test_a_pool_without_flow_control_has_no_queue() -> None:
    assert not list(queue_lines({"queue": None}))


def test_of_a_gateway_everything_stays_as_it_is_told() -> None:
    content = {"processes": [], "ready": True}
    assert whole(content) is content
