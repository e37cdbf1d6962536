"""Between the streams and the pools' machines: who asked, who is answered, which timer wakes whom.

Synchronous and single-threaded: an event goes in, and the machine's actions are carried out before the call
returns.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol, TypeAlias

from headgate.model.decisions import Decision
from headgate.model.ids import PoolKey, RequestId, StreamId
from headgate.model.load import ModelCard
from headgate.model.requests import LOST_PEER, InferenceRequest, Outcome
from headgate.model.sessions import USUAL, Sources
from headgate.picker.actions import Action, Conclude, Evict, ListModels, Reject, Relist, Route, WakeAt
from headgate.picker.choice import Choice
from headgate.picker.events import (
    Event,
    PoolRemoved,
    RequestArrived,
    RequestEnded,
    Woken,
)

LOST_AFTER_S = 3600.0
"""A request left to the access log that is not reported within this time is given up."""
SILENCE_S = 5.0
"""So long after an Envoy's last access-log stream closed, what was left to it is given up: it is gone."""

MOST_LISTED = 1000
"""Pools of one list of models."""

Link: TypeAlias = int | str
"""A connection, or where it comes from (`kind:host:port`) on a wire that sees no connections."""


class Machine(Protocol):
    """A pool's machine; `picker.machine.PoolMachine` fits."""

    def handle(self, event: Event, now: float) -> list[Action]:
        """Takes an event at machine time *now* (seconds)."""
        ...


class Observer(Protocol):
    """Told of every decision and outcome, for logs and metrics."""

    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        """A request was routed or refused; *took_s* is the time the machine needed."""
        ...

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        """What became of a routed request."""
        ...


class Peer(Protocol):
    """A stream that a machine can answer."""

    def act(self, action: Route | Reject | Evict | ListModels) -> None:
        """Sends the answer, now or as soon as the stream is free.

        `Evict` is passed over when it comes too late; otherwise the machine is told, after this has returned.
        """
        ...

    def wait(self, stream: StreamId) -> None:
        """The answer will come later."""
        ...

    def unserved(self, stream: StreamId, pool: PoolKey, request_id: RequestId) -> None:
        """Refuses the request: its pool is not served any more, and nobody will answer."""
        ...


def _nobody() -> None:
    """Nobody wants to know."""


def _no_time(seconds: float) -> None:
    """Nobody counts it."""


def _no_lists(pool: PoolKey) -> None:
    """Nobody can be asked."""


def _no_models(pool: PoolKey) -> tuple[ModelCard, ...]:
    """Nobody knows any."""
    return ()


