"""The picker process: sources → pools → machines, served over gRPC, watched over HTTP."""

import asyncio
import contextlib
import datetime
import logging
import random
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec
import uvloop

from headgate import __version__
from headgate.app.cluster.source import ClusterSource
from headgate.app.picker.admin import Status, admin_app, serve_tcp, serve_unix
from headgate.app.picker.certificate_secret import CertificateSecret
from headgate.app.picker.decision_log import DecisionLog
from headgate.app.picker.followed import Followed, News, selected_pool
from headgate.app.picker.leading import Leading
from headgate.app.picker.metrics_port import MetricsPort
from headgate.app.picker.pools import Pools, fixed_pool
from headgate.app.processes.ending import on_ending
from headgate.app.processes.garbage import set_garbage_collection
from headgate.app.processes.parent import SUPERVISORS_END
from headgate.io.api_keys import KeyFile, Keys
from headgate.io.bounded_log import BoundedLog
from headgate.io.extproc import native, native_wire
from headgate.io.extproc.health import Health
from headgate.io.extproc.hub import Hub
from headgate.io.extproc.server import UNLIMITED, GrpcPorts, listen
from headgate.io.extproc.service import GrpcServices
from headgate.io.extproc.tls import CertificateFiles, Certificates, Follows, server_credentials
from headgate.io.here import local_addresses
from headgate.io.kube.config import Access
from headgate.io.kube.kinds import OF_PICKER
from headgate.io.scrape.scraper import AT_REST_S
from headgate.io.sources.api import Source, open_source
from headgate.io.trust import Trust
from headgate.io.web.counts import Counts
from headgate.io.web.metrics import PickerMetrics, Reading
from headgate.model.decisions import Decision
from headgate.model.forbidden import Own
from headgate.model.ids import EndpointId, PoolKey, StreamId, pool_key
from headgate.model.problems import Place, Problem
from headgate.model.requests import InferenceRequest, Outcome
from headgate.model.snapshot import Difference, Snapshot, difference
from headgate.picker.choice import Choice
from headgate.picker.epp.config import NOTHING, Adopted
from headgate.picker.settings import MachineSettings
from headgate.scheduling.prefix import PrefixIndex
from headgate.wire.extproc import BODY_LIMIT_BYTES, Settings

HEALTH_S = 0.25
"""How often is looked whether an endpoint fell ill or came back, for the log."""
SWEEP_S = 2.0
SOURCE_AGAIN_S = 1.0
SWITCH_S = 0.0005
"""So long a thread that reads files keeps the event loop waiting, at most, when both have something to do."""
QUIET_S = 1.0
"""A draining picker stops when no stream has been open for so long."""

log = logging.getLogger(__name__)
log.addFilter(BoundedLog())
problems_log = logging.getLogger("headgate.problems")
"""Its own logger: under `headgate run` the controller tells of the same problems."""


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How the main port is encrypted.

    Its methods raise OSError when a file cannot be read and ValueError when it cannot be used.
    """

    folder: Path | None = None
    """With `tls.crt` and `tls.key`; None: a certificate made at start."""
    reload: bool = False
    min_version: Literal["1.2", "1.3"] = "1.2"
    client_ca: Path | None = None
    """Certificates, PEM: clients must show one signed by one of these."""
    secret: str = ""
    """In place of files: the Secret of this name in the process's own namespace, followed."""
    asks: bool = True
    """With `secret`: clients must show a certificate signed by one of its authorities."""

    async def certificates(self, access: Access | None, stack: AsyncExitStack) -> Certificates:
        """What is there now; with `secret`, which needs *access*, once it is there. Followed until *stack* is
        closed, where it is to be."""
        files: Follows
        if self.secret:
            assert access is not None
            secret = CertificateSecret(access.namespace, self.secret, asks=self.asks)
            files = await stack.enter_async_context(secret.opened(access))
        else:
            files = CertificateFiles(self.folder, self.client_ca)
        return Certificates(
            files=files, reload=self.reload or bool(self.secret), min_version=self.min_version
        )

    def files(self) -> str:
        """Where its certificates come from."""
        if self.secret:
            return f"Secret {self.secret}"
        return ", ".join(str(path) for path in (self.folder, self.client_ca) if path is not None)


class PickerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the command line can say. Port 0 means any free one, None none."""

    files: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()
    access: Access | None = None
    """API server of a cluster whose objects count, in place of files and URLs."""
    namespaces: tuple[str, ...] = ()
    """Of the cluster; none: all."""
    endpoints: tuple[EndpointId, ...] = ()
    """Fixed endpoints in place of objects."""
    pool: PoolKey | None = None
    """The pool of streams that name none; served here even when its object names a foreign picker."""
    selector: tuple[tuple[str, str], ...] = ()
    """Labels of the pods of `pool`, in place of an InferencePool object."""
    target_ports: tuple[int, ...] = ()
    policy: str = "default"
    settings: MachineSettings = MachineSettings()
    host: str = "0.0.0.0"
    grpc_port: int = 9002
    grpc_socket: Path | None = None
    """A Unix socket for ext_proc and the access log, in place of the port."""
    health_port: int | None = 9003
    metrics: MetricsPort = MetricsPort()
    lease: str = ""
    """`namespace/name` of a Lease: only who holds it is ready. Needs `access`."""
    admin_socket: Path | None = None
    admin_port: int | None = None
    tls: Tls | None = None
    drain_timeout_s: float = 30.0
    drain_delay_s: float = 0.0
    """New streams are taken for so long after the signal to end: who sends them has yet to hear of it."""
    scrape_interval_s: float = AT_REST_S
    body_limit: int = BODY_LIMIT_BYTES
    max_receive_bytes: int = UNLIMITED
    keys: KeyFile | None = None
    """Keys of model servers whose objects name none."""
    trust: Trust = Trust()
    """What https model servers are scraped by."""
    subset_filter: bool = True
    test_headers: bool = False
    """See `wire.extproc.Settings`; with the portable wire only."""
    wire: str | None = None
    """`native`, `portable` or `auto`; None: as `HEADGATE_WIRE` says, else `auto`."""
    wire_threads: int = 1
    """Transport threads of the native wire."""
    own_ports: frozenset[int] = frozenset()
    """Ports of the gateway's other processes, which no model server may have."""
    adopted: Adopted = NOTHING
    """What another picker's configuration asks for, beside `policy` and `settings`, which have it already."""


def _wall_time(at: float) -> float:
    """Unix seconds of a time on the machine's clock."""
    return datetime.datetime.now(datetime.UTC).timestamp() - (time.monotonic() - at)


class RequestObserver:
    """Told by the hub: decision log and metrics."""

    def __init__(self, decisions: DecisionLog, counts: Counts) -> None:
        self._decisions = decisions
        self._counts = counts

    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        """See `hub.Observer`."""
        self._decisions.record(stream, decision)
        self._counts.decided(stream, request, decision, took_s)
        if decision.prior is not None and decision.prior != "held" and decision.chosen:
            log.warning(
                "request %r goes on with an answer or conversation whose endpoint is %s: sent to %s, "
                "which may not have it",
                decision.request_id,
                decision.prior,
                decision.chosen[0],
            )

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        """See `hub.Observer`."""
        self._decisions.conclude(stream, outcome)
        self._counts.concluded(stream, outcome)


