"""Both wires on a Unix socket."""

import asyncio
import stat
from pathlib import Path

import pytest
from tests.peer import Peer
from tests.served import BUFFERED, LEAN, PROCESS, WIRES, Scripted, asks, serving


@pytest.mark.parametrize("wire", WIRES)
async def test_requests_are_answered_and_only_this_user_can_ask(wire: str, tmp_path: Path) -> None:
    path = tmp_path / "ext_proc"

    def talk() -> None:
        with Peer(path) as peer:
            stream = peer.open(PROCESS, LEAN)
            peer.send(stream, asks((BUFFERED, BUFFERED), {":method": "GET", ":path": "/x"}, end=True))
            peer.take(stream, 1)

    async with serving(wire, Scripted(), path=path) as served:
        assert served.port == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await asyncio.to_thread(talk)
    assert not path.exists()


@pytest.mark.parametrize("wire", WIRES)
async def test_a_socket_in_use_is_refused_and_goes_on(wire: str, tmp_path: Path) -> None:
    path = tmp_path / "ext_proc"
    async with serving(wire, Scripted(), path=path):
        with pytest.raises(OSError, match="another process listens there"):
            async with serving(wire, Scripted(), path=path):
                pytest.fail("it is taken")
        await asyncio.to_thread(lambda: Peer(path).__exit__())
