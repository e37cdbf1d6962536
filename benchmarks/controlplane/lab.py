"""The same table against a real API server: `python -m benchmarks.controlplane --lab`.

Headgate as the chart installs it, two controllers, Envoy and picker as Pods of the lab (`tools/lab.py`), a
Gateway of ours, its routes and pools written through the API: watches, statuses and mutual TLS included. The
rows add up in one namespace. `new route`: from sending an HTTPRoute to the API server until its first good
request, whose pool others lead to already; asked for every millisecond. `since it is there`: from when a watch
tells of it, so without what kubectl and the API server take before. `50 changes/s`: the readiness of a Pod
changes. `start`: another controller, from its first instruction until it has translated all. `Gateway writes`:
changes of the Gateway's status while the row's routes were made. Pods of pools are objects that nobody runs.
"""

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from pathlib import Path

from rich.table import Table
from tests import manifests as manifest
from tests.lab import cluster as there
from tests.live.harness.processes import HEADGATE, Child, eventually

from benchmarks.controlplane import objects
from benchmarks.controlplane.client import Client, worst
from benchmarks.controlplane.controller import cpu_s, resident_mib
from headgate.io.kube.client import ApiError, Collection, KubeClient
from headgate.io.kube.config import read_kubeconfig
from headgate.io.terminal.console import PlainConsole
from headgate.io.web.admin import fetch

NAMESPACE = "bench"
LIVE = "bench-live"
"""Namespace of what answers; its picker follows nothing else."""
GATE = "gate"
GATEWAY = "gateway.networking.k8s.io"
PODS = Collection("", "v1", "pods")
ROUTES = Collection(GATEWAY, "v1", "httproutes")
GATEWAYS = Collection(GATEWAY, "v1", "gateways")
POOLS = Collection("inference.networking.k8s.io", "v1", "inferencepools")
AT_ONCE = 16
"""Requests to the API server."""
QUIET_S = 3.0
"""Without a write to any status all is written."""
PATIENCE_S = 300.0

FIGURES = {
    "new_route_p50_ms": "new route p50 ms",
    "new_route_p99_ms": "p99 ms",
    "kubectl_p50_ms": "with kubectl p50 ms",
    "kubectl_p99_ms": "p99 ms",
    "there_p50_ms": "since it is there p50 ms",
    "there_p99_ms": "p99 ms",
    "pod_change_cpu_ms": "Pod change CPU ms",
    "core_percent": "50 changes/s % of a core",
    "envoy_core_percent": "Envoy %",
    "start_s": "start s",
    "controller_mib": "controller MiB",
    "envoy_mib": "Envoy MiB",
    "gateway_writes": "Gateway writes",
    "route_writes": "writes per route",
}


class Written:
    """Counts what changes in a collection, once it is told of."""

    def __init__(self, api: KubeClient, collection: Collection) -> None:
        self._api, self._path = api, collection.path(NAMESPACE)
        self.count = 0
        self.last = time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            version = (await self._api.get(self._path, {"limit": "1"}))["metadata"]["resourceVersion"]
            with suppress(ApiError):
                async for event in self._api.watch(self._path, {"resourceVersion": version}, 3600):
                    if event.type == "MODIFIED":
                        self.count += 1
                        self.last = time.monotonic()


class Appeared:
    """When new routes of `LIVE` came to be there, as a watch tells it."""

    def __init__(self, api: KubeClient) -> None:
        self._api, self._path = api, ROUTES.path(LIVE)
        self.at: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            version = (await self._api.get(self._path, {"limit": "1"}))["metadata"]["resourceVersion"]
            with suppress(ApiError):
                async for event in self._api.watch(self._path, {"resourceVersion": version}, 3600):
                    if event.type == "ADDED":
                        self.at[event.object["metadata"]["name"]] = time.monotonic()


