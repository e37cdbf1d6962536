"""A peer that speaks as a Kubernetes API server does: lists in pages, watches with bookmarks, conflicts, and
whatever it is told to refuse. It checks nothing that a CRD would check."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from aiohttp import web

Json = dict[str, Any]

KINDS: dict[str, tuple[tuple[str, str], ...]] = {
    "v1": (
        ("services", "Service"),
        ("namespaces", "Namespace"),
        ("pods", "Pod"),
        ("secrets", "Secret"),
        ("configmaps", "ConfigMap"),
        ("serviceaccounts", "ServiceAccount"),
    ),
    "discovery.k8s.io/v1": (("endpointslices", "EndpointSlice"),),
    "apps/v1": (("deployments", "Deployment"),),
    "coordination.k8s.io/v1": (("leases", "Lease"),),
    "gateway.networking.k8s.io/v1": (
        ("gatewayclasses", "GatewayClass"),
        ("gateways", "Gateway"),
        ("httproutes", "HTTPRoute"),
        ("referencegrants", "ReferenceGrant"),
    ),
    "inference.networking.k8s.io/v1": (("inferencepools", "InferencePool"),),
    "inference.networking.x-k8s.io/v1alpha2": (("inferencemodels", "InferenceModel"),),
    "headgate.dev/v1alpha1": (("modelservers", "ModelServer"), ("gatewayparameters", "GatewayParameters")),
}
"""apiVersion → plural and kind, as after the CRDs were applied."""

CLUSTER_WIDE = ("GatewayClass", "Namespace")

Key = tuple[str, str, str, str]
"""apiVersion, plural, namespace, name."""


class Hold:
    """An answer that is made and not sent yet."""

    def __init__(self) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()


class ApiServer:
    """Objects in memory. `url` is set while `running`."""

    def __init__(self) -> None:
        self.kinds = dict(KINDS)
        self.objects: dict[Key, Json] = {}
        self.version = 100
        self.log: list[tuple[int, str, Key, Json]] = []
        """What happened: version, type, key, object."""
        self.compacted = 0
        """Versions up to here are forgotten."""
        self.refused: dict[str, int] = {}
        """Plural → status of the answer to every request for it."""
        self.away = False
        """Every connection is ended at once."""
        self.tokens: dict[str, bool] = {}
        """Token → whether who has it may get `/metrics`; others are nobody's."""
        self.watches_end_with: Json | None = None
        """A Status that every watch begins and ends with."""
        self.conflicts = 0
        """So many writes are refused as if somebody else had been faster."""
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        """Method, path, query."""
        self._held: dict[str, Hold] = {}
        self.url = ""
        self._changed = asyncio.Event()
        self._watches: set[asyncio.Task[Any]] = set()

    def put(self, document: Mapping[str, Any]) -> Json:
        """Create or change an object, as `kubectl apply` would."""
        made: Json = json.loads(json.dumps(document))
        key = self._key(made)
        before = self.objects.get(key)
        meta = made["metadata"]
        meta.setdefault("namespace", key[2]) if key[2] else None
        meta["uid"] = before["metadata"]["uid"] if before else f"uid-{self.version}"
        meta.setdefault(
            "creationTimestamp", before["metadata"]["creationTimestamp"] if before else "2026-01-01T00:00:00Z"
        )
        changed = before is None or before.get("spec") != made.get("spec")
        meta["generation"] = (before["metadata"]["generation"] if before else 0) + (1 if changed else 0)
        if before is not None and "status" in before:
            made.setdefault("status", before["status"])
        return self._store("ADDED" if before is None else "MODIFIED", key, made)

    def remove(self, document: Mapping[str, Any]) -> None:
        """Delete an object."""
        key = self._key(document)
        found = self.objects.pop(key)
        self._note("DELETED", key, found)

    def get(self, plural: str, name: str, namespace: str = "default") -> Json | None:
        """An object as it is now."""
        for key, each in self.objects.items():
            if key[1:] in ((plural, namespace, name), (plural, "", name)):
                return each
        return None

    def compact(self) -> None:
        """Forget what happened, and end every watch: who goes on from before must list anew."""
        self.compacted = self.version
        self.log.clear()
        self.end_watches()

    def hold(self, parameter: str) -> "Hold":
        """Keep the answer to the next request with that parameter back, once it is made."""
        self._held[parameter] = held = Hold()
        return held

    def end_watches(self) -> None:
        """Break every watch off."""
        for each in self._watches:
            each.cancel()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ApiServer"]:
        """Serve on a port of this machine."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port, *_ = runner.addresses[0]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            self.end_watches()
            await runner.cleanup()

    def _key(self, document: Mapping[str, Any]) -> Key:
        api, kind, meta = document["apiVersion"], document["kind"], document["metadata"]
        plural = next(plural for plural, its in KINDS[api] if its == kind)
        namespace = "" if kind in CLUSTER_WIDE else meta.get("namespace", "default")
        return api, plural, namespace, meta["name"]

    def _store(self, what: str, key: Key, made: Json) -> Json:
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = made
        self._note(what, key, made)
        return made

    def _note(self, what: str, key: Key, each: Json) -> None:
        if what == "DELETED":
            self.version += 1
            each = {**each, "metadata": {**each["metadata"], "resourceVersion": str(self.version)}}
        self.log.append((self.version, what, key, each))
        self._changed.set()
        self._changed = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.away:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        path = request.path
        self.asked.append((request.method, path, dict(request.query)))
        if path == "/version":
            return web.json_response({"gitVersion": "v1.35.0"})
        if path.endswith(("/tokenreviews", "/subjectaccessreviews")):
            plural = path.rpartition("/")[2]
            if plural in self.refused:
                return _status(self.refused[plural], "Forbidden", f"{plural} is refused")
            if "resourceAttributes" not in (await request.json())["spec"]:
                return await self._review(request)
            asked = (await request.json())["spec"]["resourceAttributes"]
            return web.json_response({"status": {"allowed": asked["resource"] not in self.refused}})
        parts = path.strip("/").split("/")
        api = parts[1] if parts[0] == "api" else "/".join(parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if api not in self.kinds:
            return _status(404, "NotFound", "no such group")
        if not rest:
            found = [{"name": plural, "kind": kind} for plural, kind in self.kinds[api]]
            return web.json_response({"kind": "APIResourceList", "resources": found})
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = (*rest, "", "")[:3]
        if plural in self.refused:
            return _status(self.refused[plural], "Forbidden", f"{plural} is refused")
        if plural not in dict(self.kinds[api]):
            return _status(404, "NotFound", "no such kind")
        if request.method == "GET" and not name:
            if request.query.get("watch"):
                return await self._watch(request, api, plural, namespace)
            return await self._when_let_go(request, self._list(request, api, plural, namespace))
        return await self._when_let_go(request, await self._one(request, (api, plural, namespace, name), sub))

    async def _when_let_go(self, request: web.Request, answer: web.Response) -> web.Response:
        for each in self._held.keys() & request.query.keys():
            held = self._held.pop(each)
            held.reached.set()
            await held.go_on.wait()
        return answer

    async def _review(self, request: web.Request) -> web.Response:
        """TokenReview and SubjectAccessReview, which are asked and never kept; users are named as their token."""
        asked: Json = await request.json()
        spec = asked["spec"]
        if asked["kind"] == "TokenReview":
            known = spec["token"] in self.tokens
            user = {"username": spec["token"], "uid": "u", "groups": ["system:authenticated"]}
            status: Json = {"authenticated": True, "user": user} if known else {"authenticated": False}
        else:
            page = spec["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
            status = {"allowed": page and self.tokens[spec["user"]]}
        return web.json_response({**asked, "status": status}, status=201)

    def _matches(self, request: web.Request, key: Key, api: str, plural: str, namespace: str) -> bool:
        wanted = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        return key[:2] == (api, plural) and namespace in ("", key[2]) and wanted in ("", key[3])

    def _list(self, request: web.Request, api: str, plural: str, namespace: str) -> web.Response:
        labels = dict(each.split("=") for each in request.query.get("labelSelector", "").split(",") if each)
        keys = sorted(
            key
            for key, each in self.objects.items()
            if self._matches(request, key, api, plural, namespace)
            and labels.items() <= each["metadata"].get("labels", {}).items()
        )
        first = int(request.query.get("continue", "0"))
        limit = int(request.query.get("limit", "500"))
        meta = {"resourceVersion": str(self.version)}
        if first + limit < len(keys):
            meta["continue"] = str(first + limit)
        items = [_bare(self.objects[key]) for key in keys[first : first + limit]]
        return web.json_response({"metadata": meta, "items": items})

    async def _watch(self, request: web.Request, api: str, plural: str, namespace: str) -> web.StreamResponse:
        since = int(request.query.get("resourceVersion", "0"))
        answer = web.StreamResponse()
        answer.content_type = "application/json"
        await answer.prepare(request)

        async def say(what: str, each: Any) -> None:
            await answer.write(json.dumps({"type": what, "object": each}).encode() + b"\n")

        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            if self.watches_end_with is not None:
                await say("ERROR", self.watches_end_with)
                return answer
            if since < self.compacted:
                await say("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
                return answer
            while True:
                changed = self._changed
                for version, what, key, each in list(self.log):
                    if version > since and self._matches(request, key, api, plural, namespace):
                        await say(what, each)
                since = self.version
                await say("BOOKMARK", {"metadata": {"resourceVersion": str(since)}})
                await changed.wait()
        except asyncio.CancelledError:
            if request.transport is not None:
                request.transport.abort()
            return answer
        finally:
            self._watches.discard(task)

    async def _one(self, request: web.Request, key: Key, sub: str) -> web.Response:
        if request.method == "POST":
            made = await request.json()
            key = (*key[:3], made["metadata"]["name"])
            if key in self.objects:
                return _status(409, "AlreadyExists", "it is there")
            return web.json_response(self.put(made))
        before = self.objects.get(key)
        applied = request.content_type == "application/apply-patch+yaml"
        if before is None and not (request.method == "PATCH" and applied):
            return _status(404, "NotFound", "no such object")
        if request.method == "GET":
            return web.json_response(before)
        if request.method == "DELETE":
            del self.objects[key]
            assert before is not None
            self._note("DELETED", key, before)
            return web.json_response({"kind": "Status", "status": "Success"})
        body = await request.json()
        version = body.get("metadata", {}).get("resourceVersion")
        is_old = before is not None and version not in (None, before["metadata"]["resourceVersion"])
        if is_old or self.conflicts:
            self.conflicts = max(0, self.conflicts - 1)
            return _status(409, "Conflict", "the object has been modified")
        if before is None:
            return web.json_response(self.put(body))
        merged = _merge(before, {"status": body.get("status")} if sub == "status" else body)
        merged["metadata"] = {
            **before["metadata"],
            **{
                k: v
                for k, v in merged["metadata"].items()
                if k in ("labels", "annotations", "ownerReferences")
            },
        }
        if sub != "status":
            return web.json_response(self.put(merged))
        return web.json_response(self._store("MODIFIED", key, merged))


def _bare(document: Json) -> Json:
    """As items of lists are: without what the list says."""
    return {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}


def _merge(before: Any, patch: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)


async def until(reached: Callable[[], object]) -> None:
    """Waits until *reached* holds; raises TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.005)
