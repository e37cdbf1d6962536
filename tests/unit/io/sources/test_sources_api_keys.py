"""The API keys that ModelServers name."""

from pathlib import Path
from typing import Any

import pytest
from tests.manifests import model_server, snapshot

from headgate.io.sources.api_keys import ApiKeys
from headgate.manifests.decode import decode
from headgate.model.objects import Object

KEY = "sk-hunter2-hunter2"


def server(**spec: Any) -> dict[str, Any]:
    made = dict(model_server("one", "http://10.0.0.1:8000", "app"))
    made["spec"] = {**made["spec"], "apiKey": spec}
    return made


def objects(*raw: dict[str, Any]) -> tuple[Object, ...]:
    return snapshot(*raw).objects


def test_a_file_is_read_and_the_last_good_key_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    keys, named = ApiKeys(), objects(server(file=str(path)))
    found, problems = keys.read(named)
    assert found["default/one"].text == KEY
    assert problems == ()
    path.write_text("sk-new")
    assert keys.read(named)[0]["default/one"].text == "sk-new"
    path.unlink()
    found, (problem,) = keys.read(named)
    assert found["default/one"].text == "sk-new"
    assert problem.place.field == "spec.apiKey.file"
    assert str(path) in problem.message
    assert "no such file" in problem.message


def test_a_secret_of_the_same_namespace_is_read() -> None:
    ref = server(secretRef={"name": "engine", "key": "token"})
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "engine"},
        "stringData": {"token": KEY},
    }
    found, problems = ApiKeys().read(objects(ref, secret))
    assert found["default/one"].text == KEY
    assert problems == ()
    elsewhere = {**secret, "metadata": {"name": "engine", "namespace": "other"}}
    found, (problem,) = ApiKeys().read(objects(ref, elsewhere))
    assert found == {}
    assert "there is no Secret engine in namespace default" in problem.message
    found, (problem,) = ApiKeys().read(objects(ref, {**secret, "stringData": {"Token": KEY}}))
    assert "it has no key 'token'" in problem.message
    assert KEY not in repr(problem)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec.apiKey"),
        ({"file": "/a", "secretRef": {"name": "a", "key": "b"}}, "spec.apiKey"),
        ({"file": "key"}, "spec.apiKey.file"),
    ],
)
def test_what_names_no_key_is_a_problem(spec: dict[str, Any], field: str) -> None:
    assert field in [each.place.field for each in decode(server(**spec), "a.yaml", lambda _: 0).problems]


@pytest.mark.parametrize(
    "ref",
    [
        KEY,
        [KEY],
        {"file": KEY},
        {"file": [KEY]},
        {"secretRef": KEY},
        {"secretRef": {"name": "a", "key": [KEY]}},
        {"value": KEY},
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_not_shown(ref: Any) -> None:
    made = server()
    made["spec"]["apiKey"] = ref
    decoded = decode(made, "a.yaml", lambda _: 0)
    assert decoded.object is None
    assert decoded.problems
    assert KEY not in " ".join(str(each) for each in decoded.problems)
