"""Where a pool's requests go that nobody is named for."""

import pytest
from tests import manifests as manifest
from tests.live.harness.echo import service
from tests.resolved import world

from headgate.gateway import ir
from headgate.gateway.plan import fallbacks
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.model import topology
from headgate.model.ids import PoolKey


def pool(name: str, to: str) -> manifest.Manifest:
    found = manifest.pool(name)
    found["metadata"]["annotations"] = {topology.FALLBACK: to}
    return found


def told(*objects: manifest.Manifest) -> tuple[ir.Backend | None, list[str]]:
    """The fallback of pool `fit`, and what is wrong with pools."""
    snapshot = manifest.snapshot(*objects)
    found = world(snapshot).get(fallbacks.of_pool, PoolKey("default/fit"))
    problems = translate(snapshot, GatewaySettings()).problems
    return found, [each.message for each in problems if each.reason == "InvalidFallback"]


def test_a_pool_a_service_or_a_server() -> None:
    others = [manifest.pool("other"), *service("web", 80), manifest.model_server("one", "10.0.0.1:80", "x")]
    for text, cluster in (
        ("InferencePool/other", "pool/default/other"),
        ("Service/web:80", "service/default/web:80"),
        ("ModelServer/one", "server/default/one"),
    ):
        found, wrong = told(pool("fit", text), *others)
        assert found is not None and found.cluster == cluster and not wrong


def test_a_fallback_has_none_of_its_own() -> None:
    found, _ = told(pool("fit", "InferencePool/other"), pool("other", "InferencePool/fit"))
    assert isinstance(found, ir.PoolBackend) and found.fallback is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("other", "must be"),
        ("Service/web", "must be"),
        ("Service/web:x", "no port"),
        ("InferencePool/", "must be"),
        ("InferencePool/fit", "its own"),
        ("InferencePool/missing", "no InferencePool"),
        ("Service/missing:80", "no Service"),
        ("Secret/web:80", "must be"),
    ],
)
def test_what_is_wrong_is_said_and_there_is_none(text: str, word: str) -> None:
    found, wrong = told(pool("fit", text))
    assert found is None
    assert len(wrong) == 1 and word in wrong[0]


@pytest.mark.parametrize("mode", ["full-duplex", "streamed"])
def test_of_a_pool_with_another_vendors_picker(mode: str) -> None:
    picker = manifest.foreign_picker("fit", 1, **{"headgate.dev/picker-body-mode": mode})
    found, wrong = told(pool("fit", "InferencePool/other"), manifest.pool("other"), *picker)
    assert found is not None and not wrong


@pytest.mark.parametrize("first", ["own", "another vendor's"])
def test_a_picker_of_body_mode_streamed_is_refused_as_a_fallbacks(first: str) -> None:
    objects = [pool("fit", "InferencePool/other"), manifest.pool("other")]
    objects += manifest.foreign_picker("other", 1, **{"headgate.dev/picker-body-mode": "streamed"})
    if first != "own":
        objects += manifest.foreign_picker("fit", 2)
    found, wrong = told(*objects)
    assert found is None
    assert len(wrong) == 1 and "full-duplex" in wrong[0] and "streamed" in wrong[0]


@pytest.mark.parametrize("to", ["InferencePool/spare", "ModelServer/spare"])
def test_what_is_only_a_fallback_is_not_said_to_get_no_requests(to: str) -> None:
    spare = (
        manifest.pool("spare")
        if to.startswith("Inf")
        else manifest.model_server("spare", "10.0.0.1:80", "unselected")
    )

    def idle(*pools: manifest.Manifest) -> set[str]:
        route = manifest.route(manifest.rule("fit"))
        found = translate(manifest.snapshot(manifest.gateway(), route, spare, *pools), GatewaySettings())
        words = ("NotReferenced", "NotSelected")
        return {each.place.object for each in found.problems if each.reason in words}

    assert idle(manifest.pool("fit"))
    assert not idle(pool("fit", to))
