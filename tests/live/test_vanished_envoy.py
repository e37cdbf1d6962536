"""An Envoy whose machine is gone from one moment to the next: no packet comes from it any more, and no reset."""

import asyncio
import ctypes
import os
import secrets
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peer import Peer
from tests.served import BUFFERED, LEAN, LOGS, PROCESS, WIRES, Scripted, asks, logs, serving, until

from headgate.model.requests import LOST_PEER
from headgate.picker.events import RequestEnded

NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of Linux."""


class Machine:
    """A network namespace with a cable to this one."""

    def __init__(self) -> None:
        token = secrets.token_hex(3)
        self.name, self.cable = f"hg-{token}", f"hg{token}"
        net = f"10.{213 + secrets.randbelow(30)}.{secrets.randbelow(255)}"
        self.here = f"{net}.1"
        for command in (
            f"netns add {self.name}",
            f"link add {self.cable} type veth peer name eth0 netns {self.name}",
            f"addr add {self.here}/30 dev {self.cable}",
            f"link set {self.cable} up",
            f"-n {self.name} addr add {net}.2/30 dev eth0",
            f"-n {self.name} link set eth0 up",
        ):
            self._ip(command)

    def _ip(self, command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True, timeout=10)

    def pull_the_cable(self) -> None:
        """No packet passes any more."""
        self._ip(f"-n {self.name} link set eth0 down")

    def connect(self, port: int) -> Peer:
        """A peer there that speaks to a port here."""
        made: list[Peer] = []

        def there() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path(f"/run/netns/{self.name}").open() as space:
                if libc.setns(space.fileno(), NEW_NETWORK) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(Peer((self.here, port)))

        thread = threading.Thread(target=there)
        thread.start()
        thread.join(20)
        return made[0]

    def remove(self) -> None:
        """Gives everything back."""
        self._ip(f"netns del {self.name}")


@pytest.fixture
def machine() -> Iterator[Machine]:
    assert os.geteuid() == 0, "network namespaces are made by root"
    made = Machine()
    yield made
    made.remove()


def leave(peer: Peer, node: str) -> None:
    """A request that is left to the access log of *node*, which is open."""
    log = peer.open(LOGS)
    peer.send(log, logs([], node))
    stream = peer.open(PROCESS, LEAN)
    peer.send(stream, asks((BUFFERED, BUFFERED), {":method": "GET", ":path": "/x"}, end=True))
    peer.take(stream, 1)


@pytest.mark.parametrize("wire", WIRES)
async def test_its_requests_end_while_another_envoy_goes_on(wire: str, machine: Machine) -> None:
    picker = Scripted()
    over = threading.Event()

    def live(peer: Peer) -> None:
        while not over.is_set():
            peer.listen_for(0.1)

    async with serving(wire, picker, host="0.0.0.0", ping_s=1.0, silence_s=0.5) as served:
        far = await asyncio.to_thread(machine.connect, served.port)
        await asyncio.to_thread(leave, far, "far")
        near = await asyncio.to_thread(Peer, served.port)
        await asyncio.to_thread(leave, near, "near")
        first, _ = picker.streams()
        living = asyncio.create_task(asyncio.to_thread(live, near))

        def ends() -> list[RequestEnded]:
            served.hub.sweep()
            return [event for event in picker.events if isinstance(event, RequestEnded)]

        await asyncio.to_thread(machine.pull_the_cable)
        await until(ends)
        over.set()
        await living
        assert ends() == [RequestEnded(first, "lost", details=LOST_PEER)]
        assert near.lost is None
        near.__exit__()
        far.__exit__()
