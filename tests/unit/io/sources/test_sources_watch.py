"""The folder watch: a hint comes soon, and the wait is bounded."""

import asyncio
import os
from pathlib import Path

from headgate.io.sources.watch import FolderWatch


async def waited(watch: FolderWatch, longest_s: float) -> float:
    began = asyncio.get_running_loop().time()
    await watch.changed(longest_s)
    return asyncio.get_running_loop().time() - began


async def test_a_change_ends_the_wait(tmp_path: Path) -> None:
    async with FolderWatch() as watch:
        assert await watch.follow(frozenset({tmp_path}))
        assert not await watch.follow(frozenset({tmp_path}))
        (tmp_path / "a").write_text("x")
        assert await waited(watch, 5.0) < 2.0
        assert await waited(watch, 0.3) >= 0.29


async def test_only_the_folders_followed_now_count(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    async with FolderWatch() as watch:
        await watch.follow(frozenset({old}))
        await watch.follow(frozenset({new}))
        (old / "a").write_text("x")
        assert await waited(watch, 0.3) >= 0.29
        (new / "a").write_text("x")
        assert await waited(watch, 5.0) < 2.0


async def test_a_folder_that_cannot_be_watched_is_only_waited_for(tmp_path: Path) -> None:
    async with FolderWatch() as watch:
        await watch.follow(frozenset({tmp_path / "missing"}))
        assert await waited(watch, 0.1) >= 0.09


async def test_a_name_that_is_no_text_ends_no_watch(tmp_path: Path) -> None:
    async with FolderWatch() as watch:
        await watch.follow(frozenset({tmp_path}))
        (tmp_path / os.fsdecode(b"\xff.yaml")).write_text("x")
        for number in range(100):  # the next one that is told of may be a second away
            (tmp_path / f"a{number}").write_text("x")
            if await waited(watch, 0.2) < 0.15:
                break
        else:
            raise AssertionError("no change is told")