class Cluster:
    """What is measured."""

    def __init__(self, api: KubeClient, address: str) -> None:
        self.api, self.client = api, Client(80, address)
        self.gateways, self.routes = Written(api, GATEWAYS), Written(api, ROUTES)
        self.appeared = Appeared(api)
        self.since_there: list[float] = []
        """Milliseconds of each new route since then."""
        self.made = 0
        self.marked: set[int] = set()
        """Pools whose first Pod is not ready."""

    async def grow(self, routes: int) -> dict[str, float]:
        """Have so many routes, and a pool for every five; what was written meanwhile."""
        before = self.gateways.count, self.routes.count
        more = range(self.made, routes)
        pools = range(self.made // objects.ROUTES_TO_A_POOL, routes // objects.ROUTES_TO_A_POOL)
        await several(self._make(POOLS, pool_of(each)) for each in pools)
        numbers = [(pool, each) for pool in pools for each in range(objects.ENDPOINTS)]
        await several(self._pod(pool, each) for pool, each in numbers)
        await several(self._make(ROUTES, route_of(each)) for each in more)
        self.made = routes
        await self._quiet()
        gateways, of_routes = self.gateways.count - before[0], self.routes.count - before[1]
        return {"gateway_writes": gateways, "route_writes": of_routes / max(1, len(more))}

    async def _quiet(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < max(self.gateways.last, self.routes.last) + QUIET_S:
            assert time.monotonic() < end, "statuses are written for ever"
            await asyncio.sleep(0.2)

    async def _make(self, collection: Collection, made: manifest.Manifest, where: str = NAMESPACE) -> None:
        await self.api.create(collection.path(where), made)

    async def _pod(self, pool: int, number: int) -> None:
        name = f"p{pool}-{number}"
        spec = {
            "nodeName": "none",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "llm", "image": "llm"}],
        }
        meta = {"name": name, "labels": {"app": f"p{pool}"}}
        await self._make(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        await self.mark(pool, number, True)

    async def mark(self, pool: int, number: int, ready: bool) -> None:
        """As a kubelet."""
        ip = objects.address(pool, number).partition(":")[0]
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
        path = PODS.path(NAMESPACE, f"p{pool}-{number}", "status")
        await self.api.patch(path, {"status": status}, "merge")

    async def new_routes(self, count: int, *, kubectl: bool) -> list[float]:
        """Milliseconds until each of so many new routes, one after the other, answers."""
        took = []
        for each in range(count):
            number = f"new-{each}"
            host, made = objects.host_name(number), route_of(number)
            await asyncio.to_thread(self._missing, host)
            answer = asyncio.create_task(asyncio.to_thread(self.client.answered_after_ms, host, "/v1"))
            if kubectl:
                await asyncio.to_thread(there.apply, LIVE, made)
            else:
                await self._make(ROUTES, made, LIVE)
            took.append(await answer)
            answered = time.monotonic()
            there_at = self.appeared.at.pop(f"r{number}", answered)
            self.since_there.append((answered - there_at) * 1000)
            await self.api.delete(ROUTES.path(LIVE, f"r{number}"))
            await asyncio.sleep(random.uniform(0.3, 0.5))
        return took

    def _missing(self, host: str) -> None:
        eventually(lambda: self.client.status(host, "/v1") == 404)

    async def changes(self, count: int, a_second: float, pids: tuple[int, int]) -> tuple[float, float]:
        """Change the readiness of so many Pods; percent of a core of controller and Envoy meanwhile."""
        pools = max(1, self.made // objects.ROUTES_TO_A_POOL)
        used, began = [cpu_s(each) for each in pids], time.monotonic()
        for each in range(count):
            self.marked ^= {each % pools}
            await self.mark(each % pools, 0, each % pools not in self.marked)
            await asyncio.sleep(max(0, began + (each + 1) / a_second - time.monotonic()))
        took = time.monotonic() - began
        controller, envoy = [
            (cpu_s(pid) - before) * 100 / took for pid, before in zip(pids, used, strict=True)
        ]
        return controller, envoy


async def several(each: Iterable[Awaitable[None]]) -> None:
    """All of them, `AT_ONCE` at a time."""
    waiting = iter(each)

    async def worker() -> None:
        for one in waiting:
            await one

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(worker())


def pool_of(number: int) -> manifest.Manifest:
    """A pool that nobody asks."""
    made = there.pool_with_picker(NAMESPACE, f"p{number}", "")[0]
    made["spec"]["endpointPickerRef"]["name"] = "headgate-picker"
    return made


def route_of(number: int | str) -> manifest.Manifest:
    """A route on a host of its own: by number to a pool of Pods that nobody runs, else to one that answers."""
    pool = f"p{number // objects.ROUTES_TO_A_POOL}" if isinstance(number, int) else "live"
    made = there.route(f"r{number}", GATE, {pool: 1}, "/v1")
    made["spec"]["parentRefs"][0]["namespace"] = NAMESPACE
    made["spec"]["hostnames"] = [objects.host_name(number)]
    return made


def controller_pid() -> int:
    """Of the controller that leads."""
    holder = str(there.get("lease", there.SYSTEM, "headgate-controller")["spec"]["holderIdentity"])
    return int(holder.split("_")[1])


def envoy_pid() -> int:
    """Of the Gateway's Envoy, which a program of the lab has started."""
    labels = {"gateway.networking.k8s.io/gateway-name": GATE}
    pod = there.listed("pods", NAMESPACE, **labels)[0]
    container = int(pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2])
    children = Path(f"/proc/{container}/task/{container}/children").read_text().split()
    return int(children[0])


async def start_s() -> float:
    """Seconds that another controller needs until it has translated everything."""
    with tempfile.TemporaryDirectory() as name:
        socket = Path(name) / "admin.sock"
        args = ["--kubeconfig", os.environ["KUBECONFIG"], "--no-write-status", "--xds-port", "0"]
        began = time.monotonic()
        child = Child([*HEADGATE, "controller", *args, "--admin-socket", str(socket)])
        try:
            while time.monotonic() < began + PATIENCE_S:
                with suppress(OSError):
                    if json.loads((await fetch(socket, "/v1/status")).body)["translated"]:
                        return time.monotonic() - began
                await asyncio.sleep(0.1)
            raise TimeoutError("the other controller does not come up")
        finally:
            child.stop()


async def measure(routes: int, samples: int, changes: int) -> dict[str, dict[str, float]]:
    """Name of a row → its figures. In the lab's network, with Headgate installed."""
    picker = there.pool_with_picker(LIVE, "live", there.PICKER, "FailClose", "picker")
    made = (there.READER, there.BOUND, there.echo("live"), *picker, route_of("first"))
    anybody = {"namespaces": {"from": "All"}}
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": anybody}
    there.kubectl("-n", there.SYSTEM, "scale", "deployment/headgate-picker", "--replicas=0")
    found = {}
    with there.namespace(NAMESPACE), there.namespace(LIVE):
        there.apply(NAMESPACE, there.gateway(GATE, listeners=[listener]))
        there.apply(LIVE, *made)
        there.available(LIVE)
        address = there.address(NAMESPACE, GATE)
        async with KubeClient(read_kubeconfig(Path(os.environ["KUBECONFIG"]))) as api:
            cluster = Cluster(api, address)
            counting = (cluster.gateways, cluster.routes, cluster.appeared)
            watching = [asyncio.create_task(each.run()) for each in counting]
            await asyncio.to_thread(cluster.client.answered_after_ms, objects.host_name("first"), "/v1")
            for name, count in (
                ("few routes", objects.ROUTES_TO_A_POOL),
                ("1,000 routes", 1000),
                (f"{routes:,} routes", routes),
            ):
                written = await cluster.grow(count)
                pids = controller_pid(), envoy_pid()
                took = await cluster.new_routes(samples, kubectl=False)
                by_kubectl = await cluster.new_routes(samples, kubectl=True)
                since, cluster.since_there = cluster.since_there, []
                controller, envoy = await cluster.changes(changes, objects.CHANGES_A_SECOND, pids)
                found[name] = {
                    "new_route_p50_ms": statistics.median(took),
                    "new_route_p99_ms": worst(took),
                    "kubectl_p50_ms": statistics.median(by_kubectl),
                    "kubectl_p99_ms": worst(by_kubectl),
                    "there_p50_ms": statistics.median(since),
                    "there_p99_ms": worst(since),
                    "pod_change_cpu_ms": controller * 10 / objects.CHANGES_A_SECOND,
                    "core_percent": controller,
                    "envoy_core_percent": envoy,
                    "start_s": await start_s(),
                    "controller_mib": resident_mib(pids[0]),
                    "envoy_mib": resident_mib(pids[1]),
                    **written,
                }
                print(f"{name}: {json.dumps({key: round(value, 2) for key, value in found[name].items()})}")
            for each in watching:
                each.cancel()
    return found


def table(found: dict[str, dict[str, float]]) -> Table:
    """As people read it."""
    made = Table(title="the control plane on a cluster; in brackets: how many times the first row")
    made.add_column("")
    for name in found:
        made.add_column(name, justify="right")
    first = next(iter(found.values()))
    for each, head in FIGURES.items():
        cells = [
            f"{row[each]:.2f} ({row[each] / first[each]:.1f})" if first[each] else f"{row[each]:.2f}"
            for row in found.values()
        ]
        made.add_row(head, *cells)
    return made


def main(routes: int, samples: int, changes: int, output: str) -> int:
    """Start a lab with Headgate in it, measure there, and take it down; the exit status."""
    if "HEADGATE_IN_LAB" in os.environ:
        found = asyncio.run(measure(routes, samples, changes))
        if output == "json":
            print(json.dumps(found, indent=2))
        else:
            PlainConsole(width=140).print(table(found))
        return 0
    from tools.lab import run_in_lab

    args = ("--routes", routes, "--samples", samples, "--changes", changes, "--output", output)
    return run_in_lab([sys.executable, "-m", "benchmarks.controlplane", "--lab", *map(str, args)])
