"""Who may call: API keys and tokens, by file and by policy, through the real Envoy and the real client."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests import manifests as manifest
from tests.live.harness.echo import echoing, service
from tests.live.harness.gateway import gateway
from tests.live.harness.lab import lab, route
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import free_port
from tests.live.harness.scripted_picker import ScriptedPicker
from tests.live.harness.translated import translated_envoy
from tests.manifests import Manifest

from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

pytestmark = pytest.mark.live


def secret(name: str, **values: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def policy(name: str, *targets: dict[str, str], **spec: Any) -> Manifest:
    refs = [{"group": "gateway.networking.k8s.io", **each} for each in targets]
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "AccessPolicy",
        "metadata": {"name": name},
        "spec": {"targetRefs": refs, **spec},
    }


def keys(*secrets: str) -> dict[str, Any]:
    return {"secretRefs": [{"name": each} for each in secrets]}


async def ask(
    http: aiohttp.ClientSession, url: str, key: str | None = None, **sent: str
) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON and headers of a GET with that key."""
    more = {} if key is None else {"authorization": f"Bearer {key}"}
    async with http.get(url, headers={**sent, **more}) as answer:
        body = await answer.json(content_type=None)
        return answer.status, body, {name.lower(): value for name, value in answer.headers.items()}


async def test_the_narrowest_policy_counts_and_servers_see_no_key(tmp_path: Path) -> None:
    async with echoing("one") as port:
        objects = [
            manifest.gateway(),
            route("open", "one", hostnames=["a.example"]),
            route("own", "one", hostnames=["b.example"]),
            route("wrong", "one", hostnames=["c.example"]),
            *service("one", port),
            secret("all", alice="key-of-alice", bob="key-of-bob"),
            secret("few", carol="key-of-carol"),
            policy("gate", {"kind": "Gateway", "name": "gate"}, apiKeys=keys("all")),
            policy("few", {"kind": "HTTPRoute", "name": "own"}, apiKeys=keys("few")),
            policy("nobody", {"kind": "HTTPRoute", "name": "wrong"}, apiKeys=keys("missing")),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:
            url = made.running.url
            status, told, _ = await ask(http, url, "key-of-alice", host="a.example")
            assert (status, told["name"]) == (200, "one")
            assert "key-of-alice" not in json.dumps(told)
            assert not {"authorization", headers.CLIENT} & set(told["headers"])
            status, told, found = await ask(http, url, host="a.example")
            assert (status, told["error"]["code"]) == (401, "missing-api-key")
            assert found["www-authenticate"] == "Bearer"
            status, told, _ = await ask(http, url, "key-of-carol", host="a.example")
            assert (status, told["error"]["code"]) == (401, "invalid-api-key")
            assert (await ask(http, url, "key-of-carol", host="b.example"))[0] == 200
            assert (await ask(http, url, "key-of-alice", host="b.example"))[0] == 401
            for sent, expected in (("bearer key-of-carol", 200), ("bearer key-of-alice", 401)):
                assert (await ask(http, url, host="b.example", authorization=sent))[0] == expected
            for key in (None, "key-of-alice", "key-of-carol", ""):
                status, told, _ = await ask(http, url, key, host="c.example")
                assert (status, told["error"]["code"]) == (401, "closed")
            assert (await ask(http, url + headers.HEALTH_PATH))[0] == 200
            objects[-6] = secret("all", dora="key-of-dora")
            (tmp_path / "m.yaml").write_text(yaml.safe_dump_all(objects))
            async with asyncio.timeout(10):
                while (await ask(http, url, "key-of-dora", host="a.example"))[0] != 200:
                    await asyncio.sleep(0.05)
            assert (await ask(http, url, "key-of-alice", host="a.example"))[0] == 401


def token(key: rsa.RSAPrivateKey, **claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signed = f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(claims)}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def key_set(key: rsa.RSAPrivateKey) -> str:
    numbers = key.public_key().public_numbers()

    def number(value: int) -> str:
        return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8)).rstrip(b"=").decode()

    public = {"kty": "RSA", "alg": "RS256", "kid": "one", "n": number(numbers.n), "e": number(numbers.e)}
    return json.dumps({"keys": [public]})


