"""What other pickers know sessions by, and that the rest of it is named."""

from collections.abc import Mapping
from typing import Any

import pytest

from headgate.picker.epp.fields import Fields
from headgate.picker.epp.sessions import check


@pytest.mark.parametrize(
    ("kind", "parameters", "where"),
    [
        ("session-id-producer", {"headerName": "X-Session-Id"}, []),
        ("session-id-producer", {"headerName": "x-chat"}, ["parameters.headerName"]),
        ("session-id-producer", {"cookieName": "s"}, ["parameters.cookieName"]),
        ("session-affinity-scorer", {}, ["parameters.strategy"]),
        ("session-affinity-filter", {"strategy": "session_id"}, []),
        (
            "session-affinity-scorer",
            {
                "strategy": "session_id",
                "sessionIdConfig": {"sources": [{"header": "x-session-id"}, {"header": "x-chat"}, 3]},
            },
            ["parameters.sessionIdConfig.sources[1].header"],
        ),
        ("session-affinity-scorer", {"strategy": "session_id", "sessionIdConfig": {"sources": 3}}, []),
        ("queue-scorer", {"strategy": "x"}, []),
    ],
)
def test_what_is_not_followed_is_named(kind: str, parameters: Mapping[str, Any], where: list[str]) -> None:
    fields = Fields("c.yaml", "EndpointPickerConfig", lambda path: 0)
    check(fields, kind, parameters, ("parameters",))
    assert [each.place.field for each in fields.problems] == where
    assert all(each.severity == "warning" and "x-session-id" in each.message for each in fields.problems)
