"""What `headgate run` says."""

import json
import shlex

import pytest

from headgate.app.run.view import (
    curl_line,
    degraded,
    drain_line,
    listener_lines,
    lost_requests,
    nobody_serves,
    pool_table,
    public_url,
    replica_table,
    try_it,
    worth_saying,
)
from headgate.io.sources.probe import ProbeResult
from headgate.io.terminal.console import PlainConsole
from headgate.model.load import ModelCard


def shown(table: object) -> str:
    console = PlainConsole(width=160, record=True, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_replicas_say_who_they_are_or_why_not() -> None:
    models = tuple(ModelCard(id=f"m{n}") for n in range(5))
    text = shown(
        replica_table(
            [
                ProbeResult(url="http://a:1", ok=True, engine="vllm", version="0.11.0", models=models),
                ProbeResult(url="http://b:1", ok=False, error="connection refused"),
            ]
        )
    )
    first, second = text.splitlines()[1:3]
    assert "vllm" in first
    assert "m0, m1, m2 and 2 more" in first
    assert "connection refused; used as soon as it answers" in second


def test_pools_show_their_endpoints_and_picker() -> None:
    pool = {
        "key": "default/p",
        "failure_mode": "FailOpen",
        "endpoints": [{"id": f"10.0.0.{n}:1"} for n in range(6)],
    }
    foreign = {**pool, "key": "default/q", "endpoints": [], "picker": {"service": "default/epp:9002"}}
    lines = shown(pool_table([pool, foreign])).splitlines()
    assert "10.0.0.3:1 and 2 more" in lines[1]
    assert "default/epp:9002" in lines[2]
    assert "none yet" in lines[2]


def test_the_curl_line_survives_a_shell() -> None:
    words = shlex.split(curl_line("http://localhost:8080", "it's/a-model"))
    assert words[:2] == ["curl", "http://localhost:8080/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == "it's/a-model"
    assert "MODEL" in curl_line("http://localhost:8080", None)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://localhost:1"),
        ("::", "http://localhost:1"),
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("::1", "http://[::1]:1"),
    ],
)
def test_the_url_that_a_person_can_use(host: str, url: str) -> None:
    assert public_url(host, 1) == url


@pytest.mark.parametrize(
    ("active", "words"),
    [(0, "no request is running"), (1, "1 request is running"), (7, "7 requests are running")],
)
def test_draining_says_how_many_requests_run(active: int, words: str) -> None:
    assert words in drain_line(active, 600)


def test_listeners_of_files_are_listed_and_their_absence_is_said() -> None:
    listener = {"gateway": "default/g", "name": "http", "port": 8080}
    info = {"listeners": [listener], "url": "http://localhost:8080", "probed": False}
    assert listener_lines(info) == ["Listening on http://localhost:8080", "  default/g http: port 8080"]
    assert listener_lines({**info, "probed": True}) == ["Listening on http://localhost:8080"]
    [line] = listener_lines({**info, "listeners": []})
    assert "no Gateway" in line


def test_envoys_chatter_is_left_out() -> None:
    assert not worth_saying("envoy", "warning misc: ... marked as work-in-progress. ...")
    assert not worth_saying("picker", "   ")
    assert worth_saying("envoy", "error config: bad")
    assert worth_saying("picker", "marked as work-in-progress")


def test_what_to_try_depends_on_what_there_is() -> None:
    info = {"url": "http://localhost:1", "listeners": [{"name": "http"}], "model": "m"}
    assert try_it(info)[1] == "Try it:"
    assert '"model": "m"' in try_it(info)[-1]
    assert "MODEL" in try_it({**info, "model": None})[1]
    assert try_it({**info, "listeners": []}) == []


def pool(key: str, *endpoints: tuple[str, bool]) -> dict[str, object]:
    """A picker's view of a pool: conditions, and who left it."""
    return {"pool": key, "endpoints": [{"condition": each, "leaving": left} for each, left in endpoints]}


WELL = pool("default/well", ("up", False), ("up", False))
HALF = pool("default/half", ("up", False), ("down", False), ("down", True))
DEAD = pool("default/dead", ("down", False), ("suspect", False))
TRIED = pool("default/tried", ("down", False), ("probing", False))
EMPTY = pool("default/empty", ("up", True))


def test_pools_that_lack_an_endpoint_are_degraded() -> None:
    assert degraded([WELL, HALF, DEAD, EMPTY, TRIED]) == [
        {"pool": "default/half", "up": 1, "endpoints": 2},
        {"pool": "default/dead", "up": 0, "endpoints": 2},
        {"pool": "default/tried", "up": 1, "endpoints": 2},
    ]


@pytest.mark.parametrize(
    ("pools", "nobody"),
    [
        ([], False),
        ([WELL], False),
        ([DEAD], True),
        ([DEAD, HALF], False),
        ([DEAD, EMPTY], True),
        ([DEAD, TRIED], False),
        ([EMPTY], False),
    ],
)
def test_one_dead_pool_is_not_the_end_of_the_others(pools: list[dict[str, object]], nobody: bool) -> None:
    assert nobody_serves(pools) is nobody


def test_lost_lines_of_the_access_log_are_an_event_in_one_line() -> None:
    line = lost_requests(3, "2026-01-31T12:00:00.000Z")
    assert line.count(b"\n") == 1
    event = json.loads(line)
    assert (event["event"], event["time"], event["lost"]) == ("access-log", "2026-01-31T12:00:00.000Z", 3)
    assert event["text"].startswith("3 lines of the access log lost")
