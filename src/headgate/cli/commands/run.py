"""`headgate run`: gateway, picker and Envoy on this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headgate.cli.options import (
    BODY_TIMEOUT_S,
    RESCUE_S,
    SCRAPE_INTERVAL_S,
    ApiKeyFile,
    BodyTimeout,
    ClientKeys,
    FlowControl,
    HoldEmpty,
    HttpsPort,
    InsecureUpstream,
    PortMap,
    RescueAfter,
    UpstreamCa,
    client_keys_option,
    duration_option,
    ip_address,
    key_file_option,
    port_mapping,
    scrape_interval_option,
    size,
    size_option,
    trust_option,
    trusted_headers,
)
from headgate.cli.options import access_log as where_to_log

if TYPE_CHECKING:
    from headgate.app.run.settings import AccessLog

app = typer.Typer(add_completion=False)

NOTHING = """\
Nothing to serve. Name your model servers:

    headgate run http://gpu1:8000 http://gpu2:8000

or files and folders with Gateway API manifests:

    headgate run -f manifests/

No model server at hand? `headgate demo` simulates some."""


def _no_port(name: str) -> Any:
    return typer.Option(name, min=0, max=65_535, hidden=True, help="Has no effect: a private Unix socket.")


def _destination(asked: str | Path) -> "AccessLog":
    from headgate.io.terminal.say import is_terminal

    if isinstance(asked, Path):
        return asked
    return "stdout" if asked == "on" or (asked == "auto" and not is_terminal()) else "off"


@contextmanager
def _requests_on_stdout(where: "AccessLog") -> Iterator[Callable[[bytes], None] | None]:
    from headgate.app.processes.lines import now
    from headgate.app.run.view import lost_requests
    from headgate.io.terminal.outlet import queued_stdout

    if where != "stdout":
        yield None
        return
    with queued_stdout(lambda count: lost_requests(count, now())) as outlet:
        yield outlet.offer


@app.command()
def run(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="URL", help="Model servers, such as http://gpu1:8000.")
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="PATH",
            help="YAML file or folder, followed as it changes; may be repeated.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where listeners with port 80 are bound.")
    ] = 8080,
    https_port: HttpsPort = 8443,
    port_map: PortMap = None,
    host: Annotated[
        str, typer.Option(parser=ip_address, metavar="IP", help="Address that the gateway listens on.")
    ] = "0.0.0.0",
    policy: Annotated[
        Literal["default", "random", "round-robin", "least-requests"], typer.Option(help="How to choose.")
    ] = "default",
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Prometheus metrics, loopback.")
    ] = 9090,
    admin_port: Annotated[int, typer.Option(min=0, max=65_535, help="Admin API, loopback.")] = 15000,
    envoy_admin_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Envoy's own admin, loopback; without: a private Unix socket."),
    ] = None,
    drain_timeout: Annotated[
        float, duration_option("Longest wait for running requests at the end.", default=600.0)
    ] = 600.0,
    picker_timeout: Annotated[
        float,
        duration_option(
            "Longest silence of the picker before the pool's failure mode counts.", default=2.0, least=0.01
        ),
    ] = 2.0,
    scrape_interval: Annotated[float, scrape_interval_option()] = SCRAPE_INTERVAL_S,
    body_limit: Annotated[int, size_option("Longest request body.", default=64 << 20)] = 64 << 20,
    flow_control: FlowControl = True,
    trust_headers: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Request headers of clients that are believed: fairness, objective, slo, or none of them.",
        ),
    ] = "none",
    hold_empty: HoldEmpty = 0.0,
    rescue_after: RescueAfter = RESCUE_S,
    body_timeout: BodyTimeout = BODY_TIMEOUT_S,
    envoy_memory: Annotated[
        int | None,
        typer.Option(
            parser=size(),
            metavar="SIZE",
            show_default="a quarter of the machine's",
            help="Memory that Envoy may allocate; half of it may be request bodies of 1 MB and more.",
        ),
    ] = None,
    upstream_ca: UpstreamCa = None,
    api_key_file: ApiKeyFile = None,
    client_keys: ClientKeys = None,
    insecure_upstream: InsecureUpstream = False,
    access_log: Annotated[
        str,
        typer.Option(
            parser=where_to_log,
            metavar="auto|on|off|PATH",
            help="A JSON line for each request: on standard output, unless that is a terminal; or in a file.",
        ),
    ] = "auto",
    log_level: Annotated[
        Literal["error", "warning", "info", "debug"], typer.Option(help="error, warning, info or debug.")
    ] = "info",
    output: Annotated[Literal["text", "json"], typer.Option(help="json: one event a line.")] = "text",
    picker_port: Annotated[int | None, _no_port("--picker-port")] = None,
    picker_health_port: Annotated[int | None, _no_port("--picker-health-port")] = None,
    xds_port: Annotated[int | None, _no_port("--xds-port")] = None,
) -> None:
    """Put a gateway in front of model servers: Envoy, the picker and the controller, supervised.

    Every port may be 0: any free one, printed. Ctrl-C finishes running requests first, a second one does not.

    Examples:

        headgate run http://gpu1:8000 http://gpu2:8000

        headgate run -f manifests/ --port 80 --https-port 443

        headgate run http://localhost:8000 --policy round-robin --admin-port 0
    """
    import asyncio
    from functools import partial

    from headgate.app.run.folder import FolderError
    from headgate.app.run.listen_ports import Ports, PortTakenError
    from headgate.app.run.settings import RunSettings
    from headgate.app.run.supervisor import Supervisor
    from headgate.cli.logs import log_to
    from headgate.cli.manifests import must_exist, no_path
    from headgate.cli.reporters import JsonReporter, TextReporter
    from headgate.io.envoy.binary import EnvoyMissingError
    from headgate.io.envoy.memory import default_heap, machine_memory
    from headgate.io.sources.urls import BadUrlError
    from headgate.io.terminal.say import say

    if not urls and not files:
        say(*NOTHING.split("\n"), err=True)
        raise typer.Exit(2)
    no_path(urls or ())
    must_exist(files or ())
    reporter = TextReporter() if output == "text" else JsonReporter()
    log_to(log_level, partial(reporter.said, "headgate"))
    if picker_port or picker_health_port or xds_port:
        say(
            "headgate: --picker-port, --picker-health-port and --xds-port have no effect: "
            "the gateway's own processes talk over private Unix sockets",
            err=True,
        )
    trust_option(upstream_ca, insecure=insecure_upstream)
    key_file_option(api_key_file)
    client_keys_option(client_keys)
    settings = RunSettings(
        urls=tuple(urls or ()),
        files=tuple(files or ()),
        ports=Ports(
            gateway=port,
            https=https_port,
            metrics=metrics_port,
            admin=admin_port,
            envoy_admin=envoy_admin_port,
        ),
        port_map=port_mapping(port_map),
        host=host,
        policy=policy,
        drain_timeout_s=drain_timeout,
        picker_timeout_s=picker_timeout,
        scrape_interval_s=scrape_interval,
        body_limit_bytes=body_limit,
        body_timeout_s=body_timeout,
        flow_control=flow_control,
        trust_headers=tuple(sorted(trusted_headers(trust_headers))),
        hold_empty_s=hold_empty,
        rescue_s=rescue_after,
        envoy_memory_bytes=envoy_memory or default_heap(machine_memory()),
        upstream_ca=upstream_ca.absolute() if upstream_ca else None,
        api_key_file=api_key_file.absolute() if api_key_file else None,
        client_keys=client_keys.absolute() if client_keys else None,
        insecure_upstream=insecure_upstream,
        access_log=_destination(access_log),
        log_level=log_level,
    )

    async def supervise() -> int:
        with _requests_on_stdout(settings.access_log) as take:
            return await Supervisor(settings, reporter, take).run()

    try:
        raise typer.Exit(asyncio.run(supervise()))
    except BadUrlError as error:
        raise typer.BadParameter(str(error), param_hint="URL") from None
    except (EnvoyMissingError, PortTakenError, FolderError) as error:
        say(*f"headgate: {error}".split("\n"), err=True)
        raise typer.Exit(1) from None
