"""Certificates that the controllers issue: to themselves, and to the picker, which Envoys ask by mutual TLS."""

import datetime

import pytest
from tests.api_server import ApiServer

from headgate.app.controller.certificates import Certificates, OfPicker
from headgate.io.kube.authority import Signed, from_secret, new_authority, serves, sign_server
from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access

NAMESPACE, AUTHORITY, PICKER = "headgate-system", "headgate-xds-authority", "headgate-picker-tls"
HOST = "headgate-picker.headgate-system.svc"


def there(api: ApiServer, name: str) -> Signed | None:
    return from_secret(api.get("secrets", name, NAMESPACE))


async def started(api: ApiServer) -> None:
    """As a controller starts."""
    async with KubeClient(Access(server=api.url)) as client:
        of_picker = OfPicker(PICKER, HOST)
        await Certificates(client, NAMESPACE, "xds", lambda: None, AUTHORITY, of_picker).start()


async def test_the_picker_gets_a_certificate_of_the_authority_and_keeps_it() -> None:
    async with ApiServer().running() as api:
        await started(api)
        authority, picker = there(api, AUTHORITY), there(api, PICKER)
        assert authority is not None and picker is not None
        assert serves(picker, authority, HOST) and not serves(picker, authority, "other")
        assert picker.authorities == authority.authorities
        await started(api)
        assert there(api, PICKER) == picker


async def test_after_the_authority_it_keeps_its_certificate_and_trusts_the_new_one() -> None:
    """Envoys hear of a new authority one after the other; all of them still believe the one before."""
    async with ApiServer().running() as api:
        now = datetime.datetime.now(datetime.UTC)
        long_ago = new_authority(now - datetime.timedelta(days=3000))
        meta = {"name": AUTHORITY, "namespace": NAMESPACE}
        api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": long_ago.data()})
        old = sign_server(long_ago, [HOST], now)
        labels = {"app.kubernetes.io/managed-by": "headgate"}
        mine = {"name": PICKER, "namespace": NAMESPACE, "labels": labels}
        api.put({"apiVersion": "v1", "kind": "Secret", "metadata": mine, "data": old.data()})
        await started(api)
        authority, picker = there(api, AUTHORITY), there(api, PICKER)
        assert authority is not None and authority.certificate != long_ago.certificate
        assert picker is not None and picker.certificate == old.certificate
        assert picker.authorities == authority.authorities


async def test_one_that_nobody_trusts_any_more_is_made_anew() -> None:
    async with ApiServer().running() as api:
        await started(api)
        before = there(api, PICKER)
        api.remove(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": AUTHORITY, "namespace": NAMESPACE}}
        )
        await started(api)
        authority, picker = there(api, AUTHORITY), there(api, PICKER)
        assert picker is not None and authority is not None and picker != before
        assert serves(picker, authority, HOST)


async def test_a_secret_of_others_is_left_alone_and_named(caplog: pytest.LogCaptureFixture) -> None:
    async with ApiServer().running() as api:
        meta = {"name": PICKER, "namespace": NAMESPACE}
        theirs = api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"a": "eA=="}})
        await started(api)
        assert there(api, AUTHORITY) is not None, "xDS is served nevertheless"
        assert api.get("secrets", PICKER, NAMESPACE) == theirs
        assert f"Secret {NAMESPACE}/{PICKER} is there and was not made by Headgate" in caplog.text
