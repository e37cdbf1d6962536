"""The picker's certificate from a Secret of its cluster, which the controllers keep fresh."""

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from headgate.io.extproc.tls import AUTHORITIES, CHAIN, KEY, KeyPair, Material, checked
from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.kinds import REFERRED
from headgate.io.kube.reflector import Reflector, Seen
from headgate.model.meta import Identity

log = logging.getLogger(__name__)

WAITING_S = 10.0
"""How often it is said that there is none yet."""


class CertificateSecret:
    """Follows one Secret. To be used once `opened`; see `tls.Follows`."""

    def __init__(self, namespace: str, name: str, *, asks: bool) -> None:
        """*asks*: clients must show a certificate signed by one of the Secret's authorities."""
        self.where = f"Secret {namespace}/{name}"
        self.current: Material
        self._namespace, self._name, self._asks = namespace, name, asks
        self._changed: Callable[[Material], None] = lambda _: None
        self._there = asyncio.Event()
        self._wrong = ""

    @contextlib.asynccontextmanager
    async def opened(self, access: Access) -> AsyncIterator["CertificateSecret"]:
        """Followed for as long as this lasts; it begins once there is a certificate."""
        async with KubeClient(access) as client:
            reflector = Reflector(
                client,
                REFERRED["Secret"],
                self._seen,
                lambda: None,
                namespace=self._namespace,
                name=self._name,
            )
            running = asyncio.create_task(reflector.run())
            try:
                await self._first(reflector)
                yield self
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def _first(self, reflector: Reflector) -> None:
        while not self._there.is_set():
            try:
                async with asyncio.timeout(WAITING_S):
                    await self._there.wait()
            except TimeoutError:
                unknown = self._wrong or "it is not there; the controllers make it (--picker-secret)"
                log.warning("waiting for the %s: %s", self.where, reflector.trouble or unknown)

    def follow(self, changed: Callable[[Material], None] = lambda _: None) -> None:
        """See `tls.Follows`; *changed* is called on the event loop."""
        self._changed = changed

    def stop(self) -> None:
        """See `tls.Follows`."""
        self._changed = lambda _: None

    def _seen(self, _: Identity, seen: Seen | None) -> None:
        if seen is None:
            return  # what was there is used on
        try:
            material = self._read(seen.raw)
        except ValueError as error:
            if str(error) != self._wrong:
                self._wrong = str(error)
                log.warning("%s", self._wrong)
            return
        self._wrong = ""
        first, same = not self._there.is_set(), self._there.is_set() and material == self.current
        self.current = material
        self._there.set()
        if not (first or same):
            self._changed(material)
            log.info("new certificates from the %s", self.where)

    def _read(self, raw: Mapping[str, Any]) -> Material:
        data = raw.get("data")
        found = data if isinstance(data, Mapping) else {}
        values: dict[str, bytes] = {}
        for key in (KEY, CHAIN, AUTHORITIES):
            try:
                values[key] = base64.b64decode(str(found[key]), validate=True)
            except (KeyError, binascii.Error):
                raise ValueError(f"{self.where}: its {key} is missing, or no base64") from None
        asked = values[AUTHORITIES] if self._asks else None
        return checked(Material(KeyPair(values[KEY], values[CHAIN]), asked), self.where)
