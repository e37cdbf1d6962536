"""What the demo says: tables, progress lines, and the comparison in words. Pure."""

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from headgate.app.demo.fleet import ReplicaNow
from headgate.app.demo.plan import SLOWER, Scene
from headgate.io.load.report import Report
from headgate.model.words import counted

BAR, NARROW_BAR = 16, 8
"""Cells of a full bar."""

WIDE = 101
"""Columns that the board takes with full bars."""

NOTICEABLE = 0.1
"""Smaller relative differences are called equal: runs of one seed differ by a few per cent."""


def milliseconds(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def percent(share: float | None) -> str:
    """A share for people."""
    return "-" if share is None else f"{share:.0%}"


def opening(scene: Scene) -> list[str]:
    """What is about to happen."""
    settings, workload = scene.settings, scene.workload
    faster = f", {settings.speed:g} times faster than real ones" if settings.speed != 1 else ""
    fleet = f"{counted(settings.replicas, 'simulated server')} of {scene.model} on {scene.preset.gpu}{faster}"
    sharing = (
        f"{counted(workload.groups, 'system prompt')} of {workload.system_tokens} tokens; "
        if workload.groups
        else ""
    )
    pace = f"{scene.rate * settings.speed:.1f} requests/s for {settings.duration_s:g} s"
    if settings.slow:
        fleet += f", {settings.slow} of them {SLOWER:g} times slower than the others"
    return [
        f"{fleet}, KV cache of {scene.kv_tokens // 1000}k tokens each",
        f"load {workload.name}: {workload.about}; {sharing}{pace}",
        f"policies in turn, on the same requests and with empty caches: {', '.join(settings.policies)}",
    ]


def invitation(url: str, model: str) -> list[str]:
    """How to talk to the gateway."""
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}], "max_tokens": 40}}'
    create = f'OpenAI(base_url="{url}/v1", api_key="none").chat.completions.create'
    ask = f'{create}(model="{model}", max_tokens=40, messages=[{{"role": "user", "content": "Hello!"}}])'
    return [
        "Ask it something while it runs:",
        f"  curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'",
        f"  python -c 'from openai import OpenAI; print({ask}.choices[0].message.content)'",
    ]


def progress(policy: str, report: Report, opened: int, replicas: Sequence[ReplicaNow]) -> str:
    """One line of a run under way, for where there is no terminal."""
    queues = " ".join(_queue(replica) for replica in replicas)
    failed = report.requests - report.ok
    return (
        f"{policy}: {report.elapsed_s:4.1f} s, {report.ok} answered, {opened} open, {failed} failed; "
        f"TTFT p50 {milliseconds(report.ttft.p50)} p90 {milliseconds(report.ttft.p90)}; "
        f"{report.tokens_per_s:.0f} tokens/s; {percent(report.hit_rate)} of prompts cached; "
        f"running+waiting {queues}"
    )


def _queue(replica: ReplicaNow) -> str:
    return "-" if replica.running is None else f"{replica.running}+{replica.waiting}"


def board(
    policy: str, report: Report, opened: int, replicas: Sequence[ReplicaNow], width: int = WIDE
) -> Group:
    """A run under way, for a terminal of *width* columns (80 are enough)."""
    cells = BAR if width >= WIDE else NARROW_BAR
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("REPLICA", "RUNNING", "WAITING", "", "KV CACHE", "PREFIX HITS", "ANSWERED"):
        table.add_column(column, justify="right" if column in ("RUNNING", "WAITING", "ANSWERED") else "left")
    most = max([8, *((replica.running or 0) + (replica.waiting or 0) for replica in replicas)])
    for replica in replicas:
        table.add_row(
            replica.name,
            "-" if replica.running is None else str(replica.running),
            "-" if replica.waiting is None else str(replica.waiting),
            _stacked(replica.running or 0, replica.waiting or 0, most, cells),
            f"{_bar(replica.kv_used or 0.0, cells)} {percent(replica.kv_used)}",
            f"{_bar(replica.hit_rate or 0.0, cells)} {percent(replica.hit_rate)}",
            str(report.endpoints.get(replica.endpoint, 0)),
        )
    failed = report.requests - report.ok
    summary = Text.assemble(
        ("policy ", "dim"), (policy, "bold cyan"),
        f"   {report.elapsed_s:.1f} s   {report.ok} answered, {opened} open, ",
        (f"{failed} failed", "red" if failed else ""),
        "\n", ("TTFT ", "dim"), f"p50 {milliseconds(report.ttft.p50)}  p90 {milliseconds(report.ttft.p90)}",
        ("   answers ", "dim"), f"{report.tokens_per_s:.0f} tokens/s",
        ("   prompt tokens cached ", "dim"), percent(report.hit_rate), "\n",
    )  # fmt: skip
    return Group(summary, table)