class Picker:
    """One picker process's parts, started by `run`."""

    def __init__(self, options: PickerOptions) -> None:
        self._options = options
        nonce, secret = secrets.token_hex(4), secrets.token_bytes(16)
        self._decisions = DecisionLog(_wall_time)
        self._metrics = PickerMetrics(
            self._reading,
            lambda pool, name: self._pools.knows(pool, name),
            lambda pool, name: self._pools.has_objective(pool, name),
        )
        self._hub = Hub(RequestObserver(self._decisions, self._metrics.counts), time.monotonic)
        self._hub.cycled = self._metrics.counts.cycles.observe
        self._hub.default = options.pool
        self._native = None if options.test_headers else native.load(options.wire)
        self.wire = "portable" if self._native is None else "native"
        """Which wire serves."""
        self._keys = Keys(options.keys)
        self._pools = Pools(
            self._hub,
            options.policy,
            options.settings,
            random.Random(),
            options.pool,
            options.scrape_interval_s,
            make_index=PrefixIndex if self._native is None else self._native.PrefixIndex,
            trust=options.trust,
            keys=self._keys,
            adopted=options.adopted,
        )
        self._wire = Settings(
            nonce,
            secret=secret,
            body_limit=options.body_limit,
            subset_filter=options.subset_filter,
            test_headers=options.test_headers,
        )
        self._health = Health()
        self._fixed = None
        if options.selector and options.pool is not None:
            self._fixed = selected_pool(options.pool, options.selector, options.target_ports)
        self._followed = Followed(self._fixed)
        self._owed: Difference | None = None
        """What may not have been taken in: what is being, or was when something went wrong."""
        self._crash: tuple[Problem, ...] = ()
        self._fed = False
        """The objects, or fixed endpoints, were taken in."""
        self._leading = Leading(options.access, options.lease, self._tell_ready)
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()

    def _reading(self) -> Reading:
        return Reading(self._pools.views(), self._hub.open_streams, self._hub.left_streams, self.wire)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong now."""
        return (*self._crash, *self._followed.problems)

    def stop(self) -> None:
        """Drains; a second call ends at once."""
        (self._at_once if self._stopping.is_set() else self._stopping).set()

    async def run(self, started: Callable[[Status], None] | None = None) -> None:
        """Serves until a signal to end or `stop`. *started* is told the ports once all are open.

        Raises:
            OSError, RuntimeError: a port cannot be bound, or a certificate cannot be read.
            ValueError: a certificate cannot be used, or a wire does not know an option.
            BadUrlError: a URL cannot be used.
        """
        options = self._options
        source: Source | None = None
        if options.access is not None and self._fixed is not None:  # whose RBAC has nothing but pods
            source = ClusterSource(options.access, options.namespaces, (), fixed=self._fixed)
        elif options.access is not None:
            needed, names = None, {}
            if options.pool is not None:  # an endpoint picker's RBAC has no more
                needed, names = "InferencePool", {"InferencePool": options.pool.partition("/")[2]}
            source = ClusterSource(options.access, options.namespaces, OF_PICKER, needed, names)
        elif not options.endpoints:
            source = open_source(options.files, options.urls)
        async with AsyncExitStack() as stack:
            ports = await self._listen(stack)
            status = await self._serve_http(stack, ports)
            on_ending(lambda _: self.stop(), SUPERVISORS_END)
            if started is not None:
                started(status())
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(self._pools.scraper.run()),
                    group.create_task(self._follow(source, await self._own(status()))),
                    group.create_task(self._sweep()),
                    group.create_task(self._tell_health()),
                ]
                election = group.create_task(self._leading.run())
                await self._stopping.wait()
                election.cancel()  # another one takes over while this one drains
                await self._drain(ports)
                for task in background:
                    task.cancel()

    async def _listen(self, stack: AsyncExitStack) -> GrpcPorts | native_wire.NativePorts:
        options = self._options
        if self._native is not None:
            return await self._listen_natively(stack, self._native)
        if options.wire_threads != 1:
            log.warning("--wire-threads has no effect: only the native wire has transport threads")
        credentials = None
        if options.tls is not None:
            if options.tls.min_version != "1.2":
                raise ValueError(
                    f"the portable wire cannot refuse TLS below {options.tls.min_version}: "
                    "leave --tls-min-version at 1.2, or use the native wire"
                )
            certificates = await options.tls.certificates(options.access, stack)
            credentials = server_credentials(certificates)
            if certificates.reload:
                certificates.files.follow()
                stack.callback(certificates.files.stop)
        ports = await listen(
            GrpcServices(self._hub, self._wire),
            self._health,
            host=options.host,
            port=options.grpc_port,
            health_port=options.health_port,
            credentials=credentials,
            max_receive_bytes=options.max_receive_bytes,
            path=options.grpc_socket,
        )
        stack.push_async_callback(ports.stop, 0.0)
        return ports

    async def _listen_natively(self, stack: AsyncExitStack, module: ModuleType) -> native_wire.NativePorts:
        options = self._options
        limits = native.Limits(
            threads=options.wire_threads,
            message_bytes=max(native.MESSAGE_BYTES, 2 * options.body_limit),
        )
        if options.max_receive_bytes != UNLIMITED:
            limits = msgspec.structs.replace(limits, message_bytes=options.max_receive_bytes)
        wire = native_wire.NativeWire(module, self._hub, self._wire, limits)
        certificates = await options.tls.certificates(options.access, stack) if options.tls else None
        try:
            ports = wire.start(
                options.host, options.grpc_port, options.health_port, certificates, options.grpc_socket
            )
        except ValueError as error:
            assert options.tls is not None
            raise ValueError(f"{options.tls.files()}: {error}") from error
        stack.push_async_callback(ports.stop, 0.0)
        following = asyncio.create_task(wire.follow(self._health))
        stack.callback(following.cancel)
        return ports

    async def _serve_http(
        self, stack: AsyncExitStack, ports: GrpcPorts | native_wire.NativePorts
    ) -> Callable[[], Status]:
        options = self._options
        metrics_port, admin_port = await options.metrics.serve(self._metrics, stack), 0

        def status() -> Status:
            return Status(
                version=__version__,
                ready=self._health.ready,
                draining=self._stopping.is_set(),
                policy=options.policy,
                wire=self.wire,
                grpc_port=ports.port,
                health_port=ports.health_port,
                metrics_port=metrics_port,
                admin_port=admin_port,
                open_streams=self._hub.open_streams,
                left_streams=self._hub.left_streams,
                pools=self._pools.views(),
                problems=self.problems,
            )

        if options.admin_socket is not None:
            site = await serve_unix(admin_app(status, self._decisions), options.admin_socket)
            stack.push_async_callback(site.close)
        if options.admin_port is not None:
            site = await serve_tcp(admin_app(status, self._decisions), "127.0.0.1", options.admin_port)
            stack.push_async_callback(site.close)
            admin_port = site.port
        return status

    async def _own(self, status: Status) -> Own:
        """Where no model server may be."""
        mine = (status.grpc_port, status.health_port, status.metrics_port, status.admin_port)
        ports = self._options.own_ports.union(port for port in mine if port)
        return Own(ports, await asyncio.to_thread(local_addresses))

    async def _follow(
        self,
        source: Source | None,
        own: Own = Own(),  # noqa: B008 - frozen
    ) -> None:
        options = self._options
        if source is None:
            pool = fixed_pool(options.pool or pool_key("default", "default"), options.endpoints)
            self._pools.update([pool])
            self._fed = True
            await self._tell_ready()
            return
        while True:
            try:
                async with aclosing(source.changes()) as changes:
                    async for each in changes:
                        await self._take(each, own)
                        self._fed = True
                        await self._tell_ready()
            except Exception:
                log.exception(
                    "the source failed; what was read before stays, next try in %g s", SOURCE_AGAIN_S
                )
            await asyncio.sleep(SOURCE_AGAIN_S)

    async def _tell_ready(self) -> None:
        await self._health.set_ready(self._fed and self._leading.now and not self._stopping.is_set())

    async def _take(self, each: Snapshot | Difference, own: Own) -> None:
        """Serve the pools that follow, in steps between which others have their turn; one that meets a bug
        leaves those before it."""
        try:
            if isinstance(each, Snapshot):
                snapshot = msgspec.structs.replace(each, own=own)
                found = await asyncio.to_thread(difference, self._followed.held(), snapshot)
            else:
                found = each if self._owed is None else self._owed.then(each)
            self._owed = found
            self._keys.take(found)
            for news in self._followed.steps(found):
                self._tell(news)
                await asyncio.sleep(0)
        except Exception as error:
            log.exception("this version of the objects cannot be resolved")
            message = f"a bug in Headgate: {error!r}; the pools before are served on"
            self._crash = (Problem(Place(), "InternalError", message),)
        else:
            self._owed, self._crash = None, ()

    def _tell(self, news: News) -> None:
        for problem in news.appeared:
            level = logging.ERROR if problem.severity == "error" else logging.WARNING
            problems_log.log(level, "%s", problem)
        if news.pools or news.gone:
            self._pools.update(news.pools.values(), news.gone)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._hub.sweep()

    async def _tell_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_S)
            try:
                for _ in self._pools.tell_health():
                    await asyncio.sleep(0)
            except Exception:  # a bug in what is told ends no serving
                log.exception("changes of health are not told any more")
                return

    async def _drain(self, ports: GrpcPorts | native_wire.NativePorts) -> None:
        """New streams are refused, after a delay; open ones go on until the time is up, or told to end."""
        await self._health.set_ready(False)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._options.drain_timeout_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._at_once.wait(), self._options.drain_delay_s)
        ports.drain()
        busy = clock()
        while not self._at_once.is_set() and clock() < deadline and clock() - busy < QUIET_S:
            if self._hub.open_streams:
                busy = clock()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), 0.05)


def serve(options: PickerOptions, started: Callable[[Status], None] | None = None) -> None:
    """Runs a picker process until it is told to stop; raises as `Picker.run` does."""

    async def main() -> None:
        await Picker(options).run(started)

    set_garbage_collection()
    sys.setswitchinterval(SWITCH_S)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
