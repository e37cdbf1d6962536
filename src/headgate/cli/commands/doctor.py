"""`headgate doctor`: what this installation consists of, and what it lacks."""

import platform
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    output: Annotated[Literal["text", "json"], typer.Option()] = "text",
    kubeconfig: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Look at the cluster of this kubeconfig instead.")
    ] = None,
    kube_context: Annotated[
        str, typer.Option(help="Context of the kubeconfig; the current one by default.")
    ] = "",
    namespace: Annotated[
        str, typer.Option(help="Where Headgate is installed on the cluster.")
    ] = "headgate-system",
    release: Annotated[str, typer.Option(help="Name of the chart's release there.")] = "headgate",
) -> None:
    """Say what this installation consists of, or what a cluster lacks.

    Here: Python, the picker's wire and core, Envoy. Of a cluster: the version of its API server, kinds (CRDs)
    and their releases, GatewayClasses, controller, picker, Lease, and the rights of their ServiceAccounts.
    Nothing is changed.

    Exit code 1 when something that `headgate run`, or the cluster, needs is missing.

    Examples:

        headgate doctor

        HEADGATE_WIRE=portable headgate doctor --output json

        headgate doctor --kubeconfig ~/.kube/config
    """
    if kubeconfig is not None:
        _cluster(kubeconfig, kube_context, namespace, release, output)
        return
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


def _cluster(kubeconfig: Path, context: str, namespace: str, release: str, output: str) -> None:
    import asyncio

    import msgspec

    from headgate.io.kube.client import ApiError, KubeClient
    from headgate.io.kube.config import ConfigError, read_kubeconfig
    from headgate.io.kube.doctor import Doctor, Finding
    from headgate.io.terminal.say import say, say_json

    async def examine() -> list[Finding]:
        found = []
        async with KubeClient(read_kubeconfig(kubeconfig, context)) as client:
            async for each in Doctor(client, namespace, release).findings():
                found.append(each)
                if output == "text":
                    say(f"{each.state:<8}{each.what}: {each.message}")
        return found

    try:
        found = asyncio.run(examine())
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--kubeconfig") from None
    except ApiError as error:
        say(f"error   API server: {error}", err=True)
        raise typer.Exit(1) from None
    if output == "json":
        say_json({"findings": msgspec.to_builtins(found)})
    if any(each.state == "error" for each in found):
        raise typer.Exit(1)


def _wire() -> dict[str, Any]:
    """`use` is `native`, `portable`, or None when the one asked for cannot be had."""
    import os

    from headgate.io.extproc.native import VARIABLE, MissingError, lacking, load

    asked = os.environ.get(VARIABLE) or "auto"
    found: dict[str, Any] = {"asked": asked, "use": None, "native_version": None}
    try:
        module = load(asked)
    except (MissingError, ValueError) as error:
        return found | {"reason": str(error)}
    if module is not None:
        version = module.__version__
        return found | {"use": "native", "native_version": version, "reason": f"headgate-native {version}"}
    return found | {"use": "portable", "reason": "asked for" if asked == "portable" else lacking()}


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
