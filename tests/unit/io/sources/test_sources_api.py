"""The live source: told when something changed, and only then."""

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headgate.io.sources import api
from headgate.io.sources.api import open_source
from headgate.io.sources.urls import BadUrlError
from headgate.model.snapshot import Difference, Snapshot, difference, held, take
from headgate.model.store import Store


def server(name: str, port: int = 9000, host: str = "127.0.0.1") -> str:
    return f"apiVersion: headgate.dev/v1alpha1\nkind: ModelServer\nmetadata: {{name: {name}}}\nspec: {{url: 'http://{host}:{port}'}}\n"


def write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)


def names(snapshot: Snapshot) -> list[str]:
    return [each.name for each in snapshot.objects]


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at again unless the watch told of it."""
    monkeypatch.setattr(api, "POLL_S", 3600.0)


class Followed:
    """A source, and what it has told so far."""

    def __init__(self, changes: AsyncGenerator[Snapshot | Difference, None]) -> None:
        self.changes = changes
        self.world = Store({})


async def following(found: Followed, timeout_s: float = 60.0) -> Snapshot:
    """What there is after the next change."""
    async with asyncio.timeout(timeout_s):
        news = await anext(found.changes)
    take(found.world, difference(held(found.world), news) if isinstance(news, Snapshot) else news)
    return held(found.world)


@asynccontextmanager
async def opened(*files: Path, urls: tuple[str, ...] = ()) -> AsyncIterator[Followed]:
    changes = open_source(files, urls).changes()
    try:
        yield Followed(changes)
    finally:
        await changes.aclose()


async def test_a_folder_is_followed(tmp_path: Path) -> None:
    async with opened(tmp_path) as found:
        assert names(await following(found)) == []
        write(tmp_path / "a.yaml", server("a"))
        assert names(await following(found)) == ["a"]
        (tmp_path / "deep").mkdir()
        write(tmp_path / "deep" / "b.yaml", server("b"))
        assert names(await following(found)) == ["a", "b"]
        write(tmp_path / "deep" / "b.yaml", "{")
        broken = await following(found)
        assert names(broken) == ["a", "b"]
        assert [each.reason for each in broken.problems] == ["InvalidYAML"]
        (tmp_path / "a.yaml").unlink()
        assert names(await following(found)) == ["b"]
        write(tmp_path / "a.yaml", server("a"))
        assert names(await following(found)) == ["a", "b"]


async def test_a_config_map_swap_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "POLL_S", 0.05)
    for version, name in (("..v1", "one"), ("..v2", "two")):
        (tmp_path / version).mkdir()
        write(tmp_path / version / "a.yaml", server(name))
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    async with opened(tmp_path / "a.yaml") as found:
        assert names(await following(found)) == ["one"]
        (tmp_path / "..new").symlink_to("..v2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        assert names(await following(found)) == ["two"]


async def test_a_path_that_comes_later(tmp_path: Path) -> None:
    async with opened(tmp_path / "later" / "a.yaml") as found:
        assert [each.reason for each in (await following(found)).problems] == ["NotFound"]
        (tmp_path / "later").mkdir()
        write(tmp_path / "later" / "a.yaml", server("a"))
        assert names(await following(found)) == ["a"]


async def test_a_change_that_says_the_same_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "POLL_S", 0.05)
    write(tmp_path / "a.yaml", server("a"))
    async with opened(tmp_path) as found:
        first = await following(found)
        write(tmp_path / "a.yaml", server("a").replace("{name: a}", "{'name': 'a'}"))
        with pytest.raises(TimeoutError):
            await following(found, 0.3)
    assert names(first) == ["a"]


async def test_lines_that_moved_are_a_change(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", server("a"))
    async with opened(tmp_path) as found:
        assert (await following(found)).objects[0].place().line == 1
        write(tmp_path / "a.yaml", "# why\n" + server("a"))
        assert (await following(found)).objects[0].place().line == 2


async def test_urls_stand_beside_files_and_files_win(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", server("127.0.0.1-9500", 9999) + "---\n" + server("other"))
    async with opened(tmp_path, urls=("http://127.0.0.1:9500",)) as found:
        snapshot = await following(found)
    assert names(snapshot) == ["headgate", "headgate", "default", "127.0.0.1-9500", "other"]
    assert snapshot.objects[3].place().file


async def test_hosts_are_resolved() -> None:
    async with opened(urls=("http://localhost:9500", "http://nowhere.invalid:9500")) as found:
        seen = await following(found)
        while not seen.addresses:  # on a busy machine it comes without
            seen = await following(found)
    assert set(seen.addresses) == {"localhost"}


async def test_hosts_that_hang_are_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def hang(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host.startswith("slow"):
            go.wait(60)
        return [(socket.AF_INET, 1, 6, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    urls = tuple(f"http://slow{number}:80" for number in range(64))
    try:
        async with opened(tmp_path, urls=urls) as found:
            assert (await following(found)).addresses == {}
            write(tmp_path / "a.yaml", server("a", host="quick"))
            seen = await following(found)
            while not seen.addresses:
                seen = await following(found)
            assert seen.addresses == {"quick": ("10.0.0.1",)}
            assert await asyncio.to_thread(lambda: 1) == 1, "the executor that others use is free"
            go.set()
            while len(seen.addresses) < 65:
                seen = await following(found)
    finally:
        go.set()


def test_a_bad_url_is_refused_at_once() -> None:
    with pytest.raises(BadUrlError, match="ftp"):
        open_source([], ["ftp://a"])
