"""A pool's machine before simulated engines, under virtual time: what a routing rule is worth, without a process.

Tokens are four bytes, as `headgate.sim.tokens` has them. What a gateway adds (hops, serialisation) takes no time.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from headgate.flow.settings import FlowSettings
from headgate.model.endpoints import Endpoint, Pool
from headgate.model.ids import EndpointId, PoolKey, RequestId, StreamId, endpoint_id
from headgate.model.load import Load
from headgate.model.requests import BLOCK_BYTES, InferenceRequest, Usage
from headgate.picker.actions import Evict, Reject, Route, WakeAt
from headgate.picker.events import (
    Event,
    FirstToken,
    PoolChanged,
    RequestArrived,
    RequestEnded,
    ResponseStarted,
    Scraped,
    Woken,
)
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.picker.view import PoolView
from headgate.scheduling.profiles import PROFILES
from headgate.sim.engine import EngineModel, EngineRequest, Finished
from headgate.sim.engine import FirstToken as EngineFirstToken
from headgate.sim.presets import PRESETS, Preset
from headgate.sim.tokens import TOKEN_BYTES, block_chain

KEY = PoolKey("default/simulated")
SCRAPE_S = 0.5
ENGINE = PRESETS["8b-h100"]


class Answer(msgspec.Struct):
    """What became of a request. Times in virtual seconds."""

    asked_at: float
    output_tokens: int
    objective: str | None = None
    endpoint: EndpointId | None = None
    """None: refused, or still waiting."""
    first_at: float | None = None
    ended_at: float | None = None
    """None: refused, ended for another one, or under way when the simulation ended."""
    evicted: bool = False

    @property
    def good(self) -> bool:
        """First token within 2 s, later ones within 50 ms each."""
        if self.first_at is None or self.ended_at is None:
            return False
        later = max(1, self.output_tokens - 1)
        return self.first_at - self.asked_at < 2.0 and self.ended_at - self.first_at < 0.05 * later


def slower(preset: Preset, factor: float) -> Preset:
    """The same server, *factor* times slower."""
    fields = ("step_s", "prefill_s", "decode_s", "context_s")
    return msgspec.structs.replace(preset, **{name: factor * getattr(preset, name) for name in fields})


def text(rng: random.Random, tokens: int) -> bytes:
    """A prompt like no other."""
    return rng.randbytes(TOKEN_BYTES * tokens)


class Simulation:
    """One pool, one policy, and a replica for each of *presets*."""

    def __init__(
        self,
        policy: str,
        presets: Sequence[Preset],
        seed: int = 0,
        *,
        flow: FlowSettings | None = None,
        objectives: Mapping[str, int] | None = None,
    ) -> None:
        """*flow*: requests wait while every engine has its fill; *objectives*: their priorities by name."""
        self.now = 0.0
        self.answers: list[Answer] = []
        rng = random.Random(seed)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._booked = 0
        ips = [f"10.0.0.{number + 1}" for number in range(len(presets))]
        self._engines = {
            endpoint_id(ip, 8000): EngineModel(preset, random.Random(seed + number))
            for number, (ip, preset) in enumerate(zip(ips, presets, strict=True))
        }
        self._machine = PoolMachine(KEY, PROFILES[policy], MachineSettings(flow=flow), rng)
        endpoints = tuple(Endpoint(endpoint_id(ip, 8000), ip, 8000, ip) for ip in ips)
        self._asked: dict[int, tuple[EngineRequest, bytes, Callable[[], None]]] = {}
        """Requests without an answer: what an engine is asked, the prompt, and what happens afterwards."""
        self._unstreamed: set[StreamId] = set()
        self._tell(PoolChanged(Pool(KEY, endpoints, objectives=objectives or {})))
        self._scrape()

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Let *what* happen then."""
        self._booked += 1
        heapq.heappush(self._agenda, (time, self._booked, what))

    def ask(
        self,
        prompt: bytes,
        output_tokens: int,
        then: Callable[[], None] = lambda: None,
        *,
        objective: str | None = None,
        streaming: bool = True,
    ) -> None:
        """A client asks now; *then* happens when it has its answer, or a second after a refusal."""
        number = len(self.answers)
        self.answers.append(Answer(self.now, output_tokens, objective))
        chain = block_chain(prompt, 0, BLOCK_BYTES // TOKEN_BYTES)
        request = InferenceRequest(
            id=RequestId(str(number)),
            api="chat",
            model="m",
            streaming=streaming,
            blocks=b"".join([block.to_bytes(8, "little") for block in chain]),
            prompt_bytes=len(prompt),
            max_tokens=output_tokens,
            objective=objective,
        )
        tokens = len(prompt) // TOKEN_BYTES
        if not streaming:
            self._unstreamed.add(StreamId(number))
        self._asked[number] = (
            EngineRequest(id=number, prompt_tokens=tokens, output_tokens=output_tokens),
            prompt,
            then,
        )
        self._tell(RequestArrived(StreamId(number), request))

    def view(self) -> PoolView:
        """The pool as the machine sees it."""
        return self._machine.view(self.now)

    def run(self, until: float) -> None:
        """Let everything happen up to *until*."""
        while True:
            times = [(at, name) for name, engine in self._engines.items() if (at := engine.next_event_at())]
            engine_at, name = min(times, default=(float("inf"), EndpointId("")))
            agenda_at = self._agenda[0][0] if self._agenda else float("inf")
            self.now = min(engine_at, agenda_at)
            if self.now > until:
                self.now = until
                return
            if agenda_at <= engine_at:
                heapq.heappop(self._agenda)[2]()
            else:
                self._advance(name)

    def _advance(self, name: EndpointId) -> None:
        engine = self._engines[name]
        for event in engine.advance(self.now):
            answer, stream = self.answers[event.id], StreamId(event.id)
            if isinstance(event, EngineFirstToken):
                answer.first_at = event.at
                if stream in self._unstreamed:
                    continue
                self._tell(ResponseStarted(stream, 200, name))
                self._tell(FirstToken(stream))
            elif isinstance(event, Finished):
                answer.ended_at = event.at
                _, _, then = self._asked.pop(event.id)
                usage = Usage(0, answer.output_tokens)
                self._tell(RequestEnded(stream, "complete", 200, usage, name))
                then()

    def _scrape(self) -> None:
        for name, engine in self._engines.items():
            preset, totals = engine.preset, engine.totals
            load = Load(
                "vllm",
                engine.waiting,
                engine.running,
                kv_used=engine.cache.usage,
                block_tokens=preset.block_tokens,
                kv_blocks=preset.blocks,
                progress=float(totals.prompt_tokens + totals.generated_tokens),
            )
            self._tell(Scraped(name, load))
        self.at(self.now + SCRAPE_S, self._scrape)

    def _tell(self, event: Event) -> None:
        for action in self._machine.handle(event, self.now):
            if isinstance(action, Reject):
                _, _, then = self._asked.pop(int(action.stream))
                self.at(self.now + 1.0, then)
            elif isinstance(action, Route):
                self._route(action)
            elif isinstance(action, Evict):
                self.at(self.now, partial(self._evict, action.stream))
            elif isinstance(action, WakeAt):
                self.at(max(action.at, self.now), lambda: self._tell(Woken()))

    def _evict(self, stream: StreamId) -> None:
        """The request is ended, unless it was answered just now; its client sends the same a second later."""
        number = int(stream)
        if number not in self._asked:
            return
        asked, prompt, then = self._asked.pop(number)
        answer = self.answers[number]
        answer.evicted = True
        assert answer.endpoint is not None
        self._engines[answer.endpoint].cancel(number)
        self._tell(RequestEnded(stream, "evicted", 429))
        more = partial(
            self.ask, prompt, asked.output_tokens, then, objective=answer.objective, streaming=False
        )
        self.at(self.now + 1.0, more)

    def _route(self, action: Route) -> None:
        number, endpoint = int(action.stream), action.endpoints[0]
        asked, prompt, _ = self._asked[number]
        self.answers[number].endpoint = endpoint
        engine = self._engines[endpoint]
        blocks = block_chain(prompt, 1, engine.preset.block_tokens)
        engine.submit(msgspec.structs.replace(asked, blocks=blocks), self.now)
