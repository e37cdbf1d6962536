"""Writes docs/cli.md from the commands themselves; a test fails when the page is stale.

Usage: python tools/generate_cli_docs.py
"""

import inspect
import re
from pathlib import Path
from typing import Any

import typer

from headgate.cli.main import Verbs

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = """# Commands

Generated from the commands by `python tools/generate_cli_docs.py`; each prints the same with `--help`.
"""


def _plain(text: str) -> str:
    return inspect.cleandoc(text).replace("\b\n", "").strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


_TOLD_DEFAULT = re.compile(r" \[default: ([^ \]]+)\]$")
"""Of options that show their default in the form in which it is written: sizes and durations."""


def _default(option: Any) -> str:
    told = _TOLD_DEFAULT.search(option.help or "")
    if told is not None:
        return f"`{told[1]}`"
    value = option.default
    if callable(value) or value in (None, (), [], False) or repr(value).startswith("Sentinel"):
        return ""
    if value is True:
        return "on"
    return f"`{value}`"


def _body(text: str) -> str:
    """Help text; lines of examples become a code block."""
    out: list[str] = []
    for block in text.split("\n\n"):
        is_code = all(re.match(r"\s*(headgate|curl|make) ", line) for line in block.splitlines())
        if not is_code:
            out.append(block)
        elif out and out[-1].startswith("```"):
            out[-1] = out[-1].removesuffix("\n```") + "\n" + inspect.cleandoc(block) + "\n```"
        else:
            out.append("```\n" + inspect.cleandoc(block) + "\n```")
    return "\n\n".join(out)


def page() -> str:
    """The whole page."""
    group: Any = Verbs(name="headgate")
    context = typer.Context(group, info_name="headgate")
    parts = [HEAD]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        parts.append(f"## headgate {name}\n\n{_body(_plain(command.help or ''))}\n")
        arguments = [param for param in command.params if param.param_type_name == "argument"]
        options = [
            param
            for param in command.params
            if param.param_type_name == "option" and not getattr(param, "hidden", False)
        ]
        rows = [
            (
                f"`{argument.metavar or (argument.name or '').upper()}`",
                _cell(_plain(argument.help or "")),
                "",
            )
            for argument in arguments
        ]
        rows += [
            (
                ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts]),
                _cell(_TOLD_DEFAULT.sub("", _plain(option.help or ""))),
                _default(option),
            )
            for option in options
        ]
        if rows:
            table = [
                "| option | meaning | default |",
                "|---|---|---|",
                *(f"| {' | '.join(row)} |" for row in rows),
            ]
            parts.append("\n".join(table) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
