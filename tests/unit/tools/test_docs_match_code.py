"""Tables in the documentation name everything the code can say, and nothing else."""

import re
import typing
from pathlib import Path

from headgate.gateway.envoy.replies import GAVE_UP, INVALID_ROUTE, replies
from headgate.gateway.settings import GatewaySettings
from headgate.model.headers import HEALTH_PATH
from headgate.picker.actions import Reason
from headgate.scheduling.profiles import PROFILES

ROOT = Path(__file__).parents[3]


def test_every_reason_is_explained_in_errors() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    explained = set(re.findall(r"^\| \d{3} \| `([a-z-]+)` \|", page, re.MULTILINE))
    said = (
        set(typing.get_args(Reason))
        | {reply.reason for reply in replies(GatewaySettings())}
        | {INVALID_ROUTE, GAVE_UP.reason}
    )
    assert explained == said


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
