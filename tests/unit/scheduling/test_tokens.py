"""Estimates of tokens: first guess, correction, bounds."""

import pytest

from headgate.model.ids import RequestId
from headgate.model.requests import Api, InferenceRequest, Usage
from headgate.scheduling.tokens import DENSEST, MODELS, NOT_UNDERSTOOD_TOKENS, SPARSEST, TokenEstimator


def a_request(
    prompt_bytes: int = 0,
    body_bytes: int = 0,
    max_tokens: int | None = None,
    api: Api = "chat",
    media_tokens: int = 0,
) -> InferenceRequest:
    return InferenceRequest(
        id=RequestId("r"),
        api=api,
        prompt_bytes=prompt_bytes,
        body_bytes=body_bytes,
        max_tokens=max_tokens,
        media_tokens=media_tokens,
    )


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        (a_request(4000), 1000),
        (a_request(0, 400), 100),
        (a_request(0, 20_000_000), NOT_UNDERSTOOD_TOKENS),
        (a_request(), 1),
        (a_request(4000, 9999), 1000),
        (a_request(4000, 2_000_000, media_tokens=2048), 3048),
        (a_request(0, 2_000_000, media_tokens=1024), 1024),
    ],
)
def test_first_estimates(request_: InferenceRequest, tokens: int) -> None:
    assert TokenEstimator().of("m").prompt_tokens(request_) == tokens


def test_a_model_is_learned_from_its_own_answers() -> None:
    estimator = TokenEstimator()
    for _ in range(200):
        estimator.learn("cjk", 3000, Usage(1500, 40))
    assert estimator.of("cjk").bytes_per_token == pytest.approx(2.0, rel=0.01)
    assert estimator.of("other").bytes_per_token == 4.0
    assert estimator.of("cjk").output_tokens(a_request()) == pytest.approx(40, abs=1)
    assert estimator.of("cjk").output_tokens(a_request(max_tokens=8)) == 8
    assert estimator.of("cjk").output_tokens(a_request(api="pooling")) == 0
    assert estimator.bytes_per_token == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(("size", "usage"), [(100, Usage(10, 0)), (3000, Usage(0, 0)), (3000, Usage(9, 0))])
def test_unclean_samples_teach_nothing(size: int, usage: Usage) -> None:
    estimator = TokenEstimator()
    estimator.learn("m", size, usage)
    assert estimator.of("m").bytes_per_token == 4.0


def test_memory_and_values_are_bounded() -> None:
    estimator = TokenEstimator()
    for n in range(MODELS + 1):
        for _ in range(100):
            estimator.learn(f"m{n}", 1000, Usage(990, 1))
    assert estimator.of("m0").bytes_per_token == 4.0
    assert DENSEST <= estimator.of("m1").bytes_per_token <= SPARSEST
