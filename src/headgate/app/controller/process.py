"""Composition of the gateway half: source → plan → xDS, and an admin API that says what it did.

Nothing that goes wrong here changes what Envoy serves: a computation that fails keeps what it had.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from headgate import __version__
from headgate.app.controller.answer_log import AnswerLog
from headgate.app.controller.problem_book import ProblemBook
from headgate.app.controller.telling import Telling, is_about_a_port
from headgate.app.controller.writes import ClusterWrites
from headgate.app.processes.garbage import set_garbage_collection
from headgate.app.processes.lines import event, written_time
from headgate.gateway.envoy.replies import message_of
from headgate.gateway.half import GatewayHalf, Update
from headgate.gateway.plan import unrouted
from headgate.gateway.plan.classes import ALL
from headgate.gateway.plan.results.of_objects import AnyResult
from headgate.gateway.plan.summary import Summary, whole
from headgate.gateway.provision.settings import ProvisionSettings
from headgate.gateway.quarantine import Quarantine
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.xds.publisher import Publisher
from headgate.gateway.xds.session import REFUSED
from headgate.gateway.xds.versions import Changes
from headgate.io.client_keys import ClientKeyFile
from headgate.io.here import local_addresses
from headgate.io.kube.authority import uri_of
from headgate.io.sources.api import Source
from headgate.io.web.admin import AdminServer, Reply, failure, reply
from headgate.io.xds.server import XdsServer
from headgate.model.forbidden import Own
from headgate.model.meta import Identity
from headgate.model.own_answers import UNROUTED, Explained, OwnAnswer
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import PROBLEMS, Difference, Snapshot, difference, held, read_problems, take
from headgate.model.words import counted

log = logging.getLogger("headgate.controller")

SOURCE_AGAIN_S = 1.0

CLIENT_KEYS_S = 1.0
"""How often the file of clients is looked at."""

INLINE = 100
"""Changed objects up to which the work is done between two turns of the event loop; beyond it in a thread."""


class Controller:
    """The gateway half, running. `run` serves until cancelled."""

    def __init__(
        self,
        source: Source,
        settings: GatewaySettings,
        nodes: frozenset[str] | None = None,
        own: Own = Own(),  # noqa: B008 - frozen
        client_keys: ClientKeyFile | None = None,
        updated: Callable[[Update], None] | None = None,
        provision: ProvisionSettings | None = None,
    ) -> None:
        """Serve what *source* yields to the Envoys called *nodes*, or to any. Where each Gateway has an Envoy
        of its own, that is called as the Gateway: `namespace/name`.

        *client_keys*: who may call where no policy says it; None: anybody. *updated*: told what is new,
        results of objects and what Gateways are to be run by as *provision* says among it.
        """
        self._answers = AnswerLog()
        self._settings = settings
        self.xds = XdsServer(self._dataplane_of, on_change=self._heard, on_answers=self._answers.take)
        self._nodes = nodes
        self._per_gateway = settings.per_gateway
        self.own = own
        """Where the gateway's processes listen."""
        self._source = source
        self._half = GatewayHalf(settings, follow_results=updated is not None, provision=provision)
        self._quarantine = Quarantine()
        self._telling = Telling(self._half, self._quarantine, self.xds, updated)
        self._judging = False
        self._client_keys = client_keys
        if client_keys is not None:
            self._half.let_in(client_keys.clients)
        self._publishers: dict[str, Publisher] = {}
        self._unsent: set[str] = set()
        """Envoys of which a publisher holds something back."""
        self._timer: asyncio.TimerHandle | None = None
        self._in_thread = asyncio.Lock()
        """Held while a thread works on the store; nobody else may read it then."""
        self._owed: Difference | None = Difference()
        """What the store may not have: what it is being told, or was when something went wrong."""
        self._read: tuple[Problem, ...] = ()
        """What is wrong with the text that the objects came from."""
        self._found: tuple[Problem, ...] = ()
        """What is wrong with the objects."""
        self._crash: tuple[Problem, ...] = ()
        self._refused: tuple[Problem, ...] = ()
        """What Envoy refuses and no object is to blame for."""
        self._summary: Summary | None = None
        """None until there is one."""
        self._stale_summary = True
        self._unannounced = False
        """Whether something that people are told of waits until every Envoy has acknowledged it."""
        self._changes = 0
        self._noted: tuple[tuple[Problem, ...], ...] = ()
        self._book = ProblemBook(_tell, _tell_gone)

    async def run(self) -> None:
        """Follow the source, and the file of clients, and publish what they mean."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_source())
            if self._client_keys is not None:
                tasks.create_task(self._follow_client_keys(self._client_keys))

    def _dataplane_of(self, node: str) -> str | None:
        """Whose resources an Envoy gets; None: it is not served, or not yet."""
        if self._per_gateway:
            return node if node in self._publishers else None
        return ALL if self._nodes is None or node in self._nodes else None

    async def _follow_client_keys(self, file: ClientKeyFile) -> None:
        while True:
            await asyncio.sleep(CLIENT_KEYS_S)
            if not await asyncio.to_thread(file.refresh):
                continue
            async with self._in_thread:
                self._half.let_in(file.clients)
                if self._summary is None:
                    continue  # the first objects are read with these clients
                update = await asyncio.to_thread(self._half.refresh, _now())
            self._publish(update)

    async def _follow_source(self) -> None:
        while True:
            try:
                async for news in self._source.changes():
                    self._changes += 1
                    await self._take(news)
            except Exception:
                log.exception(
                    "the source failed; what was read before stays, next try in %g s", SOURCE_AGAIN_S
                )
            await asyncio.sleep(SOURCE_AGAIN_S)

    def status(self) -> Mapping[str, Any]:
        """What is served and what is wrong, JSON-shaped."""
        streams = self.xds.streams
        found = self._current_summary()
        return {
            "version": __version__,
            "snapshots": self._changes,
            "published": self.xds.published,
            "translated": found is not None,
            "settled": self._settled(),
            "envoys": msgspec.to_builtins(streams),
            "summary": None if found is None else msgspec.to_builtins(found),
            "problems": [_shown(problem) for problem in self._book.present],
        }

    def routes(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """The admin API's table."""

        async def status(_: Mapping[str, str]) -> Reply:
            return reply(self.status())

        async def ready(_: Mapping[str, str]) -> Reply:
            is_ready = self._summary is not None
            return reply({"ready": is_ready}, 200 if is_ready else 503)

        async def healthy(_: Mapping[str, str]) -> Reply:
            return reply({"ok": True})

        async def objects(_: Mapping[str, str]) -> Reply:
            async with self._in_thread:
                found = await asyncio.to_thread(self._telling.results)
            self._heard()  # what Envoys said meanwhile
            return reply({"objects": [_object(identity, each) for identity, each in found.items()]})

        async def answer(query: Mapping[str, str]) -> Reply:
            found = self._answers.find(query["request_id"])
            if found is None:
                return failure(404, "unknown-request", "no answer of this request id is remembered")
            async with self._in_thread:
                told = self._explained(*found)
            self._heard()
            return reply(told)

        return {
            "/healthz": healthy,
            "/readyz": ready,
            "/v1/status": status,
            "/v1/objects": objects,
            "/v1/answers/{request_id}": answer,
        }

    def _explained(self, dataplane: str, found: OwnAnswer) -> Explained:
        """With what there is for such a request now."""
        because = [] if (message := message_of(found.reason, self._settings)) is None else [message]
        if found.reason in UNROUTED and dataplane in self._half.dataplanes:
            because += unrouted.why(self._half.world, dataplane, found)
        return Explained(answer=found, time=written_time(found.at), why=tuple(because))

    async def _take(self, news: Snapshot | Difference) -> None:
        """Work on what is new, and publish."""
        try:
            if isinstance(news, Snapshot):
                snapshot = replace(news, own=self.own)
                async with self._in_thread:
                    found = await asyncio.to_thread(lambda: difference(held(self._half.world), snapshot))
            else:
                found = news if self._owed is None else self._owed.then(news)
            self._owed = found
            async with self._in_thread:
                if self._summary is not None and len(found.changes) <= INLINE:
                    update = self._work(found, _now())
                else:
                    update = await asyncio.to_thread(self._work_at_once, found, _now())
            self._owed = None
        except Exception as error:
            log.exception("this version of the objects cannot be used")
            message = f"a bug in Headgate: {error!r}; what was served before is served on"
            self._crash = (Problem(Place(), "InternalError", message),)
        else:
            self._crash = ()
            if found.touches(PROBLEMS):
                self._read = read_problems(self._half.world)
            self._publish(update)
        self._note_problems(self._settled())

    def _work_at_once(self, found: Difference, now: float) -> Update:
        """The same for very many changes. What is made then stays, and looking for cycles among it costs a
        third of the work; later, each search would look at all of it again."""
        gc.disable()
        try:
            return self._work(found, now)
        finally:
            gc.freeze()
            gc.enable()

    def _work(self, found: Difference, now: float) -> Update:
        given = self._quarantine.said(found.changes)
        take(self._half.world, replace(found, changes=tuple(given)))
        return self._half.refresh(now)

    def _judge(self) -> None:
        """Every Envoy has said yes or no to all that is published: look for who makes what is refused."""
        settled = True
        while settled:
            refused = next((each for each in self.xds.problems if not is_about_a_port(each)), None)
            if refused is None:
                changes = self._quarantine.taken()
            else:
                made_of = self._half.made_of(refused.place.object)
                changes = self._quarantine.refused(refused.message.removeprefix(REFUSED), made_of)
                self._telling.note_held()
            if not changes:
                return
            self._half.world.apply(changes)
            self._hand_over(self._half.refresh(_now()))
            settled = self._may_judge()

    def _publish(self, update: Update) -> None:
        """Hand over to xDS what may go now, come back for the rest, and see what Envoy says."""
        self._hand_over(update)
        self._heard()

    def _hand_over(self, update: Update) -> None:
        first, self._stale_summary = self._summary is None, True
        now = _now()
        dataplanes = self._half.dataplanes
        for dataplane in update.generations.keys() - dataplanes:
            self._publishers.pop(dataplane, None)
            self._unsent.discard(dataplane)
            self.xds.forget(dataplane)
        for dataplane in dataplanes if first else update.changes.keys() & dataplanes:
            changes = update.changes.get(dataplane, Changes())
            publisher = self._publishers.get(dataplane)
            if publisher is None:
                publisher = self._publishers[dataplane] = Publisher()
            self._send(dataplane, publisher.offer(changes, now), first)
            if any(each.kind != "endpoint" for each in changes.changed) or changes.removed:
                self._unannounced = not first
        self._telling.update(update)
        if update.problems_changed or first:
            self._found = self._half.problems
        if first:
            self.xds.begin()
            self._current_summary()
        self._schedule()

    def _send(self, dataplane: str, ready: Changes, first: bool = False) -> None:
        """What a publisher gave; *first*: also when it is nothing."""
        if ready or first:
            self.xds.publish(dataplane, ready)
        if self._publishers[dataplane].due is None:
            self._unsent.discard(dataplane)
        else:
            self._unsent.add(dataplane)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [self._half.due, *(self._publishers[each].due for each in self._unsent)]
        due = min((each for each in times if each is not None), default=None)
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._again)

    def _again(self) -> None:
        """Some endpoints have lingered long enough, or changes have been held back long enough."""
        self._timer = None
        now = _now()
        for dataplane in tuple(self._unsent):
            publisher = self._publishers[dataplane]
            if publisher.due is not None and publisher.due <= now:
                self._send(dataplane, publisher.take(now))
        if self._half.due is not None and self._half.due <= now and not self._in_thread.locked():
            self._publish(self._half.refresh(now))
            self._note_problems(self._settled())
        elif not self._in_thread.locked():
            self._schedule()
            self._heard()

    def _settled(self) -> bool:
        return self.xds.settled and not self._unsent

    def _may_judge(self) -> bool:
        """Whether all have said what they will say: a Gateway that is left out for a trial may have been the
        only one, so that there is nobody to wait for."""
        nobody = self._quarantine.trying and not self._half.dataplanes and not self.xds.streams
        return nobody or self._settled()

    def _heard(self, of: str | None = None) -> None:
        """Something changed about the streams of a data plane, None: of any: what Envoy refuses, and whether
        it has everything."""
        settled = self._settled()
        if (
            self._may_judge()
            and not self._judging
            and not self._in_thread.locked()
            and self._summary is not None
        ):
            self._judging = True
            try:
                self._judge()
            finally:
                self._judging = False
            settled = self._settled()
        if self._summary is not None and not self._judging and not self._in_thread.locked():
            self._telling.heard(of, settled, self._unsent)
        if (
            self._unannounced
            and not self._quarantine.trying
            and settled
            and (found := self._current_summary()) is not None
        ):
            self._unannounced = False
            log.info("applied: %s", counts(found), extra=event("applied", **numbers(found)))
        self._note_problems(settled)

    def _current_summary(self) -> Summary | None:
        if self._stale_summary and not self._in_thread.locked() and self._owed is None:
            self._summary, self._stale_summary = self._half.world.get(whole), False
        return self._summary

    def _note_problems(self, settled: bool) -> None:
        if settled and not self._quarantine.trying:  # until then, who is to blame is being found out
            self._refused = self.xds.problems
        present = (self._crash, self._read, self._found, self._quarantine.problems, self._refused)
        if present != self._noted:
            self._noted = present
            self._book.update(each for some in present for each in some)


