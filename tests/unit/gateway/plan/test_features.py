"""Every feature that is claimed has a case here, besides the upstream suite, which needs a cluster."""

import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import pytest
from tests.live.harness.http_cases import GROUPS

from headgate.gateway.plan.features import FEATURES, PROVISIONED

LIVE = Path(__file__).parents[3] / "live"

BY_GROUP: Mapping[str, tuple[str, ...]] = {
    "listeners": ("Gateway",),
    "isolation": ("GatewayHTTPListenerIsolation",),
    "matching": ("HTTPRoute",),
    "redirects": (
        "GatewayPort8080",
        "HTTPRoute303RedirectStatusCode",
        "HTTPRoute307RedirectStatusCode",
        "HTTPRoute308RedirectStatusCode",
        "HTTPRoutePathRedirect",
        "HTTPRoutePortRedirect",
        "HTTPRouteSchemeRedirect",
    ),
    "modifiers": (
        "HTTPRouteBackendRequestHeaderModification",
        "HTTPRouteResponseHeaderModification",
    ),
    "timeouts": (
        "HTTPRouteBackendTimeout",
        "HTTPRouteRequestTimeout",
    ),
    "parents": (
        "HTTPRouteDestinationPortMatching",
        "HTTPRouteParentRefPort",
    ),
    "rewrites": (
        "HTTPRouteHostRewrite",
        "HTTPRoutePathRewrite",
    ),
    "methods": ("HTTPRouteMethodMatching",),
    "references": (
        "GRPCRouteNamedRouteRule",
        "HTTPRouteNamedRouteRule",
        "ReferenceGrant",
    ),
    "queries": ("HTTPRouteQueryParamMatching",),
    "retries": ("HTTPRouteRetryConnectionError",),
    "sets": ("ListenerSet",),
}
"""Group of routing cases (`tests/live/test_http_cases.py`) → features."""

BY_TEST: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("test_https.py", "test_backends_are_verified_and_see_the_gateways_certificate"): (
        "BackendTLSPolicy",
        "BackendTLSPolicySANValidation",
        "GatewayBackendClientCertificate",
    ),
    ("test_https.py", "test_grpc_calls_are_routed_by_service_and_method"): (
        "GRPCRoute",
        "HTTPRouteBackendProtocolH2C",
    ),
    ("test_https.py", "test_clients_show_certificates"): (
        "GatewayFrontendClientCertificateValidation",
        "GatewayFrontendClientCertificateValidationInsecureFallback",
    ),
    ("test_https.py", "test_each_server_name_gets_its_certificate_and_its_hosts"): (
        "GatewayHTTPSListenerDetectMisdirectedRequests",
    ),
    ("test_filters.py", "test_websockets_reach_services_and_the_endpoint_that_was_picked"): (
        "HTTPRouteBackendProtocolWebSocket",
    ),
    ("test_filters.py", "test_filters_of_single_backends"): (
        "HTTPRouteBackendRequestRedirect",
        "HTTPRouteBackendURLRewrite",
    ),
    ("test_filters.py", "test_pages_of_other_origins"): ("HTTPRouteCORS",),
    ("test_filters.py", "test_mirrors_get_their_share_and_clients_notice_nothing"): (
        "HTTPRouteRequestMirror",
        "HTTPRouteRequestMultipleMirrors",
        "HTTPRouteRequestPercentageMirror",
    ),
    ("test_filters.py", "test_what_a_rule_says_of_retries"): (
        "HTTPRouteRetry",
        "HTTPRouteRetryBackendTimeout",
    ),
}
"""File in `tests/live` and test in it → features."""


def test_every_feature_has_a_case_and_no_other_is_claimed() -> None:
    named = [*chain.from_iterable(BY_GROUP.values()), *chain.from_iterable(BY_TEST.values())]
    assert sorted(named) == sorted(FEATURES - PROVISIONED)


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_groups_have_requests_that_are_answered(group: str) -> None:
    found = GROUPS[group].cases
    assert any(isinstance(each.wants, str) for each in found)
    assert BY_GROUP.keys() <= GROUPS.keys()


@pytest.mark.parametrize(("file", "name"), sorted(BY_TEST))
def test_the_test_is_there(file: str, name: str) -> None:
    assert re.search(rf"^async def {name}\(", (LIVE / file).read_text(), re.MULTILINE)
