"""From headers and body to a request, or to what is wrong."""

import pytest

from headgate.model.headers import FAIRNESS_ID, OBJECTIVE
from headgate.model.requests import InferenceRequest
from headgate.wire.api import BadRequest
from headgate.wire.digest import digest
from headgate.wire.parse import LONGEST_ID, LONGEST_PATH, ODD_BODY_BYTES, understand

CHAT = {":method": "POST", ":path": "/v1/chat/completions?x=1", "content-type": "application/json"}
GOOD = b'{"model":"m","messages":[{"role":"user","content":"' + b"hello " * 100 + b'"}]}'


def request(headers: dict[str, str], body: bytes | None) -> InferenceRequest:
    found = understand(headers, body, fallback_id="f-1")
    assert isinstance(found, InferenceRequest), found
    return found


def test_a_chat_request_is_understood() -> None:
    found = request({**CHAT, "x-request-id": "abc", "x-slo-ttft-ms": "200"}, GOOD)
    assert (found.id, found.api, found.model, found.path) == ("abc", "chat", "m", "/v1/chat/completions")
    assert found.prompt_bytes > 600
    assert len(found.blocks) == found.prompt_bytes // 128 * 8
    assert found.body_bytes == len(GOOD)
    assert found.slo_ttft_ms == 200.0


@pytest.mark.parametrize(
    ("changes", "api"),
    [
        ({":path": "/prefix/v1/chat/completions"}, "chat"),
        ({"content-type": "application/json; charset=utf-8"}, "chat"),
        ({"content-type": ""}, "chat"),
        ({"content-type": "text/plain"}, "other"),
        ({"content-encoding": "gzip"}, "other"),
        ({":path": "/v1/embeddings"}, "pooling"),
        ({":path": "/v1/responses"}, "responses"),
        ({":path": "/v1/messages"}, "messages"),
        ({":path": "/v1/messages/count_tokens"}, "other"),
        ({":path": "/inference/v1/generate"}, "generate"),
        ({":method": "PUT"}, "other"),
        ({":method": "GET", ":path": "/v1/models"}, "models"),
        ({":method": "POST", ":path": "/v1/models"}, "other"),
    ],
)
def test_which_api(changes: dict[str, str], api: str) -> None:
    assert request({**CHAT, **changes}, GOOD).api == api


def test_a_body_that_is_not_seen_is_not_refused() -> None:
    assert request(CHAT, None).api == "other"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b'{"model":"m","messages":[{"content":' + b"[" * 100_000, None),
        (b'{"model":"m","messages":3}', "messages"),
        (b'{"model":3,"messages":[]}', "model"),
        (b'{"model":"' + b"m" * 10_000 + b'","messages":[]}', "model"),
    ],
)
def test_bad_bodies(body: bytes, param: str | None) -> None:
    found = understand(CHAT, body, fallback_id="f")
    assert isinstance(found, BadRequest)
    assert found.param == param
    assert found.message


def test_bytes_that_are_no_utf8_inside_a_string_are_routed() -> None:
    assert request(CHAT, GOOD.replace(b"hello", b"h\xff")).model == "m"


def test_a_prompt_without_a_model_is_for_the_engine_s_default() -> None:
    for model in (b"", b'"model":null,', b'"model":"",'):
        assert request(CHAT, b"{" + model + b'"messages":[]}').model is None


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"messages":3}', b'{"messages":[],"x":"\xff"}'])
def test_only_a_small_odd_body_is_explained(body: bytes) -> None:
    large = body + b" " * ODD_BODY_BYTES
    found = request(CHAT, large)
    assert (found.api, found.model, found.blocks) == ("other", None, b"")
    assert found.body_bytes == len(large)


def test_a_large_body_in_good_form_is_read() -> None:
    found = request(CHAT, GOOD + b" " * ODD_BODY_BYTES)
    assert (found.model, found.blocks) == ("m", request(CHAT, GOOD).blocks)


def test_what_is_kept_of_headers_is_bounded_in_bytes() -> None:
    long = dict.fromkeys(("x-request-id", "x-session-id", OBJECTIVE[0], FAIRNESS_ID[0]), "é" * 10000)
    found = request({**CHAT, **long, ":path": "/" + "é" * 10_000 + "/v1/chat/completions"}, GOOD)
    assert found.api == "chat"
    assert found.sessions == (("header:x-session-id", digest("é" * 10000)),)
    for value in (found.id, found.objective, found.fairness_id):
        assert value is not None
        assert len(value.encode()) == LONGEST_ID
    assert len(found.path.encode()) <= LONGEST_PATH
    assert request({**CHAT, "x-slo-ttft-ms": "1" * 10_000}, GOOD).slo_ttft_ms is None


def test_a_salt_is_part_of_the_blocks() -> None:
    salted = GOOD.replace(b'"model":"m"', b'"model":"m","cache_salt":"s"')
    assert len(request(CHAT, salted).blocks) == len(request(CHAT, GOOD).blocks)
    assert request(CHAT, salted).blocks[:8] != request(CHAT, GOOD).blocks[:8]


def test_ids_and_trusted_headers() -> None:
    forged = {**CHAT, "x-gateway-model-name-rewrite": "evil", "x-llm-d-model-name-rewrite": "evil"}
    found = request({**forged, "x-request-id": "r" * 1000}, GOOD)
    assert found.target_model is None
    assert len(found.id) == 256
    assert request(CHAT, GOOD).id == "f-1"


@pytest.mark.parametrize("own_envoy", [True, False])
def test_the_policy_of_a_route_is_told_by_our_own_envoy_alone(own_envoy: bool) -> None:
    headers = {**CHAT, "x-headgate-flow": "default/fair"}
    found = understand(headers, GOOD, fallback_id="f-1", own_envoy=own_envoy)
    assert isinstance(found, InferenceRequest)
    assert found.flow_policy == ("default/fair" if own_envoy else None)


def test_the_new_header_name_wins() -> None:
    both = {"x-llm-d-inference-objective": "new", "x-gateway-inference-objective": "old"}
    assert request({**CHAT, **both}, GOOD).objective == "new"
    assert request({**CHAT, "x-slo-ttft-ms": "nonsense"}, GOOD).slo_ttft_ms is None


@pytest.mark.parametrize(
    "content",
    [
        rb'"cut in two \ud83d"',
        rb'"cut in two \ude00"',
        rb'"whole \ud83d\ude00, then half \uD83d"',
        rb'"backslashes \\\\\ud83d\\ud83d"',
    ],
)
def test_half_an_emoji_is_routed(content: bytes) -> None:
    assert (
        request(CHAT, b'{"model":"m","messages":[{"role":"user","content":' + content + b"}]}").model == "m"
    )


def test_half_surrogates_change_nothing_else_of_the_prompt() -> None:
    def prompt_bytes(content: bytes) -> int:
        body = b'{"model":"m","messages":[{"role":"user","content":"' + content + b'"}]}'
        return request(CHAT, body).prompt_bytes

    assert prompt_bytes(rb"\ud83d\ude00\ud83d") == prompt_bytes("😀\ufffd".encode())
    assert prompt_bytes(rb"\\ud83d\ud83d") == prompt_bytes(rb"\\ud83d" + "\ufffd".encode())


def test_a_byte_order_mark_is_passed_over() -> None:
    assert request(CHAT, b"\xef\xbb\xbf" + GOOD).blocks == request(CHAT, GOOD).blocks
