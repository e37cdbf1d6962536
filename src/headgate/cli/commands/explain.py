"""`headgate explain`: why a request went where it went."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headgate.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.table import Table

    from headgate.model.decisions import Candidate, Decision, DecisionRecord
    from headgate.model.own_answers import Explained
    from headgate.model.requests import Usage

app = typer.Typer(add_completion=False)

ROOMY = 110
"""Columns from which on the parts of a cost have a place in the table."""

ADMIN = "http://127.0.0.1:15000"

LISTED = 20
"""Requests in a list, unless a number is given."""
MOST_LISTED = 1000
ONE_LINE = 1000
"""Columns of a list that is not for a terminal: each request is one line."""

UNKNOWN = """\
The request id is the x-request-id header of the response. Recent requests are remembered, not all of them,
and a restarted gateway starts anew. `headgate explain --last` shows the newest decision."""


@app.command()
def explain(
    request_id: Annotated[
        str | None, typer.Argument(help="The x-request-id of a response.", show_default=False)
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest decision.")] = False,
    slowest: Annotated[
        bool, typer.Option("--slowest", help="List the slowest remembered requests, by time to first token.")
    ] = False,
    recent: Annotated[bool, typer.Option("--recent", help="List the newest requests.")] = False,
    admin: Annotated[
        list[str] | None,
        typer.Option(
            envvar="HEADGATE_ADMIN",
            help="Admin API of the gateway (http://127.0.0.1:15000 when not given); may be repeated, for "
            "pickers and controllers that run apart.",
        ),
    ] = None,
    output: Annotated[Literal["text", "json"], typer.Option()] = "text",
) -> None:
    """Explain a routing decision: what each endpoint would have cost, what was filtered, what came of it.

    After --slowest or --recent a number says how many to list (default 20).

    Examples:

        headgate explain --last

        headgate explain 3f1c9d2e-5a60-4b0e-9a51-0f6c2d7e8b11

        headgate explain --last --output json

        headgate explain --slowest 10

        headgate explain 3f1c9d2e --admin http://127.0.0.1:15000 --admin http://127.0.0.1:15001
    """
    from urllib.parse import quote

    import msgspec

    from headgate.cli.admin_client import AdminError, NotKnownError, first_json
    from headgate.io.terminal.console import PlainConsole
    from headgate.io.terminal.say import say, say_json
    from headgate.model.decisions import DecisionRecord

    admins = admin or [ADMIN]

    if slowest or recent:
        if last or (slowest and recent):
            raise typer.BadParameter("--last, --slowest and --recent exclude each other")
        how_many = request_id or str(LISTED)
        if not (how_many.isascii() and how_many.isdigit() and 0 < int(how_many[:9]) <= MOST_LISTED):
            raise typer.BadParameter(f"how many to list is a number from 1 to {MOST_LISTED}")
        _list(admins, "slowest" if slowest else "recent", int(how_many), output)
        return
    if request_id == "":
        raise typer.BadParameter("the request id is empty")
    if (request_id is None) != last:
        raise typer.BadParameter("give a request id, --last, --slowest or --recent")
    try:
        content = first_json(admins, f"/v1/decisions/{quote(request_id or 'last', safe='')}")
    except NotKnownError as error:
        if request_id is not None and _explain_answer(admins, request_id, output):
            return
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


def _explain_answer(admins: "Sequence[str]", request_id: str, output: str) -> bool:
    """Explain an error that the gateway gave before a picker was asked; False where there is none."""
    from urllib.parse import quote

    import msgspec

    from headgate.cli.admin_client import AdminError, first_json
    from headgate.io.terminal.console import PlainConsole
    from headgate.io.terminal.say import say_json
    from headgate.model.own_answers import Explained

    try:
        content = first_json(admins, f"/v1/answers/{quote(request_id, safe='')}")
    except AdminError:  # a picker alone knows of none
        return False
    if output == "json":
        say_json(content)
        return True
    console = PlainConsole()
    for line in answer_lines(msgspec.convert(content, Explained)):
        console.print(line, soft_wrap=True)
    return True


def answer_lines(found: "Explained") -> "Iterator[str]":
    """What was asked, what the gateway answered, and why."""
    answer = found.answer
    yield f"request {answer.request_id}  {found.time}"
    model = f"  model {answer.model}" if answer.model is not None else ""
    yield f"{answer.method} {answer.path}  host {answer.host or '-'}  port {answer.port}{model}"
    yield f"answered by the gateway: {answer.status} {answer.reason or 'without a reason'}"
    if answer.route:
        yield f"route {answer.route}"
    yield ""
    yield from found.why
    if answer.details:
        yield f"Envoy calls it {answer.details}"


def _list(admins: "Sequence[str]", order: str, limit: int, output: str) -> None:
    import msgspec

    from headgate.cli.admin_client import AdminError, first_as
    from headgate.io.terminal.console import PlainConsole
    from headgate.io.terminal.say import is_terminal, say, say_json
    from headgate.model.decisions import DecisionRecord

    try:
        content = first_as(admins, f"/v1/decisions?order={order}&limit={limit}", list[object])
    except AdminError as error:
        say(f"headgate: {error}", err=True)
        raise typer.Exit(1) from None
    if output == "json":
        say_json(content)
        return
    records = msgspec.convert(content, list[DecisionRecord])
    if not records:
        say("no request is remembered that has ended" if order == "slowest" else "no request is remembered")
        return
    console = PlainConsole() if is_terminal() else PlainConsole(width=ONE_LINE)
    console.print(request_table(records))


def request_table(records: "Iterable[DecisionRecord]") -> "Table":
    """A row for each request, in the order given."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("TIME", "REQUEST", "MODEL", "ENDPOINT"):
        table.add_column(name, overflow="fold")
    for name in ("STATUS", "TTFT", "DURATION"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ENDING", no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for record in records:
        decision, outcome = record.decision, record.outcome
        served = None if outcome is None else outcome.served
        picked = decision.chosen[0] if decision.chosen else None
        status = None if outcome is None else outcome.status
        table.add_row(
            record.time,
            decision.request_id,
            decision.model or "-",
            served or picked or "-",
            "-" if status is None else str(status),
            _maybe(None if outcome is None else outcome.ttft_s),
            _maybe(None if outcome is None else outcome.duration_s),
            outcome.ending if outcome is not None else "refused" if decision.refused else "running",
            record.why,
        )
    return table


def _maybe(value: float | None) -> str:
    return "-" if value is None else seconds(value)


SESSIONS = {
    "new": "not seen before, or forgotten",
    "kept": "where its last request went",
    "moved": "not where its last request went: that endpoint is gone, unwell, full or dearer",
}
"""Of `Decision.session`, for people."""


PRIORS = {
    "held": "kept by the chosen endpoint, which alone may serve",
    "down": "kept by an endpoint that is down: sent to anybody",
    "gone": "kept by an endpoint that has left or may not serve: sent to anybody",
    "unknown": "not seen here, forgotten, or its endpoint has started anew: sent to anybody",
}
"""Of `Decision.prior`, for people."""


def headline(record: "DecisionRecord") -> "Iterator[str]":
    """Who asked for what, and where it went."""
    decision = record.decision
    yield f"request {decision.request_id}  {record.time}"
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
    if decision.prior is not None:
        yield f"the answer or conversation that it goes on with: {PRIORS[decision.prior]}"
    if decision.session is not None:
        yield f"session: {SESSIONS[decision.session]}"
    if decision.waited_s > 0:
        behind = decision.queued_behind
        place = "" if behind is None else f", {behind} before it when it came"
        yield f"waited {seconds(decision.waited_s)} for its turn{place}"
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
    if record.why:
        yield record.why
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
