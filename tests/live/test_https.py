"""TLS on both sides, through the real Envoy: certificates by server name, clients' certificates, backends'."""

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
import yaml
from tests.live.harness.certificates import Authority, server_tls
from tests.live.harness.echo import echoing, grpc_echoing, service
from tests.live.harness.lab import authorities, authority_ref, gate, https, lab, route, secret
from tests.manifests import Manifest

pytestmark = pytest.mark.live


async def test_each_server_name_gets_its_certificate_and_its_hosts(tmp_path: Path) -> None:
    ca = Authority()
    async with echoing("one") as port:
        objects = [
            gate(
                https("a", "a", hostname="a.example"),
                https("wild", "wild", hostname="*.wild.example"),
            ),
            secret("a", ca.sign("a.example")),
            secret("wild", ca.sign("*.wild.example")),
            route("all", "one"),
            *service("one", port),
        ]
        async with lab(tmp_path, *objects) as made:
            status, told = await made.ask("a.example", ca)
            assert (status, told["host"], told["headers"]["x-forwarded-proto"]) == (200, "a.example", "https")
            assert (await made.ask("x.wild.example", ca))[0] == 200
            assert (await made.ask("a.example.", ca, sni="a.example"))[0] == 200
            status, told = await made.ask("x.wild.example", ca, sni="a.example")
            assert (status, told["error"]["code"]) == (421, "misdirected-request")
            assert (await made.ask("nowhere.example", ca, sni="a.example"))[0] == 404
            with pytest.raises(aiohttp.ClientError):
                await made.ask("unknown.example", ca)


@pytest.mark.parametrize("mode", ["AllowValidOnly", "AllowInsecureFallback"])
async def test_clients_show_certificates(tmp_path: Path, mode: str) -> None:
    ca, clients, strangers = Authority(), Authority(), Authority()
    frontend = {"default": {"validation": {"caCertificateRefs": [authority_ref("clients")], "mode": mode}}}
    async with echoing("one") as port:
        objects = [
            gate(https("a", "a"), tls={"frontend": frontend}),
            secret("a", ca.sign("a.example")),
            authorities("clients", clients),
            route("all", "one"),
            *service("one", port),
        ]
        async with lab(tmp_path, *objects) as made:
            assert (await made.ask("a.example", ca, shows=clients.sign("me")))[0] == 200
            for shows in (None, strangers.sign("me")):
                if mode == "AllowInsecureFallback":
                    assert (await made.ask("a.example", ca, shows=shows))[0] == 200
                else:
                    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                        await made.ask("a.example", ca, shows=shows)


async def test_backends_are_verified_and_see_the_gateways_certificate(tmp_path: Path) -> None:
    ca, inner, mine = Authority(), Authority(), Authority()
    context = server_tls(tmp_path / "server", inner.sign("inner.example"))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=mine.pem.decode())

    def policy(name: str, **validation: Any) -> Manifest:
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "BackendTLSPolicy",
            "metadata": {"name": name},
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": name}],
                "validation": {"caCertificateRefs": [authority_ref("inner")], **validation},
            },
        }

    def alternative(name: str) -> list[dict[str, str]]:
        return [{"type": "Hostname", "hostname": name}]

    names = ("good", "misnamed", "unsigned", "known", "unknown")
    async with echoing("secure", context) as port:
        objects = [
            gate(https("a", "a"), tls={"backend": {"clientCertificateRef": {"name": "mine"}}}),
            secret("a", ca.sign("a.example")),
            secret("mine", mine.sign("gateway.example")),
            authorities("inner", inner),
            authorities("other", ca),
            *(each for name in names for each in service(name, port)),
            *(route(name, name, hostnames=[f"{name}.example"]) for name in names),
            policy("good", hostname="inner.example"),
            policy("misnamed", hostname="other.example"),
            policy("unsigned", hostname="inner.example", caCertificateRefs=[authority_ref("other")]),
            policy("known", hostname="sni.example", subjectAltNames=alternative("inner.example")),
            policy("unknown", hostname="inner.example", subjectAltNames=alternative("other.example")),
        ]
        async with lab(tmp_path, *objects) as made:
            status, told = await made.ask("good.example", ca, sni="a.example")
            assert (status, told["name"], told["host"]) == (200, "secure", "good.example")
            assert told["client"] == {"commonName": "gateway.example"}
            assert (await made.ask("known.example", ca, sni="a.example"))[0] == 200
            for name in ("misnamed", "unsigned", "unknown"):
                status, told = await made.ask(f"{name}.example", ca, sni="a.example")
                assert (status, told["error"]["code"]) == (503, "bad-certificate"), told


async def test_a_changed_secret_is_shown_from_then_on(tmp_path: Path) -> None:
    old, new = Authority(), Authority()
    async with echoing("one") as port:
        objects = [gate(https("a", "a")), route("all", "one"), *service("one", port)]
        async with lab(tmp_path, *objects, secret("a", old.sign("a.example"))) as made:
            assert (await made.ask("a.example", old))[0] == 200
            changed = [*objects, secret("a", new.sign("a.example"))]
            (tmp_path / "m.yaml").write_text(yaml.safe_dump_all(changed))
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        assert (await made.ask("a.example", new))[0] == 200
                        break
                    await asyncio.sleep(0.05)


async def test_grpc_calls_are_routed_by_service_and_method(tmp_path: Path) -> None:
    async with grpc_echoing("one") as one, grpc_echoing("two") as two:
        by_method = [
            {
                "matches": [{"method": {"service": "lab.Echo", "method": "Second"}}],
                "backendRefs": [{"name": "two", "port": 80}],
            },
            {
                "matches": [{"method": {"service": "lab.Echo"}}],
                "backendRefs": [{"name": "one", "port": 80}],
            },
        ]
        objects = [
            gate({"name": "http", "port": 80, "protocol": "HTTP"}),
            route("calls", "one", kind="GRPCRoute", rules=by_method),
            *service("one", one),
            *service("two", two, appProtocol="kubernetes.io/h2c"),
        ]
        async with (
            lab(tmp_path, *objects) as made,
            grpc.aio.insecure_channel(made.running.url.removeprefix("http://")) as channel,
        ):

            async def call(path: str) -> bytes:
                unary: Any = channel.unary_unary
                return bytes(await unary(path)(b"hello", timeout=5))

            assert await call("/lab.Echo/First") == b"one hello"
            assert await call("/lab.Echo/Second") == b"two hello"
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call("/lab.Other/First")
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
