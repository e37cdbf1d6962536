"""One ext_proc stream, one HTTP request: protocol messages in, what they say and protocol answers out.

Two ways of carrying the body, told apart by the first message's `protocol_config`:

* full duplex (GIE's way): the header answer is held until the body is whole, then headers, body chunks and
  trailers are answered in order, and every byte is sent back;
* buffered (our own Envoy): headers are answered at once, the pick is in the answer to the one body message.

Where the body will not be seen (modes NONE and STREAMED) the pick is made on the headers.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from google.protobuf.message import DecodeError

from headgate.model import headers as names
from headgate.model.ids import EndpointId, StreamId
from headgate.model.load import ModelCard
from headgate.model.requests import Ending
from headgate.model.sessions import USUAL, Sources
from headgate.wire import answers, messages
from headgate.wire.answering import Answering, pass_body
from headgate.wire.api import BadRequest
from headgate.wire.headerless import Headerless
from headgate.wire.numbers import cut, whole_number
from headgate.wire.parse import LONGEST_ID, ODD_BODY_BYTES, OTHERS, format_of, rename, understand
from headgate.wire.said import RequestArrived, RequestEnded, Said
from headgate.wire.stream_key import StreamKeys

BODY_LIMIT_BYTES = 64 * 1024 * 1024
"""Request bodies above this are refused with 413."""

EVICTED_STATUS = 429
_MODES = ProcessingMode
STRIPPED = frozenset(names.NEVER_FROM_CLIENTS) | frozenset(names.NEVER_TO_SERVERS)


class WireError(Exception):
    """The peer broke the protocol: its stream is closed, others are not concerned."""


class Settings:
    """How this process talks on every stream."""

    __slots__ = (
        "body_limit",
        "keys",
        "nonce",
        "odd_body_limit",
        "secret",
        "subset_filter",
        "test_headers",
    )

    def __init__(
        self,
        nonce: str,
        *,
        secret: bytes = b"",
        body_limit: int = BODY_LIMIT_BYTES,
        odd_body_limit: int = ODD_BODY_BYTES,
        subset_filter: bool = True,
        test_headers: bool = False,
    ) -> None:
        self.nonce = nonce
        self.secret = secret
        self.keys = StreamKeys(nonce, secret)
        """Names of this process's streams in access logs."""
        self.body_limit = body_limit
        self.odd_body_limit = odd_body_limit
        """See `parse.ODD_BODY_BYTES`."""
        self.subset_filter = subset_filter
        """False: the subset hint is not looked at."""
        self.test_headers = test_headers
        """Clients may name the endpoints, and are told who served, as conformance suites want it."""


class _Phase(Enum):
    START = auto()
    BODY = auto()
    """Headers seen, body still coming."""
    PICKING = auto()
    """The request has been handed over; its answer is awaited."""
    ROUTED = auto()
    STARTED = auto()
    """Response headers seen."""
    OVER = auto()


