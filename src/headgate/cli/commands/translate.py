"""`headgate translate`: the Envoy configuration that manifests become."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def translate(
    files: Annotated[
        list[Path], typer.Option("--file", "-f", help="A file or folder of manifests; may be repeated.")
    ],
    output: Annotated[Literal["json", "yaml"], typer.Option("--output", "-o", help="How to print.")] = "yaml",
    port: Annotated[int, typer.Option("--port", help="Where the primary listener is bound.")] = 8080,
) -> None:
    """Print the Envoy resources (listener, route, cluster, endpoint) that manifests become.

    Equal manifests give equal output. Problems go to stderr; what is right is printed all the same, and the
    exit code is 1 when there was an error. Needs no Envoy and no cluster.

    [bold]Examples[/]

      headgate translate -f gateway.yaml

      headgate translate -f manifests/ --output json | jq '.route'
    """
    import msgspec

    from headgate.cli.manifests import must_exist, nothing_read
    from headgate.gateway.settings import GatewaySettings
    from headgate.gateway.translate import translate as translate_snapshot
    from headgate.io.sources.files import read_once
    from headgate.io.terminal.say import say, say_json

    must_exist(files)
    snapshot = read_once(files)
    translation = translate_snapshot(snapshot, GatewaySettings(port=port))
    problems = sorted({*snapshot.problems, *translation.problems, *nothing_read(snapshot, files)})
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


def _without_aliases() -> type:
    """A YAML dumper that writes shared parts out each time, for readers."""
    import yaml

    class Dumper(yaml.CSafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return Dumper
