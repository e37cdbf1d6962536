"""Rows of built-in values become what the machine is told."""

import pytest
from tests.blocks import packed

from headgate.model.ids import EndpointId, StreamId
from headgate.model.requests import InferenceRequest, Usage
from headgate.wire.extproc import Settings
from headgate.wire.native import logged, native_settings, request_of, usage_of
from headgate.wire.parse import FORMATS
from headgate.wire.said import RequestEnded
from headgate.wire.stored import prior_of
from headgate.wire.stream_key import StreamKeys

KIND, STREAM, POOL = 0, 7, "default/p"
READ = ("chat", "/v1/chat/completions", "m", True, packed(1, 2), 300, 5)


@pytest.mark.parametrize(
    ("slo", "ttft_ms", "tpot_ms"),
    [
        (("250", "no number"), 250.0, None),
        ((None, "1.5"), None, 1.5),
        (("", "7"), None, 7.0),
        ((None, None), None, None),
    ],
)
def test_a_request(slo: tuple[str | None, str | None], ttft_ms: float | None, tpot_ms: float | None) -> None:
    row = (
        KIND,
        STREAM,
        POOL,
        "id",
        *READ,
        ("10.0.0.1",),
        "gold",
        "team",
        *slo,
        (("header:x-session-id", "digest"),),
        400,
        True,
        1024,
        packed(3),
        None,
        "alice",
        "prior",
        "d/fair",
    )
    assert request_of(row) == InferenceRequest(
        id="id",  # type: ignore[arg-type]
        api="chat",
        path="/v1/chat/completions",
        model="m",
        streaming=True,
        blocks=packed(1, 2),
        prompt_bytes=300,
        max_tokens=5,
        subset=("10.0.0.1",),
        objective="gold",
        fairness_id="team",
        slo_ttft_ms=ttft_ms,
        slo_tpot_ms=tpot_ms,
        sessions=(("header:x-session-id", "digest"),),
        body_bytes=400,
        unseen=True,
        media_tokens=1024,
        tools_first=packed(3),
        client="alice",
        prior=prior_of("/v1/chat/completions", "prior"),
        flow_policy="d/fair",
    )


def test_a_request_has_as_many_entries_as_a_row_from_the_fourth_on() -> None:
    told = (None, None, None, None, None, (), 400, False)
    found = request_of((KIND, STREAM, POOL, "id", *READ, *told))
    assert (found.body_bytes, found.unseen, found.tools_first) == (400, False, b"")


def test_the_end_that_the_access_log_tells() -> None:
    keys = StreamKeys("n", b"")
    aborted = (KIND, keys.key(7), "aborted", None, None, "a:1", None, None)
    assert logged(aborted, keys) == RequestEnded(StreamId(7), "aborted", served=EndpointId("a:1"))
    complete = (KIND, keys.key(7), "complete", 200, (7, 2, None), None, "gave-up", 2)
    assert logged(complete, keys) == RequestEnded(
        StreamId(7), "complete", 200, Usage(7, 2, None), None, "gave-up", 2
    )
    assert logged((KIND, "n-7", *complete[2:]), keys) is None, "a name that anybody can guess"


def test_usage_of_an_unusual_form_is_read_here() -> None:
    tail = b'{"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}}'
    chat = next(number for number, each in enumerate(FORMATS) if each.api == "chat")
    assert usage_of((chat, tail)) == Usage(7, 0, 4)
    assert usage_of((chat, b"{}")) is None
    assert usage_of(None) is None
    assert usage_of((7, 2, 1)) == Usage(7, 2, 1)


def test_settings_carry_every_format_with_its_shape_and_answers() -> None:
    found = native_settings(Settings("n", body_limit=9))
    assert [(api, body) for api, _, _, body in found["formats"]] == [
        (each.api, each.body) for each in FORMATS
    ]
    assert all(shape is not None for _, _, shape, _ in found["formats"])
    assert found["answers"] == [each.answers.declared() for each in FORMATS]
    assert (found["nonce"], found["body_limit"], found["subset_filter"]) == ("n", 9, True)
