"""What the picker costs per request, in units of what Envoy spends on the same hop without it.

One Envoy serves both: `/bare/…` leads to the model servers as a plain Service, everything else to the same servers
as an InferencePool. The load is a closed loop in a process of its own; CPU is the operating system's
accounting of each process over the measured span, scraping included.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec
import psutil
from rich.table import Table
from tests.live.harness.gateway import Gateway, gateway

from benchmarks.model_servers import MODEL, model_servers
from headgate.io.terminal.console import PlainConsole

MANIFESTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate}
spec: {gatewayClassName: headgate, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: both}
spec:
  parentRefs: [{name: gate}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /bare}}]
    backendRefs: [{name: servers, port: 80}]
  - backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: servers}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: servers}
spec: {selector: {matchLabels: {app: bench}}, targetPorts: [{number: 80}], endpointPickerRef: {name: epp, port: {number: 9002}}}
---
apiVersion: v1
kind: Service
metadata: {name: servers}
spec: {ports: [{name: http, port: 80}]}
"""


def manifests(urls: list[str]) -> str:
    """Pool and Service over the same servers."""
    text = MANIFESTS
    for number, url in enumerate(urls):
        port = urlsplit(url).port
        text += f"""---
apiVersion: headgate.dev/v1alpha1
kind: ModelServer
metadata: {{name: server-{number}, labels: {{app: bench}}}}
spec: {{url: "{url}"}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: servers-{number}, labels: {{kubernetes.io/service-name: servers}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
"""
    return text


class Row(msgspec.Struct):
    """One measured span."""

    size: int
    side: str
    requests: int
    rate: float
    envoy_us: float
    picker_us: float


def bodies(size: int, count: int = 512, groups: int = 64) -> list[bytes]:
    """Chat bodies of about *size* bytes: 64 shared prefixes, each question its own."""
    dice = random.Random(7)
    words = ["".join(dice.choices("abcdefghijklmnop", k=dice.randint(2, 9))) for _ in range(2000)]

    def text(length: int) -> str:
        out = ""
        while len(out) < length:
            out += dice.choice(words) + " "
        return out[:length]

    prefixes = [text(max(size - 300, 64)) for _ in range(groups)]
    return [
        json.dumps(
            {
                "model": MODEL,
                "messages": [
                    {"role": "system", "content": prefixes[number % groups]},
                    {"role": "user", "content": text(100)},
                ],
                "max_tokens": 16,
            }
        ).encode()
        for number in range(count)
    ]


def _cpu(pid: int | None) -> float:
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def measure(gate: Gateway, side: str, size: int, seconds: float, connections: int) -> Row:
    """One closed loop through *side*, after a warm-up of a second."""
    path = ("/bare" if side == "bare" else "") + "/v1/chat/completions"
    sent = bodies(size)
    done = failed = 0
    end = 0.0

    async def client(http: aiohttp.ClientSession, number: int) -> None:
        nonlocal done, failed
        turn = number
        while time.monotonic() < end:
            async with http.post(
                gate.url + path, data=sent[turn % len(sent)], headers={"content-type": "application/json"}
            ) as answer:
                await answer.read()
                failed += answer.status != 200
            done += 1
            turn += connections

    async def span(length: float) -> None:
        nonlocal end, done
        end, done = time.monotonic() + length, 0
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            asyncio.TaskGroup() as group,
        ):
            for number in range(connections):
                group.create_task(client(http, number))

    await span(1.0)
    envoy, picker = gate.pid("envoy"), gate.pid("picker")
    before = _cpu(envoy), _cpu(picker)
    started = time.monotonic()
    await span(seconds)
    took = time.monotonic() - started
    after = _cpu(envoy), _cpu(picker)
    if failed:
        raise SystemExit(f"{failed} requests failed: nothing is measured by a broken run")
    return Row(
        size,
        side,
        done,
        done / took,
        (after[0] - before[0]) / done * 1e6,
        (after[1] - before[1]) / done * 1e6,
    )


def table(rows: list[Row], endpoints: int) -> Table:
    """The medians over rounds, one row per body size."""
    out = Table(
        title=f"picker cost, {endpoints} endpoints, closed loop; unit = Envoy's CPU per request on the bare hop"
    )
    for head in (
        "body",
        "bare: req/s",
        "Envoy µs (1 unit)",
        "picked: req/s",
        "Envoy units",
        "picker µs",
        "picker units",
    ):
        out.add_column(head, justify="right")

    def median(size: int, side: str, field: str) -> float:
        found = sorted(getattr(row, field) for row in rows if row.size == size and row.side == side)
        return float(found[len(found) // 2])

    for size in sorted({row.size for row in rows}):
        unit = median(size, "bare", "envoy_us")
        out.add_row(
            f"{size // 1024} KB",
            f"{median(size, 'bare', 'rate'):,.0f}",
            f"{unit:.0f}",
            f"{median(size, 'picked', 'rate'):,.0f}",
            f"{median(size, 'picked', 'envoy_us') / unit:.2f}",
            f"{median(size, 'picked', 'picker_us'):.0f}",
            f"{median(size, 'picked', 'picker_us') / unit:.2f}",
        )
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--endpoints", type=int, default=8)
    parser.add_argument("--sizes", default="1,16,128", help="request bodies in KB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="length of one measured span")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--policy", default="default")
    asked = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, model_servers(asked.endpoints) as urls:
        path = Path(folder) / "bench.yaml"
        path.write_text(manifests(urls))
        with gateway("-f", str(path), "--policy", asked.policy) as gate:
            for number in range(asked.rounds):
                for size in (int(part) * 1024 for part in asked.sizes.split(",")):
                    for side in ("bare", "picked") if number % 2 else ("picked", "bare"):
                        rows.append(asyncio.run(measure(gate, side, size, asked.seconds, asked.connections)))
    PlainConsole(width=120).print(table(rows, asked.endpoints))


if __name__ == "__main__":
    main()
