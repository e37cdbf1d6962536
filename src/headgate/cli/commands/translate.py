"""`headgate translate`: the Envoy configuration that manifests become."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headgate.cli.options import HttpsPort, PortMap, port_mapping

if TYPE_CHECKING:
    from headgate.model.snapshot import Snapshot

app = typer.Typer(add_completion=False)


@app.command()
def translate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH", help="Files and folders of manifests; of DIR/*, what is YAML or JSON."
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "-f", "--file", metavar="PATH", help="The same, as other commands take it; may be repeated."
        ),
    ] = None,
    output: Annotated[Literal["json", "yaml"], typer.Option("--output", "-o", help="How to print.")] = "yaml",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65_535, help="Where listeners with port 80 are bound.")
    ] = 8080,
    https_port: HttpsPort = 8443,
    port_map: PortMap = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE/NAME",
            help="Only what this Gateway needs, as an Envoy of its own would get it.",
        ),
    ] = None,
) -> None:
    """Print the Envoy resources (listener, route, cluster, endpoint) that manifests become.

    Equal manifests give equal output. Problems go to stderr; what is right is printed all the same, and the
    exit code is 1 when there was an error. Needs no Envoy and no cluster.

    Examples:

      headgate translate gateway.yaml

      headgate translate -f manifests/ --output json | jq '.route'

      headgate translate -f manifests/ --gateway team-a/web
    """
    import msgspec

    from headgate.cli.manifests import manifest_paths, nothing_read
    from headgate.gateway.plan.classes import ALL
    from headgate.gateway.settings import GatewaySettings
    from headgate.gateway.translate import translate as translate_snapshot
    from headgate.io.sources.api import read_once
    from headgate.io.terminal.say import say, say_json

    named = manifest_paths(paths or (), files or ())
    snapshot = read_once(named)
    told = GatewaySettings(
        port=port, https_port=https_port, port_map=port_mapping(port_map), per_gateway=gateway is not None
    )
    dataplane = gateway_dataplane(snapshot, gateway) if gateway is not None else ALL
    translation = translate_snapshot(snapshot, told, dataplane)
    problems = sorted({*snapshot.problems, *translation.problems, *nothing_read(snapshot, named)})
    for problem in problems:
        say(str(problem), err=True)
    if output == "json":
        say_json(translation.resources)
    else:
        import yaml

        plain = msgspec.to_builtins(translation.resources)
        text = yaml.dump(plain, Dumper=_without_aliases(), sort_keys=False, width=110)
        say(*text.removesuffix("\n").split("\n"))
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(1)


def gateway_dataplane(snapshot: "Snapshot", gateway: str) -> str:
    """*gateway*, a name or `namespace/name`, as the snapshot has it; raises typer.BadParameter otherwise."""
    from headgate.model.objects import Gateway

    known = [f"{each.namespace}/{each.name}" for each in snapshot.objects if isinstance(each, Gateway)]
    wanted = gateway if "/" in gateway else f"default/{gateway}"
    if wanted not in known:
        there = f"; there is {', '.join(known[:5])}" if known else ""
        raise typer.BadParameter(f"there is no Gateway {wanted} in these files{there}")
    return wanted


def _without_aliases() -> type:
    """A YAML dumper that writes shared parts out each time, for readers."""
    import yaml

    class Dumper(yaml.CSafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return Dumper
