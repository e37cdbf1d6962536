"""What several commands take in the same form: sizes, durations, addresses."""

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headgate.model.units import read_bytes, read_seconds, written_bytes, written_seconds

if TYPE_CHECKING:
    from headgate.io.api_keys import KeyFile
    from headgate.io.client_keys import ClientKeyFile
    from headgate.io.trust import Trust

UpstreamCa = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="PEM file of the CA certificates that https model servers are verified by."
    ),
]
InsecureUpstream = Annotated[
    bool, typer.Option("--insecure-upstream", help="Take any certificate of https model servers.")
]

ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keys by which model servers are probed and scraped: one for all, or lines of URL and key.",
    ),
]

ClientKeys = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Only these clients may call, by API key: lines of a client's name, a colon and its key. "
        "AccessPolicies come before it.",
    ),
]

HttpsPort = Annotated[
    int,
    typer.Option("--https-port", min=0, max=65_535, help="Where listeners with port 443 are bound."),
]
PortMap = Annotated[
    list[str] | None,
    typer.Option(
        "--port-map",
        metavar="DECLARED:PORT",
        help="Where listeners of another declared port are bound; may be repeated. Without: as declared.",
    ),
]


def port_mapping(given: list[str] | None) -> dict[int, int]:
    """The mapping that `--port-map` options are; raises typer.BadParameter for what is none."""
    found: dict[int, int] = {}
    for each in given or ():
        declared, _, port = each.partition(":")
        numbers = [int(text) for text in (declared, port) if text.isascii() and text.isdigit()]
        if len(numbers) != 2 or not all(0 < number <= 65_535 for number in numbers):
            raise typer.BadParameter(f"{each!r} must be DECLARED:PORT, such as 9000:19000")
        found[numbers[0]] = numbers[1]
    return found


SCRAPE_INTERVAL_S = 0.5
"""The default of `scrape_interval_option`."""


def access_log(value: str) -> "str | Path":
    """`auto`, `on`, `off`, or a file that can be written; raises typer.BadParameter for another path."""
    if value in ("auto", "on", "off"):
        return value
    if value in ("-", "/dev/stdout"):
        return "on"
    path = Path(value).absolute()
    if path.is_dir():
        raise typer.BadParameter(f"{value!r} is a folder: name a file, or auto, on or off")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise typer.BadParameter(
            f"{value!r} cannot be written: name a file in a folder that is yours, or auto, on or off"
        )
    return path


