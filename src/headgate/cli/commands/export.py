"""`headgate export`: the manifests of a plain machine, for somewhere else."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def export(
    where: Annotated[Literal["k8s"], typer.Argument(metavar="k8s", help="What the manifests are for.")],
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
    client_keys: Annotated[
        Path | None,
        typer.Option(help="The file of `headgate run --client-keys`: a Secret and an AccessPolicy."),
    ] = None,
    output: Annotated[Literal["yaml", "json"], typer.Option("--output", "-o", help="How to print.")] = "yaml",
) -> None:
    """Print manifests for a Kubernetes cluster: what `headgate run -f` serves here, as the cluster takes it.

    Objects are printed as they are written, with their namespace. Pools that Headgate's own picker serves
    name its Service, keys and certificates in files become Secrets, namespaces are made. The output then
    holds these keys: pipe it to where it is meant. What a cluster cannot have is said on stderr. The exit
    code is 1 when something is wrong with the files; then nothing is printed.

    The cluster needs the CRDs of the Gateway API and its Inference Extension, and deploy/helm/headgate.

    Examples:

      headgate export k8s -f examples/quickstart

      headgate export k8s -f manifests/ --client-keys keys.txt | kubectl apply -f -
    """
    import yaml

    from headgate.cli.manifests import manifest_paths, nothing_read
    from headgate.io.sources.export import exported
    from headgate.io.terminal.say import say, say_json

    assert where == "k8s"
    named = manifest_paths(paths or (), files or ())
    try:
        found, snapshot = exported(named, client_keys)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--client-keys") from None
    problems = sorted({*snapshot.problems, *found.problems, *nothing_read(snapshot, named)})
    for problem in problems:
        say(str(problem), err=True)
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(1)
    if output == "json":
        say_json({"apiVersion": "v1", "kind": "List", "items": found.documents})
        return
    text = yaml.safe_dump_all(found.documents, sort_keys=False, width=110, explicit_start=True)
    say(*text.removesuffix("\n").split("\n"))
