"""README.md, docs and examples: the commands they print exist, and those of the README work as printed."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*/README.md"))]

BIN = Path(sys.executable).parent
PRIVATE_PORTS = ("metrics", "admin")


def blocks(page: Path) -> list[list[str]]:
    """The commands of each fenced block without a language or with `sh`, continued lines joined."""
    found = re.findall(r"^```(?:sh[^\n]*)?\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text.replace("\\\n", " ").splitlines() for text in found]


def headgate_lines() -> list[tuple[str, str]]:
    """Every line of every page that begins with the command."""
    return [
        (page.name, re.sub(r"\s+#.*$", "", line).removeprefix(".venv/bin/"))
        for page in PAGES
        for block in blocks(page)
        for line in block
        if re.match(r"(\.venv/bin/)?headgate [a-z]", line)
    ]


def environ(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    return {**kept, "PATH": f"{BIN}:{kept['PATH']}", "NO_COLOR": "1", "COLUMNS": "200", **more}


def run(*command: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=ROOT, env=environ(**more), capture_output=True, text=True, timeout=60, check=False
    )


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "setup", "test"} <= named <= targets
    listed = run("make").stdout
    assert all(f"make {name} " in listed for name in named)


def test_every_link_of_a_page_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_verb_and_option_that_a_page_prints_exists() -> None:
    lines = headgate_lines()
    assert len(lines) > 15
    helps: dict[str, str] = {}
    for page, line in lines:
        words = shlex.split(line.partition("|")[0], comments=True)
        verb = words[1]
        if verb not in helps:
            shown = run("headgate", verb, "--help")
            assert shown.returncode == 0, f"{page}: {line}\n{shown.stderr}"
            helps[verb] = shown.stdout
        for option in (word.partition("=")[0] for word in words[2:] if word.startswith("--")):
            assert option in helps[verb], f"{page}: {line}: there is no {option}"


@contextmanager
def serving(*command: str) -> Iterator[dict[str, object]]:
    """A server of ours until the context ends; its first JSON line that has a `url` and is no probe."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if "url" in said:
                yield said
                break
        else:
            raise AssertionError(f"{command} ended with {process.wait()}")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(20)


def free_pair() -> int:
    """A port that is free together with the next one."""
    for base in range(23_000, 29_000, 2):
        try:
            for port in (base, base + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


def test_the_readmes_servers_part_works_as_printed() -> None:
    """`headgate run URL URL`, the curl line, `explain --last` and `status`, with other ports than the page's."""
    (start,) = (block for block in blocks(README) if block[0] == "make setup")
    (after,) = (block for block in blocks(README) if block[0].startswith("curl "))
    fleet_port = free_pair()
    gateway_line = start[1].replace("127.0.0.1:8000", f"127.0.0.1:{fleet_port}")
    gateway_line = gateway_line.replace("127.0.0.1:8001", f"127.0.0.1:{fleet_port + 1}")
    assert str(fleet_port + 1) in gateway_line
    words = [str(BIN / "headgate"), *shlex.split(gateway_line)[1:]]
    others = [part for name in PRIVATE_PORTS for part in (f"--{name}-port", "0")]
    fleet = ("headgate", "fleet", "--replicas", "2", "--port-base", str(fleet_port))
    with (
        serving(*fleet, "--control-port", "0", "--output", "json"),
        serving(*words, "--port", "0", *others, "--output", "json") as ready,
    ):
        body = json.dumps({"model": ready["model"], "prompt": "hello", "max_tokens": 2})
        asked = run(
            "curl",
            "-sf",
            f"{ready['url']}/v1/completions",
            "-H",
            "content-type: application/json",
            "-d",
            body,
        )
        assert asked.returncode == 0, asked.stdout
        for line in after:
            moved = line.replace("http://localhost:8080", str(ready["url"])).removeprefix(".venv/bin/")
            done = run("bash", "-c", moved, HEADGATE_ADMIN=str(ready["admin"]))
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            assert str(ready["model"]) in done.stdout, f"{line}\n{done.stdout}"
