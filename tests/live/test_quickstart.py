"""docs/getting-started.md, command by command, on a copy of the quickstart with free ports."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting-started.md"
QUICKSTART = ROOT / "examples" / "quickstart"


class Step(NamedTuple):
    """A command of the page, and the lines that it must print."""

    command: str
    server: bool
    expected: tuple[str, ...]


def steps() -> list[Step]:
    """Every `sh` block with the `text` block that follows it, in order."""
    found: list[Step] = []
    for kind, body in re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if kind in ("sh", "sh server"):
            found.append(Step(body, kind.endswith("server"), ()))
        elif kind == "text":
            found[-1] = found[-1]._replace(expected=tuple(body.splitlines()))
    return found


def said(expected: str, output: str) -> bool:
    """Whether a line of *output* is *expected*, where `…` stands for anything and spaces for any spaces."""
    parts = (r"\s+".join(map(re.escape, part.split(" "))) for part in expected.split("…"))
    return re.search(r"^[^\n]*" + ".*".join(parts), output, re.MULTILINE) is not None


def free_ports(count: int) -> list[int]:
    """*count* ports in a row that are free now."""
    for base in range(21_000, 29_000, count):
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return list(range(base, base + count))
    raise AssertionError("no free ports")


class Desk:
    """A user's working directory: a copy of the quickstart, terminals, and other ports than the page's."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(QUICKSTART, folder / "examples" / "quickstart")
        self._folder = folder
        self._servers: list[subprocess.Popen[str]] = []
        control, *servers, gateway, admin = free_ports(6)
        self._ports = {
            "8080": gateway,
            "9499": control,
            **{f"950{i}": port for i, port in enumerate(servers)},
        }
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HEADGATE_ADMIN": f"http://127.0.0.1:{admin}",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        self._more = {"headgate run": f" --admin-port {admin} --metrics-port 0"}
        manifest = folder / "examples" / "quickstart" / "model-servers.yaml"
        manifest.write_text(self.moved(manifest.read_text()))

    def moved(self, text: str) -> str:
        """*text* with the page's ports replaced by this desk's."""
        return re.sub(r"\b(8080|9499|950[0-2])\b", lambda match: str(self._ports[match[1]]), text)

    def expected(self, line: str) -> str:
        """An expected line with ports replaced; `950…` is any of the servers."""
        return self.moved(line.replace("127.0.0.1:950…", "127.0.0.1:…"))

    def run(self, command: str) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.moved(command)],
            cwd=self._folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def serve(self, command: str) -> None:
        """Start a server in a terminal of its own and wait until its port answers."""
        verb = " ".join(command.split()[:2])
        log = (self._folder / f"{verb}.log").open("w+")
        self._servers.append(
            subprocess.Popen(
                ["bash", "-c", f"exec {self.moved(command).strip()}{self._more.get(verb, '')}"],
                cwd=self._folder,
                env=self._environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        log.close()
        end = time.monotonic() + 60
        while time.monotonic() < end and self._servers[-1].poll() is None:
            if self._is_up(verb):
                return
            time.sleep(0.05)
        raise AssertionError(f"{verb} did not come up:\n{(self._folder / f'{verb}.log').read_text()}")

    def _is_up(self, verb: str) -> bool:
        """As a reader of the page sees it: the fleet answers, the gateway says that it listens."""
        if verb == "headgate run":
            return "Listening on" in (self._folder / f"{verb}.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._ports["9500"])) == 0

    def leave(self) -> None:
        """Ctrl-C in both terminals, the gateway's first."""
        for server in reversed(self._servers):
            server.send_signal(signal.SIGINT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(5)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.leave()


def test_the_page_works_as_it_is_written(desk: Desk) -> None:
    done = 0
    for step in steps():
        if step.command.startswith("export PATH"):
            step = step._replace(command="headgate --version\n")
        if step.server:
            desk.serve(step.command)
            continue
        output = desk.run(step.command)
        for line in map(desk.expected, step.expected):
            assert said(line, output), f"{step.command}\nshould print {line!r}, but printed:\n{output}"
            done += 1
    assert done > 10


def test_the_older_pool_of_the_page_is_the_quickstarts(tmp_path: Path) -> None:
    """The v1alpha2 manifest on the page decodes to the pool of the quickstart."""
    from headgate.io.sources.reading import parse_text
    from headgate.model.objects import InferencePool

    (block,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(block)["apiVersion"].endswith("/v1alpha2")
    old, new = (
        decoded.object
        for text in (block, (QUICKSTART / "inferencepool.yaml").read_text())
        for decoded in parse_text(text.encode(), "page").decoded
    )
    assert isinstance(old, InferencePool)
    assert isinstance(new, InferencePool)
    assert (old.name, old.spec) == (new.name, new.spec)
