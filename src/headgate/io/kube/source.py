"""The objects of a cluster, and how they change: a reflector for each kind, and for what others need."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from headgate.io.kube.client import ApiError, Collection, KubeClient
from headgate.io.kube.kinds import PODS, REFERRED, REQUIRED, WHOLE, Followed
from headgate.io.kube.reflector import Reflector, Seen
from headgate.io.kube.wanted import REFERRING, Reference, Selector, Selectors, references, selected, selectors
from headgate.model.kept import Kept
from headgate.model.meta import Identity, KubeObject
from headgate.model.objects import InferencePool
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Difference, Snapshot
from headgate.model.words import counted

log = logging.getLogger(__name__)

TOGETHER_S = 0.005
"""What comes within so long after something was told is told together; what comes later, at once."""

SETTLE_S = 1.0
"""What tells of an object that names a Secret, or of a pool, waits so long for the Secret, or the Pods."""

MOST_LISTS = 8
"""New pools of a namespace up to which the pods of each are listed; all pods of it, when there are more."""

LOOK_AGAIN_S = 5.0
"""What `complete` adds may be another after so long: addresses of host names."""

WAITING_S = 10.0
"""How often it is said that the first read is not complete."""


class KubeSource:
    """Follows a cluster, or some namespaces of it. Yields nothing before all that counts was read once."""

    def __init__(
        self,
        client: KubeClient,
        namespaces: Sequence[str] = (),
        *,
        kinds: Sequence[Followed] = WHOLE,
        needed: str | None = None,
        names: Mapping[str, str] | None = None,
        fixed: InferencePool | None = None,
        complete: Callable[[Kept, Snapshot], Awaitable[Snapshot]] | None = None,
        seen: Callable[[Identity, Mapping[str, Any] | None], None] = lambda identity, raw: None,
    ) -> None:
        """*client*: open for as long as changes are asked for. *namespaces*: that are followed; none: all.
        *kinds*: of which every object counts.
        *needed*: a kind without which nothing can be done; others that may not be read are taken for empty.
        None: all of them are waited for.
        *names*: kind → the name of the only one of its objects that counts. *fixed*: a pool that is no object
        of the cluster, whose pods count.
        *complete*: adds to a snapshot without objects what is in none; asked again and again. *seen*: told of
        each raw object of a kind that is followed whole, before it is forgotten, and of each that is gone
        (None)."""
        self._client, self._complete, self._seen = client, complete, seen
        self._namespaces = tuple(namespaces) or ("",)
        self._kinds, self._names = kinds, names or {}
        self._essential = needed
        self._kept = Kept()
        self._needing: dict[Identity, KubeObject] = {}
        """Objects that need others."""
        if fixed is not None:
            self._needing[fixed.identity] = fixed
        self._problems: dict[Identity, tuple[Problem, ...]] = {}
        self._whole: list[Reflector] = []
        self._further: dict[Reference, Reflector] = {}
        """Reflectors of pods (`Pod`, namespace, empty) and of what is referred to."""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._selectors: Selectors = {}
        self._dirty = asyncio.Event()
        self._needs_changed = True
        """What is needed of Secrets, ConfigMaps and Pods may be another."""

    async def changes(self) -> AsyncGenerator[Snapshot | Difference, None]:
        """The objects as they are now, then what changed. To be asked for once."""
        try:
            self._whole = [
                self._begin(
                    Reflector(
                        self._client,
                        each,
                        self._told,
                        self._changed,
                        namespace=namespace,
                        name=self._names.get(each.kind, ""),
                    )
                )
                for each in self._kinds
                for namespace in (self._namespaces if each.namespaced else ("",))
            ]
            await self._read_once()
            clock = asyncio.get_running_loop().time
            while True:
                self._dirty.clear()
                await self._follow_needs()
                beside = Snapshot(problems=tuple(self._all_problems()), cluster=True)
                if self._complete is not None:
                    beside = await self._complete(self._kept, beside)
                news = self._kept.news(beside)
                if news is not None:
                    yield news
                told_at = clock()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await self._dirty.wait()
                await asyncio.sleep(max(0.0, told_at + TOGETHER_S - clock()))
        finally:
            await self._stop(list(self._tasks))

    def nudge(self) -> None:
        """What `complete` adds is another."""
        self._dirty.set()

    def collection_of(self, identity: Identity) -> Collection | None:
        """Where objects of this kind are; None: not known, or nowhere."""
        for each in self._whole:
            if (each.followed.group, each.followed.kind) == (identity.group, identity.kind):
                return each.collection
        return None

    async def _read_once(self) -> None:
        """Wait until everything was read."""
        while waiting := self._waiting():
            try:
                async with asyncio.timeout(WAITING_S):
                    while self._waiting():
                        self._dirty.clear()
                        await self._dirty.wait()
            except TimeoutError:
                first = min(waiting, key=lambda each: (not _refused(each.trouble), each.trouble is None))
                why = f"{first.where}: {_advice(first.trouble)}"
                log.warning(
                    "waiting for the API server %s: %d of %d kinds are not read yet; %s",
                    self._client.access.server,
                    len(waiting),
                    len(self._whole),
                    why,
                )

    def _waiting(self) -> list[Reflector]:
        """Reflectors that have not read yet what cannot be done without."""
        found = [each for each in self._whole if not each.synced]
        if self._essential is None or not found:
            return found
        there = any(
            each.synced and each.collection is not None
            for each in self._whole
            if each.followed.kind == self._essential
        )
        return [each for each in found if not (there and _refused(each.trouble))]

    async def _follow_needs(self) -> None:
        """Begin and end what the other objects need, and wait a moment for what is new."""
        if not self._needs_changed:
            return
        self._needs_changed = False
        needing = self._needing.values()
        wanted = {each for each in references(needing) if self._is_followed(each[1])}
        chosen = selectors(needing)
        before, self._selectors = self._selectors, chosen
        wanted |= {("Pod", namespace, "") for namespace in chosen}
        for key in [key for key in self._further if key not in wanted]:
            reflector = self._further.pop(key)
            await self._stop([id(reflector)])
            reflector.forget()
        fresh: list[Reflector] = []
        for key in sorted(wanted - set(self._further)):
            self._further[key] = self._begin(self._needed(key))
            fresh.append(self._further[key])
        await asyncio.gather(
            *(
                self._select_anew(namespace, before[namespace], some)
                for namespace, some in chosen.items()
                if namespace in before and some != before[namespace]
            )
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while any(not each.synced for each in fresh):
                    await self._dirty.wait()
                    self._dirty.clear()

    async def _select_anew(
        self, namespace: str, before: frozenset[Selector], now: frozenset[Selector]
    ) -> None:
        """The pools of a namespace select other pods: only those that come and go with that are asked for."""
        pods = self._further["Pod", namespace, ""]
        if before - now:
            pods.count_less(lambda each: self._is_still_selected(namespace, each))
        try:
            if len(now - before) > MOST_LISTS:
                pods.again()
                return
            async with asyncio.timeout(SETTLE_S):
                for labels in sorted(now - before):
                    await pods.count_more(",".join(f"{key}={value}" for key, value in labels))
        except (ApiError, TimeoutError):
            pods.again()

    def _is_still_selected(self, namespace: str, pod: Identity) -> bool:
        """One that cannot be read stays until it is another, or listed anew."""
        found = self._kept.objects.get(pod)
        return found is None or selected(self._selectors.get(namespace, ()), found.metadata.labels)

    def _needed(self, key: Reference) -> Reflector:
        kind, namespace, name = key
        if kind == "Pod":
            return Reflector(
                self._client,
                PODS,
                self._told,
                self._changed,
                namespace=namespace,
                keep=lambda raw: self._is_selected(namespace, raw),
            )
        return Reflector(
            self._client, REFERRED[kind], self._told, self._changed, namespace=namespace, name=name
        )

    def _is_followed(self, namespace: str) -> bool:
        return self._namespaces == ("",) or namespace in self._namespaces

    def _is_selected(self, namespace: str, raw: Mapping[str, Any]) -> bool:
        metadata = raw.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
        return isinstance(labels, Mapping) and selected(self._selectors.get(namespace, ()), labels)

    def _begin(self, reflector: Reflector) -> Reflector:
        self._tasks[id(reflector)] = asyncio.create_task(reflector.run())
        return reflector

    async def _stop(self, which: Sequence[int]) -> None:
        tasks = [self._tasks.pop(each) for each in which]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self) -> None:
        self._dirty.set()

    def _told(self, identity: Identity, seen: Seen | None) -> None:
        if seen is not None:
            self._seen(identity, seen.raw)
        elif identity.kind not in ("Pod", *REFERRED):
            self._seen(identity, None)
        found = None if seen is None else seen.decoded.object
        problems = () if seen is None else seen.decoded.problems
        before = self._kept.objects.get(identity)
        if problems:
            self._problems[identity] = problems
        else:
            self._problems.pop(identity, None)
        if found == before:
            return
        if isinstance(found or before, (*REFERRING, InferencePool)):
            self._note_needs(identity, found)
        self._kept.put(identity, found)

    def _note_needs(self, identity: Identity, found: KubeObject | None) -> None:
        before, now = _needs(self._needing.pop(identity, None)), _needs(found)
        if found is not None and any(now):
            self._needing[identity] = found
        if before != now:
            self._needs_changed = True

    def _all_problems(self) -> Iterator[Problem]:
        for identity in sorted(self._problems):
            yield from self._problems[identity]
        troubled = sorted(
            (each for each in (*self._whole, *self._further.values()) if each.trouble is not None),
            key=lambda each: each.where,
        )
        stays = "what was read before stays in force"
        away = [each for each in troubled if not _refused(each.trouble)]
        if away:
            message = f"{counted(len(away), 'kind')} cannot be read now; {stays} ({away[0].trouble})"
            place = Place(object=f"API server {self._client.access.server}")
            yield Problem(place, "APIUnreachable", message, "warning")
        for each in troubled:
            if _refused(each.trouble):
                place = Place(object=f"API server {each.where}")
                yield Problem(place, "Forbidden", f"{_advice(each.trouble)}; {stays}", "warning")
        there = {each.followed.kind for each in self._whole if each.collection is not None}
        for kind in sorted({each.kind for each in self._kinds if each.kind in REQUIRED} - there):
            message = "the cluster has no such kind: install the CRDs of the Gateway API"
            yield Problem(Place(object=f"API server {kind}"), "MissingKind", message, "warning")


def _needs(each: KubeObject | None) -> tuple[frozenset[Reference], Selectors]:
    some = () if each is None else (each,)
    return references(some), selectors(some)


def _refused(trouble: ApiError | None) -> bool:
    return trouble is not None and trouble.status in (401, 403)


def _advice(trouble: ApiError | None) -> str:
    """What is wrong, and what helps."""
    if trouble is None:
        return "there is no answer yet"
    if trouble.status == 401:
        return f"the API server does not know who asks; look at the token or certificate ({trouble})"
    if trouble.status == 403:
        return f"not allowed; give the ServiceAccount get, list and watch of it ({trouble})"
    return str(trouble)