async def serve(
    source: Source,
    settings: GatewaySettings,
    started: Callable[[int], None],
    *,
    host: str,
    xds_port: int,
    xds_socket: Path | None,
    admin_socket: Path | None,
    admin_port: int | None = None,
    nodes: frozenset[str],
    own_ports: frozenset[int] = frozenset(),
    client_keys: ClientKeyFile | None = None,
    writes: ClusterWrites | None = None,
) -> None:
    """Run a controller until cancelled; *started* is told the xDS port, 0 when it is *xds_socket* instead.

    *admin_port*: of the admin API on loopback, 0: any; None: none, or *admin_socket*. *nodes*: the ids of the
    Envoys that are served. *own_ports*: of the gateway's processes, which no backend
    may have. *client_keys*: who may call where no policy says it. *writes*: where results go.

    Raises:
        RuntimeError: the xDS port is taken.
        OSError: the socket cannot be bound.
    """
    set_garbage_collection()
    own = Own(own_ports | {settings.port}, await asyncio.to_thread(local_addresses))
    updated, provision = (None, None) if writes is None else (writes.updated, writes.provision)
    controller = Controller(source, settings, nodes, own, client_keys, updated, provision)
    if provision is None:  # otherwise it listens once there are certificates
        if xds_socket is None:
            bound = await controller.xds.start(host, xds_port)
            controller.own = replace(own, ports=own.ports | {bound})
            started(bound)
        else:
            await controller.xds.start_unix(xds_socket)
            started(0)
    admin = AdminServer(controller.routes())
    try:
        if admin_socket is not None:
            await admin.listen_unix(admin_socket)
        if admin_port is not None:
            bound = await admin.listen("127.0.0.1", admin_port)
            controller.own = replace(controller.own, ports=controller.own.ports | {bound})
            log.info("admin API on 127.0.0.1:%d", bound)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(controller.run())
            if writes is not None:
                tasks.create_task(writes.run())
                if provision is not None:
                    await writes.started.wait()
                    shown = writes.certificates
                    started(await controller.xds.start_tls(host, xds_port, lambda: shown.shown, uri_of))
    except* RuntimeError as failed:
        raise failed.exceptions[0] from None
    finally:
        await admin.close()
        await controller.xds.stop()


def counts(found: Summary) -> str:
    """What is served, in a few words."""
    return ", ".join(counted(count, what[:-1]) for what, count in numbers(found).items())


def numbers(found: Summary) -> Mapping[str, int]:
    """How many of each kind are served."""
    return {"listeners": len(found.listeners), "routes": found.routes, "pools": len(found.pools)}


def _now() -> float:
    return asyncio.get_running_loop().time()


def _shown(problem: Problem) -> Mapping[str, Any]:
    return {**msgspec.to_builtins(problem), "text": str(problem)}


def _object(identity: Identity, result: AnyResult) -> Mapping[str, Any]:
    return {
        "group": identity.group,
        "kind": identity.kind,
        "namespace": identity.namespace,
        "name": identity.name,
        "status": msgspec.to_builtins(result),
    }


def _tell(problem: Problem) -> None:
    log.log(logging.ERROR if problem.severity == "error" else logging.WARNING, "%s", problem)


def _tell_gone(problem: Problem) -> None:
    log.info("no longer: %s", problem)
