"""Entry point: a lazy group, so that one verb's start-up does not pay for the others' imports."""

import difflib
import importlib
import inspect
import pkgutil
import sys
import traceback
from typing import Any

import typer.main
from typer.core import TyperCommand, TyperGroup

from headgate import __version__, compiled
from headgate.app.processes.ending import exit_when_told
from headgate.cli import commands
from headgate.io.terminal.say import say


class Verbs(TyperGroup):
    """Commands by folder: module `x_y` of `headgate.cli.commands`, attribute `app`, is the verb `x-y`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All verbs, in name order."""
        return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """The verb's command, imported now; None when there is no such verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        command = typer.main.get_command(module.app)
        assert isinstance(command, TyperCommand)  # one @app.command() per module
        command.name = cmd_name
        command.rich_markup_mode = None  # rich's tables cut the names of options on narrow terminals
        command.short_help = inspect.cleandoc(command.help or "").partition("\n\n")[0]
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """See click; who mistyped a verb is told the one that was meant."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(_no_verb(args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def _no_verb(word: str, verbs: list[str]) -> str:
    if "://" in word:
        return f"There is no command {word!r}. Did you mean headgate run {word}?"
    near = difflib.get_close_matches(word.lower(), verbs, 1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(verbs)}."
    return f"There is no command {word!r}. {hint}"


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # a plain traceback is what fits a log and a bug report
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An inference gateway for self-hosted LLMs.\n\nStart here: `headgate demo` (no GPU needed), "
    "or `headgate run http://your-server:8000`.",
)


def _version(value: bool) -> None:
    if value:
        say(f"headgate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options of the bare command."""


SERVERS = frozenset({"run", "fleet", "picker", "controller"})
"""Verbs that serve until they are told to end; to be told so while they still start is no failure."""


def main(args: list[str] | None = None) -> Any:
    """Run the command line; exits the process."""
    words = args if args is not None else sys.argv[1:]
    if SERVERS.intersection(words[:1]):
        exit_when_told()
    try:
        return app(words, prog_name="headgate")
    except compiled.CoreError as error:
        say(f"headgate: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        say(*"".join(traceback.format_exception(error)).rstrip().split("\n"), err=True)
        sys.exit(1)
