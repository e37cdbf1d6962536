"""Certificates on a cluster: an authority in a Secret, and what it signs: the controller's own, the picker's,
one for each Envoy."""

import asyncio
import datetime
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headgate.gateway.provision.objects import MANAGED, MANAGED_LABEL, Wanted
from headgate.io.kube.apply import Applier
from headgate.io.kube.authority import (
    Signed,
    from_secret,
    is_fresh,
    is_of,
    new_authority,
    serves,
    sign_client,
    sign_server,
)
from headgate.io.kube.client import ApiError, Collection, KubeClient

log = logging.getLogger("headgate.controller")

SECRETS = Collection("", "v1", "secrets")


def authority_of(release: str) -> str:
    """Name of the Secret of an installation with which each of its controllers signs its own certificate."""
    return f"{release}-xds-authority"


AGAIN_S = 60.0
"""How often the authority is looked at."""

FIRST_AGAIN_S = 2.0


class OfPicker(msgspec.Struct, frozen=True):
    """The certificate of our own picker."""

    secret: str
    """Name of the Secret that it is put into, in the namespace of the authority's."""
    host: str
    """As which Envoys know the picker."""


class Certificates:
    """`start`, then `shown` is what the xDS server shows; `run` keeps everything fresh."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        host: str,
        changed: Callable[[], None],
        secret: str,
        picker: OfPicker | None = None,
    ) -> None:
        """*namespace*: of the authority's Secret, *secret*: its name. *host*: as which Envoys know the
        controllers. *changed*: called when the certificates of all Envoys are to be made anew. *picker*: who
        gets one, too; None: nobody."""
        self._secret, self._picker = secret, picker
        self._client, self._namespace, self._host, self._changed = client, namespace, host, changed
        self._trouble = ""
        """Why the picker's certificate could not be written."""
        self._authority: Signed | None = None
        self._shown: Signed | None = None

    async def start(self) -> None:
        """Wait for the authority; make it when there is none."""
        while True:
            try:
                await self._look(lead=True)
                return
            except ApiError as error:
                log.warning("waiting for the Secret %s/%s: %s", self._namespace, self._secret, error)
                await asyncio.sleep(FIRST_AGAIN_S)

    @property
    def shown(self) -> Signed:
        """What the xDS server shows now. To be asked after `start`."""
        assert self._shown is not None
        return self._shown

    async def run(self, leading: Callable[[], bool]) -> None:
        """Keep everything fresh until cancelled; the authority only while *leading*."""
        while True:
            await asyncio.sleep(AGAIN_S)
            try:
                await self._look(lead=leading())
            except ApiError as error:
                log.debug("the authority stays as it was: %s", error)

    async def ensure(self, wanted: Wanted, namespace: str, dataplane: str, applier: Applier) -> None:
        """Let the Secret of an Envoy be there and fresh. Raises ApiError."""
        authority = self._authority
        assert authority is not None, "started before"
        there = from_secret(await self._client.find(SECRETS.path(namespace, wanted.certificate)))
        now = _now()
        if there is not None and is_fresh(there, now) and is_of(there, authority, dataplane):
            return
        signed = await asyncio.to_thread(sign_client, authority, dataplane, now)
        labels = {MANAGED_LABEL: MANAGED}
        meta = {
            "name": wanted.certificate,
            "namespace": namespace,
            "labels": labels,
            "ownerReferences": [wanted.owner],
        }
        await applier.apply(_secret(meta, signed))

    async def _look(self, *, lead: bool) -> None:
        path = SECRETS.path(self._namespace, self._secret)
        raw = await (self._client.find(path) if lead else self._client.get(path))
        now = _now()
        found = from_secret(raw)
        if lead and (found is None or not is_fresh(found, now)):
            found = await self._new(raw, found, now)
        if found is None:
            raise ApiError(0, "NoAuthority", f"Secret {self._namespace}/{self._secret} has no authority")
        other = found != self._authority
        if other or self._shown is None or not is_fresh(self._shown, now):
            self._shown = await asyncio.to_thread(sign_server, found, [self._host], now)
        self._authority = found
        if lead and self._picker is not None:  # it believes new Envoys before there are any
            await self._keep_picker(self._picker, found, now)
        if other:
            self._changed()

    async def _keep_picker(self, to: OfPicker, authority: Signed, now: datetime.datetime) -> None:
        said = ""
        try:
            await self._give_picker(to, authority, now)
        except ApiError as error:
            if error.status != 409:  # another controller was faster
                said = str(error)
        if said and said != self._trouble:
            log.warning("the picker's certificate: %s", said)
        self._trouble = said

    async def _give_picker(self, to: OfPicker, authority: Signed, now: datetime.datetime) -> None:
        """Let the picker's Secret be there and fresh. A certificate of the authority before this one is kept
        for its time: all Envoys believe that one, and not yet all of them the new one. Raises ApiError."""
        path = SECRETS.path(self._namespace, to.secret)
        raw = await self._client.find(path)
        meta: Mapping[str, Any] = {
            "name": to.secret,
            "namespace": self._namespace,
            "labels": {MANAGED_LABEL: MANAGED},
        }
        if isinstance(raw, Mapping):
            meta = raw["metadata"]
            if (meta.get("labels") or {}).get(MANAGED_LABEL) != MANAGED:
                why = f"Secret {self._namespace}/{to.secret} is there and was not made by Headgate: delete it"
                raise ApiError(0, "NotOurs", why)
        there = from_secret(raw)
        if there is not None and is_fresh(there, now) and serves(there, authority, to.host):
            signed = msgspec.structs.replace(there, authorities=authority.authorities)
        else:
            signed = await asyncio.to_thread(sign_server, authority, [to.host], now)
        if signed == there:
            return
        if raw is None:
            await self._client.create(SECRETS.path(self._namespace), _secret(meta, signed))
        else:
            await self._client.replace(path, _secret(meta, signed))

    async def _new(self, raw: object, before: Signed | None, now: datetime.datetime) -> Signed:
        """Make the authority. Raises ApiError, 409 when another controller was faster."""
        made = await asyncio.to_thread(new_authority, now, before)
        if isinstance(raw, Mapping):
            await self._client.replace(
                SECRETS.path(self._namespace, self._secret), {**_secret(raw["metadata"], made)}
            )
        else:
            meta = {"name": self._secret, "namespace": self._namespace, "labels": {MANAGED_LABEL: MANAGED}}
            await self._client.create(SECRETS.path(self._namespace), _secret(meta, made))
        log.info("a new authority for xDS is in the Secret %s/%s", self._namespace, self._secret)
        return made


def _secret(metadata: Mapping[str, Any], signed: Signed) -> Mapping[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata,
        "data": signed.data(),
    }


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
