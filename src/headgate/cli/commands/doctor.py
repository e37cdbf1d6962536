"""`headgate doctor`: what this installation consists of, and what it lacks."""

import platform
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def doctor(output: Annotated[Literal["text", "json"], typer.Option()] = "text") -> None:
    """Say what this installation consists of: Python, the picker's wire and core, Envoy.

    Exit code 1 when something that `headgate run` needs is missing.

    Examples:

        headgate doctor

        HEADGATE_WIRE=portable headgate doctor --output json
    """
    from headgate import __version__
    from headgate.io.terminal.say import say, say_json

    core, wire, envoy = _core(), _wire(), _envoy()
    content: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "wire": wire,
        "core": core,
        "envoy": envoy,
    }
    if output == "json":
        say_json(content)
    else:
        say(f"headgate {__version__}, Python {content['python']}")
        say(f"wire: {wire['use'] or 'none'} ({wire['reason']})")
        say(f"core: {core['use'] or 'none'} ({core['reason']})")
        say(f"envoy: {envoy['path'] or envoy['reason']}")
    if wire["use"] is None or core["use"] is None or envoy["path"] is None:
        raise typer.Exit(1)


def _wire() -> dict[str, Any]:
    """`use` is `native`, `portable`, or None when the one asked for cannot be had."""
    import os

    from headgate.io.extproc.native import VARIABLE, MissingError, load

    asked = os.environ.get(VARIABLE) or "auto"
    found: dict[str, Any] = {"asked": asked, "use": None, "native_version": None}
    try:
        module = load(asked)
    except (MissingError, ValueError) as error:
        return found | {"reason": str(error)}
    if module is not None:
        version = module.__version__
        return found | {"use": "native", "native_version": version, "reason": f"headgate-native {version}"}
    reason = "asked for" if asked == "portable" else "headgate-native is not installed"
    return found | {"use": "portable", "reason": reason}


def _core() -> dict[str, Any]:
    """`use` is `compiled`, `plain`, or None when the one asked for cannot be had."""
    import os

    from headgate import compiled

    asked = os.environ.get(compiled.VARIABLE) or "auto"
    try:
        reason = compiled.plain_because()
    except compiled.CoreError as error:
        os.environ[compiled.VARIABLE] = "plain"  # the rest can be looked at with any
        return {"asked": asked, "use": None, "reason": str(error)}
    return {
        "asked": asked,
        "use": compiled.in_use(),
        "reason": reason or f"{len(compiled.MODULES)} modules by mypyc",
    }


def _envoy() -> dict[str, Any]:
    from headgate.io.envoy.binary import EnvoyMissingError, find_envoy

    try:
        return {"path": str(find_envoy()), "reason": "found"}
    except EnvoyMissingError as error:
        return {"path": None, "reason": str(error)}
