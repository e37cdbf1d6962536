"""Forms (sound to transcribe, images to edit) through `headgate run`: pools by model, renaming, large files."""

import io
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, NotFoundError
from tests import manifests as manifest
from tests.forms import CASES, content_type, field, file, multipart
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.model_server import ScriptedModelServer
from tests.manifests import Manifest

from headgate.wire import multipart as reader

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

PATH = "/v1/audio/transcriptions"
SOUND = os.urandom(1 << 20)


def by_model(name: str, pool: str) -> Manifest:
    headers = [{"name": "X-Gateway-Model-Name", "value": name}]
    return manifest.rule(pool, matches=[{"path": {"type": "PathPrefix", "value": "/v1"}, "headers": headers}])


class Lab:
    """A gateway with a pool for each of two models, one renamed, and a third for requests without a model."""

    def __init__(self) -> None:
        self.servers = {name: ScriptedModelServer() for name in ("hear", "draw", "rest")}
        self.servers["hear"].models = ["whisper-large-v3", "turbo"]
        self.servers["draw"].models = ["draw"]
        self.gate: Gateway

    def manifests(self) -> Iterator[Manifest]:
        yield manifest.gateway()
        yield manifest.route(
            by_model("whisper", "hear"),
            by_model("draw", "draw"),
            manifest.rule("rest", path="/v1/files"),
            manifest.rule("rest", path=PATH + "/any"),
            manifest.rule("hear", path="/hear"),
        )
        yield manifest.model("whisper", "hear", "whisper-large-v3")
        yield manifest.model("either", "hear", "whisper-large-v3", "turbo")
        for name, server in self.servers.items():
            yield manifest.pool(name)
            yield manifest.model_server(name, server.address, name)

    def form(self, server: str) -> dict[bytes, bytes]:
        """Name → value of the last form that reached a server."""
        kind, body = self.servers[server].headers[-1]["content-type"], self.servers[server].bodies[-1]
        assert int(self.servers[server].headers[-1]["content-length"]) == len(body)
        boundary = reader.boundary_of(kind)
        assert boundary is not None
        places = reader.values(body, boundary, (b"model", b"language", b"response_format"))
        assert places is not None
        return {name: body[start:end] for name, (start, end) in places}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    made = Lab()
    path = manifest.write(tmp_path_factory.mktemp("manifests") / "all.yaml", *made.manifests())
    async with made.servers["hear"].running(), made.servers["draw"].running(), made.servers["rest"].running():
        with gateway("-f", str(path)) as made.gate:
            yield made


@pytest_asyncio.fixture(loop_scope="module")
async def client(lab: Lab) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=lab.gate.url + "/v1", api_key="unused", max_retries=0) as opened:
        yield opened


async def send(lab: Lab, body: bytes, kind: str, path: str = PATH) -> tuple[aiohttp.ClientResponse, bytes]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(lab.gate.url + path, data=io.BytesIO(body), headers={"content-type": kind}) as answer,
    ):
        return answer, await answer.read()


async def test_the_openai_client_finds_each_models_pool(lab: Lab, client: AsyncOpenAI) -> None:
    sound: Any = ("speech.wav", SOUND)
    raw = await client.audio.transcriptions.with_raw_response.create(
        model="whisper", file=sound, language="en"
    )
    assert lab.form("hear") == {b"model": b"whisper-large-v3", b"language": b"en"}
    assert SOUND in lab.servers["hear"].bodies[-1]
    decision = lab.gate.decision(raw.headers["x-request-id"])["decision"]
    assert (decision["pool"], decision["model"]) == ("default/hear", "whisper")
    await client.images.edit(model="draw", image=("a.png", SOUND, "image/png"), prompt="a hat")
    assert lab.form("draw")[b"model"] == b"draw" and SOUND in lab.servers["draw"].bodies[-1]
    with pytest.raises(NotFoundError):
        await client.audio.transcriptions.create(model="unknown", file=sound)


@pytest.mark.parametrize("name", ["model first", "model between", "a quoted boundary", "padding", "preamble"])
async def test_nothing_of_a_form_changes_but_the_name(lab: Lab, name: str) -> None:
    kind, body, _ = CASES[name]
    body = body.replace(b"\r\n\r\nm\r\n", b"\r\n\r\nwhisper\r\n")
    for path in (PATH, "/v1/audio/translations"):
        answer, text = await send(lab, body, kind, path)
        assert answer.status == 200, text
        renamed = body.replace(b"\r\nwhisper\r\n", b"\r\nwhisper-large-v3\r\n")
        assert lab.servers["hear"].bodies[-1] == renamed
        assert "x-gateway-model-name" not in lab.servers["hear"].headers[-1]


@pytest.mark.parametrize("last", [True, False])
async def test_a_file_of_30_mib(lab: Lab, last: bool) -> None:
    parts = [field("model", "whisper"), file(content=os.urandom(30 << 20))]
    answer, text = await send(lab, multipart(*(parts[::-1] if last else parts)), content_type())
    assert answer.status == 200, text
    parts[0] = field("model", "whisper-large-v3")
    assert lab.servers["hear"].bodies[-1] == multipart(*(parts[::-1] if last else parts))


@pytest.mark.parametrize("name", ["missing", "another boundary", "no boundary", "a file"])
async def test_a_form_that_names_no_model_takes_a_rule_without_one_or_has_no_route(
    lab: Lab, name: str
) -> None:
    kind, body, _ = CASES[name]
    answer, _ = await send(lab, body, kind)
    assert answer.status in (400, 404)
    answer, text = await send(lab, body, kind, PATH + "/any")
    assert answer.status == 200, text
    assert lab.servers["rest"].bodies[-1] == body


async def test_inference_models_share_forms_among_their_targets_and_refuse_other_names(lab: Lab) -> None:
    seen = set()
    for _ in range(30):
        form = multipart(file(), field("model", "either"), field("language", "en"))
        answer, text = await send(lab, form, content_type(), "/hear" + PATH)
        assert answer.status == 200, text
        seen.add(lab.form("hear")[b"model"])
    assert seen == {b"whisper-large-v3", b"turbo"}
    answer, text = await send(lab, multipart(file(), field("model", "other")), content_type(), "/hear" + PATH)
    assert (answer.status, answer.headers["x-headgate-reason"]) == (404, "unknown-model")
    assert b"'other'" in text and b"'either'" in text
