"""`headgate picker`: the endpoint picker alone."""

import logging
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headgate.cli.go_flags import GoFlags
from headgate.cli.options import (
    SCRAPE_INTERVAL_S,
    ApiKeyFile,
    FlowControl,
    HoldEmpty,
    InsecureUpstream,
    UpstreamCa,
    duration_option,
    ip_and_port,
    key_file_option,
    scrape_interval_option,
    size_option,
    trust_option,
    trusted_headers,
)

app = typer.Typer(add_completion=False)

_LABEL = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_./]*) *==? *([-A-Za-z0-9_.]*)", re.ASCII)


class Policy(StrEnum):
    """Routing policies by name."""

    DEFAULT = "default"
    RANDOM = "random"
    ROUND_ROBIN = "round-robin"
    LEAST_REQUESTS = "least-requests"


def labels(text: str) -> tuple[tuple[str, str], ...]:
    """`key=value,key=value`; raises typer.BadParameter for anything else."""
    pairs = [_LABEL.fullmatch(pair.strip()) for pair in text.split(",") if pair.strip()]
    found = tuple((pair[1], pair[2]) for pair in pairs if pair is not None)
    if len(found) < len(pairs):
        hint = "each label has one value here, no !=, in or notin"
        raise typer.BadParameter(f"{text!r} is no label selector such as app=vllm,tier=prod: {hint}")
    return found