def duration(least: float = 0.0) -> Callable[[Any], float]:
    """A parser of durations from *least* seconds on, for typer; it raises typer.BadParameter."""

    def parse(value: Any) -> float:
        try:
            seconds = float(value) if isinstance(value, (int, float)) else read_seconds(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if seconds < least:
            raise typer.BadParameter(f"{value} is too short: at least {written_seconds(least)}")
        return seconds

    return parse


def size(least: int = 1, *, any_size: bool = False) -> Callable[[Any], int]:
    """A parser of sizes from *least* bytes on, for typer; with *any_size* -1 stands for no limit."""

    def parse(value: Any) -> int:
        if any_size and str(value).strip() == "-1":
            return -1
        try:
            number = value if isinstance(value, int) else read_bytes(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if number < least:
            raise typer.BadParameter(f"{value} is too small: at least {written_bytes(least)}")
        return number

    return parse


def duration_option(help: str, *names: str, default: float, least: float = 0.0) -> Any:  # noqa: A002
    """A typer option for a duration; *default* is shown in the form that is taken."""
    shown = f"{help} [default: {written_seconds(default)}]"
    return typer.Option(*names, parser=duration(least), metavar="DURATION", show_default=False, help=shown)


def scrape_interval_option(*names: str) -> Any:
    """A typer option for the pace of scrapes, also under the *names* given."""
    return duration_option(
        "Time between scrapes of a server at rest.",
        "--scrape-interval",
        *names,
        default=SCRAPE_INTERVAL_S,
        least=0.01,
    )


def size_option(help: str, *, default: int, any_size: bool = False) -> Any:  # noqa: A002
    """A typer option for a size in bytes."""
    shown = f"{help} [default: {'-1' if default == -1 else written_bytes(default)}]"
    return typer.Option(parser=size(any_size=any_size), metavar="SIZE", show_default=False, help=shown)


def ip_address(value: str) -> str:
    """An IP address, brackets around IPv6 taken off; raises typer.BadParameter for anything else."""
    bare = value.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        raise typer.BadParameter(
            f"{value!r} is no IP address such as 127.0.0.1, 0.0.0.0 (all of them) or ::1"
        ) from None


def ip_and_port(value: str) -> str:
    """`ip:port`, IPv6 in brackets; raises typer.BadParameter for anything else."""
    host, _, port = value.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        if (
            (address.version == 6) == bracketed
            and port.isascii()
            and port.isdigit()
            and 0 < int(port) < 65536
        ):
            return f"{host}:{int(port)}"
    except ValueError:
        pass
    raise typer.BadParameter(
        f"{value!r} is no address such as 127.0.0.1:9002 or [::1]:9002: an IP address, a colon and a port"
    )


def picker_address(value: str) -> str:
    """`ip:port`, `host:port`, or `unix:` and an absolute path; raises typer.BadParameter for others."""
    if value.startswith("unix:"):
        if value.startswith("unix:/"):
            return value
        raise typer.BadParameter(
            f"{value!r} is no socket such as unix:/run/picker.sock: the path must be absolute"
        )
    host, _, port = value.rpartition(":")
    named = re.fullmatch(r"[a-z][-a-z0-9]*(\.[a-z0-9][-a-z0-9]*)*", host)
    if named and port.isdecimal() and 0 < int(port) < 65_536:
        return value
    return ip_and_port(value)


def trust_option(upstream_ca: Path | None, *, insecure: bool) -> "Trust":
    """What `--upstream-ca` and `--insecure-upstream` mean; raises typer.BadParameter for an unusable file."""
    from headgate.io.trust import AuthoritiesError, default_trust

    if upstream_ca is not None and insecure:
        raise typer.BadParameter("--upstream-ca and --insecure-upstream exclude each other")
    try:
        return default_trust(upstream_ca, insecure=insecure)
    except AuthoritiesError as error:
        raise typer.BadParameter(str(error), param_hint="--upstream-ca") from None


def key_file_option(path: Path | None) -> "KeyFile | None":
    """What `--api-key-file` means; raises typer.BadParameter for a file without usable keys."""
    from headgate.io.api_keys import KeyFile, KeyFileError

    if path is None:
        return None
    try:
        return KeyFile(path.absolute())
    except KeyFileError as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--api-key-file") from None


RESCUE_S = 600.0
"""The default of `RescueAfter`."""
RescueAfter = Annotated[
    float,
    duration_option(
        "An answer that has not begun by then is asked of another endpoint, once; 0s: never.",
        default=RESCUE_S,
    ),
]
BODY_TIMEOUT_S = 60.0
"""The default of `BodyTimeout`."""
BodyTimeout = Annotated[
    float, duration_option("Longest time for a request to arrive whole; 0s: any.", default=BODY_TIMEOUT_S)
]


FlowControl = Annotated[
    bool,
    typer.Option(
        "--flow-control/--no-flow-control",
        help="Requests wait here while every endpoint is full, and share fairly; without: in the engines.",
    ),
]
HoldEmpty = Annotated[
    float,
    duration_option(
        "So long a request waits for a pool without endpoints to get one; 0s: it is refused.", default=0.0
    ),
]


def trusted_headers(text: str) -> frozenset[str]:
    """`fairness,objective,slo`, any of them, or `none`; raises typer.BadParameter for other words."""
    words = {word.strip() for word in text.split(",") if word.strip()} - {"none"}
    if unknown := words - {"fairness", "objective", "slo"}:
        raise typer.BadParameter(
            f"{min(unknown)!r} is none of fairness, objective, slo", param_hint="--trust-headers"
        )
    return frozenset(words)


def client_keys_option(path: Path | None) -> "ClientKeyFile | None":
    """The file of `--client-keys`, read. Raises typer.BadParameter when there is nothing to use in it."""
    from headgate.io.api_keys import KeyFileError
    from headgate.io.client_keys import ClientKeyFile

    if path is None:
        return None
    try:
        return ClientKeyFile(path.absolute())
    except KeyFileError as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--client-keys") from None
