"""What a change costs with many routes, through the real Envoy.

    python -m benchmarks.controlplane [--routes 5000] [--output json] [--lab]

A row for no route, for a thousand and for `--routes` of them, each on a host of its own, and one for as many on
one host; for every five routes there is a pool of ten endpoints. The controller has a process of its own and is
given objects as a cluster's API server gives them. `new route`: from handing over an HTTPRoute, whose backend
others lead to already, until the first request that it answers, asked for every millisecond. `50 changes/s`: one
endpoint of a pool is another one, 50 times a second; what this takes of one core in the controller, xDS included,
and in Envoy beside it. `endpoint change CPU`: the controller's, for one. `start`: from having the objects until
Envoy has acknowledged everything. In brackets: how many times the first row.

The last lines are the picker's longest step, during which its event loop stands still, when a pod changes.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.table import Table
from tests.live.harness.processes import Child, eventually, free_port

from benchmarks.controlplane import lab, objects
from benchmarks.controlplane.client import Client, worst
from benchmarks.controlplane.controller import Asked, cpu_s, resident_mib, serving
from benchmarks.controlplane.picker import longest_step_ms
from benchmarks.model_servers import model_servers
from headgate.io.envoy.binary import find_envoy
from headgate.io.envoy.bootstrap import EnvoyOptions, command
from headgate.io.terminal.console import PlainConsole

FIGURES = {
    "new_route_p50_ms": "new route p50 ms",
    "new_route_p99_ms": "p99 ms",
    "endpoint_change_cpu_ms": "endpoint change CPU ms",
    "core_percent": "50 changes/s % of a core",
    "envoy_core_percent": "Envoy %",
    "start_s": "start s",
    "control_plane_mib": "control plane MiB",
    "envoy_mib": "Envoy MiB",
}


def measure(routes: int, one_host: bool, samples: int, changes: int) -> dict[str, float]:
    """One row: figure → its value."""
    pools = max(1, routes // objects.ROUTES_TO_A_POOL)
    port = free_port()
    with tempfile.TemporaryDirectory() as name, model_servers(1) as urls, serving(Path(name), port) as asked:
        options = EnvoyOptions(binary=find_envoy(), folder=Path(name), concurrency=1)
        envoy = Child(command(options))
        try:
            started = asked("begin", routes, pools, urls[0], one_host)
            client = Client(port)
            eventually(lambda: client.status("none.example.com", "/") == 404)
            for _ in range(3):  # a model server's own first answer is slow
                client.answered_after_ms(
                    objects.host_of("first", one_host), objects.path_of("first", one_host)
                )
            took = new_routes(asked, client, samples, one_host)
            used = cpu_s(envoy.process.pid)
            share = asked("endpoint_changes", changes, objects.CHANGES_A_SECOND)
            of_envoy = (cpu_s(envoy.process.pid) - used) * 100 * objects.CHANGES_A_SECOND / changes
            return {
                "new_route_p50_ms": statistics.median(took),
                "new_route_p99_ms": worst(took),
                "endpoint_change_cpu_ms": share * 10 / objects.CHANGES_A_SECOND,
                "core_percent": share,
                "envoy_core_percent": of_envoy,
                "start_s": started,
                "control_plane_mib": asked("memory"),
                "envoy_mib": resident_mib(envoy.process.pid),
            }
        finally:
            envoy.stop()


def new_routes(asked: Asked, client: Client, samples: int, one_host: bool) -> list[float]:
    """Milliseconds until each of so many new routes, one after the other, answers."""
    took = []
    for sample in range(samples):
        number = f"new-{sample}"
        where = objects.host_of(number, one_host), objects.path_of(number, one_host)
        assert client.status(*where) == 404
        asked("add_route", number, one_host)
        took.append(client.answered_after_ms(*where))
        time.sleep(random.uniform(0.1, 0.2))
    return took


def rows(routes: int) -> dict[str, tuple[int, bool]]:
    """Name of a row → number of its routes, and whether they have one host."""
    found = {"no route": (0, False)}
    if routes > 1000:
        found["1,000 routes"] = (1000, False)
    found[f"{routes:,} routes"] = (routes, False)
    found[f"{routes:,} routes of one host"] = (routes, True)
    return found


def main() -> None:
    """Print the tables, or one object of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=30, help="new routes of each row")
    parser.add_argument("--changes", type=int, default=200, help="endpoint changes of each row")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--lab", action="store_true", help="against a real API server; see lab.py")
    asked = parser.parse_args()
    if asked.lab:
        sys.exit(lab.main(asked.routes, asked.samples, asked.changes, asked.output))
    found = {
        name: measure(count, one_host, asked.samples, asked.changes)
        for name, (count, one_host) in rows(asked.routes).items()
    }
    most = max(1, asked.routes // objects.ROUTES_TO_A_POOL)
    stalls = {pools: longest_step_ms(pools, asked.samples) for pools in sorted({min(10, most), most})}
    if asked.output == "json":
        print(json.dumps(_report(asked.routes, found, stalls), indent=2))
        return
    console = PlainConsole(width=140)
    console.print(_table(found))
    print()
    first = next(iter(stalls.values()))
    for pools, stall in stalls.items():
        pods = pools * objects.ENDPOINTS
        print(
            f"picker, {pools:,} pools of {pods:,} pods in all: {stall:.2f} ms at most ({stall / first:.1f})"
        )


def _table(found: dict[str, dict[str, float]]) -> Table:
    table = Table(title="the control plane; in brackets: how many times the first row")
    table.add_column("")
    for head in FIGURES.values():
        table.add_column(head, justify="right")
    first = next(iter(found.values()))
    for name, figures in found.items():
        table.add_row(name, *(f"{figures[each]:.2f} ({figures[each] / first[each]:.1f})" for each in FIGURES))
    return table


def _report(routes: int, found: dict[str, dict[str, float]], stalls: dict[int, float]) -> dict[str, Any]:
    """The figures of the row with all routes, each on a host of its own, then all rows with their ratios."""
    first, whole = next(iter(found.values())), found[f"{routes:,} routes"]
    first_stall = next(iter(stalls.values()))
    return {
        "new_route_ms": {"p50": whole["new_route_p50_ms"], "p99": whole["new_route_p99_ms"]},
        **{each: value for each, value in whole.items() if not each.startswith("new_route")},
        "picker_stall_ms": max(stalls.values()),
        "rows": {
            name: {each: {"value": value, "ratio": value / first[each]} for each, value in figures.items()}
            for name, figures in found.items()
        },
        "picker": {
            str(pools): {"stall_ms": {"value": value, "ratio": value / first_stall}}
            for pools, value in stalls.items()
        },
    }


if __name__ == "__main__":
    main()
