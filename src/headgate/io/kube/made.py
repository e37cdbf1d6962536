"""Objects that Headgate made on a cluster: told of when one is gone, or somebody else changed it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from headgate.gateway.provision.objects import MANAGED, MANAGED_LABEL
from headgate.io.kube.client import KubeClient
from headgate.io.kube.kinds import REFERRED, Followed, metadata_of
from headgate.io.kube.reflector import Reflector, Seen
from headgate.model.meta import Identity

log = logging.getLogger(__name__)

KINDS = (
    Followed("apps", ("v1",), "deployments", "Deployment"),
    Followed("", ("v1",), "serviceaccounts", "ServiceAccount"),
    *REFERRED.values(),
)
"""Those that an Envoy does not run without; Services are followed by the source, all of them."""


class Made:
    """Follows what has our label. `run` lasts until cancelled."""

    def __init__(
        self, client: KubeClient, namespaces: Sequence[str], other: Callable[[Identity], None]
    ) -> None:
        """*namespaces*: that are followed; none: all. *other*: told of each object that is gone, or whose
        specification is another than before, ours or not."""
        self._client, self._namespaces, self._other = client, tuple(namespaces) or ("",), other
        self._generations: dict[Identity, Any] = {}
        self._said: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for each in KINDS:
                for namespace in self._namespaces:
                    tasks.create_task(self._reflector(each, namespace).run())

    def _reflector(self, followed: Followed, namespace: str) -> Reflector:
        def changed() -> None:
            if reflector.trouble is not None and reflector.where not in self._said:
                self._said.add(reflector.where)
                log.warning("what others do to our %s is not seen: %s", reflector.where, reflector.trouble)
            elif reflector.trouble is None:
                self._said.discard(reflector.where)

        reflector = Reflector(
            self._client,
            followed,
            self._told,
            changed,
            namespace=namespace,
            labels=f"{MANAGED_LABEL}={MANAGED}",
        )
        return reflector

    def _told(self, identity: Identity, seen: Seen | None) -> None:
        if seen is None:
            self._generations.pop(identity, None)
            self._other(identity)
            return
        generation = metadata_of(seen.raw).get("generation")
        before = self._generations.get(identity, generation)
        self._generations[identity] = generation
        if generation != before:
            self._other(identity)
