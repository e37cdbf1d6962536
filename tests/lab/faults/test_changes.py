"""What operators do on purpose while streams run: nobody notices."""

import asyncio
import base64
import json
import os
import ssl
import time
from pathlib import Path

from tests.lab import cluster as lab
from tests.lab.faults.streams import NAMESPACE, during, failed, nothing, roll, until_served
from tests.live.harness.certificates import Authority
from tests.live.harness.load import load, summary
from tests.manifests import Manifest

from headgate.io.kube.client import Collection, KubeClient
from headgate.io.kube.config import read_kubeconfig

AUTHORITY = "headgate-xds-authority"
ROUTES = Collection("gateway.networking.k8s.io", "v1", "httproutes")
MOVES = 1000
FLAPS = 12


async def test_envoy_is_rolled(url: str) -> None:
    """The old one says goodbye to its clients, and ends when the last stream has."""
    seen = await during(url, "Envoy rolled", lambda: roll(NAMESPACE, "gate-headgate"), 40.0)
    assert not failed(seen) and len(seen) > 50


async def test_the_authority_of_xds_is_made_anew(url: str) -> None:
    """Envoys that run go on; those that come trust the new one, and prove themselves to it."""

    def value(namespace: str, name: str) -> str:
        return str(lab.get("secret", namespace, name).get("data", {}).get("ca.crt", ""))

    before = value(NAMESPACE, "gate-headgate-xds")

    def anew() -> None:
        lab.kubectl("-n", lab.SYSTEM, "delete", "secret", AUTHORITY)
        lab.until("a new authority", lambda: value(lab.SYSTEM, AUTHORITY) not in ("", before), 90)
        there = value(lab.SYSTEM, AUTHORITY)
        lab.until("the Envoy's new certificate", lambda: value(NAMESPACE, "gate-headgate-xds") == there, 90)
        roll(NAMESPACE, "gate-headgate")
        lab.apply(NAMESPACE, lab.route("later", "gate", {"closed": 1}, "/later"))
        lab.kubectl("-n", NAMESPACE, "delete", "httproute", "later")

    seen = await during(url, "the authority of xDS made anew", anew)
    assert not failed(seen) and len(seen) > 50


async def test_a_route_is_moved_a_thousand_times(url: str) -> None:
    """From one pool to the other and back, without a pause."""

    async def move() -> None:
        async with KubeClient(read_kubeconfig(Path(os.environ["KUBECONFIG"]))) as api:
            for each in range(MOVES):
                name = "open" if each % 2 == 0 else "closed"
                moved = lab.route("closed", "gate", {name: 1}, "/v1")
                await api.patch(ROUTES.path(NAMESPACE, "closed"), {"spec": moved["spec"]}, "merge")
                await asyncio.sleep(0.01)

    await until_served(url)
    seen = await load(url, move, clients=8)
    summary(f"a route moved {MOVES} times", seen)
    assert not failed(seen) and len(seen) > 50


def mark(pod: str, ready: bool) -> None:
    """As its kubelet would."""
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    patch = json.dumps({"status": {"conditions": [condition]}})
    lab.kubectl("-n", NAMESPACE, "patch", "pod", pod, "--subresource=status", "-p", patch)


async def test_the_readiness_of_servers_flaps(url: str) -> None:
    """A Pod that is not ready gets no new requests, and its running ones end well."""
    pods = {
        each["metadata"]["name"]: f"{each['status']['podIP']}:3000"
        for each in lab.listed("pods", NAMESPACE, app="llm")
        if not each["metadata"].get("deletionTimestamp")
    }
    assert len(pods) == 3

    def flap() -> None:
        for each in range(FLAPS):
            for pod in pods:
                mark(pod, False)
                mark(pod, True)
            time.sleep(each % 3)

    seen = await during(url, f"readiness of three servers flapped {FLAPS} times", flap)
    assert not failed(seen) and len(seen) > 50
    *others, last = pods
    for each in others:
        mark(each, False)
    for _ in range(100):
        seen = await load(url, nothing, clients=4)
        if {each.endpoint for each in seen} == {pods[last]}:
            break
    assert {each.endpoint for each in seen} == {pods[last]}
    for each in others:
        mark(each, True)
    assert not failed(seen)


def pair_of(authority: Authority) -> Manifest:
    """A Secret with a fresh certificate."""
    pair = authority.sign("secure.example.com")
    data = {
        "tls.crt": base64.b64encode(pair.chain).decode(),
        "tls.key": base64.b64encode(pair.key).decode(),
    }
    meta = {"name": "secure"}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": meta, "data": data}


async def test_the_certificate_of_a_listener_is_replaced(url: str) -> None:
    """Again and again; connections that are there stay, new ones are shown the new one."""
    assert url
    authority = Authority()
    tls = {"certificateRefs": [{"name": "secure"}]}
    listener = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}
    secure = lab.gateway("secure", listeners=[listener])
    lab.apply(NAMESPACE, pair_of(authority), secure, lab.route("secure", "secure", {"closed": 1}, "/v1"))
    address = lab.address(NAMESPACE, "secure")
    shown: list[str] = []

    def show() -> str:
        return ssl.get_server_certificate((address, 443))

    def replace() -> None:
        for _ in range(5):
            shown.append(show())
            lab.apply(NAMESPACE, pair_of(authority))
            lab.until("another certificate", lambda: show() != shown[-1])

    async def replacing() -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(replace)
        await asyncio.sleep(2)

    for _ in range(60):
        if not failed(await load(f"https://{address}", nothing, clients=2, any_certificate=True)):
            break
        await asyncio.sleep(0.5)
    seen = await load(f"https://{address}", replacing, clients=8, any_certificate=True)
    summary("the certificate of a listener replaced 5 times", seen)
    lab.kubectl("-n", NAMESPACE, "delete", "httproute/secure", "gateway/secure", "secret/secure")
    assert not failed(seen) and len(seen) > 50
    assert len(set(shown)) == 5
