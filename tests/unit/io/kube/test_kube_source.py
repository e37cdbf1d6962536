"""The source over a cluster: what it keeps, how it goes on after every way in which a watch can end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests import manifests as manifest
from tests.api_server import ApiServer
from tests.work import counted_steps

from headgate.io.kube import client as client_module
from headgate.io.kube import reflector as reflector_module
from headgate.io.kube import source as source_module
from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.kinds import PODS, WHOLE, Followed, read
from headgate.io.kube.reflector import Seen
from headgate.io.kube.source import KubeSource
from headgate.model.meta import Identity
from headgate.model.objects import EXPORT, InferencePool, InferencePoolImport, Pod, Secret
from headgate.model.snapshot import Difference, Snapshot, difference, held, take
from headgate.model.store import Store


class Following:
    """A source in a task, and what it has told so far."""

    def __init__(self, source: KubeSource) -> None:
        self.source = source
        self.last: Snapshot | None = None
        self.world = Store({})
        self.taken = 0

    async def run(self) -> None:
        async with contextlib.aclosing(self.source.changes()) as changes:
            async for each in changes:
                assert isinstance(each, Snapshot) == (self.taken == 0)
                take(self.world, difference(held(self.world), each) if isinstance(each, Snapshot) else each)
                self.last, self.taken = held(self.world), self.taken + 1

    def names(self, kind: str) -> list[str]:
        return [each.name for each in self.last.objects if kind == each.KIND] if self.last else []

    async def until(self, reached: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not reached():
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector_module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(reflector_module, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(source_module, "WAITING_S", 0.05)


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer().running() as server:
        yield server


@contextlib.asynccontextmanager
async def following(api: ApiServer, *namespaces: str, **more: Any) -> AsyncIterator[Following]:
    async with KubeClient(Access(server=api.url)) as client:
        found = Following(KubeSource(client, namespaces, **more))
        task = asyncio.create_task(found.run())
        try:
            yield found
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def pod(name: str, **labels: str) -> dict[str, Any]:
    meta = {"name": name, "labels": labels, "annotations": {"kubectl.kubernetes.io/last": "x" * 1000}}
    status = {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": "n"}, "status": status}


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"tls.key": "c2VjcmV0"}}


def gateway(certificate: str) -> dict[str, Any]:
    tls = {"certificateRefs": [{"name": certificate}]}
    listener = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}
    spec = {"gatewayClassName": "headgate", "listeners": [listener]}
    return manifest.manifest("Gateway", "gate", spec)


async def test_objects_come_are_changed_and_go(api: ApiServer) -> None:
    api.put(manifest.route(manifest.rule("p"), name="first"))
    async with following(api) as found:
        await found.until(lambda: found.names("HTTPRoute") == ["first"])
        api.put(manifest.route(manifest.rule("p"), name="second"))
        await found.until(lambda: found.names("HTTPRoute") == ["first", "second"])
        api.remove(manifest.route(manifest.rule("p"), name="first"))
        await found.until(lambda: found.names("HTTPRoute") == ["second"])


async def test_one_pool_of_many_may_be_followed_with_its_pods_alone(api: ApiServer) -> None:
    for each in (pod("a", app="p"), pod("b", app="q"), manifest.pool("p"), manifest.pool("q")):
        api.put(each)
    async with following(api, names={"InferencePool": "q"}) as found:
        await found.until(lambda: found.names("Pod") == ["b"])
        api.put(manifest.pool("r"))
        api.put(pod("c", app="q"))
        await found.until(lambda: found.names("Pod") == ["b", "c"])
        assert found.names("InferencePool") == ["q"]


async def test_only_needed_secrets_and_pods_are_kept_and_no_foreign_annotation(api: ApiServer) -> None:
    for each in (secret("used"), secret("other"), pod("a", app="p"), pod("b", app="q"), gateway("used")):
        api.put(each)
    api.put(manifest.pool("p"))
    async with following(api) as found:
        await found.until(lambda: found.names("Pod") == ["a"] and found.names("Secret") == ["used"])
        assert found.last is not None
        kept = next(each for each in found.last.objects if isinstance(each, Pod))
        assert not kept.metadata.annotations and kept.ready
        assert any(isinstance(each, Secret) and each.data for each in found.last.objects)
        assert not any(
            path.endswith("/secrets") and "fieldSelector" not in query for _, path, query in api.asked
        )
        api.put(gateway("other"))
        api.put(manifest.pool("q"))
        await found.until(lambda: found.names("Pod") == ["a", "b"] and found.names("Secret") == ["other"])
        api.put(pod("b", app="r"))
        await found.until(lambda: found.names("Pod") == ["a"])
        api.remove(manifest.pool("p"))
        await found.until(lambda: found.names("Pod") == [])


def lists_of_pods(api: ApiServer) -> list[str]:
    """The label selector of each."""
    return [
        query.get("labelSelector", "")
        for _, path, query in api.asked
        if path.endswith("/pods") and "watch" not in query
    ]


async def test_a_new_pool_asks_for_its_own_pods_and_a_gone_one_for_none(api: ApiServer) -> None:
    for each in (pod("a", app="p"), pod("b", app="q"), pod("c", app="r"), pod("d", app="q", tier="x")):
        api.put(each)
    api.put(manifest.pool("p"))
    async with following(api) as found:
        await found.until(lambda: found.names("Pod") == ["a"])
        assert lists_of_pods(api) == [""]
        taken = found.taken
        api.put(manifest.pool("q"))
        await found.until(lambda: found.names("InferencePool") == ["p", "q"])
        assert found.taken == taken + 1 and found.names("Pod") == ["a", "b", "d"], "they come together"
        api.remove(manifest.pool("p"))
        await found.until(lambda: found.names("Pod") == ["b", "d"])
        narrower: Any = manifest.pool("q")
        narrower["spec"]["selector"]["matchLabels"] = {"app": "q", "tier": "x"}
        api.put(narrower)
        await found.until(lambda: found.names("Pod") == ["d"])
        assert lists_of_pods(api) == ["", "app=q", "app=q,tier=x"]
        api.put(pod("e", app="q", tier="x"))
        api.remove(pod("d"))
        await found.until(lambda: found.names("Pod") == ["e"])


async def test_many_new_pools_ask_once_for_all_pods(api: ApiServer) -> None:
    api.put(manifest.pool("p"))
    async with following(api) as found:
        await found.until(lambda: found.last)
        names = [f"n{number}" for number in range(3 * source_module.MOST_LISTS)]
        for each in names:
            api.put(pod(each, app=each))
            api.put(manifest.pool(each))
        await found.until(lambda: found.names("Pod") == sorted(names))
        assert len(lists_of_pods(api)) < len(names)


async def test_what_the_watch_says_while_a_new_pools_pods_are_listed_counts(api: ApiServer) -> None:
    for each in (manifest.pool("p"), pod("a", app="q"), pod("b", app="q")):
        api.put(each)
    async with following(api) as found:
        await found.until(lambda: found.last)
        listed = api.hold("labelSelector")
        api.put(manifest.pool("q"))
        await listed.reached.wait()  # the server has made its answer, and keeps it
        api.remove(pod("a"))
        api.put(pod("b", app="q", new="yes"))
        pods = found.source._further["Pod", "default", ""]
        await found.until(lambda: pods._meanwhile is not None and len(pods._meanwhile) == 2)
        listed.go_on.set()
        await found.until(lambda: found.names("Pod") == ["b"])
        assert found.last is not None
        kept = next(each for each in found.last.objects if isinstance(each, Pod))
        assert kept.metadata.labels == {"app": "q", "new": "yes"}


async def test_pods_of_a_new_pool_that_cannot_be_listed_are_asked_for_again(api: ApiServer) -> None:
    for each in (manifest.pool("p"), pod("a", app="q")):
        api.put(each)
    async with following(api) as found:
        await found.until(lambda: found.last)
        api.refused["pods"] = 500
        api.put(manifest.pool("q"))
        await found.until(lambda: "app=q" in lists_of_pods(api))
        del api.refused["pods"]
        await found.until(lambda: found.names("Pod") == ["a"])


def routes_listed(api: ApiServer) -> int:
    return sum(path.endswith("/httproutes") and "watch" not in query for _, path, query in api.asked)


async def test_a_watch_that_breaks_goes_on_where_it_was(api: ApiServer) -> None:
    async with following(api) as found:
        await found.until(lambda: found.last)
        lists = routes_listed(api)
        api.end_watches()
        api.put(manifest.route(manifest.rule("p"), name="meanwhile"))
        await found.until(lambda: found.names("HTTPRoute") == ["meanwhile"])
        assert routes_listed(api) == lists
        assert found.last is not None and not found.last.problems


async def test_what_happened_unseen_is_found_by_listing_anew(api: ApiServer) -> None:
    api.put(manifest.route(manifest.rule("p"), name="old"))
    async with following(api) as found:
        await found.until(lambda: found.names("HTTPRoute") == ["old"])
        api.away = True
        api.end_watches()
        api.remove(manifest.route(manifest.rule("p"), name="old"))
        api.put(manifest.route(manifest.rule("p"), name="new"))
        api.compact()
        await found.until(
            lambda: found.last and any(p.reason == "APIUnreachable" for p in found.last.problems)
        )
        assert found.names("HTTPRoute") == ["old"], "what was read stays in force"
        api.away = False
        await found.until(lambda: found.names("HTTPRoute") == ["new"] and not _unreachable(found))


def _unreachable(found: Following) -> bool:
    assert found.last is not None
    return any(each.reason == "APIUnreachable" for each in found.last.problems)


async def test_nothing_is_yielded_before_everything_was_read(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api.put(manifest.route(manifest.rule("p"), name="r"))
    api.refused["services"] = 403
    async with following(api) as found:
        await found.until(lambda: "give the ServiceAccount get, list and watch of it" in caplog.text)
        assert "services" in caplog.text and found.taken == 0
        api.refused.clear()
        await found.until(lambda: found.names("HTTPRoute") == ["r"])


async def test_who_needs_one_kind_alone_waits_for_no_other_that_it_may_not_read(api: ApiServer) -> None:
    api.put(manifest.pool("p"))
    api.refused |= {"services": 403, "inferencemodels": 403, "inferencepools": 403}
    async with following(api, needed="InferencePool") as found:
        await asyncio.sleep(0.2)
        assert found.taken == 0, "that kind is waited for"
        del api.refused["inferencepools"]
        await found.until(lambda: found.names("InferencePool") == ["p"])
        assert found.last is not None
        assert "Forbidden" in {each.reason for each in found.last.problems}


async def test_a_kind_may_come_later_and_go(api: ApiServer) -> None:
    pools = api.kinds.pop("inference.networking.k8s.io/v1")
    api.put(manifest.pool("p"))
    async with following(api) as found:
        await found.until(lambda: found.last)
        assert found.names("InferencePool") == []
        api.kinds["inference.networking.k8s.io/v1"] = pools
        await found.until(lambda: found.names("InferencePool") == ["p"])
        del api.kinds["inference.networking.k8s.io/v1"]
        api.end_watches()
        await found.until(lambda: found.names("InferencePool") == [])


async def test_missing_crds_of_the_gateway_api_are_said(api: ApiServer) -> None:
    del api.kinds["gateway.networking.k8s.io/v1"]
    async with following(api) as found:
        await found.until(lambda: found.last)
        assert found.last is not None
        missing = [each for each in found.last.problems if each.reason == "MissingKind"]
        assert len(missing) == 3 and "install the CRDs" in missing[0].message


async def test_only_the_named_namespaces_are_asked_for(api: ApiServer) -> None:
    here = manifest.route(manifest.rule("p"), name="here")
    there = {**here, "metadata": {"name": "there", "namespace": "team"}}
    api.put(here)
    api.put(there)
    async with following(api, "team") as found:
        await found.until(lambda: found.names("HTTPRoute") == ["there"])
        assert not any(
            "/namespaces/default/" in path or path.endswith("/v1/httproutes") for _, path, _ in api.asked
        )


async def test_a_long_list_comes_in_pages(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE", 3)
    for number in range(8):
        api.put(manifest.route(manifest.rule("p"), name=f"r{number}"))
    async with following(api) as found:
        await found.until(lambda: len(found.names("HTTPRoute")) == 8)
        assert sum("continue" in query for _, path, query in api.asked if path.endswith("httproutes")) == 2


async def test_a_wrong_object_is_named_and_the_others_count(api: ApiServer) -> None:
    wrong = manifest.pool("wrong")
    wrong["spec"]["targetPorts"] = [{"number": 99_999_999}]
    api.put(wrong)
    api.put(manifest.pool("good"))
    async with following(api) as found:
        await found.until(lambda: found.names("InferencePool") == ["good"])
        assert found.last is not None
        assert [each.place.object for each in found.last.problems] == ["InferencePool default/wrong"]


async def test_a_cluster_s_object_cannot_name_the_gateway_s_files(api: ApiServer) -> None:
    server = manifest.model_server("s", "10.0.0.1:8000", app="s")
    server["spec"]["apiKey"] = {"file": "/etc/passwd"}
    api.put(server)
    async with following(api) as found:
        await found.until(lambda: found.last and found.last.problems)
        assert found.last is not None and found.names("ModelServer") == []
        assert found.last.problems[0].place.field == "spec.apiKey.file"


async def test_raw_objects_are_shown_to_who_wants_to_see_their_status(api: ApiServer) -> None:
    seen: dict[Identity, Any] = {}
    route = manifest.route(manifest.rule("p"), name="r")
    route["status"] = {"parents": []}
    api.put(route)
    async with following(api, seen=seen.__setitem__) as found:
        await found.until(lambda: found.names("HTTPRoute") == ["r"])
        identity = next(each for each in seen if each.kind == "HTTPRoute")
        assert seen[identity]["status"] == {"parents": []}
        api.remove(route)
        await found.until(lambda: seen[identity] is None)


def test_the_status_of_imports_and_the_annotation_of_exports_are_kept() -> None:
    by_kind = {(each.kind, each.versions[0]): each for each in WHOLE}
    status = {"controllers": [{"name": "example.com/hub", "exportingClusters": [{"name": "east"}]}]}
    raw = {"metadata": {"name": "llm", "namespace": "a"}, "status": status}
    found = read(by_kind["InferencePoolImport", "v1alpha1"], "v1alpha1", raw)
    assert not found.problems and isinstance(found.object, InferencePoolImport)
    assert found.object.status.controllers[0].exporting_clusters[0].name == "east"
    pool = manifest.pool("llm")
    pool["metadata"]["annotations"] = {EXPORT: "ClusterSet", "example.com/other": "x"}
    read_pool = read(by_kind["InferencePool", "v1"], "v1", pool).object
    assert isinstance(read_pool, InferencePool)
    assert read_pool.metadata.annotations == {EXPORT: "ClusterSet"}


@pytest.mark.parametrize("which", [PODS, next(each for each in WHOLE if each.kind == "ModelServer")])
async def test_a_change_costs_itself_however_many_objects_there_are(which: Followed) -> None:
    def raw(number: int, version: int) -> dict[str, Any]:
        if which.kind == "Pod":
            return pod(f"p{number}", app="p", version=str(version))
        return dict(manifest.model_server(f"s{number}", f"10.0.{version}.{number & 255}:80", "p"))

    def told(source: KubeSource, number: int, version: int) -> None:
        decoded = read(which, which.versions[0], raw(number, version))
        assert decoded.object is not None
        source._told(decoded.object.identity, Seen(decoded, raw(number, version)))

    def steps(count: int) -> int:
        source = KubeSource(KubeClient(Access(server="http://nowhere.invalid")))
        for number in range(count):
            told(source, number, 0)
        source._kept.news(Snapshot(problems=tuple(source._all_problems())))
        with counted_steps() as so_far:
            told(source, 1, 1)
            news = source._kept.news(Snapshot(problems=tuple(source._all_problems())))
        assert isinstance(news, Difference) and len(news.changes) == 1
        return so_far()

    assert steps(1000) == steps(10) > 0


async def test_a_server_that_always_forgets_is_not_asked_without_a_pause(api: ApiServer) -> None:
    """Each watch ends with 410: the list anew is due at once the first time, and later only after a while."""
    api.put(manifest.route(manifest.rule("p"), name="first"))
    async with following(api) as found:
        await found.until(lambda: found.names("HTTPRoute") == ["first"])
        await found.until(
            lambda: any("httproutes" in path and "watch" in query for _, path, query in api.asked)
        )
        api.watches_end_with = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        began = len(api.asked)
        api.end_watches()
        await asyncio.sleep(1)
        watches = sum("httproutes" in path and "watch" in query for _, path, query in api.asked[began:])
        assert 2 <= watches <= 60, "a pause of 50 ms, on average three quarters of it"
        api.watches_end_with = None
        api.put(manifest.route(manifest.rule("p"), name="second"))
        await found.until(lambda: found.names("HTTPRoute") == ["first", "second"])


async def test_a_list_of_long_objects_is_asked_for_in_smaller_pages(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may make routes cannot make them unreadable."""
    monkeypatch.setattr(client_module, "MAX_BYTES", 100_000)
    for each in range(30):
        made = manifest.route(manifest.rule("p"), name=f"r{each:02}")
        made["metadata"]["annotations"] = {"note": "x" * 15_000}
        api.put(made)
    async with following(api) as found:
        await found.until(lambda: len(found.names("HTTPRoute")) == 30)
    sizes = [
        query["limit"] for _, path, query in api.asked if path.endswith("httproutes") and "limit" in query
    ]
    assert sizes[:2] == ["500", "50"] and set(sizes[2:]) == {"5"}
