"""One form of sizes, durations and addresses in every verb, and helps that say all of it."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from headgate.cli.main import Verbs, app
from headgate.cli.options import access_log, duration, ip_address, ip_and_port, picker_address, size

VERBS = Verbs(name="headgate").list_commands(None)


def command(verb: str) -> Any:
    found = Verbs(name="headgate").get_command(None, verb)
    assert found is not None
    return found


def shown_options(verb: str) -> list[Any]:
    return [
        each
        for each in command(verb).params
        if each.param_type_name == "option" and not getattr(each, "hidden", False)
    ]


def given(verb: str, option: Any, text: str) -> Any:
    """The value of *option* when *text* is written on the command line."""
    context = command(verb).make_context(verb, [option.opts[0], text], resilient_parsing=True)
    return context.params[option.name]


@pytest.mark.parametrize("columns", ["80", "60", "200"])
@pytest.mark.parametrize("verb", VERBS)
def test_no_option_is_cut(verb: str, columns: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": columns}, terminal_width=int(columns))
    assert result.exit_code == 0
    words = set(re.split(r"[\s,/]+", result.output))
    for option in shown_options(verb):
        for flag in (*option.opts, *option.secondary_opts):
            assert flag in words
    assert "…" not in "".join(line[:30] for line in result.output.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_texts_of_helps_flow(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "80"}, terminal_width=80)
    text = re.split(r"^(?:Options|Arguments)", result.output, flags=re.MULTILINE)[0]
    assert not re.search(r"\S {3,}\S", text)


def test_every_size_and_duration_has_the_one_form() -> None:
    seen = 0
    for verb in VERBS:
        for option in shown_options(verb):
            name = option.opts[0]
            if re.search("timeout|duration|interval|threshold|-s$", name):
                assert option.metavar == "DURATION", (verb, name)
                assert [given(verb, option, text) for text in ("2s", "2", "2000ms")] == [2.0] * 3
                seen += 1
            if re.search("limit|-size$", name):
                assert option.metavar == "SIZE", (verb, name)
                assert [given(verb, option, text) for text in ("64Mi", "64MiB", "67108864")] == [64 << 20] * 3
                seen += 1
    assert seen >= 10


def test_least_values_and_no_limit() -> None:
    assert size(any_size=True)("-1") == -1
    assert duration()(0) == 0.0
    for parse, text, words in (
        (size(), "0", "at least 1"),
        (size(), "-1", "is no size"),
        (duration(0.01), "1ms", "at least 10ms"),
        (duration(), "x", "is no duration"),
    ):
        with pytest.raises(typer.BadParameter, match=words):
            parse(text)


def test_addresses() -> None:
    assert ip_address("[::1]") == "::1"
    assert ip_address("0.0.0.0") == "0.0.0.0"
    assert [ip_and_port(each) for each in ("127.0.0.1:9002", "[::1]:1")] == ["127.0.0.1:9002", "[::1]:1"]
    assert picker_address("unix:/run/picker.sock") == "unix:/run/picker.sock"


@pytest.mark.parametrize(
    "text",
    [
        "foo",
        "foo:9002",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "::1:90",
        ":9",
        "[1.2.3.4]:5",
    ],
)
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"is no address such as 127\.0\.0\.1:9002"):
        ip_and_port(text)


def test_a_picker_address_that_is_none_ends_the_controller_at_once() -> None:
    args = ["controller", "--url", "http://127.0.0.1:1", "--picker-address", "foo"]
    result = CliRunner().invoke(app, args, terminal_width=200)
    assert result.exit_code == 2
    assert "'--picker-address': 'foo' is no address such as 127.0.0.1:9002" in result.output


def test_where_the_access_log_goes(tmp_path: Path) -> None:
    assert [access_log(word) for word in ("auto", "on", "off", "-", "/dev/stdout")] == [
        *("auto", "on", "off", "on", "on")
    ]
    assert access_log(str(tmp_path / "requests.log")) == tmp_path / "requests.log"
    for bad in (str(tmp_path), str(tmp_path / "nowhere" / "log")):
        with pytest.raises(typer.BadParameter, match=re.escape(bad)):
            access_log(bad)
