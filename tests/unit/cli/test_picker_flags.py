"""Flags of other pickers are taken, and what they do is said."""

from headgate.cli.commands import picker as module
from headgate.cli.main import Verbs
from headgate.cli.picker_flags import LOST, NOTICES, notices


def test_every_notice_is_of_a_flag_that_is_taken() -> None:
    assert module.picker is not None
    command = Verbs(name="headgate").get_command(None, "picker")
    assert command is not None
    hidden = {each.name for each in command.params if getattr(each, "hidden", False)}
    assert set(NOTICES) <= hidden
    assert set(NOTICES) >= LOST
    assert hidden - set(NOTICES) == {"supervised", "own_port", "die_with_parent"}


def test_only_what_is_given_is_said() -> None:
    assert notices(["grpc_port", "tracing"]) == [("--tracing has no effect: no traces are sent", False)]
    assert notices(["emit_endpoint_scores"])[0][1]
    assert notices([]) == []
