"""A cluster as a source of objects, with what is in none of them: addresses of hosts, API keys."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from headgate.io.kube.client import Collection, KubeClient
from headgate.io.kube.config import Access, ConfigError, in_pod, read_kubeconfig
from headgate.io.kube.kinds import WHOLE, Followed
from headgate.io.kube.source import KubeSource
from headgate.io.sources.api import Names
from headgate.io.sources.api_keys import ApiKeys
from headgate.model.api_keys import ApiKey
from headgate.model.kept import Kept
from headgate.model.meta import Identity
from headgate.model.objects import InferencePool
from headgate.model.problems import Problem
from headgate.model.snapshot import Difference, Snapshot


def kubeconfig_of(environ: Mapping[str, str]) -> Path | None:
    """The first file that KUBECONFIG names; None: it names none."""
    named = [each for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    return Path(named[0]) if named else None


def access_to(kubeconfig: Path | None, context: str = "") -> Access:
    """The API server of *kubeconfig*, or of the cluster that this process runs in.

    Raises:
        ConfigError: it cannot be reached by what is there.
    """
    if kubeconfig is not None:
        return read_kubeconfig(kubeconfig, context)
    found = in_pod()
    if found is None:
        raise ConfigError(
            "not in a Pod with a ServiceAccount; name a file with --kubeconfig, or in KUBECONFIG"
        )
    return found


class ClusterSource:
    """Follows a cluster, or some of its namespaces."""

    def __init__(
        self,
        access: Access,
        namespaces: Sequence[str] = (),
        kinds: Sequence[Followed] = WHOLE,
        needed: str | None = None,
        names: Mapping[str, str] | None = None,
        fixed: InferencePool | None = None,
    ) -> None:
        """*needed*, *names*, *fixed*: see `KubeSource`."""
        self._access, self._namespaces, self._kinds, self._needed = access, namespaces, kinds, needed
        self._names, self._fixed = names, fixed
        self.seen: Callable[[Identity, Mapping[str, Any] | None], None] = lambda identity, raw: None
        """Told of raw objects, see `KubeSource`."""
        self._keys = ApiKeys()
        self._source: KubeSource | None = None

    def collection_of(self, identity: Identity) -> Collection | None:
        """Where objects of this kind are written to; None: not known yet."""
        return None if self._source is None else self._source.collection_of(identity)

    async def changes(self) -> AsyncGenerator[Snapshot | Difference, None]:
        """See `Source`. Raises ConfigError when the certificates for the API server cannot be used."""
        async with KubeClient(self._access) as client:
            names = Names(lambda: source.nudge())
            as_of = -1
            known: tuple[Mapping[str, ApiKey], tuple[Problem, ...]] = ({}, ())

            async def complete(kept: Kept, read: Snapshot) -> Snapshot:
                nonlocal as_of, known
                addresses = await names.of(kept.hosts, asyncio.get_running_loop().time())
                if kept.key_changes != as_of:
                    as_of = kept.key_changes
                    keyed = [kept.with_keys[each] for each in sorted(kept.with_keys)]
                    known = self._keys.read((*keyed, *kept.secrets.values()))
                keys, wrong = known
                return replace(read, addresses=addresses, api_keys=keys, problems=(*read.problems, *wrong))

            source = self._source = KubeSource(
                client,
                self._namespaces,
                kinds=self._kinds,
                needed=self._needed,
                names=self._names,
                fixed=self._fixed,
                complete=complete,
                seen=self.seen,
            )
            async for news in source.changes():
                yield news
