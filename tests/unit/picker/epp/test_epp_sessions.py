"""What other pickers know sessions by becomes sources here, and the rest of it is named."""

from collections.abc import Mapping
from typing import Any

import pytest

from headgate.picker.epp.fields import Fields
from headgate.picker.epp.sessions import sources_of


def by_id(*sources: Any) -> Mapping[str, Any]:
    return {"strategy": "session_id", "sessionIdConfig": {"sources": list(sources)}}


@pytest.mark.parametrize(
    ("kind", "parameters", "named", "where"),
    [
        ("session-id-producer", {"headerName": "X-Chat"}, ("header:x-chat",), []),
        ("session-id-producer", {"cookieName": "SID"}, ("cookie:SID",), []),
        ("session-id-producer", {}, ("header:x-session-id",), []),
        ("session-id-producer", {"headerName": "x-headgate-pool"}, (), ["parameters.headerName"]),
        ("session-id-producer", {"cookieName": "a b"}, (), ["parameters.cookieName"]),
        ("session-affinity-scorer", {}, (), ["type"]),
        ("session-affinity-scorer", {"strategy": "x"}, (), ["parameters.strategy"]),
        ("session-affinity-filter", {"strategy": "session_id"}, ("header:x-session-id",), []),
        (
            "session-affinity-scorer",
            by_id({"header": "x-a"}, {"header": "x-b"}, {"attribute": "SessionID"}, 3, {"cookie": "sid"}),
            ("header:x-a", "header:x-b"),
            ["parameters.sessionIdConfig.sources[3]", "parameters.sessionIdConfig.sources[4]"],
        ),
        (
            "session-affinity-scorer",
            by_id({"header": 3}),
            (),
            ["parameters.sessionIdConfig.sources[0].header"],
        ),
        (
            "session-affinity-scorer",
            {"strategy": "session_id", "sessionIdConfig": {"sources": 3}},
            ("header:x-session-id",),
            [],
        ),
        ("queue-scorer", {"strategy": "x"}, (), []),
    ],
)
def test_headers_and_cookies_are_followed_and_what_is_not_is_named(
    kind: str, parameters: Mapping[str, Any], named: tuple[str, ...], where: list[str]
) -> None:
    fields = Fields("c.yaml", "EndpointPickerConfig", lambda path: 0)
    assert sources_of(fields, kind, parameters, ("parameters",)) == named
    assert [each.place.field for each in fields.problems] == where
    assert all(each.severity == "warning" for each in fields.problems)
