"""`headgate status`: what a running gateway is doing."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

app = typer.Typer(add_completion=False)


@app.command()
def status(
    admin: Annotated[
        str, typer.Option(envvar="HEADGATE_ADMIN", help="Admin API of the gateway.")
    ] = "http://127.0.0.1:15000",
    output: Annotated[Literal["text", "json"], typer.Option()] = "text",
) -> None:
    """Show a running gateway: its processes, ports, pools, endpoints, queues and problems, and what became of
    every Gateway, listener, route and pool, in the conditions that Kubernetes shows.

    Of a picker or controller that runs alone it shows that half.

    Exit code 0 when it is ready, 1 when it is not, when no endpoint of a pool is up, or when nobody answers.

    Examples:

        headgate status

        headgate status --admin http://127.0.0.1:15001 --output json
    """
    from headgate.cli.admin_client import AdminError, get_json
    from headgate.io.terminal.say import say, say_json

    try:
        content = whole(get_json(admin, "/v1/status"))
        content["objects"] = get_json(admin, "/v1/objects")["objects"] if content.get("gateway") else []
    except AdminError as error:
        say(f"headgate: {error}", err=True)
        raise typer.Exit(1) from None
    content["flows"] = list(flows(content))
    if output == "json":
        say_json(content)
    else:
        _print(content)
    if not content["ready"] or any(each["up"] == 0 for each in content["degraded"]):
        raise typer.Exit(1)


def whole(content: dict[str, Any]) -> dict[str, Any]:
    """Of a picker or controller alone: its part, where `headgate run` has it, without `processes`, `ports`
    and `url`; *content* itself if it is of `headgate run`."""
    from headgate.app.run.view import degraded

    if "processes" in content:
        return content
    if "pools" in content:
        told = {each: content[each] for each in ("version", "ready", "draining")}
        part = {"gateway": None, "picker": content, "degraded": degraded(content["pools"])}
        return {**told, "waiting_for": [] if content["ready"] else ["picker"], **part}
    ready = content["translated"]
    told = {"version": content["version"], "ready": ready, "draining": False}
    part = {"gateway": content, "picker": None, "degraded": []}
    return {**told, "waiting_for": [] if ready else ["controller"], **part}


def flows(content: dict[str, Any]) -> "Iterator[dict[str, Any]]":
    """Who waits and who has used what, pool by pool, each with its `pool`."""
    for pool in (content.get("picker") or {}).get("pools", ()):
        for flow in (pool.get("queue") or {}).get("flows", ()):
            yield {"pool": pool["pool"], **flow}


def _print(content: dict[str, Any]) -> None:
    from headgate.io.terminal.console import PlainConsole

    console = PlainConsole()
    picker, gateway = content.get("picker"), content.get("gateway")
    both = "processes" in content
    ready = "ready" if content["ready"] else f"not ready, waiting for {', '.join(content['waiting_for'])}"
    state = "draining" if content["draining"] else ready
    what = content.get("url") or ("controller" if picker is None else "picker")
    console.print(f"headgate {content['version']}  {what}  {state}")
    if content["degraded"]:
        pools = [f"{each['pool']} {each['up']} of {each['endpoints']}" for each in content["degraded"]]
        console.print(f"degraded: {', '.join(pools)}", style="yellow")
    if both:
        ports = ", ".join(f"{name} {port}" for name, port in content["ports"].items() if port is not None)
        console.print(f"ports: {ports}")
        console.print()
        console.print(_processes(content["processes"]))
    if picker is None:
        if both:
            console.print()
            console.print("The picker does not answer.", style="yellow")
    else:
        for pool in picker["pools"]:
            console.print()
            console.print(_pool_line(pool), soft_wrap=True)
            console.print(_pool(pool))
            for line in queue_lines(pool):
                console.print(line, soft_wrap=True)
            for line in keys_wanted(pool):
                console.print(line, style="yellow", soft_wrap=True)
    if gateway is None and both:
        console.print()
        console.print("The controller does not answer.", style="yellow")
    lines = list(conditions(content["objects"]))
    if lines:
        console.print()
    for line, fine in lines[:MOST_OBJECTS]:
        console.print(line, style=None if fine else "red", soft_wrap=True)
    if len(lines) > MOST_OBJECTS:
        console.print(f"and {len(lines) - MOST_OBJECTS} more: --output json shows all")
    for problem in (gateway or {}).get("problems", ()):
        console.print(problem["text"], style="yellow" if problem["severity"] == "warning" else "red")


def queue_lines(pool: dict[str, Any]) -> "Iterator[str]":
    """What waits for a pool, band by band, and for whom, and what is left of quotas."""
    queue = pool.get("queue")
    if not queue:
        return
    if queue["queued"]:
        bands = [
            f"{each['queued']} of priority {each['band']} (the oldest for {each['oldest_s']:.1f} s)"
            for each in queue["bands"]
        ]
        pace = queue["drain_per_s"]
        yield f"waiting: {', '.join(bands)}{'' if pace is None else f'; {pace:.1f} go a second'}"
    shown = [each for each in queue["flows"] if each["queued"] or each["quota_left"] is not None]
    for each in shown[:MOST_FLOWS]:
        left = each["quota_left"]
        quota = "" if left is None else f", {left:.0f} left of its quota"
        counts = f"{each['queued']} waiting, {each['running']} running"
        yield f"  {each['id']}: {counts}, {each['tokens']:.0f} tokens used{quota}"
    if len(shown) > MOST_FLOWS:
        yield f"  and {len(shown) - MOST_FLOWS} more: --output json shows them"


MOST_FLOWS = 10
"""Flows of a pool that are shown to people."""
MOST_OBJECTS = 40
"""Objects, listeners and parents that are shown to people."""


def conditions(objects: list[dict[str, Any]]) -> "Iterator[tuple[str, bool]]":
    """A line for each object, listener or parent, and whether all is well; what is not comes first."""
    found = [line for each in objects for line in _lines(each)]
    yield from sorted(found, key=lambda line: line[1])


def _lines(each: dict[str, Any]) -> "Iterator[tuple[str, bool]]":
    name = (
        f"{each['kind']} {each['namespace']}/{each['name']}"
        if each["namespace"]
        else f"{each['kind']} {each['name']}"
    )
    status = each["status"]
    if status.get("conditions"):
        yield _line(name, status["conditions"])
    for listener in status.get("listeners", ()):
        routes = listener["attachedRoutes"]
        yield _line(
            f"{name} {listener['name']}: {routes} route{'' if routes == 1 else 's'}", listener["conditions"]
        )
    for key, ref in (("parents", "parentRef"), ("ancestors", "ancestorRef")):
        for parent in status.get(key, ()):
            where = f"{parent[ref]['namespace']}/{parent[ref]['name']}"
            section = parent[ref].get("sectionName")
            yield _line(f"{name} at {where}{f' {section}' if section else ''}", parent["conditions"])


def _line(name: str, conditions: list[dict[str, Any]]) -> tuple[str, bool]:
    """Good conditions by their type alone, bad ones with reason and message."""
    words, fine = [], True
    for each in conditions:
        good = (each["status"] == "True") != (each["type"] in GOOD_WHEN_FALSE)
        if good and each["type"] not in GOOD_WHEN_FALSE:
            words.append(each["type"])
        elif not good:
            fine = False
            message = f": {each['message']}" if each["message"] else ""
            words.append(f"{each['type']}={each['status']} ({each['reason']}{message})")
    return f"{name}  {' '.join(words)}", fine


GOOD_WHEN_FALSE = frozenset(
    {"Conflicted", "OverlappingTLSConfig", "PartiallyInvalid", "InsecureFrontendValidationMode"}
)
"""Conditions that tell of trouble."""


def _processes(processes: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("PROCESS", "STATE", "PID", "RESTARTS", "UP"):
        table.add_column(column, justify="left" if column in ("PROCESS", "STATE") else "right")
    for each in processes:
        up = "-" if each["uptime_s"] is None else f"{each['uptime_s']:.0f} s"
        table.add_row(each["name"], each["state"], str(each["pid"] or "-"), str(each["restarts"]), up)
    return table


def state_of(endpoint: dict[str, Any]) -> str:
    """Its condition and the reason, each word once; of one that left the pool what it still has to do."""
    if endpoint["leaving"]:
        return f"draining ({endpoint['in_flight']} left)"
    condition, reason = endpoint["condition"], endpoint["reason"]
    return reason if reason.startswith(condition) else f"{condition} {reason}".strip()


def _scraped(endpoint: dict[str, Any]) -> str:
    """How old its metrics are, and why there are no newer ones."""
    age, error = endpoint["scrape_age_s"], endpoint["scrape_error"]
    when = "never" if age is None else f"{age:.1f} s ago"
    return when if error is None else f"{when}: {error}"


def keys_wanted(pool: dict[str, Any]) -> list[str]:
    """A line for each endpoint that lets nobody look without a right API key."""
    words = [(each["endpoint"], {each["models_error"], each["scrape_error"]}) for each in pool["endpoints"]]
    return [
        f"{endpoint} answers {word.removeprefix('http-')}: it wants an API key: --api-key-file or spec.apiKey"
        for endpoint, errors in words
        for word in ("http-401", "http-403")
        if word in errors
    ]


def _pool_line(pool: dict[str, Any]) -> str:
    return (
        f"pool {pool['pool']}  policy {pool['policy']}  saturation {pool['saturation']:.2f}  "
        f"in flight {pool['in_flight']}  decided {pool['decided']}  refused {pool['refused']}  "
        f"prefix hits {pool['hit_rate']:.0%}"
    )


def _pool(pool: dict[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ENDPOINT", "STATE", "IN FLIGHT", "WAITING", "RUNNING", "KV", "SCRAPED", "MODELS"):
        left = column in ("ENDPOINT", "STATE", "MODELS")
        table.add_column(column, justify="left" if left else "right", no_wrap=column == "ENDPOINT")
    for each in pool["endpoints"]:
        load = each["load"] or {}
        kv_used = load.get("kv_used")
        table.add_row(
            each["endpoint"],
            state_of(each),
            str(each["in_flight"]),
            str(load.get("waiting", "-")),
            str(load.get("running", "-")),
            "-" if kv_used is None else f"{kv_used:.0%}",
            _scraped(each),
            ", ".join(each["models"][:2]) or each["models_error"] or "-",
        )
    return table
