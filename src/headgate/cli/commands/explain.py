"""`headgate explain`: why a request went where it went."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headgate.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from headgate.model.decisions import Candidate, Decision, DecisionRecord
    from headgate.model.requests import Usage

app = typer.Typer(add_completion=False)

ROOMY = 110
"""Columns from which on the parts of a cost have a place in the table."""

UNKNOWN = """\
The request id is the x-request-id header of the response. Recent decisions are remembered, not all of them,
and a restarted picker starts anew; requests that never reached the picker (unknown path, too large a body)
have no decision. `headgate explain --last` shows the newest one."""


@app.command()
def explain(
    request_id: Annotated[
        str | None, typer.Argument(help="The x-request-id of a response.", show_default=False)
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest decision.")] = False,
    admin: Annotated[
        str, typer.Option(envvar="HEADGATE_ADMIN", help="Admin API of the gateway.")
    ] = "http://127.0.0.1:15000",
    output: Annotated[Literal["text", "json"], typer.Option()] = "text",
) -> None:
    """Explain a routing decision: what each endpoint would have cost, what was filtered, what came of it.

    Examples:

        headgate explain --last

        headgate explain 3f1c9d2e-5a60-4b0e-9a51-0f6c2d7e8b11

        headgate explain --last --output json
    """
    from urllib.parse import quote

    import msgspec

    from headgate.cli.admin_client import AdminError, NotKnownError, get_json
    from headgate.io.terminal.console import PlainConsole
    from headgate.io.terminal.say import say, say_json
    from headgate.model.decisions import DecisionRecord

    if (request_id is None) != last:
        raise typer.BadParameter("give either a request id or --last")
    try:
        content = get_json(admin, f"/v1/decisions/{quote(request_id or 'last', safe='')}")
    except NotKnownError as error:
        advice = () if last else UNKNOWN.split("\n")
        say(f"{str(error).rstrip('.')}.", *advice, err=True)
        raise typer.Exit(1) from None
    except AdminError as error:
        say(f"headgate: {error}", err=True)
        raise typer.Exit(1) from None
    if output == "json":
        say_json(content)
        return
    record = msgspec.convert(content, DecisionRecord)
    console = PlainConsole()
    for line in headline(record):
        console.print(line, soft_wrap=True)
    if record.decision.candidates:
        roomy = console.width >= ROOMY
        console.print()
        console.print(candidate_table(record.decision, with_parts=roomy))
        for line in () if roomy else cost_lines(record.decision):
            console.print(line)
    console.print()
    for line in what_happened(record):
        console.print(line, soft_wrap=True)


def headline(record: "DecisionRecord") -> "Iterator[str]":
    """Who asked for what, and where it went."""
    from datetime import datetime

    decision = record.decision
    when = datetime.fromtimestamp(record.wall_time).astimezone().isoformat(sep=" ", timespec="milliseconds")
    yield f"request {decision.request_id}  {when}"
    model = decision.model or "no model named"
    if decision.target_model is not None:
        model += f" → {decision.target_model}"
    objective = f" ({decision.objective})" if decision.objective else ""
    yield (
        f"pool {decision.pool}  policy {decision.policy}  {model}  priority {decision.priority}{objective}  "
        f"about {counted(decision.prompt_tokens, 'prompt token')}"
    )
    if decision.sharers:
        yield (
            f"shares its cached prefix with {decision.sharers} in flight: "
            f"each is charged 1/{decision.sharers + 1} of the surcharge for a miss"
        )
    if decision.waited_s > 0:
        yield f"waited {seconds(decision.waited_s)} for its turn"
    if decision.refused is not None:
        yield f"refused: {decision.refused}"
    elif decision.chosen:
        fallbacks = ", ".join(decision.chosen[1:])
        yield f"sent to {decision.chosen[0]}" + (f", then if it fails: {fallbacks}" if fallbacks else "")


def parts_of(candidate: "Candidate") -> str:
    """What the cost is made of; terms of 0 are left out."""
    parts = ", ".join(f"{term.name} {term.value:.3g}" for term in candidate.terms if term.value) or "-"
    return parts if candidate.pace == 1.0 else f"{parts}; pace {candidate.pace:.2g}x"


def cost_lines(decision: "Decision") -> "Iterator[str]":
    """For narrow terminals: the parts of each cost, a line each, in the order of the table."""
    costed = [(each.cost, each) for each in decision.candidates if each.cost is not None]
    costed.sort(key=lambda pair: pair[0])
    if costed:
        yield ""
    for cost, each in costed:
        yield f"{each.endpoint} costs {cost:.4g}: {parts_of(each)}"


def candidate_table(decision: "Decision", with_parts: bool = True) -> "Table":
    """A row for each endpoint, cheapest first and the filtered ones last."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ENDPOINT", no_wrap=True)
    table.add_column("COST", justify="right", no_wrap=True)
    if with_parts:
        table.add_column("MADE OF", overflow="fold")
    for name in ("CACHED", "BUSY", "PENDING", "METRICS"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    ordered = sorted(decision.candidates, key=lambda each: (each.cost is None, each.cost or 0.0))
    for each in ordered:
        age = each.metrics_age_s
        table.add_row(
            each.endpoint,
            "-" if each.cost is None else f"{each.cost:.4g}",
            *([parts_of(each)] if with_parts else ()),
            f"{each.matched_tokens} tok",
            f"{each.in_flight} req",
            f"{each.pending_tokens} tok",
            "never" if age is None else f"{seconds(age)} old",
            remark(decision, each),
            style="green" if each.endpoint in decision.chosen[:1] else None,
        )
    return table


def remark(decision: "Decision", candidate: "Candidate") -> str:
    """What became of a candidate, in words."""
    if candidate.filtered_by is not None:
        reason = f": {candidate.filter_reason}" if candidate.filter_reason else ""
        return f"filtered by {candidate.filtered_by}{reason}"
    if candidate.endpoint in decision.chosen[:1]:
        return "chosen"
    return "runner-up" if candidate.endpoint == decision.runner_up else ""


def what_happened(record: "DecisionRecord") -> "Iterator[str]":
    """Predicted against seen."""
    decision, outcome = record.decision, record.outcome
    if decision.predicted_ttft_s is not None:
        yield f"predicted first token after {seconds(decision.predicted_ttft_s)}"
    if outcome is None:
        yield "still running" if decision.refused is None else "answered with the refusal"
        return
    if outcome.ttft_s is not None:
        yield f"seen      first token after {seconds(outcome.ttft_s)}"
    status = f" with status {outcome.status}" if outcome.status is not None else ""
    after = f" after {seconds(outcome.duration_s)}" if outcome.duration_s is not None else ""
    yield f"{outcome.ending}{status}{after}"
    if outcome.served is not None and outcome.served not in decision.chosen[:1]:
        yield f"served by {outcome.served}, not by the first choice"
    if outcome.usage is not None:
        yield f"the engine counted {tokens(outcome.usage)}"


def tokens(usage: "Usage") -> str:
    """Token counts in words."""
    cached = "" if usage.cached_tokens is None else f" ({usage.cached_tokens} of them cached)"
    prompt, answer = counted(usage.prompt_tokens, "prompt token"), usage.completion_tokens
    return f"{prompt}{cached}, {counted(answer, 'completion token')}"


def seconds(value: float) -> str:
    """A time in a unit that fits."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
