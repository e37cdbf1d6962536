"""`headgate check`: what is wrong with manifests, before anything runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def check(
    files: Annotated[
        list[Path], typer.Option("--file", "-f", help="A file or folder of manifests; may be repeated.")
    ],
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="How to print.")] = "text",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Validate manifests and say what is wrong, with file, line, object and field.

    Exit code 1 when something is wrong or there is nothing to check, 0 when there are only warnings.
    Needs no Envoy and no cluster.

    [bold]Examples[/]

      headgate check -f gateway.yaml

      headgate check -f manifests/ -f extra.yaml --strict

      headgate check -f manifests/ --output json
    """
    from headgate.cli.manifests import must_exist, nothing_read
    from headgate.gateway.settings import GatewaySettings
    from headgate.gateway.translate import translate
    from headgate.io.sources.files import read_once
    from headgate.io.terminal.say import say, say_json

    must_exist(files)
    snapshot = read_once(files)
    translation = translate(snapshot, GatewaySettings())
    problems = sorted({*snapshot.problems, *translation.problems, *nothing_read(snapshot, files)})
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    summary = translation.summary
    if output == "json":
        found = {
            "errors": errors,
            "warnings": warnings,
            "problems": problems,
            "listeners": summary.listeners,
            "routes": summary.routes,
            "pools": {pool.key: len(pool.endpoints) for pool in summary.pools},
        }
        say_json(found)
    else:
        say(
            *map(str, problems),
            f"{len(snapshot.objects)} objects, {len(summary.listeners)} listeners, {summary.routes} routes, "
            f"{len(summary.pools)} pools: {errors} errors, {warnings} warnings",
        )
    if errors or (strict and warnings):
        raise typer.Exit(1)
