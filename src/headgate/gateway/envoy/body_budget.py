"""How many long bodies are held at once: beyond a budget of bytes, requests that announce one are refused.

Bodies are buffered whole for the picker, so that requests which never finish theirs would hold everybody's
memory. The adaptive_concurrency filter counts requests; its lowest and its highest limit are one, so that
nothing adapts. Bodies without a length are not counted: Envoy's overload manager bounds those
(`io/envoy/bootstrap.py`).
"""

import msgspec

from headgate.gateway.envoy.names import Json, duration, extension, typed
from headgate.gateway.settings import GatewaySettings

_MATCHING = "envoy.extensions.common.matching.v3"
_SKIP = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
_AN_AGE_S = 300.0


class LengthClass(msgspec.Struct, frozen=True):
    """Requests by the number of digits of their content-length. Each class has its half of the budget."""

    name: str
    lengths: str
    """Regular expression of the header's values."""
    longest: int
    """Bytes of a body in it; those above the body limit are refused anyway."""


CLASSES = (
    LengthClass("headgate.long_bodies", "0*[1-9][0-9]{6}", 10**7),
    LengthClass("headgate.longest_bodies", "0*[1-9][0-9]{7,}", 10**12),
)


def most(each: LengthClass, settings: GatewaySettings) -> int:
    """Requests of a class that may be in the gateway at once."""
    longest = min(each.longest, settings.body_limit_bytes)
    return max(1, settings.body_budget_bytes // len(CLASSES) // longest)


def filters(settings: GatewaySettings) -> list[Json]:
    """HTTP filters, one for each class, before all that holds bodies."""
    return [_bounded(each, most(each, settings)) for each in CLASSES]


def _bounded(each: LengthClass, count: int) -> Json:
    limit = extension(
        "envoy.filters.http.adaptive_concurrency",
        "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
        gradient_controller_config={
            "concurrency_limit_params": {
                "max_concurrency_limit": count,
                "concurrency_update_interval": duration(_AN_AGE_S),
            },
            "min_rtt_calc_params": {"fixed_value": duration(_AN_AGE_S), "min_concurrency": count},
        },
    )
    length = extension(
        "length", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="content-length"
    )
    counted = {
        "single_predicate": {
            "input": length,
            "value_match": {"safe_regex": {"google_re2": {}, "regex": each.lengths}},
        }
    }
    skip = {"action": {"name": "skip", "typed_config": typed(_SKIP)}}
    return extension(
        each.name,
        f"{_MATCHING}.ExtensionWithMatcher",
        extension_config=limit,
        xds_matcher={
            "matcher_list": {"matchers": [{"predicate": {"not_matcher": counted}, "on_match": skip}]}
        },
    )
