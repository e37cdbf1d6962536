"""What became of a request, in plain words: `explain` and the admin API say them."""

from collections.abc import Mapping

from headgate.model.decisions import Decision
from headgate.model.requests import LOST_BY_COUNT, LOST_PEER, LOST_POOL, LOST_TOO_LONG, Outcome

_LOST: Mapping[str, str] = {
    LOST_BY_COUNT: "its engine's count of running requests showed it to be over",
    LOST_TOO_LONG: "it ran longer than any request is remembered",
    LOST_POOL: "its pool is served no more",
    LOST_PEER: "Envoy went away, or its access log did not tell in time",
}

_GAVE_UP = "gave-up"

_DETAILS: tuple[tuple[str, str], ...] = (
    (_GAVE_UP, "gave up: two endpoints in turn took it and did not answer, a third was not tried"),
    ("response_timeout", "timeout: the route's `timeouts.request` was over"),
    (
        "upstream_per_try_timeout",
        "timeout: no endpoint began to answer within `timeouts.backendRequest`, or the rescue time",
    ),
    ("upstream_per_try_idle_timeout", "timeout: an endpoint fell silent"),
    ("stream_idle_timeout", "idle timeout: no byte went either way for too long"),
    ("request_overall_timeout", "body timeout: the request did not arrive whole in time"),
    ("request_header_timeout", "header timeout: the request's headers did not arrive in time"),
    ("upstream_max_stream_duration_reached", "timeout: the longest duration of a stream was reached"),
    ("max_duration_timeout", "timeout: the longest duration of a stream was reached"),
    ("request_payload_too_large", "the request's body was too large"),
    ("response_payload_too_large", "the answer was too large"),
    ("downstream_remote_disconnect", "the client closed its connection"),
    ("downstream_local_disconnect", "the gateway closed the client's connection"),
    ("http2.remote_re", "the client reset its stream"),
    ("ext_proc", "the endpoint picker failed"),
    ("overload", "the gateway was overloaded"),
)
"""Beginnings of Envoy's details, and what they mean."""

_UNREACHED = "no_healthy_upstream"
_BEFORE, _AFTER = "upstream_reset_before_response_started", "upstream_reset_after_response_started"


def unconnected(details: str | None) -> bool:
    """Whether no connection could be made to the endpoint that was tried last."""
    kind, _, cause = (details or "").partition("{")
    if kind == _BEFORE:
        return "connection_failure" in cause or "connection_timeout" in cause
    return kind == _UNREACHED and bool(cause)


def connection_refused(details: str | None) -> bool:
    """Whether nobody listened at the endpoint that was tried last."""
    return unconnected(details) and "refused" in (details or "").lower()


def why(decision: Decision, outcome: Outcome | None) -> str:
    """One line: what ended it and who served it; of a running request, what is known so far."""
    if decision.refused is not None:
        return f"refused: {decision.refused}"
    if outcome is None:
        return "still running"
    parts = [_end(outcome), *_who(decision, outcome)]
    return "; ".join(part for part in parts if part)


def _end(outcome: Outcome) -> str:
    details = outcome.details or ""
    meant = _meaning(outcome)
    match outcome.ending:
        case "complete":
            if meant:
                return meant
            bad = outcome.status is not None and outcome.status >= 400
            return f"the server answered {outcome.status}" if bad else "answered"
        case "failed":
            return meant or (
                "the answer broke off" if outcome.ttft_s is not None else "no endpoint answered it whole"
            )
        case "aborted":
            when = "after its first token" if outcome.ttft_s is not None else "before any token was seen"
            return f"the client went away {when}" + (f" ({meant})" if meant else "")
        case "evicted":
            return "ended with 429 before its answer began: a more important request needed its place"
        case "lost":
            return f"nobody told how it ended: {_LOST.get(details, 'nothing was heard of it any more')}"


def _meaning(outcome: Outcome) -> str:
    details = outcome.details or ""
    if not details:
        return ""
    kind, _, cause = details.partition("{")
    if kind == _UNREACHED:
        if "TLS" in cause or "CERTIFICATE" in cause:
            return f"connect failure: no TLS connection could be made ({details})"
        if cause:
            return f"connect failure: no endpoint could be connected to ({details})"
        if (outcome.attempts or 0) > 1:
            return f"the endpoint failed before it answered, and there was no other to try ({details})"
        return f"no endpoint could be reached ({details})"
    if kind == _BEFORE:
        if "connection_timeout" in cause:
            return f"connect failure: the connection was not made in time ({details})"
        if "connection_failure" in cause:
            return f"connect failure: the endpoint could not be connected to ({details})"
        return f"the endpoint closed the connection before it answered ({details})"
    if kind == _AFTER:
        return f"the answer broke off: the endpoint closed the connection ({details})"
    return next((f"{meant} ({details})" for begin, meant in _DETAILS if details.startswith(begin)), details)


def _who(decision: Decision, outcome: Outcome) -> tuple[str, ...]:
    first = decision.chosen[0] if decision.chosen else None
    served, trouble = outcome.served, outcome.trouble
    hung = trouble is not None and trouble.startswith("suspect")
    details = outcome.details or ""
    gave_up = details.startswith(_GAVE_UP)
    unanswered = gave_up or details.startswith((_UNREACHED, _BEFORE))
    found = []
    if first is not None and served is not None and served != first:
        if unanswered:
            how = "hung" if hung else "did not answer"
            found.append(f"{first} {how}{f' ({trouble})' if trouble else ''}, nor did {served} answer")
        elif hung:
            found.append(f"{first} hung ({trouble}), rescued by {served}")
        else:
            found.append(f"{first} did not answer{f' ({trouble})' if trouble else ''}, served by {served}")
    elif first is not None and trouble is not None:
        held = "hung" if hung else "was held to be unwell"
        found.append(f"{first} {held} while it waited there ({trouble})")
    if (
        outcome.attempts is not None and outcome.attempts > 1 and not gave_up
    ):  # Envoy counts the refused third
        found.append(f"{outcome.attempts} attempts")
    return tuple(found)