async def test_tokens_of_an_issuer(tmp_path: Path) -> None:
    key, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    jwt = {"issuer": "https://issuer.example", "audiences": ["llm"], "jwks": {"inline": key_set(key)}}
    good = {"iss": "https://issuer.example", "aud": "llm", "sub": "erin", "exp": 1 << 33}
    async with echoing("one") as port:
        objects = [
            manifest.gateway(),
            route("r", "one"),
            *service("one", port),
            policy("tokens", {"kind": "Gateway", "name": "gate", "sectionName": "http"}, jwt=jwt),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:
            url = made.running.url
            status, told, _ = await ask(http, url, token(key, **good))
            assert status == 200
            assert not {"authorization", headers.CLIENT} & set(told["headers"])
            sent = f"bearer {token(key, **good)}"
            assert (await ask(http, url, authorization=sent))[0] == 200
            status, told, _ = await ask(http, url)
            assert (status, told["error"]["code"]) == (401, "missing-api-key")
            # a URL is written down in too many places to hold a token
            status, told, _ = await ask(http, f"{url}/?access_token={token(key, **good)}")
            assert (status, told["error"]["code"]) == (401, "missing-api-key")
            for wrong in (
                token(other, **good),
                token(key, **{**good, "aud": "web"}),
                token(key, **{**good, "iss": "https://other.example"}),
                token(key, **{**good, "exp": 1}),
                "no.token.atall",
            ):
                status, told, found = await ask(http, url, wrong)
                assert (status, told["error"]["code"]) == (401, "invalid-token"), wrong
                assert "www-authenticate" in found


async def test_clients_of_a_file_by_the_real_client(tmp_path: Path) -> None:
    file = tmp_path / "clients"
    file.write_text("# who: key\nteam-a: sk-a\nteam-b sk-b\n")
    file.chmod(0o600)
    server = ScriptedModelServer()
    async with server.running():

        def chat(key: str) -> None:
            messages: Any = [{"role": "user", "content": "hello"}]
            with openai.OpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0) as client:
                client.chat.completions.create(model="m", messages=messages)

        started = gateway(f"http://{server.address}", "--client-keys", str(file))
        running = await asyncio.to_thread(started.__enter__)
        try:
            await asyncio.to_thread(chat, "sk-a")
            await asyncio.to_thread(chat, "sk-b")
            with pytest.raises(openai.AuthenticationError) as refused:
                await asyncio.to_thread(chat, "sk-c")
            assert refused.value.code == "invalid-api-key"
            assert all("authorization" not in each for each in server.headers if each.get("content-length"))
            file.write_text("team-c: sk-c\n")
            async with asyncio.timeout(10):
                while True:
                    try:
                        await asyncio.to_thread(chat, "sk-c")
                        break
                    except openai.AuthenticationError:
                        await asyncio.sleep(0.1)
            with pytest.raises(openai.AuthenticationError):
                await asyncio.to_thread(chat, "sk-a")
            assert not [line for line in running.child.out if "sk-" in line]
        finally:
            await asyncio.to_thread(started.__exit__, None, None, None)


async def test_the_picker_is_told_who_it_is_and_nobody_can_say_so_himself(tmp_path: Path) -> None:
    server, picker = ScriptedModelServer(), ScriptedPicker()
    picker.endpoints = [server.address]
    auth = {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "BackendAuthPolicy",
        "metadata": {"name": "engines"},
        "spec": {
            "targetRefs": [{"kind": "InferencePool", "name": "fit"}],
            "secretRef": {"name": "engine", "key": "key"},
        },
    }
    objects = [
        manifest.gateway(),
        manifest.route(manifest.rule("fit")),
        manifest.pool("fit"),
        manifest.model_server("one", server.address, "fit"),
        secret("clients", alice="key-of-alice"),
        secret("engine", key="key-of-engine"),
        policy("gate", {"kind": "Gateway", "name": "gate"}, apiKeys=keys("clients")),
        auth,
    ]
    settings = GatewaySettings(port=free_port(), address="127.0.0.1", picker_address=picker.address)
    async with (
        server.running(),
        picker.running(),
        translated_envoy(manifest.snapshot(*objects), settings, tmp_path) as url,
        aiohttp.ClientSession() as http,
    ):
        sent = {"authorization": "Bearer key-of-alice", headers.CLIENT: "mallory"}
        async with http.post(url, json={}, headers=sent) as answer:
            assert answer.status == 200
    asked = [message for kind, message in picker.messages if kind == "request_headers"]
    assert len(asked) == 1
    context = asked[0].metadata_context.filter_metadata[headers.OWN_NAMESPACE]
    assert context[headers.CLIENT_KEY] == "alice"
    seen = {each.key: each.raw_value for each in asked[0].request_headers.headers.headers}
    assert not {"authorization", headers.CLIENT} & set(seen)
    assert server.headers[-1]["authorization"] == "Bearer key-of-engine"
    assert headers.CLIENT not in server.headers[-1]
