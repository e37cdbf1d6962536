"""Short words for the events of a pool's machine, shared by its tests."""

import random
from collections.abc import Mapping, Sequence

import xxhash
from tests.blocks import packed

from headgate.model import sessions
from headgate.model.endpoints import Endpoint, ModelRule, Pool, TargetModel
from headgate.model.ids import EndpointId, PoolKey, RequestId, StreamId, endpoint_id
from headgate.model.load import Load, ModelCard
from headgate.model.requests import Ending, InferenceRequest, Usage
from headgate.picker.actions import Action, Conclude, ListModels, Reject, Route
from headgate.picker.events import (
    Event,
    FirstToken,
    ModelsListed,
    PoolChanged,
    RequestArrived,
    RequestEnded,
    ResponseStarted,
    Scraped,
)
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.picker.tracked import Booking, Tracked
from headgate.scheduling.profiles import PROFILES

KEY = PoolKey("default/pool")
CRITICAL = ModelRule("chat", "d/chat", 1, (TargetModel("a", 1), TargetModel("b", 0), TargetModel("c", 3)))


def address(name: str) -> EndpointId:
    """Endpoint `a` is 10.0.0.1:8000, `b` 10.0.0.2:8000, …"""
    return endpoint_id(f"10.0.0.{ord(name) - ord('a') + 1}", 8000)


def letter(endpoint: EndpointId) -> str:
    """The way back."""
    return chr(int(endpoint.split(":")[0].split(".")[-1]) + ord("a") - 1)


def an_endpoint(name: str) -> Endpoint:
    where = address(name)
    return Endpoint(where, where.rsplit(":", 1)[0], 8000, f"pod-{name}")


def a_pool(
    names: str, models: Sequence[ModelRule] = (), objectives: Mapping[str, int] | None = None
) -> PoolChanged:
    endpoints = tuple(an_endpoint(name) for name in sorted(names))
    return PoolChanged(Pool(KEY, endpoints, models=tuple(models), objectives=objectives or {}))


def blocks(text: str) -> bytes:
    """Chained block hashes of a prompt in which every letter is a block."""
    return packed(*(xxhash.xxh3_64_intdigest(text[: end + 1].encode()) for end in range(len(text))))


def arrives(stream: int, prompt: str = "", **fields: object) -> RequestArrived:
    """A streamed chat request, its *session* by the usual header; each letter of *prompt* is one block of 128 bytes, about 32 tokens."""
    values: dict[str, object] = {
        "api": "chat",
        "model": "m",
        "streaming": True,
        "prompt_bytes": 128 * len(prompt),
        "blocks": blocks(prompt),
    }
    if (session := fields.pop("session", None)) is not None:
        values["sessions"] = ((sessions.DEFAULT[0], session),)
    values |= fields
    return RequestArrived(
        StreamId(stream),
        InferenceRequest(id=RequestId(f"r{stream}"), **values),  # type: ignore[arg-type]
    )


BOOKED = ("own_tokens", "context_tokens", "predicted_s", "answer_s", "role")


def booking(stream: int, **fields: object) -> Booking:
    """What a request takes of an endpoint: nothing, unless said."""
    values: dict[str, object] = {"own_tokens": 0, "context_tokens": 0, "predicted_s": 0.0}
    return Booking(StreamId(stream), **(values | fields))  # type: ignore[arg-type]


def tracking(arrived: RequestArrived, now: float = 0.0, **fields: object) -> Tracked:
    """The request of *arrived* as it is booked at *now*."""
    request = arrived.request
    values: dict[str, object] = {
        "blocks": b"",
        "block_tokens": 32.0,
        "prompt_tokens": 0,
        "matched_tokens": 0,
    }
    booked = {name: fields.pop(name) for name in BOOKED if name in fields}
    values["booking"] = booking(arrived.stream, silent=request.unseen, **booked)
    return Tracked(
        arrived.stream,
        request.model,
        now,
        request.streaming,
        request.unseen,
        request.prompt_bytes,
        **(values | fields),  # type: ignore[arg-type]
    )


def starts(stream: int, status: int = 200, served: str | None = None, local: bool = False) -> ResponseStarted:
    return ResponseStarted(StreamId(stream), status, address(served) if served else None, local)


def token(stream: int) -> FirstToken:
    return FirstToken(StreamId(stream))


def ends(
    stream: int,
    ending: Ending = "complete",
    status: int | None = 200,
    usage: Usage | None = None,
    served: str | None = None,
) -> RequestEnded:
    return RequestEnded(StreamId(stream), ending, status, usage, address(served) if served else None)


def scrape(name: str, waiting: int = 0, running: int = 0, **fields: object) -> Scraped:
    return Scraped(address(name), Load("vllm", waiting, running, **fields))  # type: ignore[arg-type]


def no_scrape(name: str, error: str = "refused") -> Scraped:
    return Scraped(address(name), None, error)


def lists(name: str, *cards: ModelCard) -> ModelsListed:
    return ModelsListed(address(name), cards)


def a_machine(
    names: str = "abc", policy: str = "default", settings: MachineSettings | None = None
) -> PoolMachine:
    """A machine whose pool has these endpoints since long ago."""
    made = PoolMachine(KEY, PROFILES[policy], settings or MachineSettings(), random.Random(7))
    if names:
        made.handle(a_pool(names), -1000.0)
    return made


def short(actions: Sequence[Action]) -> list[str]:
    """Actions in a few letters: `route ab`, `reject 503 no-endpoints`, `models x y`, `complete 200`."""
    told = []
    for action in actions:
        match action:
            case Route(_, endpoints, target):
                told.append(f"route {''.join(map(letter, endpoints))}" + (f" as {target}" if target else ""))
            case Reject(_, status, reason):
                told.append(f"reject {status} {reason}")
            case ListModels(_, models):
                told.append(" ".join(["models", *(card.id for card in models)]))
            case Conclude(_, outcome):
                told.append(f"{outcome.ending} {outcome.status}")
            case _:
                pass
    return told


def run(machine: PoolMachine, script: Sequence[tuple[float, Event, list[str]]]) -> None:
    """Feed a script: when, what, and what must come back."""
    for now, event, expected in script:
        assert short(machine.handle(event, now)) == expected, (now, event)


def routed(machine: PoolMachine, event: RequestArrived, now: float) -> Route:
    """The Route that answers *event*."""
    (action,) = [one for one in machine.handle(event, now) if isinstance(one, Route)]
    return action


def pick(machine: PoolMachine, event: RequestArrived, now: float) -> str:
    """Letter of the endpoint that *event* goes to."""
    return letter(routed(machine, event, now).endpoints[0])


def asks(model: str | None, **fields: str) -> InferenceRequest:
    """A chat request for *model*."""
    return InferenceRequest(id=RequestId("r"), api="chat", model=model, **fields)  # type: ignore[arg-type]