def _bar(share: float, cells: int) -> str:
    full = round(min(1.0, max(0.0, share)) * cells)
    return "━" * full + "╌" * (cells - full)


def _stacked(running: int, waiting: int, most: int, cells: int) -> Text:
    green = round(running / most * cells)
    red = min(cells - green, round(waiting / most * cells))
    return Text.assemble(("━" * green, "green"), ("━" * red, "red"), " " * (cells - green - red))


def comparison(reports: Mapping[str, Report]) -> Table:
    """All policies side by side."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for policy in reports:
        table.add_column(policy, justify="right")
    for name, cells in comparison_rows(list(reports.values())):
        table.add_row(name, *cells)
    return table


def comparison_rows(reports: Sequence[Report]) -> list[tuple[str, list[str]]]:
    """The rows of `comparison`: what is compared, and each report's value."""
    first = reports[0]
    good = f"first token < {milliseconds(first.ttft_bound_s)}, pace < {milliseconds(first.tpot_bound_s)}"
    return [
        ("time to first token, p50", [milliseconds(report.ttft.p50) for report in reports]),
        ("time to first token, p90", [milliseconds(report.ttft.p90) for report in reports]),
        ("time per later token, p50", [milliseconds(report.tpot.p50) for report in reports]),
        ("time per later token, p90", [milliseconds(report.tpot.p90) for report in reports]),
        ("prompt tokens from cache", [percent(report.hit_rate) for report in reports]),
        ("answer tokens per second", [f"{report.tokens_per_s:.0f}" for report in reports]),
        (f"good requests ({good})", [percent(report.goodput) for report in reports]),
        ("answered / failed", [f"{report.ok} / {report.requests - report.ok}" for report in reports]),
        ("busiest replica's share", [percent(_busiest(report)) for report in reports]),
    ]


def _busiest(report: Report) -> float | None:
    total = sum(report.endpoints.values())
    return max(report.endpoints.values()) / total if total else None


def verdict(reports: Mapping[str, Report]) -> list[str]:
    """The first policy against each other one, in words; honest where it made no difference or lost."""
    (policy, ours), *others = reports.items()
    return [sentence for name, theirs in others for sentence in _against(policy, ours, name, theirs)]


def _against(policy: str, ours: Report, name: str, theirs: Report) -> list[str]:
    times = (
        f"median {milliseconds(ours.ttft.p50)} against {milliseconds(theirs.ttft.p50)}, "
        f"p90 {milliseconds(ours.ttft.p90)} against {milliseconds(theirs.ttft.p90)}"
    )
    cached = f"It found {percent(ours.hit_rate)} of the prompt tokens in a replica's cache"
    good = f"{percent(ours.goodput)} of its requests were good"
    said = [
        f"Against {name}, {policy} {_sooner(ours.ttft.p50, theirs.ttft.p50)} ({times}).",
        f"{cached} ({name}: {percent(theirs.hit_rate)}), and {good} ({name}: {percent(theirs.goodput)}).",
    ]
    lost = [(each, report) for each, report in ((policy, ours), (name, theirs)) if report.errors]
    said += [
        f"{counted(sum(report.errors.values()), 'request')} failed with {each}: {_why(report)}."
        for each, report in lost
    ]
    return said


def _why(report: Report) -> str:
    return ", ".join(f"{error} ({count})" for error, count in report.errors.items())


def _sooner(ours: float | None, theirs: float | None) -> str:
    if ours is None or theirs is None:
        return "cannot be compared: no first token was seen"
    if abs(ours - theirs) <= NOTICEABLE * max(ours, theirs):
        return "gave the first token about as soon"
    if ours < theirs:
        return f"gave the first token {theirs / ours:.1f} times sooner"
    return f"gave the first token {ours / theirs:.1f} times later"
