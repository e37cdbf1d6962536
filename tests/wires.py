"""Both wires' conversations behind one interface, for the contract suite."""

import os
from collections import deque
from collections.abc import Sequence
from typing import Any

from headgate.model.ids import EndpointId
from headgate.model.load import ModelCard
from headgate.model.sessions import USUAL, Sources
from headgate.wire import answers
from headgate.wire.api import BadRequest
from headgate.wire.digest import digest
from headgate.wire.extproc import Conversation, Settings, WireError
from headgate.wire.native import Row, native_settings, request_of, usage_of
from headgate.wire.numbers import cut
from headgate.wire.parse import LONGEST_ID, understand
from headgate.wire.said import AnswerStored, FirstToken, RequestArrived, RequestEnded, ResponseStarted, Said

try:
    import headgate_native as native
except ImportError:
    native = None  # type: ignore[assignment]


def cases(usual: int) -> int:
    """Examples for a test that compares both wires: *usual*, or what `HEADGATE_FUZZ_CASES` says, as in Rust."""
    return int(os.environ.get("HEADGATE_FUZZ_CASES", usual))


class NativeConversation:
    """The native conversation with the interface of `wire.extproc.Conversation`."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        *,
        lean: bool = False,
        fallbacks: bool = False,
        sessions: Sources = USUAL,
    ) -> None:
        given = native_settings(settings, sessions=sessions)
        self._talk = native.Conversation(given, number, lean=lean, fallbacks=fallbacks)
        self._sessions = sessions
        self._settings = settings
        self._number = number
        self._request_id = ""
        self._read: tuple[str | None, bool] | None = None
        self._waits = False
        self.outbox: deque[bytes] = deque()

    @property
    def key(self) -> str:
        return self._settings.keys.key(self._number)

    @property
    def leaving(self) -> bool:
        return self._talk.leaving

    @property
    def pool_names(self) -> tuple[str, ...]:
        return tuple(self._talk.pool_names)

    def awaits_log(self) -> bool:
        return self._talk.awaits_log

    def receive(self, data: bytes) -> list[Said]:
        try:
            rows = self._talk.receive(data)
        except ValueError as error:
            raise WireError(str(error)) from error
        said = [one for row in rows for one in self._said(row)]
        self.outbox += self._talk.outbox()
        return said

    def _said(self, row: Row) -> list[Said]:
        if row[0] == native.ARRIVED:
            request = request_of(row)
            self._request_id = request.id
            self._waits = True
            return [RequestArrived(row[1], request)]
        if row[0] == native.UNREAD:
            _, _, _, headers, body, subset, unseen, client, lean = row
            self._request_id = cut(headers.get("x-request-id", ""), LONGEST_ID) or self._settings.keys.name(
                self._number
            )
            read = understand(
                headers,
                body,
                fallback_id=self._settings.keys.name(self._number),
                subset=subset,
                unseen=unseen,
                odd_limit=self._settings.odd_body_limit,
                own_envoy=lean,
                client=client,
                sessions=self._sessions,
            )
            self._waits = True
            if isinstance(read, BadRequest):
                self._end(400, "bad-request", read.message, read.param, None)
                return []
            self._read = read.model, read.streaming
            return [RequestArrived(row[1], read)]
        if row[0] == native.TOO_LARGE:
            limit = self._settings.body_limit
            self._request_id, self._waits = row[3], True
            self._end(413, "too-large", f"the request body is larger than {limit} bytes", None, None)
            return []
        if row[0] == native.STARTED:
            return [ResponseStarted(row[1], *row[3:])]
        if row[0] == native.STORED:
            return [AnswerStored(row[1], digest(row[3]), row[4])]
        return [FirstToken(row[1])] if row[0] == native.FIRST_TOKEN else [_over(row)]

    def _answer(self, *rest: Any) -> Row | None:
        self._waits = False
        over = self._talk.answer((self._number, *rest))
        self.outbox += self._talk.outbox()
        return over

    def _end(self, status: int, reason: str, text: str, param: str | None, retry: int | None) -> None:
        request_id = self._request_id
        answer = answers.error(status, reason, text, request_id=request_id, param=param, retry_after_s=retry)
        self._answer(answer)

    def route(
        self,
        endpoints: Sequence[EndpointId],
        target_model: str | None,
        decision: str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        stays: bool = False,
    ) -> None:
        self._answer(",".join(endpoints), target_model, decision, self._read, tuple(headers), stays)

    def evict(self, message: str, retry_after_s: int) -> RequestEnded | None:
        answer = answers.error(
            429, "evicted", message, request_id=self._request_id, retry_after_s=retry_after_s
        )
        over = self._answer(answer)
        return None if over is None else _over(over)

    def wait(self) -> None:
        self._talk.answer((self._number, answers.MORE_TIME, None))
        self.outbox += self._talk.outbox()

    def refuse(self, status: int, reason: str, message: str, retry_after_s: int | None) -> None:
        if self._waits:
            param = "model" if reason == "unknown-model" else None
            self._end(status, reason, message, param, retry_after_s)

    def refuse_stream(self, status: int, reason: str, message: str) -> None:
        answer = answers.error(status, reason, message, request_id=self._request_id or self.key)
        self.outbox.clear()
        self._talk.refuse_stream(answer)
        self.outbox += self._talk.outbox()

    def list_models(self, cards: Sequence[ModelCard]) -> None:
        self._answer(answers.model_list(cards, request_id=self._request_id))

    def closed(self) -> RequestEnded | None:
        row = self._talk.closed()
        return None if row is None else _over(row)


def _over(row: Row) -> RequestEnded:
    _, stream, _, ending, status, usage, served = row
    return RequestEnded(stream, ending, status, usage_of(usage), served)


CONVERSATIONS: list[Any] = [Conversation, *([NativeConversation] if native else [])]
"""The portable wire's, and the native one's where it is installed."""
