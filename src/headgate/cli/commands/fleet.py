"""`headgate fleet`: simulated model servers, to try routing without a GPU."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headgate.cli.options import duration_option

if TYPE_CHECKING:
    from headgate.io.fleet.server import Fleet
    from headgate.io.fleet.settings import FleetSettings

app = typer.Typer(add_completion=False)

Output = Literal["text", "json"]


@app.command()
def fleet(
    replicas: Annotated[int, typer.Option(min=1, help="How many servers.")] = 3,
    port_base: Annotated[
        int, typer.Option(min=0, max=65_535, help="Server i listens on this port plus i; 0: any free ports.")
    ] = 9500,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    control_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Where faults are set; 0: any. Default: port base - 1."),
    ] = None,
    speed: Annotated[float, typer.Option(help="Run this much faster than real time.")] = 1.0,
    preset: Annotated[
        str, typer.Option(help="Model and GPU: 8b-h100, 8b-a100, 32b-tp2-h100, 70b-tp4-h100, …")
    ] = "8b-h100",
    model: Annotated[str | None, typer.Option(help="Name to serve instead of the preset's.")] = None,
    lora: Annotated[list[str] | None, typer.Option(help="Name of a LoRA adapter; repeat for more.")] = None,
    max_loras: Annotated[int, typer.Option(min=0, help="Adapters on the GPU at a time.")] = 4,
    kv_tokens: Annotated[int | None, typer.Option(min=16, help="Tokens the KV cache holds.")] = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1, help="Most running requests.")] = None,
    max_model_len: Annotated[int | None, typer.Option(min=2, help="Longest prompt plus answer.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same answers.")] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="REPLICA:KIND[:rate=R,for_s=DURATION,factor=F], in force from the start; repeatable."
        ),
    ] = None,
    drain_timeout: Annotated[
        float,
        duration_option(
            "Longest wait for running answers at the end.", "--drain-timeout", "--drain-s", default=10.0
        ),
    ] = 10.0,
    drain_delay: Annotated[
        float,
        duration_option(
            "Told to end, take requests for so long more, as a Pod with a preStop sleep does.", default=0.0
        ),
    ] = 0.0,
    output: Annotated[Output, typer.Option(help="How to print the servers.")] = "text",
    die_with_parent: Annotated[
        bool, typer.Option("--die-with-parent", help="End when the process that started this ends (Linux).")
    ] = False,
) -> None:
    """Run simulated model servers: vLLM's API, metrics, KV cache and LoRA, without a GPU.

    Timing is that of a real engine: continuous batching, chunked prefill, prefix cache, preemption.

    Ctrl-C ends it after running answers are through; a second Ctrl-C at once.

    Examples:

      headgate fleet --replicas 3 --port-base 9500 --speed 20

      headgate fleet --preset 32b-tp2-h100 --lora sql --lora legal --max-loras 1

      headgate fleet --fault 1:error-500:rate=0.3

      curl 127.0.0.1:9499/fault -d '{"replica": 0, "kind": "hang", "for_s": 5}'

    Faults: crash, hang, hang-all, hang-mid-stream, error-500, error-429, slow-start,
    stale-metrics, no-metrics; recover ends them.
    """
    from headgate.app.processes.parent import die_with_parent as end_with_parent
    from headgate.io.fleet.faults import read_fault
    from headgate.io.fleet.server import PortTakenError
    from headgate.io.fleet.settings import FleetSettings
    from headgate.io.terminal.say import say

    if die_with_parent:
        end_with_parent()
    try:
        settings = FleetSettings(
            replicas=replicas,
            port_base=port_base,
            host=host,
            control_port=control_port,
            preset=preset,
            model=model,
            loras=tuple(lora or ()),
            max_loras=max_loras,
            speed=speed,
            seed=seed,
            kv_tokens=kv_tokens,
            max_num_seqs=max_num_seqs,
            max_model_len=max_model_len,
            drain_s=drain_timeout,
            faults=tuple(read_fault(text) for text in fault or ()),
        )
        _serve(settings, output, drain_delay)
    except (ValueError, PortTakenError) as problem:
        say(f"headgate fleet: {problem}", err=True)
        raise typer.Exit(1) from None


def _serve(settings: "FleetSettings", output: Output, drain_delay_s: float) -> None:
    import asyncio
    import signal

    import uvloop

    from headgate.app.processes.ending import ENDING, on_ending
    from headgate.io.fleet.server import running_fleet

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def first_signal(_: signal.Signals) -> None:
            stop.set()
            for number in ENDING:  # a second one ends the process at once
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)

        on_ending(first_signal)
        async with running_fleet(settings) as running:
            _announce(running, settings, output)
            await stop.wait()
            await asyncio.sleep(drain_delay_s)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def _announce(fleet: "Fleet", settings: "FleetSettings", output: Output) -> None:
    """Print the servers: a table with examples, or one JSON object a line, the control port last."""
    from rich.table import Table

    from headgate.io.terminal.console import PlainConsole
    from headgate.io.terminal.say import say, say_json

    if output == "json":
        for replica in fleet.replicas:
            say_json(replica.describe(), indent=False)
        say_json({"control": fleet.control_url}, indent=False)
        return
    first = fleet.replicas[0]
    say(
        f"{settings.replicas} x {settings.preset} serving {first.model}, {settings.speed:g} x real time",
        "",
    )
    table = Table("replica", "URL", "adapters", "faults", box=None, padding=(0, 3, 0, 0))
    for replica in fleet.replicas:
        about = replica.describe()
        faults = ", ".join(one["kind"] for one in about["faults"])
        table.add_row(replica.name, replica.url, ", ".join(about["adapters"]) or "-", faults or "-")
    PlainConsole(width=None).print(table)
    body = f'{{"model": "{first.model}", "prompt": "Once upon", "max_tokens": 20}}'
    say()
    say(f"curl {fleet.urls[0]}/v1/completions -H 'content-type: application/json' -d '{body}'")
    say(f"""curl {fleet.control_url}/fault -d '{{"replica": 0, "kind": "crash", "for_s": 5}}'""")
    say(f"headgate run {' '.join(fleet.urls)}")
