"""What `headgate run` says, as text; pure, so that the words can be tested."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from headgate.io.sources.probe import ProbeResult
from headgate.model.printable import printable
from headgate.model.words import counted

EXAMPLE_MODEL = "MODEL"


def replica_table(results: Sequence[ProbeResult]) -> Table:
    """Each model server and what it said of itself."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("REPLICA", "ENGINE", "VERSION", "MODELS", "CONTEXT", "STATE"):
        table.add_column(column, overflow="fold", no_wrap=column == "REPLICA")
    for result in results:
        models = ", ".join(card.id for card in result.models[:3])
        more = len(result.models) - 3
        table.add_row(
            result.url,
            result.engine or "unknown",
            result.version or "-",
            f"{models} and {more} more" if more > 0 else models or "-",
            str(result.max_model_len or "-"),
            Text("ok", "green") if result.ok else Text(printable(_lack(result)), "yellow"),
        )
    return table


def _lack(result: ProbeResult) -> str:
    """Why a model server is not ok, and what comes of it."""
    return f"{result.error}" if result.wants_key else f"{result.error}; used as soon as it answers"


def joined_line(result: ProbeResult) -> str:
    """What is said when a model server that was silent at the start answers."""
    models = ", ".join(card.id for card in result.models[:3])
    more = f" and {len(result.models) - 3} more" if len(result.models) > 3 else ""
    engine = " ".join(part for part in (result.engine, result.version) if part) or "engine unknown"
    return f"{result.url} answers now: {engine}, {f'models {models}{more}' if models else 'no models'}"


def pool_table(pools: Sequence[Mapping[str, Any]]) -> Table:
    """Each pool and its endpoints, as the controller's summary tells them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("POOL", "FAILURE MODE", "PICKER", "ENDPOINTS"):
        table.add_column(column, overflow="fold", no_wrap=column == "POOL")
    for pool in pools:
        endpoints = [str(each["id"]) for each in pool["endpoints"]]
        shown = ", ".join(endpoints[:4]) + (f" and {len(endpoints) - 4} more" if len(endpoints) > 4 else "")
        foreign = pool.get("picker")
        table.add_row(
            str(pool["key"]),
            str(pool["failure_mode"]),
            str(foreign["service"]) if foreign else "own",
            shown or Text("none yet", "yellow"),
        )
    return table


def listener_lines(info: Mapping[str, Any]) -> list[str]:
    """Where the gateway listens, a line for each listener of each Gateway."""
    listeners = info["listeners"]
    if not listeners:
        return ["Nothing is served yet: the files hold no Gateway with an HTTP listener. They are followed."]
    lines = [f"Listening on {info['url']}"]
    if not info["probed"]:
        lines += [f"  {each['gateway']} {each['name']}: port {each['port']}" for each in listeners]
    return lines


def try_it(info: Mapping[str, Any]) -> list[str]:
    """How to ask the gateway something; nothing where nothing listens."""
    if not info["listeners"]:
        return []
    how = "Try it:" if info["model"] else f"Try it, with the name of one of your models for {EXAMPLE_MODEL}:"
    return ["", how, "", f"  {curl_line(info['url'], info['model'])}"]


def curl_line(url: str, model: str | None) -> str:
    """A command that asks the gateway for an answer, ready to paste."""
    body = {"model": model or EXAMPLE_MODEL, "messages": [{"role": "user", "content": "Say hello"}]}
    text = json.dumps(body).replace("'", "'\\''")
    return f"curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{text}'"


def public_url(host: str, port: int) -> str:
    """Where a person on this machine reaches the gateway."""
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


def lost_requests(count: int, time: str) -> bytes:
    """The line that stands for *count* lines of the access log that nobody read in time."""
    text = f"{counted(count, 'line')} of the access log lost: standard output was not read"
    event = {"event": "access-log", "time": time, "level": "warning", "lost": count, "text": text}
    return json.dumps(event).encode() + b"\n"


def drain_line(active: int, timeout_s: float) -> str:
    """What is said when draining begins."""
    requests = f"{counted(active, 'request')} {'is' if active == 1 else 'are'}"
    if active == 0:
        return "stopping: no request is running"
    return f"draining: {requests} running, waiting up to {timeout_s:g} s; press Ctrl-C again to end at once"


def cut_off_line(active: int) -> str:
    """What is said when the time for draining is over."""
    requests = f"{counted(active, 'request')} {'is' if active == 1 else 'are'}"
    return f"{requests} still running after the drain time and cut off"


SERVING = ("up", "probing")
"""Conditions of an endpoint that gets requests."""


def degraded(pools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of the picker's *pools* those with an endpoint that gets no requests: `pool`, and how many are `up`, of
    how many `endpoints`. One that is being tried counts as up: the next request may go there.
    """
    found: list[Mapping[str, Any]] = []
    for pool in pools:
        members = [each for each in pool["endpoints"] if not each["leaving"]]
        up = sum(1 for each in members if each["condition"] in SERVING)
        if up < len(members):
            found.append({"pool": pool["pool"], "up": up, "endpoints": len(members)})
    return found


def nobody_serves(pools: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are endpoints, and none of any pool is up. One dead pool never costs another's."""
    members = [each for pool in pools for each in pool["endpoints"] if not each["leaving"]]
    return bool(members) and all(each["condition"] not in SERVING for each in members)


CALM = ("work-in-progress", "ENVOY_SIGTERM", "config stream to headgate-xds closed")
"""Parts of Envoy's warnings that say nothing to a user of Headgate, or what the supervisor says itself."""


def worth_saying(name: str, line: str) -> bool:
    """Whether a child's line is shown."""
    return bool(line.strip()) and not (name == "envoy" and any(part in line for part in CALM))
