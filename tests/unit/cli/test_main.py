"""The bare command: what is said of verbs that do not exist."""

import pytest
from typer.testing import CliRunner

from headgate.cli.main import app, main


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("chekc", "Did you mean check?"),
        ("RUN", "Did you mean run?"),
        ("explian", "Did you mean explain?"),
        ("http://gpu1:8000", "Did you mean headgate run http://gpu1:8000?"),
        (
            "zzz",
            "There are check, controller, demo, doctor, explain, export, fleet, picker, run, status, translate.",
        ),
    ],
)
def test_a_mistyped_verb_gets_a_suggestion(word: str, hint: str) -> None:
    result = CliRunner().invoke(app, [word], terminal_width=200)
    assert result.exit_code == 2
    assert f"There is no command '{word}'. {hint}" in result.output


def test_a_crash_is_told_without_steering_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object, **options: object) -> None:
        raise RuntimeError("\x1b[2J")

    monkeypatch.setattr("headgate.cli.main.app", crash)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith("RuntimeError: \\x1b[2J\n")
