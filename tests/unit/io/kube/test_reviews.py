"""Who may read a page: tokens that are known, that are not, and an API server that does not answer."""

from collections.abc import AsyncIterator

import pytest
from tests.api_server import ApiServer

from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.reviews import ALLOWED_S, LONGEST_TOKEN, MOST_ANSWERS, REFUSED_S, Reviews


class Setting:
    def __init__(self, api: ApiServer, client: KubeClient) -> None:
        self.api, self.now = api, 0.0
        self.reviews = Reviews(client, "/metrics", lambda: self.now)

    async def status(self, token: str) -> int:
        return await self.reviews.status(f"Bearer {token}")

    @property
    def asked(self) -> int:
        return len(self.api.asked)


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    async with ApiServer().running() as api, KubeClient(Access(server=api.url)) as client:
        api.tokens = {"reader": True, "other": False}
        yield Setting(api, client)


async def test_the_cluster_says_who_may_read(setting: Setting) -> None:
    assert await setting.status("reader") == 200
    assert await setting.status("other") == 403
    assert await setting.status("nobody") == 401


async def test_what_is_no_token_is_not_asked_about(setting: Setting) -> None:
    for header in ("", "Bearer", "Bearer ", "Basic cmVhZGVy", "Bearer " + "x" * (LONGEST_TOKEN + 1)):
        assert await setting.reviews.status(header) == 401
    assert not setting.asked


async def test_answers_are_believed_for_a_while(setting: Setting) -> None:
    assert await setting.status("reader") == 200
    assert setting.asked == 2
    setting.api.tokens["reader"] = False
    setting.now = ALLOWED_S - 1
    assert await setting.status("reader") == 200 and setting.asked == 2
    setting.now = ALLOWED_S
    assert await setting.status("reader") == 403
    setting.api.tokens["reader"] = True
    setting.now += REFUSED_S
    assert await setting.status("reader") == 200


async def test_without_an_answer_nobody_reads(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    setting.api.refused["subjectaccessreviews"] = 403
    assert await setting.status("reader") == 503
    assert await setting.status("reader") == 503
    assert caplog.text.count("--metrics-endpoint-auth=false") == 1
    assert "reader" not in caplog.text.replace("who may read them", ""), "no token in the log"
    del setting.api.refused["subjectaccessreviews"]
    assert await setting.status("reader") == 200


async def test_strangers_fill_no_memory(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.io.kube.reviews.MOST_ANSWERS", 5)
    for number in range(20):
        assert await setting.status(f"stranger-{number}") == 401
    assert len(setting.reviews._known) == 5 < MOST_ANSWERS
