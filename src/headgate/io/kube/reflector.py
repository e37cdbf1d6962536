"""Follows one collection: a list, then a watch from there on, for ever. What was known stays while the server
is away."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headgate.io.kube.client import ApiError, Collection, KubeClient
from headgate.io.kube.kinds import Followed, Keep, identity_of, read
from headgate.manifests.decode import Decoded
from headgate.model.meta import Identity

log = logging.getLogger(__name__)

WATCH_S = 300.0
"""A watch is begun anew after so long, give or take a third: then a proxy's silence is over, too."""

RESYNC_S = 3600.0
"""The whole is listed anew after so long, give or take a third."""

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 30.0

EAGER_LOOKS = 20
"""For a kind that is not there, one each second: CRDs often come a moment after us."""

SHORT_S = 1.0
"""A watch that ends sooner without a word is a failure, too."""


def wait_s(failures: int, dice: float, least: float = 0.0) -> float:
    """How long to wait after so many failures in a row; *dice* in [0, 1) keeps many clients apart."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * float(2 ** min(failures - 1, 20)))
    return max(least, longest * (0.5 + dice / 2))


class Seen(msgspec.Struct, frozen=True):
    """An object as it is now."""

    decoded: Decoded
    raw: Mapping[str, Any]
    """All of it; not to be kept."""


Told = Callable[[Identity, Seen | None], None]
"""Told of each object that counts and is new or other, and of each that is gone (None)."""


class Reflector:
    """One collection, or a namespace's part of it. `run` follows it until cancelled."""

    def __init__(
        self,
        client: KubeClient,
        followed: Followed,
        told: Told,
        changed: Callable[[], None],
        *,
        namespace: str = "",
        name: str = "",
        labels: str = "",
        keep: Keep = lambda _: True,
    ) -> None:
        """*namespace*, *name*, *labels* (a selector): of what is followed; empty: all. *changed*: called
        after `told` was, and when `trouble` or `synced` is another."""
        self._client, self.followed, self._told, self._changed = client, followed, told, changed
        self._namespace, self._name, self._labels, self._keep = namespace, name, labels, keep
        self.synced = False
        """All that is there has been told of once."""
        self.trouble: ApiError | None = None
        """Why what was told may be old."""
        self._known: set[Identity] = set()
        self._version = ""
        """resourceVersion to go on from."""
        self._stale = True
        """A list is due."""
        self._collection: Collection | None = None
        self._watching: asyncio.Task[None] | None = None
        self._failures = 0
        self._listing = False
        self._meanwhile: set[Identity] | None = None
        """What was told of while `count_more` waits for its list, which may be older."""

    @property
    def collection(self) -> Collection | None:
        """The version that is followed; None: the server has none, or did not say yet."""
        return self._collection

    @property
    def where(self) -> str:
        """For people."""
        kind = str(self._collection or self.followed.collections()[0])
        return f"{kind} in {self._namespace}" if self._namespace else kind

    def again(self) -> None:
        """What counts is another: list all of it anew."""
        self._stale = True
        if self._watching is not None:
            self._watching.cancel()

    async def count_more(self, labels: str) -> None:
        """What has *labels* (a label selector) counts now, too: list that alone, beside the watch.

        Raises ApiError; then what there is is not known.
        """
        collection = self._collection
        if self._listing or not self.synced or collection is None:
            self.again()
            return
        newer: set[Identity] = set()
        self._meanwhile = newer
        try:
            params = {**self._params(), "labelSelector": labels}
            async for page, _ in self._client.pages(collection.path(self._namespace), params):
                for identity, seen in await asyncio.to_thread(self._read_all, collection, page):
                    if identity not in newer:
                        self._known.add(identity)
                        self._told(identity, seen)
        finally:
            self._meanwhile = None
        self._changed()

    def count_less(self, still: Callable[[Identity], bool]) -> None:
        """Of what was told of, only what *still* says counts."""
        if self._listing:
            self.again()
        for each in sorted(self._known):
            if not still(each):
                self._known.discard(each)
                self._told(each, None)
        self._changed()

    async def run(self) -> None:
        """Follow, whatever happens."""
        clock = asyncio.get_running_loop().time
        resync = 0.0
        while True:
            try:
                if self._stale or clock() >= resync:
                    await self._list()
                    resync = clock() + RESYNC_S * (0.67 + random.random() / 1.5)
                    if self._stale:  # what counts became another meanwhile
                        continue
                began = clock()
                try:
                    await self._watch()
                finally:
                    if clock() - began >= SHORT_S:  # what comes later is no longer the same trouble
                        self._failures = 0
                if clock() - began < SHORT_S and not self._stale:
                    raise ApiError(0, "Unreachable", f"watch {self.where}: ended at once")
            except ApiError as error:
                await asyncio.sleep(self._failed(error))

    def forget(self) -> None:
        """It is followed no longer: all that was told of is gone."""
        for each in sorted(self._known):
            self._told(each, None)
        self._known.clear()

    def _failed(self, error: ApiError) -> float:
        """How long to wait."""
        self._failures += 1
        if not self._version or error.gone:
            self._stale = True
        if error.gone:
            return 0.0 if self._failures == 1 else wait_s(self._failures, random.random())
        if error.status == 404:
            # the kind is not there (any more), and so is none of its objects
            self._stale, self._collection, self._version = True, None, ""
            self.forget()
            self.synced, self.trouble = True, None
            self._changed()
            eager = self._failures <= EAGER_LOOKS
            return SHORT_S if eager else wait_s(self._failures - EAGER_LOOKS, random.random())
        log.debug("%s: %s", self.where, error)
        if self._failures > 1 or not self.synced:  # one watch that breaks off is nothing
            self.trouble = error
            self._changed()
        if error.retry_after_s:  # the server knows better, as for a kind whose CRD is new
            told = max(FIRST_WAIT_S, error.retry_after_s)
            return min(told * (1 + random.random() / 2), LONGEST_WAIT_S)
        return wait_s(self._failures, random.random())

    def _well(self) -> None:
        if self.trouble is not None:
            self.trouble = None
            self._changed()

    async def _list(self) -> None:
        self._listing, self._stale = True, False
        try:
            await self._list_all()
        except ApiError:
            self._stale = True
            raise
        finally:
            self._listing = False

    async def _list_all(self) -> None:
        collection = self._collection or await self._found()
        there: set[Identity] = set()
        params = self._params()
        version = ""
        async for page, listed in self._client.pages(collection.path(self._namespace), params):
            version = listed
            for identity, seen in await asyncio.to_thread(self._read_all, collection, page):
                there.add(identity)
                self._note(identity)
                self._told(identity, seen)
        for gone in sorted(self._known - there):
            self._note(gone)
            self._told(gone, None)
        self._collection, self._known, self._version = collection, there, version
        self._well()
        self.synced = True
        self._changed()

    async def _found(self) -> Collection:
        """The best version that the server has. Raises ApiError, 404 when it has none."""
        for each in self.followed.collections():
            listed = await self._client.find(each.root)
            resources = listed.get("resources") if isinstance(listed, Mapping) else None
            names = {one.get("name") for one in resources or () if isinstance(one, Mapping)}
            if each.plural in names:
                return each
        raise ApiError(404, "NotFound", f"the server has no {self.followed.kind} of {self.followed.group}")

    def _params(self) -> dict[str, str]:
        named = {"fieldSelector": f"metadata.name={self._name}"} if self._name else {}
        return named | ({"labelSelector": self._labels} if self._labels else {})

    def _read_all(self, collection: Collection, page: list[Any]) -> list[tuple[Identity, Seen]]:
        return [found for each in page if (found := self._read(collection, each)) is not None]

    def _read(self, collection: Collection, raw: Any) -> tuple[Identity, Seen] | None:
        if not isinstance(raw, Mapping) or not self._keep(raw):
            return None
        return identity_of(self.followed, raw), Seen(read(self.followed, collection.version, raw), raw)

    async def _watch(self) -> None:
        """Until the server ends it, or `again`. Raises ApiError."""
        self._watching = asyncio.create_task(self._events())
        try:
            await self._watching
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._watching.cancelled() or (task is not None and task.cancelling()):
                raise
        finally:
            watching, self._watching = self._watching, None
            if not watching.done():
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError, ApiError):
                    await watching

    async def _events(self) -> None:
        collection = self._collection
        assert collection is not None
        longest = WATCH_S * (0.67 + random.random() / 1.5)
        params = {**self._params(), "resourceVersion": self._version}
        async with contextlib.aclosing(
            self._client.watch(collection.path(self._namespace), params, longest)
        ) as events:
            async for event in events:
                metadata = event.object.get("metadata") if isinstance(event.object, Mapping) else None
                if not isinstance(metadata, Mapping):
                    raise ApiError(410, "BadAnswer", f"watch {self.where}: an event without an object")
                self._well()
                if event.type != "BOOKMARK":
                    self._take(collection, event.type, event.object)
                self._version = str(metadata.get("resourceVersion", ""))

    def _take(self, collection: Collection, kind: str, raw: Mapping[str, Any]) -> None:
        found = None if kind == "DELETED" else self._read(collection, raw)
        self._note(identity_of(self.followed, raw))
        if found is not None:
            self._known.add(found[0])
            self._told(*found)
        elif (identity := identity_of(self.followed, raw)) in self._known:
            self._known.discard(identity)
            self._told(identity, None)
        else:
            return
        self._changed()

    def _note(self, identity: Identity) -> None:
        if self._meanwhile is not None:
            self._meanwhile.add(identity)
