"""What a source keeps, and tells."""

import pytest
from tests import manifests as manifest
from tests.work import counted_steps

from headgate.model.change import Change
from headgate.model.kept import Kept
from headgate.model.objects import Object
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Difference, Entry, Snapshot


def server(name: str, url: str = "http://10.0.0.1:80") -> Object:
    return manifest.snapshot(manifest.model_server(name, url, "a")).objects[0]


def kept(*objects: Object) -> Kept:
    found = Kept()
    for each in objects:
        found.put(each.identity, each)
    return found


def test_everything_is_told_first_and_then_what_changed() -> None:
    one, two, other = server("one"), server("two"), server("one", "http://10.0.0.2:80")
    found = kept(two, one)
    assert found.news(Snapshot()) == Snapshot((one, two))
    assert found.news(Snapshot()) is None
    found.put(one.identity, other)
    found.put(two.identity, None)
    assert found.news(Snapshot()) == Difference((Change(one.identity, other), Change(two.identity, None)))
    found.put(two.identity, two)
    found.begin()
    assert found.news(Snapshot()) == Snapshot((other, two))


def test_what_is_in_no_object_is_told_with_it() -> None:
    found = kept()
    found.news(Snapshot())
    problem = Problem(Place(file="a.yaml"), "InvalidYAML", "no")
    news = found.news(Snapshot(problems=(problem,), addresses={"a": ("10.0.0.1",)}))
    assert isinstance(news, Difference)
    assert Entry("addresses", "a", ("10.0.0.1",)) in news.entries
    assert Entry("problems", "a.yaml", (problem,)) in news.entries
    assert isinstance(again := found.news(Snapshot()), Difference)
    assert {(each.table, each.value) for each in again.entries} >= {("addresses", None), ("problems", None)}


def test_host_names_are_those_of_model_servers_while_one_has_them() -> None:
    urls = ("http://b:1", "http://a:1", "http://a:2", "http://10.0.0.1:1", "http://[::1]:1")
    servers = [server(f"s{number}", url) for number, url in enumerate(urls)]
    found = kept(*servers)
    assert found.hosts == {"a", "b"}
    found.put(servers[1].identity, None)
    assert found.hosts == {"a", "b"}
    found.put(servers[2].identity, server("s2", "http://c:1"))
    assert found.hosts == {"b", "c"}
    assert found.hosts is found.hosts


@pytest.mark.parametrize("url", ["http://10.0.0.1:80", "http://h{}:80"])
def test_a_change_costs_itself(url: str) -> None:
    def steps(count: int) -> int:
        found = kept(*(server(f"s{number}", url.format(number)) for number in range(count)))
        found.news(Snapshot())
        changed = server("s1", "http://10.9.9.9:81")
        with counted_steps() as so_far:
            found.put(changed.identity, changed)
            assert found.news(Snapshot()) is not None
        return so_far()

    assert steps(1000) == steps(10) > 0
