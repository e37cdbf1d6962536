"""`headgate demo`: see what prefix-aware routing does, without a GPU."""

from typing import Annotated, Literal

import typer

from headgate.cli.options import SCRAPE_INTERVAL_S, FlowControl, duration_option, scrape_interval_option

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    load: Annotated[
        str, typer.Option(help="What is asked: shared-prefix, multi-turn, bursty, hot-prefix, unique.")
    ] = "shared-prefix",
    replicas: Annotated[int, typer.Option(min=1, max=64, help="How many simulated servers.")] = 4,
    preset: Annotated[
        str, typer.Option(help="Model and GPU of the servers, as in headgate fleet.")
    ] = "8b-h100",
    duration: Annotated[
        float, duration_option("How long the load of each policy takes.", default=20.0, least=1.0)
    ] = 20.0,
    policy: Annotated[str, typer.Option(help="Routing policies, run in turn.")] = "default,round-robin",
    speed: Annotated[float, typer.Option(min=0.1, help="Servers this much faster than real ones.")] = 1.0,
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, help="Requests/s, times speed. [default: chosen to press the fleet]"),
    ] = None,
    kv_tokens: Annotated[
        int | None, typer.Option(min=1024, help="KV tokens per server. [default: chosen to be scarce]")
    ] = None,
    max_num_seqs: Annotated[
        int | None, typer.Option(min=1, help="Sequences a server runs at once. [default: the preset's]")
    ] = None,
    slow: Annotated[
        int, typer.Option(min=0, help="So many of the servers are four times slower than the others.")
    ] = 0,
    scrape_interval: Annotated[float, scrape_interval_option()] = SCRAPE_INTERVAL_S,
    flow_control: FlowControl = True,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The gateway's port; 0: any free one.")] = 8080,
    seed: Annotated[int, typer.Option(help="Same seed, same requests.")] = 0,
    keep: Annotated[bool, typer.Option("--keep", help="Serve on until Ctrl-C.")] = False,
    output: Annotated[Literal["text", "json"], typer.Option(help="How to print the result.")] = "text",
) -> None:
    """Start simulated servers, the gateway and a load; then the same load with round robin, and compare.

    Takes about a minute with the defaults.

    Examples:

      headgate demo

      headgate demo --load multi-turn --replicas 6

      headgate demo --policy default,least-requests,round-robin --duration 15

      headgate demo --load hot-prefix --slow 2

      headgate demo --keep --port 8081
    """
    import asyncio

    from headgate.app.demo.children import ChildError
    from headgate.app.demo.plan import DemoSettings, set_scene
    from headgate.app.demo.stage import JsonStage, TextStage
    from headgate.app.demo.stages import keep_serving, run_demo
    from headgate.io.terminal.say import say

    settings = DemoSettings(
        load=load,
        replicas=replicas,
        preset=preset,
        policies=tuple(dict.fromkeys(name.strip() for name in policy.split(",") if name.strip())),
        duration_s=duration,
        speed=speed,
        rate=rate,
        kv_tokens=kv_tokens,
        max_num_seqs=max_num_seqs,
        slow=slow,
        scrape_interval_s=scrape_interval,
        flow_control=flow_control,
        port=port,
        keep=keep,
        seed=seed,
    )

    async def show() -> None:
        scene = set_scene(settings)
        stage = TextStage(scene) if output == "text" else JsonStage()
        with stage:
            stage.finish(await run_demo(scene, stage))
            if keep:
                await keep_serving(scene, stage)

    try:
        asyncio.run(show())
    except (ValueError, ChildError) as error:
        say(f"headgate demo: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(0 if keep else 130) from None
