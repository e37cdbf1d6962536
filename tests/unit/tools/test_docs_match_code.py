"""Tables in the documentation name everything the code can say, and nothing else."""

import re
import typing
from pathlib import Path
from typing import Any

from headgate.cli.main import Verbs
from headgate.gateway.envoy.model_answers import MODEL_NOT_FOUND, UNREADABLE_BODY
from headgate.gateway.envoy.replies import GAVE_UP, MISDIRECTED, replies
from headgate.gateway.reasons import INVALID_ROUTE
from headgate.gateway.settings import GatewaySettings
from headgate.model.headers import HEALTH_PATH
from headgate.model.requests import LONGEST_WAIT_S
from headgate.picker.actions import Reason
from headgate.picker.epp.plugins import PLUGINS
from headgate.scheduling.profiles import PROFILES

ROOT = Path(__file__).parents[3]


def test_every_reason_is_explained_in_errors() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    explained = set(re.findall(r"^\| \d{3} \| `([a-z-]+)` \|", page, re.MULTILINE))
    said = (
        set(typing.get_args(Reason))
        | {reply.reason for reply in replies(GatewaySettings())}
        | {INVALID_ROUTE, GAVE_UP.reason, MISDIRECTED.reason, MODEL_NOT_FOUND, UNREADABLE_BODY}
    )
    assert explained == said


def flags() -> dict[str, set[str]]:
    """Verb → its options that are not hidden."""
    group = Verbs(name="headgate")
    found = {}
    for verb in group.list_commands(None):
        command: Any = group.get_command(None, verb)
        options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
        found[verb] = {flag for each in options for flag in (*each.opts, *each.secondary_opts)} | {"--help"}
    return found


def test_commands_in_the_pages_have_options_that_exist() -> None:
    known, pages = (
        flags(),
        [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")],
    )
    seen = 0
    for page in pages:
        for verb, rest in re.findall(r"headgate ([a-z]+)((?:[^`\n|\\]|\\\n)*)", page.read_text()):
            for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", rest) if verb in known else ():
                assert flag in known[verb], f"{page.relative_to(ROOT)}: headgate {verb} {flag}"
                seen += 1
    assert seen > 20


def test_options_of_ports_are_those_of_their_verb() -> None:
    page, known = (ROOT / "docs" / "endpoints.md").read_text(), flags()
    for what, named in re.findall(r"^\| [0-9, ]+ \| (.*?) \| (.*?) \|$", page, re.MULTILINE):
        verb = re.search(r"`headgate ([a-z]+)`", what)
        assert set(re.findall(r"`(--[a-z-]+)`", named)) <= known[verb[1] if verb else "run"]


def test_our_envoy_grants_the_time_that_our_picker_asks_for() -> None:
    assert GatewaySettings().picker_max_wait_s >= LONGEST_WAIT_S


def test_the_index_has_one_size_in_all_pages() -> None:
    stub = (ROOT / "native" / "headgate_native.pyi").read_text()
    page = (ROOT / "docs" / "decisions" / "native-wire.md").read_text()
    (size,) = re.findall(r"about (\d+) bytes a block", stub)
    assert re.findall(r"about (\d+) bytes a block", page) == [size]


def test_every_policy_is_named_in_explain() -> None:
    page = (ROOT / "docs" / "explain.md").read_text()
    assert all(f"`{name}`" in page or f" {name}`" in page for name in PROFILES)


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_variable_of_ours_has_its_line() -> None:
    """Those of the build and of the tests are not for users."""
    page = (ROOT / "docs" / "endpoints.md").read_text()
    read = {
        name
        for module in (ROOT / "src").rglob("*.py")
        for name in re.findall(r'"(HEADGATE_[A-Z_]+)"', module.read_text())
    }
    assert read == set(re.findall(r"^\| `(HEADGATE_[A-Z_]+)` \|", page, re.MULTILINE))
    assert f"`{HEALTH_PATH}`" in page


def test_every_plugin_of_other_pickers_is_in_the_table() -> None:
    page = (ROOT / "docs" / "picker.md").read_text()
    rows = re.findall(r"^\| (`.*`) \| (mapped|built in|left out|refused) \| (.*) \|$", page, re.MULTILINE)
    told = [(kind, *rest) for kinds, *rest in rows for kind in re.findall(r"`([a-z0-9-]+)`", kinds)]
    assert sorted(told) == sorted((kind, each.treatment, each.here) for kind, each in PLUGINS.items())