class Conversation:
    """A stream's life.

    Bytes to send gather in `outbox`; `leaving` says that the stream may be closed after them.
    """

    __slots__ = (
        "_answering",
        "_asked_model",
        "_body",
        "_body_size",
        "_chosen",
        "_client",
        "_decision",
        "_duplex",
        "_ended",
        "_format",
        "_headers",
        "_headers_only",
        "_lean",
        "_lists",
        "_mode",
        "_number",
        "_phase",
        "_picks_on_headers",
        "_request_id",
        "_response_bodyless",
        "_response_duplex",
        "_sessions",
        "_settings",
        "_stays",
        "_streaming",
        "_subset",
        "_target",
        "_trailers",
        "leaving",
        "outbox",
        "pool_names",
    )

    def __init__(
        self,
        settings: Settings,
        number: int,
        *,
        lean: bool = False,
        fallbacks: bool = False,
        sessions: Sources = USUAL,
    ) -> None:
        """*number* is the stream's within this process; *lean*: our own Envoy (see `headers.LEAN`);
        *fallbacks*: another one that walks lists of endpoints (see `headers.FALLBACKS`); *sessions*: what may
        name the request's session.
        """
        self._settings = settings
        self._sessions = sessions
        self._number = StreamId(number)
        self._lean = lean
        self._lists = lean or fallbacks
        self.outbox: deque[bytes] = deque()
        self.leaving = False
        self.pool_names: tuple[str, ...] = ()
        """Pools that the request's attributes may mean, the likeliest first."""
        self._phase = _Phase.START
        self._duplex = not lean
        self._picks_on_headers = False
        self._mode = _MODES.BUFFERED if lean else _MODES.FULL_DUPLEX_STREAMED
        self._response_duplex = not lean
        self._response_bodyless = False
        self._headers: dict[str, str] = {}
        self._format = OTHERS["json"]
        self._headers_only = False
        self._subset: tuple[str, ...] | None = None
        self._client: str | None = None
        self._body: list[bytes] = []
        self._body_size = 0
        self._trailers = False
        self._request_id = settings.keys.name(number)
        self._asked_model: str | None = None
        self._target: str | None = None
        self._streaming = False
        self._stays = False
        self._chosen = ""
        self._decision = ""
        self._answering: Answering | Headerless | None = None
        self._ended: dict[str, tuple[int, int]] = {}
        """Of a body that ended, by direction: length and hash of its last message, until it came twice."""

    @property
    def name(self) -> str:
        """The stream for people, and its request where that has no id."""
        return self._settings.keys.name(self._number)

    @property
    def key(self) -> str:
        """The stream's name in Envoy's access log."""
        return self._settings.keys.key(self._number)

    def awaits_log(self) -> bool:
        """Whether the access log, not this stream, will tell how the request ended."""
        return self._lean and self._phase in (_Phase.ROUTED, _Phase.STARTED)

    # ---- what the peer sends

    def receive(self, data: bytes) -> list[Said]:
        """Takes one serialised `ProcessingRequest`.

        Raises WireError for bytes that are none, and for a message that cannot come now.
        """
        try:
            message = pb.ProcessingRequest.FromString(data)
        except DecodeError as error:
            raise WireError("not a ProcessingRequest") from error
        match message.WhichOneof("request"):
            case "request_headers":
                return self._request_headers(message)
            case "request_body":
                return self._request_body(message.request_body)
            case "request_trailers":
                return self._request_trailers()
            case "response_headers":
                return self._response_headers(message)
            case "response_body":
                return self._response_body(message)
            case "response_trailers":
                return self._response_trailers()
            case other:
                raise WireError(f"a message of no known kind: {other}")

    def _request_headers(self, message: pb.ProcessingRequest) -> list[Said]:
        if self._phase is not _Phase.START:
            raise WireError("request headers came twice")
        self._phase = _Phase.BODY
        if message.HasField("protocol_config"):
            self._configure(message.protocol_config)
        self.pool_names = messages.pool_names(message)
        self._headers = messages.read_headers(message.request_headers)
        self._format = format_of(self._headers)
        self._request_id = cut(self._headers.get(names.REQUEST_ID, ""), LONGEST_ID) or self.name
        self._client = messages.client(message)
        if self._settings.subset_filter:
            self._subset = messages.subset(message)
        if self._settings.test_headers and names.TEST_SELECTION in self._headers:
            self._subset = messages.listed(self._headers[names.TEST_SELECTION])
        if message.request_headers.end_of_stream:
            self._headers_only = True
            return self._arrive(b"")
        if self._picks_on_headers:
            return self._arrive(None)
        length = whole_number(self._headers.get("content-length", ""))
        if length is not None and length > self._settings.body_limit:
            return self._too_large()
        if not self._duplex:
            # A client may go while the pick is on its way to our own Envoy: its log has the name from here.
            named = answers.named_headers(self.key) if self._lean else answers.EMPTY_REQUEST_HEADERS
            self.outbox.append(named)
        return []

    def _configure(self, config: pb.ProtocolConfiguration) -> None:
        mode = self._mode = config.request_body_mode
        if mode not in (
            _MODES.NONE,
            _MODES.STREAMED,
            _MODES.BUFFERED,
            _MODES.BUFFERED_PARTIAL,
            _MODES.FULL_DUPLEX_STREAMED,
        ):
            raise WireError(f"request body mode {mode} is not served")
        self._duplex = mode == _MODES.FULL_DUPLEX_STREAMED
        self._picks_on_headers = mode in (_MODES.NONE, _MODES.STREAMED)
        self._response_duplex = config.response_body_mode == _MODES.FULL_DUPLEX_STREAMED
        self._response_bodyless = config.response_body_mode == _MODES.NONE

    def _repeats(self, direction: str, message: pb.HttpBody) -> bool:
        """Whether a body's last message comes a second time.

        Envoy 1.35 to 1.37 do that in full duplex with bodies of more than a MB.
        """
        if not message.end_of_stream:
            return False
        mark = len(message.body), hash(message.body)
        if self._ended.get(direction) == mark:
            self._ended[direction] = (-1, 0)  # not a third time
            return True
        self._ended.setdefault(direction, mark)
        return False

    def _request_body(self, message: pb.HttpBody) -> list[Said]:
        if self._phase is _Phase.OVER or (self._duplex and self._repeats("request", message)):
            return []
        if self._picks_on_headers and self._phase is not _Phase.START:
            self.outbox.append(answers.EMPTY_REQUEST_BODY)
            return []
        if self._phase is not _Phase.BODY:
            raise WireError("a request body that nobody waits for")
        self._body.append(message.body)
        self._body_size += len(message.body)
        if self._body_size > self._settings.body_limit:
            return self._too_large()
        if self._mode == _MODES.BUFFERED_PARTIAL and not message.end_of_stream:
            return self._arrive(None)
        if message.end_of_stream or not self._duplex:
            return self._arrive(b"".join(self._body))
        return []

    def _request_trailers(self) -> list[Said]:
        if self._phase is _Phase.OVER:
            return []
        if self._phase is _Phase.START:
            raise WireError("trailers before headers")
        if self._phase is _Phase.BODY:
            self._trailers = True
            return self._arrive(b"".join(self._body))
        self.outbox.append(answers.EMPTY_REQUEST_TRAILERS)
        return []

    def _arrive(self, body: bytes | None) -> list[Said]:
        request = understand(
            self._headers,
            body,
            fallback_id=self.name,
            subset=self._subset,
            unseen=self._response_bodyless and not self._lean,
            odd_limit=self._settings.odd_body_limit,
            own_envoy=self._lean,
            client=self._client,
            sessions=self._sessions,
        )
        if isinstance(request, BadRequest):
            self._refuse(400, "bad-request", request.message, request.param, None)
            return []
        self._phase = _Phase.PICKING
        self._asked_model = request.model
        self._streaming = request.streaming
        return [RequestArrived(self._number, request)]

    def _too_large(self) -> list[Said]:
        limit = self._settings.body_limit
        self._refuse(413, "too-large", f"the request body is larger than {limit} bytes", None, None)
        return []

    def _response_headers(self, message: pb.ProcessingRequest) -> list[Said]:
        if self._phase is _Phase.STARTED:
            raise WireError("response headers came twice")
        if self._phase is not _Phase.ROUTED:
            return self._unrouted_response()
        self._phase = _Phase.STARTED
        self._stays = False
        self._answering = found = Answering(
            self._number, self.outbox, self._format, duplex=self._response_duplex, lean=self._lean
        )
        restored = self._asked_model if self._target is not None and not self._response_bodyless else None
        additions = self._additions()
        if self._settings.test_headers:
            additions[names.TEST_SERVED] = (
                messages.served_endpoint(message) or "fail: the data plane said nothing"
            )
        return self._follow(found.begin(message, additions, restored))

    def _additions(self) -> dict[str, str]:
        """Headers for the client; our own Envoy adds them itself."""
        if self._lean:
            return {}
        return {
            names.ENDPOINT: self._chosen,
            names.DECISION: self._decision,
            names.REQUEST_ID: self._request_id,
        }

    def _unrouted_response(self) -> list[Said]:
        """An answer to a request that was never routed: the data plane's own, or our refusal. It passes."""
        waited = self._phase is _Phase.PICKING
        self._phase = _Phase.OVER
        self.outbox.append(answers.EMPTY_RESPONSE_HEADERS)
        return [RequestEnded(self._number, "aborted")] if waited else []

    def _response_body(self, message: pb.ProcessingRequest) -> list[Said]:
        piece = message.response_body
        if self._response_duplex and self._repeats("response", piece):
            return []
        if self._lean and self._phase is _Phase.ROUTED and (piece.body or piece.end_of_stream):
            self._phase, self._stays = _Phase.STARTED, False
            self._answering = Headerless(
                self._number, self.outbox, self._format.answers, duplex=self._response_duplex
            )
        if self._phase is _Phase.STARTED and self._answering is not None:
            return self._follow(self._answering.chunk(message))
        if not self._lean and self._phase is not _Phase.OVER:
            raise WireError("a response body before response headers")
        pass_body(self.outbox, piece.body, piece.end_of_stream, duplex=self._response_duplex)
        if self._phase in (_Phase.OVER, _Phase.ROUTED):
            return []
        # A refusal of our own Envoy's, by a filter before this one: it does not send the headers.
        waited = self._phase is _Phase.PICKING
        self._phase = _Phase.OVER
        return [RequestEnded(self._number, "aborted")] if waited else []

    def _response_trailers(self) -> list[Said]:
        if self._phase is not _Phase.STARTED or self._answering is None:
            self.outbox.append(answers.EMPTY_RESPONSE_TRAILERS)
            return []
        return self._follow(self._answering.trailers())

    def _follow(self, said: list[Said]) -> list[Said]:
        assert self._answering is not None
        self.leaving = self._answering.leaving
        if isinstance(self._answering, Answering) and self._answering.whole and not self._lean:
            self._phase = _Phase.OVER
        return said

    def closed(self) -> RequestEnded | None:
        """The stream is gone. Says how the request ended; `lost` where no response phase was to come.

        None when it had ended, was never handed over, or the access log will tell.
        """
        phase, self._phase = self._phase, _Phase.OVER
        if phase is _Phase.PICKING:
            return RequestEnded(self._number, "aborted")
        if phase not in (_Phase.ROUTED, _Phase.STARTED) or self._lean:
            return None
        found = self._answering
        if not isinstance(found, Answering):
            return RequestEnded(self._number, "lost" if self._response_bodyless else "aborted")
        ending: Ending = "complete" if self._response_bodyless else "aborted"
        return RequestEnded(self._number, ending, found.status, found.usage(), found.served)

    # ---- what the machine answers

    @property
    def picking(self) -> bool:
        """Whether the machine's answer is awaited."""
        return self._phase is _Phase.PICKING

    @property
    def hears(self) -> bool:
        """Whether the machine may have something to say now."""
        return self._phase is _Phase.PICKING or (self._stays and self._phase is _Phase.ROUTED)

    def wait(self) -> None:
        """Tells our own Envoy that the answer takes longer; others have long timeouts."""
        if self._phase is _Phase.PICKING and self._lean:
            self.outbox.append(answers.MORE_TIME)

    def route(
        self,
        endpoints: Sequence[EndpointId],
        target_model: str | None,
        decision: str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        stays: bool = False,
    ) -> None:
        """Answers with a pick, *decision* describing it in a few words; nothing when the client has gone.

        *endpoints* are the pick and its fallbacks, in order; *headers*, *stays*: as in `Route`.
        """
        if self._phase is not _Phase.PICKING:
            return
        if not self._lists:
            endpoints = endpoints[:1]
        self._phase, self._stays = _Phase.ROUTED, stays
        self._chosen, self._decision, self._target = endpoints[0], decision, target_model
        body, changed = b"".join(self._body), False
        if target_model is not None and not self._picks_on_headers:
            rewritten = rename(self._headers, body, target_model)
            body, changed = rewritten, rewritten != body
        put = {**dict(headers), names.DESTINATION: ",".join(endpoints)}
        if not self._lean and names.REQUEST_ID not in self._headers:
            put[names.REQUEST_ID] = self._request_id
        remove = [name for name in self._headers if name in STRIPPED and name != names.DESTINATION]
        if target_model is not None and "accept-encoding" in self._headers:
            remove.append("accept-encoding")
        if changed and "content-length" in self._headers:
            put["content-length"] = str(len(body))
        metadata = answers.pick_metadata(endpoints, self.key, decision)
        mutate = answers.mutation(put, remove)
        clear = not self._lean
        if self._headers_only or self._picks_on_headers:
            self.outbox.append(answers.headers_pick(mutate, metadata, clear_route_cache=clear))
        elif not self._duplex:
            new = body if changed else None
            self.outbox.append(answers.body_pick(mutate, metadata, new, clear_route_cache=clear))
        else:
            self.outbox.append(answers.headers_pick(mutate, metadata, clear_route_cache=clear))
            self.outbox += answers.streamed_request(body, end=not self._trailers)
        if self._trailers:
            self.outbox.append(answers.EMPTY_REQUEST_TRAILERS)
        self._body.clear()
        self._headers.clear()
        # A plain answer shows no first token, and one that is not rewritten needs nothing from here any more.
        kept = self._format.answers.stored and not self._response_bodyless
        plain = not self._streaming and target_model is None and not kept
        self.leaving = self._lean and plain and not stays

    def evict(self, message: str, retry_after_s: int) -> RequestEnded | None:
        """Ends the routed request with 429, unless its answer has begun: None then, and nothing is done."""
        if not self._stays or self._phase is not _Phase.ROUTED:
            return None
        self._refuse(EVICTED_STATUS, "evicted", message, None, retry_after_s)
        return RequestEnded(self._number, "evicted", EVICTED_STATUS)

    def refuse(self, status: int, reason: str, message: str, retry_after_s: int | None) -> None:
        """Answers with an error. Does nothing when the client has gone."""
        if self._phase is _Phase.PICKING:
            param = "model" if reason in answers.ABOUT_THE_MODEL else None
            self._refuse(status, reason, message, param, retry_after_s)

    def refuse_stream(self, status: int, reason: str, message: str) -> None:
        """Answers the first message with an error, whatever the request is: nobody here can serve it."""
        self.outbox.clear()
        self._refuse(status, reason, message, None, None)

    def _refuse(
        self, status: int, reason: str, message: str, param: str | None, retry_after_s: int | None
    ) -> None:
        self._phase, self.leaving = _Phase.OVER, True
        self._body.clear()
        self.outbox.append(
            answers.error(
                status,
                reason,
                message,
                request_id=self._request_id,
                param=param,
                retry_after_s=retry_after_s,
            )
        )

    def list_models(self, cards: Sequence[ModelCard]) -> None:
        """Answers `GET /v1/models`. Does nothing when the client has gone."""
        if self._phase is _Phase.PICKING:
            self._phase, self.leaving = _Phase.OVER, True
            self.outbox.append(answers.model_list(cards, request_id=self._request_id))
