"""Rows of built-in values become what the portable wire says."""

from tests.blocks import packed

from headgate.model.requests import InferenceRequest, Usage
from headgate.wire.extproc import Settings
from headgate.wire.native import arrived, logged, native_settings, over, started
from headgate.wire.parse import FORMATS
from headgate.wire.said import Arrived, Over, Started

KIND, STREAM, POOL = 0, 7, "default/p"


def test_a_request() -> None:
    read = ("chat", "/v1/chat/completions", "m", True, packed(1, 2), 300, 5)
    told = (("10.0.0.1",), "gold", "team", "250", "no number", "s")
    assert arrived((KIND, STREAM, POOL, "id", *read, *told, 400, True)) == Arrived(
        InferenceRequest(
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
            slo_ttft_ms=250.0,
            slo_tpot_ms=None,
            session="s",
            body_bytes=400,
            unseen=True,
        )
    )


def test_the_answers_beginning_and_end() -> None:
    assert started((KIND, STREAM, POOL, 200, "a:1", False, True)) == Started(200, "a:1", False, True)  # type: ignore[arg-type]
    assert over((KIND, STREAM, POOL, "complete", 200, (7, 2, None), None)) == Over(
        "complete", 200, Usage(7, 2, None)
    )
    assert logged((KIND, "n-7", "aborted", None, None, "a:1")) == ("n-7", Over("aborted", served="a:1"))  # type: ignore[arg-type]


def test_usage_of_an_unusual_form_is_read_here() -> None:
    tail = b'{"usage":{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}}'
    assert over((KIND, STREAM, POOL, "complete", 200, tail, None)).usage == Usage(7, 0, 4)
    assert over((KIND, STREAM, POOL, "complete", 200, b"{}", None)).usage is None


def test_settings_carry_every_format_with_its_shape() -> None:
    found = native_settings(Settings("n", body_limit=9))
    assert [api for api, _, _ in found["formats"]] == [each.api for each in FORMATS]
    assert all(shape is not None for _, _, shape in found["formats"])
    assert (found["nonce"], found["body_limit"], found["subset_filter"]) == ("n", 9, True)
