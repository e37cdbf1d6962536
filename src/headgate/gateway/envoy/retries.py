"""Retry policies: what is sent again, where to, how often."""

from headgate.gateway import ir
from headgate.gateway.envoy.names import Json, duration, extension
from headgate.gateway.envoy.wire import Constant
from headgate.gateway.settings import GatewaySettings

ATTEMPTS = 3
"""After the first one, where nothing else is said; each takes the next endpoint of the picker's list."""

_SHORTEST_BACKOFF_S = 0.001
"""Envoy's own shortest pause: it refuses none at all."""
_LONGEST_BACKOFF = 10
"""Times the first pause."""


_SHORT_PAUSES: Json = Constant({"base_interval": "0.005s", "max_interval": "0.050s"})
_ANOTHER_HOST: Json = Constant(
    extension(
        "envoy.retry_host_predicates.previous_hosts",
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    )
)


def of_pools(settings: GatewaySettings) -> Json:
    """The policy of hosts, for their rules that say nothing and whose backends are all pools.

    The next endpoint of the list while no byte of the answer came, once at most after the request was sent
    (`second_chance`).
    """
    return _policy("connect-failure,refused-stream,retriable-status-codes,reset", (503,)) | {
        "per_try_timeout": duration(settings.rescue_s)
    }


def of_rule(action: ir.Forward, settings: GatewaySettings, *, pools: bool) -> Json | None:
    """The policy of a rule whose backends are all pools, or none of them is; None: that of its host.

    Plain hosts have no guard as pools have it: what a server has taken is sent again only where the rule says
    so.
    """
    wanted, attempt_s = action.retries, action.timeouts.attempt_s
    if pools and wanted is None and attempt_s is None:
        return None
    found = of_pools(settings) if pools else _policy("connect-failure", ())
    if wanted is not None:
        found = _policy("connect-failure,refused-stream,reset,retriable-status-codes", wanted.codes)
        if pools:
            found["per_try_timeout"] = duration(settings.rescue_s)
        if wanted.attempts is not None:
            found["num_retries"] = wanted.attempts
        if wanted.backoff_s is not None:
            first_s = max(wanted.backoff_s, _SHORTEST_BACKOFF_S)
            longest = duration(first_s * _LONGEST_BACKOFF)
            found["retry_back_off"] = {"base_interval": duration(first_s), "max_interval": longest}
    if attempt_s is not None:
        found["per_try_timeout"] = duration(attempt_s)
    return found


def _policy(retry_on: str, codes: tuple[int, ...]) -> Json:
    found: Json = {
        "retry_on": retry_on,
        "num_retries": ATTEMPTS,
        "retry_back_off": _SHORT_PAUSES,
        "host_selection_retry_max_attempts": ATTEMPTS,
        "retry_host_predicate": [_ANOTHER_HOST],
    }
    if codes:
        found["retriable_status_codes"] = list(codes)
    return found
