"""Of several pickers of a pool one is ready: the one that holds their Lease."""

import asyncio
from collections.abc import Awaitable, Callable

from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.lease import Election, this_process

WORDS = (
    "this picker leads: it is ready",
    "this picker leads no more, and is not ready; it answers what still comes",
)


def pickers_lease(namespace: str, pool: str) -> str:
    """The Lease that llm-d's pickers of the pool hold, `namespace/name`."""
    return f"{namespace}/epp-{namespace}-{pool}.llm-d.ai"


class Leading:
    """Whether this process is the one; it always is without a Lease."""

    def __init__(self, access: Access | None, lease: str, changed: Callable[[], Awaitable[None]]) -> None:
        """*lease*: `namespace/name`, or empty. *changed* is awaited when `now` becomes another."""
        self._access, self._lease, self._changed = access, lease, changed
        self.now = not lease
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; lets go of the Lease then."""
        if not self._lease or self._access is None:
            return
        namespace, _, name = self._lease.partition("/")
        async with KubeClient(self._access) as client, asyncio.TaskGroup() as group:
            election = Election(client, namespace, name, this_process(namespace), self._told, WORDS)
            group.create_task(election.run())
            group.create_task(self._tell())

    def _told(self, leading: bool) -> None:
        self.now = leading
        self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._changed()
