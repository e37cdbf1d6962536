"""`headgate check`: what is wrong with manifests, before anything runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def check(
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
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="How to print.")] = "text",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Validate manifests and say what is wrong, with file, line, object and field.

    Exit code 1 when something is wrong or there is nothing to check, 0 when there are only warnings, or
    notes, which say what is in order and may surprise.
    Needs no Envoy and no cluster.

    Examples:

      headgate check gateway.yaml

      headgate check manifests/*

      headgate check -f manifests/ -f extra.yaml --strict

      headgate check -f manifests/ --output json
    """
    from msgspec.structs import replace

    from headgate.cli.manifests import manifest_paths, nothing_read
    from headgate.gateway.settings import GatewaySettings
    from headgate.gateway.translate import translate
    from headgate.io.sources.api import read_once
    from headgate.io.terminal.say import say, say_json
    from headgate.manifests.schema import CLUSTER_ONLY
    from headgate.model.words import counted

    named = manifest_paths(paths or (), files or ())
    snapshot = read_once(named)
    translation = translate(snapshot, GatewaySettings())
    found = {*snapshot.problems, *translation.problems, *translation.notes, *nothing_read(snapshot, named)}
    problems = sorted(  # whether they are for a cluster nobody says here
        replace(each, severity="note") if each.reason == CLUSTER_ONLY else each for each in found
    )
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = sum(problem.severity == "warning" for problem in problems)
    notes = len(problems) - errors - warnings
    summary = translation.summary
    if output == "json":
        content = {
            "errors": errors,
            "warnings": warnings,
            "notes": notes,
            "problems": problems,
            "listeners": summary.listeners,
            "routes": summary.routes,
            "pools": {pool.key: len(pool.endpoints) for pool in summary.pools},
        }
        say_json(content)
    else:
        say(
            *map(str, problems),
            f"{counted(len(snapshot.objects), 'object')}, {counted(len(summary.listeners), 'listener')}, "
            f"{counted(summary.routes, 'route')}, {counted(len(summary.pools), 'pool')}: "
            f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
            + (f", {counted(notes, 'note')}" if notes else ""),
        )
    if errors or (strict and warnings):
        raise typer.Exit(1)
