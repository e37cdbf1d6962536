"""What the API server refuses of a kind, `check` refuses too, and it takes the rest: the same documents to both."""

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests import crd_documents as documents
from tests.crd_bases import BASES
from tools import crd_judge
from tools.generate_crds import FOLDER

from headgate.manifests import schema
from headgate.manifests.decode import decode

pytestmark = pytest.mark.live

FLOW_POLICIES = FOLDER / "flowpolicies.yaml"

MIXED = 400
"""Documents per base with several things changed."""

MOST = 1600
"""Documents per base with one thing changed; of more, dice take some."""

STRICTER: Mapping[str, str] = {
    r"matchExpressions\[\]\.operator": "only the API server's own selectors are checked there, not those of CRDs",
    r"(requestHeaderModifier|responseHeaderModifier)\.remove\[\]": "Envoy takes no such names",
    r"spec\.addresses\[\]\.type": "the expression of the CRD is not anchored at its beginning",
    r"spec\.listeners\[\]\.protocol": "the expression of the CRD is not anchored at its beginning",
    r"ListenerSet spec\.parentRef": "such a set would be nobody's",
    r"(replaceFullPath|replacePrefixMatch|path\.value|method\.service|method\.method)": "control characters",
    r"(headers|queryParams)\[\]\.value": "control characters",
    r"retry\.attempts": "more than 100 attempts are an attack",
    r"sessionPersistence\.sessionName": "no cookie and no header can have such a name",
    r"spec\.selector(\.matchLabels)?(\..*)?": "no label is called so; an empty selector takes all pods of a namespace",
    r"InferenceModel spec\.(modelName|targetModels\[\]\.name)": "an empty name is no model's",
    r"spec\.poolRef\.(group|kind)": "nothing else has models or objectives",
    r"InferenceObjective spec\.priority": "beyond 32 bits",
}
"""End of a field, the kind perhaps before it → why we refuse what the API server takes."""

LOOSER: Mapping[str, str] = {
    r"(headers|queryParams)\[\]\.value": "the standard channel takes any text",
    r"(requestHeaderModifier|responseHeaderModifier)\.(set|add)\[\]\.value": "the standard channel takes any text",
    r"InferenceModel spec\.targetModels\[\]\.weight": "weight 0 is a target that is not chosen, as in routes",
}
"""End of a field → why we take what the API server refuses."""

WITHOUT_EFFECT = {
    "externalAuth",
    *(name for fields in (*schema.UNSUPPORTED.values(), *schema.SILENT.values()) for name in fields),
} - {"addresses", "infrastructure"}
"""Fields whose content nobody reads here."""


@pytest.fixture(scope="module")
def files() -> list[Path]:
    try:
        crd_judge.program()
        return crd_judge.crd_files()
    except LookupError as error:
        pytest.skip(str(error))


def allowed(kind: str, field: str, reasons: Mapping[str, str]) -> bool:
    plain = f"{kind} {re.sub(r'[0-9]+', '', field)}"
    return any(re.search(rf"{each}\Z", plain) for each in reasons)


def refused(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(field, message) of everything that is wrong with a document for us."""
    found = decode(document, "m.yaml", lambda _: 0).problems
    return [(each.place.field, each.message) for each in found if each.severity == "error"]


@pytest.mark.parametrize("number", range(len(BASES)), ids=lambda n: f"{n}-{BASES[n]['kind']}")
def test_check_decides_as_the_api_server_does(files: list[Path], number: int) -> None:
    base = BASES[number]
    kind = base["kind"]
    its = crd_judge.schemas(files)[base["apiVersion"], kind]
    dice = random.Random(number)
    around = list(documents.around(base, its))
    tried = [
        (where, document)
        for where, document in (
            *(around if len(around) <= MOST else dice.sample(around, MOST)),
            *documents.mixed(base, its, dice, MIXED),
        )
        if not WITHOUT_EFFECT.intersection(where)
    ]
    verdicts = list(crd_judge.judged([base, *(document for _, document in tried)], files))
    assert verdicts[0] == [] and refused(base) == []
    different = []
    for (where, document), theirs in zip(tried, verdicts[1:], strict=True):
        ours = refused(document)
        if theirs and not ours:
            fields = [each.partition(": ")[0] for each in theirs]
            if not all(allowed(kind, each, LOOSER) for each in fields):
                different.append(f"taken, but the API server says {theirs[0]}")
        elif ours and not theirs and not all(allowed(kind, field, STRICTER) for field, _ in ours):
            different.append(f"refused at {where} for {ours[0]}, but the API server takes it")
    assert len(tried) > 200 and 0 < sum(map(bool, verdicts)) < len(verdicts)
    assert different == []


@pytest.mark.parametrize(
    ("sources", "sound"),
    [
        ([], True),
        ([{"header": "x-session-id"}, {"cookie": "SID"}, {"body": "metadata.user_id"}], True),
        ([{}], False),
        ([{"header": "x-a", "body": "user"}], False),
        ([{"header": "a b"}], False),
        ([{"cookie": ""}], False),
        ([{"body": "messages"}], False),
        ([{"header": f"x-{number}"} for number in range(9)], False),
    ],
)
def test_our_own_crd_takes_sources_of_sessions_as_check_does(
    sources: list[dict[str, str]], sound: bool
) -> None:
    document = {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "FlowPolicy",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"targetRefs": [{"name": "chat"}], "sessions": sources},
    }
    try:
        (said,) = crd_judge.judged([document], [FLOW_POLICIES])
    except LookupError as error:
        pytest.skip(str(error))
    assert (said == [], refused(document) == []) == (sound, sound), said
