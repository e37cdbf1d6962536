"""`headgate demo`: a simulated fleet, the gateway, a load, and one policy against another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp
import msgspec

from headgate.app.demo.children import Child, started
from headgate.app.demo.fleet import ReplicaNow, look
from headgate.app.demo.plan import SLOWER, Scene
from headgate.io.load.generator import Load, LoadSettings
from headgate.io.load.report import Report
from headgate.io.load.workloads import make_plan

LOOK_EVERY_S = 0.5
ALL_DAY_S = 86_400


class Stage(Protocol):
    """Where the demo is shown; the command line has one for terminals, one for plain text, one for JSON."""

    def say(self, lines: Sequence[str]) -> None:
        """Say something between runs."""

    def gateway_up(self, policy: str, url: str, model: str) -> None:
        """The gateway answers at *url*."""

    def moment(self, policy: str, report: Report, opened: int, replicas: Sequence[ReplicaNow]) -> None:
        """A run under way: the load's numbers so far, open requests, and the replicas now."""

    def run_over(self, policy: str, report: Report) -> None:
        """A policy's run ended."""


class Site(msgspec.Struct, frozen=True):
    """A fleet with a gateway before it."""

    url: str
    admin: str
    replicas: tuple[str, ...]
    """Base URLs."""


@asynccontextmanager
async def open_site(scene: Scene, policy: str) -> AsyncIterator[Site]:
    """Start a fleet with empty caches and a gateway with *policy*; both end with the context.

    Raises:
        ChildError: one of them did not get ready.
    """
    async with started("fleet", fleet_args(scene)) as fleet:
        urls = await _fleet_urls(fleet, scene.settings.replicas)
        async with started("run", run_args(scene, policy, urls)) as gateway:
            ready = await gateway.message(lambda said: said.get("event") == "ready")
            yield Site(str(ready["url"]), str(ready["admin"]), tuple(urls))


def fleet_args(scene: Scene) -> list[str]:
    """The command line of the fleet."""
    settings = scene.settings
    return [
        *("--replicas", str(settings.replicas), "--port-base", "0", "--control-port", "0"),
        *("--preset", settings.preset, "--kv-tokens", str(scene.kv_tokens), "--speed", str(settings.speed)),
        *("--seed", str(settings.seed), "--drain-s", "0", "--output", "json"),
        *(() if settings.max_num_seqs is None else ("--max-num-seqs", str(settings.max_num_seqs))),
        *(
            part
            for number in range(settings.replicas - settings.slow, settings.replicas)
            for part in ("--fault", f"{number}:slow-start:factor={SLOWER:g},for_s={ALL_DAY_S}")
        ),
    ]


def run_args(scene: Scene, policy: str, urls: Sequence[str]) -> list[str]:
    """The command line of the gateway: its listener where the user wants it, all else on free ports."""
    ports = ("admin", "metrics")
    return [
        *urls,
        *(
            "--port",
            str(scene.settings.port),
            "--host",
            "127.0.0.1",
            "--policy",
            policy,
            "--scrape-interval",
            str(scene.settings.scrape_interval_s),
            "--drain-timeout",
            "2",
            "--flow-control" if scene.settings.flow_control else "--no-flow-control",
        ),
        *(part for name in ports for part in (f"--{name}-port", "0")),
        *("--output", "json", "--access-log", "off"),
    ]


async def _fleet_urls(fleet: Child, replicas: int) -> list[str]:
    urls = [str((await fleet.message(lambda said: "url" in said))["url"]) for _ in range(replicas)]
    await fleet.message(lambda said: "control" in said)
    return urls


async def run_demo(scene: Scene, stage: Stage) -> Mapping[str, Report]:
    """Run every policy on the same load; with `keep`, serve on with the first one until cancelled.

    Raises:
        ChildError: the fleet or the gateway did not get ready.
    """
    reports: dict[str, Report] = {}
    for policy in scene.settings.policies:
        stage.say([f"Starting servers and gateway, policy {policy}"])
        async with open_site(scene, policy) as site:
            stage.gateway_up(policy, site.url, scene.model)
            reports[policy] = await run_policy(scene, policy, site, stage)
            stage.run_over(policy, reports[policy])
    return reports


async def keep_serving(scene: Scene, stage: Stage) -> None:
    """Serve with the first policy until cancelled."""
    policy = scene.settings.policies[0]
    async with open_site(scene, policy) as site:
        stage.gateway_up(policy, site.url, scene.model)
        stage.say(
            [f"{policy} goes on serving at {site.url}; headgate status --admin {site.admin}; Ctrl-C ends it"]
        )
        await asyncio.Event().wait()


async def run_policy(scene: Scene, policy: str, site: Site, stage: Stage) -> Report:
    """One load through the gateway at *site*, shown on *stage*."""
    settings = scene.settings
    plan = make_plan(
        scene.workload,
        rate=scene.rate,
        duration_s=settings.duration_s * settings.speed,
        seed=settings.seed,
        speed=settings.speed,
    )
    load = Load(plan, LoadSettings(url=site.url, model=scene.model))
    showing = asyncio.create_task(_show(load, policy, site, stage))
    try:
        return await load.run()
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing


async def _show(load: Load, policy: str, site: Site, stage: Stage) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            replicas = await look(session, site.replicas)
            stage.moment(policy, load.report(), load.open, replicas)
            await asyncio.sleep(LOOK_EVERY_S)
