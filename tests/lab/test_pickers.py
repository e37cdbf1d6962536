"""What conformance tests of pickers are meant to show, in a form that can fail."""

import asyncio
import base64
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.lab import cluster as lab

NAMESPACE = "lab-pickers"
MODE = "headgate.dev/picker-body-mode"
SERVED = "x-conformance-test-served-endpoint"


@pytest.fixture(scope="module", name="url")
def _url() -> Iterator[str]:
    """Pools `one` (of the suite's picker, FailClose), `two` (of ours, FailClose) and `open` (FailOpen), and
    routes to them."""
    with lab.namespace(NAMESPACE):
        late = {MODE: "streamed"}
        lab.apply(
            NAMESPACE,
            lab.READER,
            lab.BOUND,
            *(lab.echo(each) for each in ("one", "two", "open")),
            *lab.pool_with_picker(NAMESPACE, "one", lab.LWEPP, **late),
            *lab.pool_with_picker(
                NAMESPACE, "two", lab.PICKER, "FailClose", "picker", "--conformance-headers"
            ),
            *lab.pool_with_picker(NAMESPACE, "open", lab.LWEPP, "FailOpen", **late),
            lab.gateway("gate"),
            lab.route("one", "gate", {"one": 1}, "/one"),
            lab.route("two", "gate", {"two": 1}, "/two"),
            lab.route("open", "gate", {"open": 1}, "/open"),
            lab.route("both", "gate", {"one": 1, "two": 1}, "/both"),
        )
        lab.available(NAMESPACE)
        yield f"http://{lab.address(NAMESPACE, 'gate')}"


def pods(pool: str) -> dict[str, str]:
    """Name and `ip:port` of the pool's servers."""
    return {
        each["metadata"]["name"]: f"{each['status']['podIP']}:3000"
        for each in lab.listed("pods", NAMESPACE, app=pool)
        if not each["metadata"].get("deletionTimestamp")
    }


def scale(picker: str, replicas: int) -> None:
    """Of a picker's Deployment; waits until it is so."""
    lab.kubectl("-n", NAMESPACE, "scale", f"deployment/{picker}", f"--replicas={replicas}")
    lab.until(
        f"{replicas} of {picker}",
        lambda: len(lab.listed("pods", NAMESPACE, app=picker)) == replicas,
    )
    if replicas:
        lab.available(NAMESPACE)


async def many(http: aiohttp.ClientSession, url: str, count: int = 60) -> list[lab.Answer]:
    found: list[lab.Answer] = []
    for _ in range(count // 6):
        found += await asyncio.gather(*(lab.ask(http, url) for _ in range(6)))
    return found


async def test_who_served_is_told_to_the_picker(url: str) -> None:
    """The echo server is not told what to say here, so that only the data plane can know."""
    async with aiohttp.ClientSession() as http:
        await lab.ask_until(http, f"{url}/two", 200)
        for name, endpoint in pods("two").items():
            found = await lab.ask_until(http, f"{url}/two", 200, **{lab.DESTINATION: endpoint})
            assert found.pod == name and found.headers[SERVED] == endpoint


async def test_each_pool_of_a_route_asks_its_own_picker(url: str) -> None:
    """With one picker gone its pool's share fails, and nothing else does."""
    async with aiohttp.ClientSession() as http:
        await lab.ask_until(http, f"{url}/one", 200)
        await lab.ask_until(http, f"{url}/two", 200)
        both = Counter(each.pod.split("-")[0] for each in await many(http, f"{url}/both"))
        assert set(both) == {"one", "two"} and min(both.values()) >= 10, both
        for gone, stays in (("one", "two"), ("two", "one")):
            scale(f"{gone}-picker", 0)
            await lab.ask_until(http, f"{url}/{gone}", 503)
            found = await many(http, f"{url}/both")
            assert {each.pod.split("-")[0] for each in found if each.status == 200} == {stays}
            refused = [each for each in found if each.status != 200]
            assert {each.status for each in refused} == {503} and len(refused) >= 10
            assert {each.headers["x-headgate-reason"] for each in refused} == {"picker-failed"}
            scale(f"{gone}-picker", 1)
            await lab.ask_until(http, f"{url}/{gone}", 200)


async def test_a_pool_that_fails_open_is_served_while_its_own_picker_is_gone(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        await lab.ask_until(http, f"{url}/open", 200)
        scale("open-picker", 0)
        found = await many(http, f"{url}/open")
        assert {each.status for each in found} == {200}
        assert {each.pod for each in found} == set(pods("open"))
        scale("open-picker", 1)


def heard(host: str, pair: Path | None) -> bool:
    """Whether the picker speaks to who shows this certificate, a file with its key; None: none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if pair is not None:
        context.load_cert_chain(pair)
    try:
        with socket.create_connection((host, 9002), 5) as plain, context.wrap_socket(plain) as secure:
            return bool(secure.recv(1))  # a client's certificate is judged after the handshake
    except ssl.SSLError:
        return False


def test_the_picker_of_the_chart_hears_envoys_of_gateways_alone(url: str, tmp_path: Path) -> None:
    assert url
    its = lab.get("secret", NAMESPACE, "gate-headgate-xds")["data"]
    pair = tmp_path / "envoy.pem"
    pair.write_bytes(b"".join(base64.b64decode(its[key]) for key in ("tls.crt", "tls.key")))
    picker = f"headgate-picker.{lab.SYSTEM}.svc.cluster.local"
    assert heard(picker, pair)
    assert not heard(picker, None)