class Hub:
    """The machines of this process and the requests in its hands."""

    def __init__(
        self,
        observer: Observer,
        clock: Callable[[], float],
        *,
        lost_after_s: float = LOST_AFTER_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.default: PoolKey | None = None
        """The pool of streams that name none; None: the only pool there is."""
        self.count_streams: Callable[[], int] | None = None
        """How a wire counts its open streams, when not all of them enter here."""
        self.relist: Callable[[PoolKey], None] = _no_lists
        """Asks a pool's endpoints for their model lists soon."""
        self.models_of: Callable[[PoolKey], tuple[ModelCard, ...]] = _no_models
        """What a pool serves; nothing for one that is not there."""
        self.sessions: Sources = USUAL
        """What may name a request's session, in any pool."""
        self.cycled: Callable[[float], None] = _no_time
        """Told how many seconds each event took that came while a request waited."""
        self._pools_changed: Callable[[], None] = _nobody
        self._observer = observer
        self._clock = clock
        self._lost_after_s = lost_after_s
        self._silence_s = silence_s
        self._machines: dict[PoolKey, Machine] = {}
        self._timers: dict[PoolKey, asyncio.TimerHandle] = {}
        self._numbers = itertools.count(1)
        self._peers: dict[StreamId, tuple[Peer, PoolKey]] = {}
        self._told: set[StreamId] = set()
        """Open streams whose end the access log told before they closed."""
        self._waiting: dict[StreamId, RequestArrived] = {}
        """Requests that their machines have not answered yet."""
        self._left: dict[StreamId, tuple[PoolKey, float, Link]] = {}
        """Their pools, since when, and the connection they came by."""
        self._logs: dict[Link, int] = {}
        """Access-log streams by connection; none is 0."""
        self._silent_since: float | None = None
        self._nodes: dict[Link, str] = {}
        """The Envoy at the other end, where its access log told that."""
        self._quiet: dict[str, float] = {}
        """Nodes whose last access-log stream closed, and when."""
        self._gone: dict[Link, float] = {}
        """Connections that closed, and when."""

    # ---- pools

    def add_pool(self, key: PoolKey, machine: Machine) -> None:
        """Serves the pool *key* from now on."""
        self._machines[key] = machine
        self._pools_changed()

    def remove_pool(self, key: PoolKey) -> None:
        """Forgets the pool. Waiting requests are refused; running ones go on, and are lost for the books."""
        self.tell(key, PoolRemoved())
        self._machines.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._pools_changed()
        for stream, event in list(self._waiting.items()):
            if (found := self._peers.get(stream)) and found[1] == key:
                self._refuse(key, event)

    @property
    def pools(self) -> tuple[PoolKey, ...]:
        """The pools that have a machine here."""
        return tuple(self._machines)

    def read_sessions(self, wanted: Sources) -> None:
        """This may name the session of a request that comes from now on."""
        if wanted != self.sessions:
            self.sessions = wanted
            self._pools_changed()

    def watch_pools(self, changed: Callable[[], None]) -> None:
        """Calls *changed* now and whenever a pool comes or goes, or `sessions` changes."""
        self._pools_changed = changed
        changed()

    def serves(self, key: PoolKey) -> bool:
        """Whether the pool has a machine here."""
        return key in self._machines

    def unnamed(self) -> PoolKey:
        """The pool of a stream that names none; empty when that could be any of several."""
        if self.default is not None:
            return self.default
        return next(iter(self._machines)) if len(self._machines) == 1 else PoolKey("")

    def tell(self, key: PoolKey, event: Event) -> None:
        """Hands an event to a pool's machine and carries out what it answers.

        For an unknown pool a request is refused, and nothing else is done. A fault in one answer does not
        keep back the others; it is raised after them.
        """
        machine = self._machines.get(key)
        if machine is None:
            if isinstance(event, RequestArrived):
                self._refuse(key, event)
            return
        began = self._clock()
        waited = bool(self._waiting)
        answered = not isinstance(event, RequestArrived)
        fault: Exception | None = None
        for action in machine.handle(event, began):
            try:
                answered |= self._carry_out(key, event, action, began)
            except Exception as error:
                fault = fault or error
        if not answered and isinstance(event, RequestArrived):
            self._waiting[event.stream] = event
            if fault is None and (found := self._peers.get(event.stream)):
                found[0].wait(event.stream)
        if waited:
            self.cycled(self._clock() - began)
        if fault is not None:
            raise fault

    def _refuse(self, key: PoolKey, event: RequestArrived) -> None:
        self._waiting.pop(event.stream, None)
        if found := self._peers.get(event.stream):
            found[0].unserved(event.stream, key, event.request.id)

    def _carry_out(self, key: PoolKey, event: Event, action: Action, began: float) -> bool:
        """Whether it answered the request that *event* is."""
        if isinstance(action, Conclude):
            self._observer.concluded(action.stream, action.outcome)
        elif isinstance(action, WakeAt):
            self._wake_at(key, action.at)
        elif isinstance(action, Relist):
            self.relist(key)
        elif isinstance(action, Evict):
            if found := self._peers.get(action.stream):
                found[0].act(action)
        else:
            stream = action.stream
            own = isinstance(event, RequestArrived) and event.stream == stream
            asked = event if own else self._waiting.pop(stream, None)
            if isinstance(asked, RequestArrived):
                request = asked.request
                if not isinstance(action, ListModels):
                    self._observer.decided(stream, request, action.decision, self._clock() - began)
                elif request.pools:
                    action = self._with_more(action, request.pools)
            if found := self._peers.get(stream):
                found[0].act(action)
            return own
        return False

    def _with_more(self, action: ListModels, pools: str) -> ListModels:
        """The list with the models of further pools; of one name the first pool's card."""
        keys = dict.fromkeys(pools.split(" ")[:MOST_LISTED])
        listed = [self.models_of(PoolKey(each)) for each in keys]
        cards = {card.id: card for some in reversed(listed) for card in some}
        cards |= {card.id: card for card in action.models}
        return ListModels(action.stream, tuple(cards[name] for name in sorted(cards)))

    def _wake_at(self, key: PoolKey, at: float) -> None:
        if timer := self._timers.get(key):
            timer.cancel()
        delay = max(0.0, at - self._clock())
        self._timers[key] = asyncio.get_running_loop().call_later(delay, self.tell, key, Woken())

    # ---- streams

    @property
    def open_streams(self) -> int:
        """ext_proc streams that are open now, and closed ones whose end was not yet handled here."""
        counted = 0 if self.count_streams is None else self.count_streams()
        return max(counted, len(self._peers))

    @property
    def left_streams(self) -> int:
        """Requests whose end the access log will tell."""
        return len(self._left)

    def enter(self, peer: Peer, pool: PoolKey, stream: StreamId | None = None) -> StreamId:
        """A new stream, with its number; a wire that numbers its streams itself says *stream*."""
        if stream is None:
            stream = StreamId(next(self._numbers))
        self._peers[stream] = peer, pool
        return stream

    def move(self, stream: StreamId, pool: PoolKey) -> None:
        """The stream turned out to be about another pool; to be told before its request is."""
        self._peers[stream] = self._peers[stream][0], pool

    def forget(self, stream: StreamId) -> bool:
        """The stream is closed. Whether it was open until now and its end has not been told."""
        if self._waiting:
            self._waiting.pop(stream, None)
        told = stream in self._told
        self._told.discard(stream)
        return self._peers.pop(stream, None) is not None and not told

    def leave(self, stream: StreamId, pool: PoolKey, link: Link) -> None:
        """The stream ends before its request, or without knowing how that ended: the access log tells.

        That of the Envoy at the other end of *link*.
        """
        if stream not in self._told:
            self._left[stream] = pool, self._clock(), link

    # ---- access log

    def log_opened(self, link: Link) -> None:
        """An access-log stream was opened."""
        self._logs[link] = self._logs.get(link, 0) + 1
        self._silent_since = None
        if node := self._nodes.get(link):
            self._quiet.pop(node, None)

    def log_node(self, link: Link, node: str) -> None:
        """The access log says which Envoy writes it: its id and, after an `@`, where it is."""
        self._nodes[link] = node
        self._quiet.pop(node, None)

    def log_closed(self, link: Link) -> None:
        """An access-log stream was closed."""
        left = self._logs.pop(link, 1) - 1
        if left > 0:
            self._logs[link] = left
        if not self._logs:
            self._silent_since = self._clock()
        node = self._nodes.get(link)
        if node is not None and not any(self._nodes.get(other) == node for other in self._logs):
            self._quiet[node] = self._clock()

    def link_closed(self, link: Link) -> None:
        """A connection is gone with all its streams."""
        self._gone[link] = self._clock()

    def logged(self, ended: RequestEnded) -> None:
        """The access log tells an end. What was told already means nothing."""
        stream = ended.stream
        if left := self._left.pop(stream, None):
            self.tell(left[0], ended)
        elif found := self._peers.get(stream):
            self._told.add(stream)
            self.tell(found[1], ended)

    def sweep(self) -> None:
        """Gives up requests that nobody will report any more; to be called every few seconds."""
        now = self._clock()
        before = now - self._lost_after_s
        if self._silent_since is not None and now - self._silent_since >= self._silence_s:
            before = max(before, self._silent_since)
        lost = [
            stream for stream, _ in itertools.takewhile(lambda pair: pair[1][1] <= before, self._left.items())
        ]
        if self._quiet or self._gone:
            lost += self._orphans(now, set(lost))
        for stream in lost:
            pool, _, _ = self._left.pop(stream)
            self.tell(pool, RequestEnded(stream, "lost", details=LOST_PEER))
        if self._nodes or self._gone:
            self._forget_links()

    def _orphans(self, now: float, known: set[StreamId]) -> list[StreamId]:
        """What was left to Envoys that are gone."""
        found = []
        for stream, (_, since, link) in self._left.items():
            gone = self._gone.get(link)
            node = self._node(link)
            if node is not None:
                quiet = self._quiet.get(node)
                # While one of its access-log streams is open, that Envoy lives and will tell.
                gone = None if quiet is None else quiet if gone is None else max(quiet, gone)
            if gone is not None and now - gone >= self._silence_s and since <= gone and stream not in known:
                found.append(stream)
        return found

    def _node(self, link: Link) -> str | None:
        node = self._nodes.get(link)
        if node is None and isinstance(link, str):
            # Where connections cannot be told apart: the one Envoy that is known at that host.
            end = "@" + link.rpartition(":")[0]
            nodes = {each for each in self._nodes.values() if each.endswith(end)}
            node = nodes.pop() if len(nodes) == 1 else None
        return node

    def _forget_links(self) -> None:
        """Forgets connections that nothing was left on, and nodes without one."""
        links = {link for _, _, link in self._left.values()}
        kept = {self._node(link) for link in links}
        self._gone = {link: since for link, since in self._gone.items() if link in links}
        self._nodes = {
            link: node
            for link, node in self._nodes.items()
            if link in links or link in self._logs or (node in kept and link not in self._gone)
        }
        nodes = set(self._nodes.values())
        self._quiet = {node: since for node, since in self._quiet.items() if node in nodes}