def port_list(text: str) -> tuple[int, ...]:
    """`8000,8001`, at most eight; raises typer.BadParameter for anything else."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > 8 or not all(part.isdigit() and 0 < int(part) < 65536 for part in parts):
        raise typer.BadParameter(f"{text!r} is no list of one to eight ports")
    return tuple(int(part) for part in parts)


def addresses(text: str) -> tuple[str, ...]:
    """`ip:port,ip:port`; raises typer.BadParameter for anything else."""
    return tuple(ip_and_port(part) for part in text.split(",") if part.strip())


def tls_version(text: str) -> Literal["1.2", "1.3"]:
    """`1.2` or `1.3`, or as Go writes them (`VersionTLS13`); raises typer.BadParameter for anything else."""
    match text.removeprefix("VersionTLS"):
        case "1.2" | "12":
            return "1.2"
        case "1.3" | "13":
            return "1.3"
    raise typer.BadParameter(f"{text!r} is no TLS version that is served: 1.2 or 1.3")


def exposure(host: str, port: int) -> str | None:
    """What it means that anybody who reaches *host* may speak to the picker; None for loopback."""
    import ipaddress

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        where = host
    else:
        if address.is_loopback:
            return None
        where = "every address of this machine" if address.is_unspecified else host
    return (
        f"ext_proc listens on {where}, and asks nobody who they are: whoever reaches port {port} learns the "
        "model servers' addresses and can book requests that nobody sent. Keep it to the gateway's network, "
        "demand certificates with --tls-client-ca, or listen on --host 127.0.0.1 or a --grpc-socket"
    )


def _adopted(path: Path | None, text: str) -> Any:
    """What another picker's configuration asks for; what is done otherwise is logged. Raises typer.Exit(1),
    having said every error, when it cannot be followed."""
    from headgate.app.picker.epp_config import read_config
    from headgate.io.terminal.say import say
    from headgate.picker.epp.config import NOTHING

    if path is not None and text:
        raise typer.BadParameter("--config-file and --config-text say the same: name one of them")
    if path is None and not text:
        return NOTHING
    adopted = read_config(path, text)
    if not adopted.usable:
        for each in adopted.problems:
            if each.severity == "error":
                say(f"headgate picker: {each}", err=True)
        raise typer.Exit(1)
    for each in adopted.problems:
        level = logging.WARNING if each.severity == "warning" else logging.INFO
        logging.getLogger("headgate.picker").log(level, "%s", each)
    return adopted


def name_of_deployment(pod: str) -> str:
    """Of the Deployment that a Pod belongs to, which names what --endpoint-selector selects; `selected`
    without a Pod."""
    return pod.rsplit("-", 2)[0] or "selected"


def _given(context: typer.Context) -> list[str]:
    """Parameters that the command line names."""
    return [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    ]


def _ignored(*names: str) -> Any:
    return typer.Option(
        *names, hidden=True, help="Accepted for compatibility; says at the start what it does."
    )


@app.command(cls=GoFlags)
def picker(
    context: typer.Context,
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
            help="Follow the cluster of this kubeconfig, not files; with --pool-name also by KUBECONFIG.",
        ),
    ] = None,
    in_cluster: Annotated[
        bool,
        typer.Option("--in-cluster", help="Follow the cluster that it runs in, as with --pool-name alone."),
    ] = False,
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="Namespace of the cluster that is followed; may be repeated; all by default."),
    ] = None,
    endpoints: Annotated[
        str, typer.Option(help="Fixed endpoints, ip:port,ip:port, in place of objects.")
    ] = "",
    pool_name: Annotated[
        str, typer.Option(help="Pool of requests that name none; served whoever its object names as picker.")
    ] = "",
    pool_namespace: Annotated[
        str,
        typer.Option(
            envvar="NAMESPACE",
            show_envvar=False,
            help="Namespace of --pool-name; by NAMESPACE of the environment without.",
        ),
    ] = "default",
    endpoint_selector: Annotated[
        str,
        typer.Option(
            metavar="LABELS",
            help="Labels of the pods, app=vllm,tier=gpu, in place of an InferencePool object; with "
            "--endpoint-target-ports. Of --pool-namespace in its own cluster or that of --kubeconfig, "
            "or among the objects of -f.",
        ),
    ] = "",
    endpoint_target_ports: Annotated[str, typer.Option(help="Ports of those pods, one to eight.")] = "",
    policy: Annotated[Policy, typer.Option(help="How to choose.")] = Policy.DEFAULT,
    config_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="EndpointPickerConfig of another picker, YAML; see docs/picker.md."
        ),
    ] = None,
    config_text: Annotated[str, typer.Option(metavar="YAML", help="The same as text.")] = "",
    host: Annotated[str, typer.Option(help="Address that the gRPC ports listen on.")] = "0.0.0.0",
    grpc_port: Annotated[int, typer.Option(min=0, max=65_535, help="ext_proc; 0: any free port.")] = 9002,
    grpc_socket: Annotated[
        Path | None, typer.Option(help="Unix socket for ext_proc in place of the port; for this user only.")
    ] = None,
    grpc_health_port: Annotated[
        int, typer.Option(min=-1, max=65_535, help="gRPC health; 0: any, -1: none.")
    ] = 9003,
    metrics_port: Annotated[
        int, typer.Option(min=-1, max=65_535, help="Prometheus metrics; 0: any, -1: none.")
    ] = 9090,
    metrics_host: Annotated[
        str,
        typer.Option(
            help="Address of the metrics port. Without: loopback; every address, for readers with a "
            "token, in a cluster's Pod with --pool-name."
        ),
    ] = "",
    metrics_endpoint_auth: Annotated[
        bool | None,
        typer.Option(
            "--metrics-endpoint-auth/--no-metrics-endpoint-auth",
            help="Ask the cluster who may read metrics (TokenReview, SubjectAccessReview). "
            "Without: where --metrics-host is not named.",
        ),
    ] = None,
    metrics_cert_dir: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Folder with tls.crt and tls.key: TLS for metrics.")
    ] = None,
    metrics_client_ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="PEM file; readers of metrics must show a certificate signed by it."
        ),
    ] = None,
    ha_enable_leader_election: Annotated[
        bool,
        typer.Option(
            "--ha-enable-leader-election/--no-ha-enable-leader-election",
            help="Of the pickers of a pool only one, which holds their Lease, is ready.",
        ),
    ] = False,
    admin_socket: Annotated[Path | None, typer.Option(help="Unix socket of the admin API.")] = None,
    admin_port: Annotated[
        int, typer.Option(min=-1, max=65_535, help="Loopback port of the admin API; 0: any, -1: none.")
    ] = -1,
    secure_serving: Annotated[bool, typer.Option(help="TLS on the ext_proc port.")] = True,
    cert_path: Annotated[
        Path | None, typer.Option(help="Folder with tls.crt and tls.key; without: a self-signed certificate.")
    ] = None,
    enable_cert_reload: Annotated[bool, typer.Option(help="Follow changes of those files.")] = False,
    cert_secret: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Secret of the process's own namespace with tls.crt, tls.key and ca.crt, followed, in place "
            "of --cert-path: `headgate controller --picker-secret` makes it.",
        ),
    ] = "",
    client_certificates: Annotated[
        bool,
        typer.Option(
            help="With --cert-secret: clients must show a certificate signed by an authority of its ca.crt."
        ),
    ] = True,
    tls_min_version: Annotated[
        str, typer.Option(help="Lowest TLS version, 1.2 or 1.3; 1.3 with the native wire only.")
    ] = "1.2",
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="PEM file; clients must show a certificate signed by one of those in it."),
    ] = None,
    drain_delay: Annotated[
        float,
        duration_option(
            "Time after SIGTERM for which new requests are still taken, while data planes hear that this "
            "picker is about to go.",
            default=0.0,
        ),
    ] = 0.0,
    drain_timeout: Annotated[
        float, duration_option("Longest time between SIGTERM and the end.", default=30.0)
    ] = 30.0,
    refresh_metrics_interval: Annotated[
        float,
        scrape_interval_option("--refresh-metrics-interval"),
    ] = SCRAPE_INTERVAL_S,
    metrics_staleness_threshold: Annotated[
        float, duration_option("Age at which a scrape is disbelieved.", default=5.0)
    ] = 5.0,
    conformance_headers: Annotated[
        bool,
        typer.Option(
            "--conformance-headers",
            help="Let clients name endpoints (test-epp-endpoint-selection) and tell them who served, as the "
            "conformance suite wants it. Never where strangers call.",
        ),
    ] = False,
    flow_control: FlowControl = True,
    trust_headers: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Request headers that are believed: fairness, objective, slo, or none of them.",
        ),
    ] = "fairness,objective,slo",
    queue_timeout: Annotated[
        float, duration_option("Longest wait of a request while every endpoint is full.", default=45.0)
    ] = 45.0,
    hold_empty: HoldEmpty = 0.0,
    disable_endpoint_subset_filter: Annotated[bool, typer.Option(help="Ignore subset hints.")] = False,
    upstream_ca: UpstreamCa = None,
    api_key_file: ApiKeyFile = None,
    insecure_upstream: InsecureUpstream = False,
    body_limit: Annotated[int, size_option("Longest request body.", default=64 << 20)] = 64 << 20,
    grpc_max_recv_msg_size: Annotated[
        int, size_option("Longest gRPC message; -1: any.", default=-1, any_size=True)
    ] = -1,
    wire_threads: Annotated[
        int, typer.Option(min=1, max=64, help="Transport threads; with the native wire only.")
    ] = 1,
    log_level: Annotated[
        Literal["error", "warning", "info", "debug"], typer.Option(help="error, warning, info or debug.")
    ] = "info",
    log_format: Annotated[Literal["text", "json"], typer.Option(help="json: one event a line.")] = "text",
    supervised: Annotated[
        bool,
        typer.Option("--supervised", hidden=True, help="Whoever started this tells of ports and problems."),
    ] = False,
    own_port: Annotated[list[int] | None, typer.Option(hidden=True)] = None,
    die_with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
    pool_group: Annotated[str, _ignored("--pool-group")] = "",
    tls_cipher_suites: Annotated[str, _ignored("--tls-cipher-suites")] = "",
    health_checking: Annotated[bool, _ignored("--health-checking/--no-health-checking")] = True,
    verbosity: Annotated[str, _ignored("-v", "--v")] = "",
    zap_encoder: Annotated[str, _ignored("--zap-encoder")] = "",
    zap_log_level: Annotated[str, _ignored("--zap-log-level")] = "",
    zap_devel: Annotated[bool, _ignored("--zap-devel/--no-zap-devel")] = False,
    tracing: Annotated[bool, _ignored("--tracing/--no-tracing")] = False,
    enable_pprof: Annotated[bool, _ignored("--enable-pprof/--no-enable-pprof")] = False,
    emit_endpoint_scores: Annotated[
        bool, _ignored("--emit-endpoint-scores/--no-emit-endpoint-scores")
    ] = False,
    grpc_max_send_msg_size: Annotated[str, _ignored("--grpc-max-send-msg-size")] = "",
    allow_experimental_plugins: Annotated[
        bool, _ignored("--allow-experimental-plugins/--no-allow-experimental-plugins")
    ] = False,
    refresh_prometheus_metrics_interval: Annotated[
        str, _ignored("--refresh-prometheus-metrics-interval")
    ] = "",
    enable_grpc_stream_metrics: Annotated[
        bool, _ignored("--enable-grpc-stream-metrics/--no-enable-grpc-stream-metrics")
    ] = False,
) -> None:
    """Serve the endpoint picker: an Envoy ext_proc server that chooses the model server of each request.

    Works behind any gateway of the Gateway API Inference Extension, and takes the flags of its pickers.

    Examples:

        headgate picker -f manifests/ --pool-name vllm-llama3-8b-instruct

        headgate picker --url http://10.0.0.5:8000 --url http://10.0.0.6:8000 --secure-serving=false

        headgate picker --endpoints 127.0.0.1:9500,127.0.0.1:9501 --policy least-requests --metrics-port 0
    """
    from headgate.app.cluster.source import access_to, kubeconfig_of
    from headgate.app.picker.admin import Status
    from headgate.app.picker.leading import pickers_lease
    from headgate.app.picker.metrics_port import MetricsPort
    from headgate.app.picker.process import PickerOptions, Tls, serve
    from headgate.app.processes.parent import die_with_parent as end_with_parent
    from headgate.cli.logs import log_to_stderr
    from headgate.cli.picker_flags import notices
    from headgate.flow.settings import BandSettings, FlowSettings
    from headgate.io.extproc.native import MissingError
    from headgate.io.kube.config import ConfigError
    from headgate.io.sources.urls import BadUrlError
    from headgate.io.terminal.say import say
    from headgate.io.web.admin import is_loopback
    from headgate.model.forbidden import Own, refusal
    from headgate.model.ids import EndpointId, pool_key
    from headgate.picker.settings import MachineSettings

    log_to_stderr(log_level, log_format)
    if supervised:
        logging.getLogger("headgate.problems").setLevel(logging.CRITICAL)
    from_elsewhere = bool(files or url or endpoints)
    drop_in = bool(pool_name or endpoint_selector)
    on_cluster = in_cluster or kubeconfig is not None or (drop_in and not from_elsewhere)
    if on_cluster and from_elsewhere:
        raise typer.BadParameter("objects come from a cluster, or from -f, --url, --endpoints; not from both")
    if not (from_elsewhere or on_cluster):
        raise typer.BadParameter(
            "name something to route to: -f PATH, --url URL, --endpoints ip:port,…, or --kubeconfig"
        )
    access, namespaces = None, tuple(namespace or ())
    if on_cluster and not in_cluster and kubeconfig is None:
        kubeconfig = kubeconfig_of(os.environ)
    if on_cluster:
        try:
            access = access_to(kubeconfig)
            access.tls()
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from None
        if drop_in and not namespaces:
            namespaces = (pool_namespace,)
    if bool(endpoint_selector) != bool(endpoint_target_ports):
        raise typer.BadParameter("--endpoint-selector and --endpoint-target-ports need each other")
    if endpoint_selector and not pool_name:
        pool_name = name_of_deployment(os.environ.get("POD_NAME", ""))
    lowest = tls_version(tls_min_version)
    if not secure_serving and (tls_client_ca is not None or lowest != "1.2"):
        raise typer.BadParameter("--tls-client-ca and --tls-min-version need --secure-serving")
    if cert_secret and (not secure_serving or cert_path is not None or tls_client_ca is not None):
        raise typer.BadParameter("--cert-secret is in place of --cert-path and --tls-client-ca")
    if cert_secret and access is None:
        raise typer.BadParameter("--cert-secret is of a cluster: it needs --in-cluster or --kubeconfig")
    if die_with_parent:
        end_with_parent()

    def port(number: int) -> int | None:
        return None if number < 0 else number

    fixed = addresses(endpoints)
    for each in fixed:
        ip, _, number = each.rpartition(":")
        if why := refusal(ip.strip("[]"), int(number), Own()):
            raise typer.BadParameter(f"{each}: {why}", param_hint="--endpoints")

    in_pod = access is not None and kubeconfig is None and drop_in
    open_metrics = logging.WARNING if metrics_endpoint_auth is None else logging.INFO
    if metrics_endpoint_auth is None:
        metrics_endpoint_auth = in_pod and not metrics_host
    if metrics_endpoint_auth and access is None:
        if not metrics_host or is_loopback(metrics_host):
            metrics_endpoint_auth = False
        else:
            raise typer.BadParameter("--metrics-endpoint-auth asks a cluster, and none is followed")
    metrics_host = metrics_host or (host if in_pod else "127.0.0.1")
    if metrics_client_ca_file is not None and metrics_cert_dir is None:
        raise typer.BadParameter("--metrics-client-ca-file needs --metrics-cert-dir")
    if ha_enable_leader_election and not (access is not None and pool_name):
        raise typer.BadParameter("--ha-enable-leader-election needs a cluster and --pool-name")
    own_log = logging.getLogger("headgate.picker")
    for line, lost in notices(_given(context)):
        own_log.log(logging.WARNING if lost else logging.INFO, "%s", line)
    if not (metrics_endpoint_auth or metrics_client_ca_file or is_loopback(metrics_host) or metrics_port < 0):
        own_log.log(
            open_metrics,
            "metrics are open to whoever reaches port %d on %s: --metrics-endpoint-auth asks for tokens of "
            "the cluster, --metrics-client-ca-file for certificates",
            metrics_port,
            metrics_host,
        )
    adopted = _adopted(config_file, config_text)
    settings = MachineSettings(
        stale_s=metrics_staleness_threshold,
        flow=FlowSettings(other_bands=BandSettings(ttl_s=queue_timeout)) if flow_control else None,
        hold_empty_s=hold_empty,
        trusted=trusted_headers(trust_headers),
    )
    if policy is Policy.DEFAULT and adopted.policy is not None:
        policy = Policy(adopted.policy)
    if refresh_metrics_interval == SCRAPE_INTERVAL_S and adopted.scrape_interval_s is not None:
        refresh_metrics_interval = adopted.scrape_interval_s
    options = PickerOptions(
        files=tuple(files or ()),
        urls=tuple(url or ()),
        access=access,
        namespaces=namespaces,
        endpoints=tuple(EndpointId(each) for each in fixed),
        pool=pool_key(pool_namespace, pool_name) if pool_name else None,
        selector=labels(endpoint_selector),
        target_ports=port_list(endpoint_target_ports),
        policy=policy.value,
        settings=adopted.settings(settings),
        adopted=adopted,
        host=host,
        grpc_port=grpc_port,
        grpc_socket=grpc_socket,
        health_port=port(grpc_health_port),
        metrics=MetricsPort(
            host=metrics_host,
            port=port(metrics_port),
            cert_dir=metrics_cert_dir,
            client_ca=metrics_client_ca_file,
            access=access if metrics_endpoint_auth else None,
        ),
        lease=pickers_lease(pool_namespace, pool_name) if ha_enable_leader_election else "",
        admin_socket=admin_socket,
        admin_port=port(admin_port),
        tls=Tls(
            folder=cert_path,
            reload=enable_cert_reload,
            min_version=lowest,
            client_ca=tls_client_ca,
            secret=cert_secret,
            asks=client_certificates,
        )
        if secure_serving
        else None,
        drain_timeout_s=drain_timeout,
        drain_delay_s=drain_delay,
        scrape_interval_s=refresh_metrics_interval,
        body_limit=body_limit,
        max_receive_bytes=grpc_max_recv_msg_size,
        trust=trust_option(upstream_ca, insecure=insecure_upstream),
        keys=key_file_option(api_key_file),
        subset_filter=not disable_endpoint_subset_filter,
        test_headers=conformance_headers,
        wire_threads=wire_threads,
        own_ports=frozenset(own_port or ()),
    )

    def started(status: Status) -> None:
        if supervised:
            return
        parts = [f"picker: ext_proc {grpc_socket or f'{host}:{status.grpc_port}'}"]
        if status.health_port:
            parts.append(f"health {host}:{status.health_port}")
        if status.metrics_port:
            parts.append(f"metrics {metrics_host}:{status.metrics_port}")
        if status.admin_port:
            parts.append(f"admin 127.0.0.1:{status.admin_port}")
        parts.append(f"{status.wire} wire")
        say(", ".join(parts))
        told = exposure(host, status.grpc_port)
        asks = tls_client_ca is not None or (bool(cert_secret) and client_certificates)
        if told is not None and grpc_socket is None and not asks:
            logging.getLogger("headgate.picker").warning("%s", told)

    try:
        serve(options, started)
    except (OSError, RuntimeError, ValueError, BadUrlError, MissingError) as error:
        say(f"headgate picker: {error}", err=True)
        raise typer.Exit(1) from error
