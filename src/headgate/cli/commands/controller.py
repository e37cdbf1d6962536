"""`headgate controller`: the gateway half alone."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from headgate.cli.options import (
    BODY_TIMEOUT_S,
    RESCUE_S,
    BodyTimeout,
    ClientKeys,
    HttpsPort,
    InsecureUpstream,
    PortMap,
    RescueAfter,
    UpstreamCa,
    client_keys_option,
    duration_option,
    ip_address,
    port_mapping,
    size_option,
    trust_option,
)
from headgate.cli.options import picker_address as address_of_picker
from headgate.gateway.provision.settings import ENVOY_IMAGE

app = typer.Typer(add_completion=False)


@app.command()
def controller(
    files: Annotated[
        list[Path] | None,
        typer.Option("-f", "--file", metavar="PATH", help="YAML file or folder; may be repeated."),
    ] = None,
    url: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A model server's URL; may be repeated.")
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Follow the cluster of this kubeconfig, not files; each Gateway has an Envoy.",
        ),
    ] = None,
    kube_context: Annotated[
        str, typer.Option(help="Context of the kubeconfig; the current one by default.")
    ] = "",
    in_cluster: Annotated[
        bool, typer.Option("--in-cluster", help="Follow the cluster that this process runs in as a Pod.")
    ] = False,
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="Namespace of the cluster that is followed; may be repeated; all by default."),
    ] = None,
    write_status: Annotated[
        bool,
        typer.Option(
            "--write-status/--no-write-status",
            help="Write what became of the cluster's objects into their status. Of several controllers the "
            "one that holds the Lease RELEASE-controller does.",
        ),
    ] = True,
    controller_name: Annotated[
        str, typer.Option(help="controllerName of the GatewayClasses that are served, others are left alone.")
    ] = "headgate.dev/gateway-controller",
    lease_namespace: Annotated[
        str,
        typer.Option(help="Namespace of the Lease; the one of the kubeconfig, or of the Pod, by default."),
    ] = "",
    release: Annotated[
        str,
        typer.Option(
            help="Name of this installation among others of its namespace: of its Lease, RELEASE-controller, "
            "and of the Secret of its authority for xDS, RELEASE-xds-authority."
        ),
    ] = "headgate",
    provision: Annotated[
        bool,
        typer.Option(
            "--provision",
            help="Make an Envoy for each Gateway of the cluster; xDS is served by mutual TLS then.",
        ),
    ] = False,
    xds_address: Annotated[
        str,
        typer.Option(
            metavar="HOST", help="Name or address as which the Envoys of --provision reach the controllers."
        ),
    ] = "headgate-controller",
    envoy_image: Annotated[str, typer.Option(help="Image of the Envoys of --provision.")] = ENVOY_IMAGE,
    gateway_address: Annotated[
        str, typer.Option(help="Address that the status of every Gateway tells, without --provision.")
    ] = "",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where listeners with port 80 are bound.")
    ] = 8080,
    https_port: HttpsPort = 8443,
    port_map: PortMap = None,
    host: Annotated[
        str, typer.Option(parser=ip_address, metavar="IP", help="Address that Envoy's listeners bind.")
    ] = "0.0.0.0",
    xds_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where delta ADS is served; 0: any free port.")
    ] = 18000,
    xds_host: Annotated[str, typer.Option(help="Address of the xDS port.")] = "127.0.0.1",
    xds_socket: Annotated[
        Path | None, typer.Option(help="Unix socket that delta ADS is served on, in place of the port.")
    ] = None,
    picker_address: Annotated[
        str,
        typer.Option(
            parser=address_of_picker,
            metavar="IP:PORT",
            help="Our own picker as Envoy reaches it; or unix:/path of its socket.",
        ),
    ] = "127.0.0.1:9002",
    picker_secret: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Secret, beside the Lease, that our own picker's certificate is put into and kept fresh "
            "(`headgate picker --cert-secret`). The Envoys of --provision ask the picker by mutual TLS then.",
        ),
    ] = "",
    picker_timeout: Annotated[
        float, duration_option("Longest silence of a picker.", default=2.0, least=0.01)
    ] = 2.0,
    picker_body_mode: Annotated[
        Literal["full-duplex", "streamed"],
        typer.Option(
            help="How pickers of others take a request's body, where no annotation says it; "
            "see docs/picker.md.",
        ),
    ] = "full-duplex",
    body_limit: Annotated[int, size_option("Longest request body.", default=64 << 20)] = 64 << 20,
    body_budget: Annotated[
        int, size_option("Bodies of 1 MB and more that Envoy holds at once, in all.", default=1 << 30)
    ] = 1 << 30,
    rescue_after: RescueAfter = RESCUE_S,
    body_timeout: BodyTimeout = BODY_TIMEOUT_S,
    access_log: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="File that Envoy writes a JSON line to for each request, such as /dev/stdout; else none.",
        ),
    ] = None,
    client_keys: ClientKeys = None,
    upstream_ca: UpstreamCa = None,
    insecure_upstream: InsecureUpstream = False,
    admin_socket: Annotated[Path | None, typer.Option(help="Unix socket of the admin API.")] = None,
    admin_port: Annotated[
        int, typer.Option(min=-1, max=65_535, help="Loopback port of the admin API; 0: any, -1: none.")
    ] = -1,
    log_level: Annotated[
        Literal["error", "warning", "info", "debug"], typer.Option(help="error, warning, info or debug.")
    ] = "info",
    log_format: Annotated[Literal["text", "json"], typer.Option(help="json: one event a line.")] = "text",
    node: Annotated[
        list[str] | None,
        typer.Option(
            envvar="HEADGATE_XDS_NODE",
            help="Id of an Envoy node that is served (headgate when not given); may be repeated. "
            "An id that nobody can guess keeps strangers from the configuration.",
        ),
    ] = None,
    own_port: Annotated[list[int] | None, typer.Option(hidden=True)] = None,
    probe_socket: Annotated[Path | None, typer.Option(hidden=True)] = None,
    supervised: Annotated[
        bool, typer.Option("--supervised", hidden=True, help="Whoever started this tells of its ports.")
    ] = False,
) -> None:
    """Translate manifests for Envoy and serve them by delta xDS.

    One part of `headgate run`, alone: start Envoy yourself, with this server as its ADS.

    Examples:

        headgate controller -f manifests/ --xds-port 18000

        headgate controller --url http://gpu1:8000 --picker-address 127.0.0.1:9002

        headgate controller --kubeconfig ~/.kube/config --namespace team-a
    """
    import asyncio
    import contextlib

    from headgate.app.cluster.source import ClusterSource, access_to
    from headgate.app.controller.certificates import OfPicker
    from headgate.app.controller.process import serve
    from headgate.app.controller.writes import ClusterWrites
    from headgate.app.processes.ending import on_ending
    from headgate.app.processes.parent import SUPERVISORS_END
    from headgate.cli.logs import log_to_stderr
    from headgate.gateway.provision.settings import ProvisionSettings
    from headgate.gateway.settings import GatewaySettings
    from headgate.io.kube.config import ConfigError
    from headgate.io.sources.api import Source, open_source
    from headgate.io.sources.urls import BadUrlError
    from headgate.io.terminal.say import say

    log_to_stderr(log_level, log_format)
    on_cluster = kubeconfig is not None or in_cluster
    if on_cluster and (files or url):
        raise typer.BadParameter("objects come from a cluster or from -f and --url, not from both")
    if not (files or url or on_cluster):
        raise typer.BadParameter(
            "nothing to serve: name files with -f, model servers with --url, or a cluster with --kubeconfig"
        )
    if provision and not (on_cluster and write_status):
        raise typer.BadParameter(
            "--provision makes objects in a cluster: it needs --kubeconfig or --in-cluster"
        )
    picker_name = ""
    if picker_secret:
        picker_name = picker_address.rpartition(":")[0].strip("[]")
        if not provision or picker_address.startswith("unix:"):
            raise typer.BadParameter("--picker-secret needs --provision, and a --picker-address host:port")
    clients = client_keys_option(client_keys)
    trust = trust_option(upstream_ca, insecure=insecure_upstream)
    settings = GatewaySettings(
        controller=controller_name,
        port=port,
        https_port=https_port,
        port_map=port_mapping(port_map),
        address=host,
        per_gateway=on_cluster,
        picker_address=picker_address,
        picker_name=picker_name,
        probe_socket=None if probe_socket is None else str(probe_socket),
        picker_timeout_s=picker_timeout,
        foreign_body_mode=picker_body_mode,
        body_limit_bytes=body_limit,
        body_budget_bytes=body_budget,
        body_timeout_s=body_timeout,
        rescue_s=rescue_after,
        access_log=access_log or None,
        ca_bundle=trust.ca_file,
        insecure=trust.insecure,
    )
    try:
        source: Source
        writes: ClusterWrites | None = None
        if on_cluster:
            access = access_to(kubeconfig, kube_context)
            access.tls()
            source = cluster = ClusterSource(access, namespace or ())
            if write_status:
                made = ProvisionSettings(xds_host=xds_address, xds_port=xds_port, image=envoy_image)
                writes = ClusterWrites(
                    access,
                    cluster.collection_of,
                    lease_namespace=lease_namespace,
                    release=release,
                    provision=made if provision else None,
                    address=gateway_address,
                    controller=controller_name,
                    picker=OfPicker(picker_secret, picker_name) if picker_secret else None,
                    namespaces=namespace or (),
                )
                cluster.seen = writes.seen
        else:
            source = open_source(files or [], url or [])
    except (BadUrlError, ConfigError) as error:
        raise typer.BadParameter(str(error)) from None

    def started(bound: int) -> None:
        if not supervised:
            say(f"controller: xDS {xds_socket or f'{xds_host}:{bound}'}")

    async def until_signal() -> None:
        serving = asyncio.ensure_future(
            serve(
                source,
                settings,
                started,
                host=xds_host,
                xds_port=xds_port,
                xds_socket=xds_socket,
                admin_socket=admin_socket,
                admin_port=None if admin_port < 0 else admin_port,
                nodes=frozenset(node or ("headgate",)),
                own_ports=frozenset(own_port or ()),
                client_keys=clients,
                writes=writes,
            )
        )
        on_ending(lambda _: serving.cancel(), SUPERVISORS_END)
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    try:
        asyncio.run(until_signal())
    except OSError as error:
        say(f"headgate controller: {error}", err=True)
        raise typer.Exit(1) from None
    except RuntimeError as error:
        say(f"cannot serve xDS on port {xds_port} (--xds-port): {error}", err=True)
        raise typer.Exit(1) from None
