"""Who a request counts as: which claims of its headers are believed, what FlowPolicies make of its client."""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from headgate.model.endpoints import Pool
from headgate.model.flow_rules import Caller, FlowRules
from headgate.model.requests import InferenceRequest
from headgate.model.sessions import DEFAULT
from headgate.picker.targets import rule_of


def believed(request: InferenceRequest, trusted: Collection[str]) -> InferenceRequest:
    """The request without what its headers claim of `fairness`, `objective` and `slo` and nobody trusts."""
    claims: dict[str, None] = {}
    if request.objective is not None and "objective" not in trusted:
        claims["objective"] = None
    if request.fairness_id is not None and "fairness" not in trusted:
        claims["fairness_id"] = None
    if (request.slo_ttft_ms is not None or request.slo_tpot_ms is not None) and "slo" not in trusted:
        claims["slo_ttft_ms"] = claims["slo_tpot_ms"] = None
    return replace(request, **claims) if claims else request


def policies(pool: Pool, request: InferenceRequest) -> Sequence[FlowRules]:
    """The FlowPolicies that say who the request counts as: of its route or listener, then of the pool."""
    own = () if pool.flow is None else (pool.flow,)
    of_route = None if request.flow_policy is None else pool.flows_of_routes.get(request.flow_policy)
    return own if of_route is None else (of_route, *own)


def trusted(pool: Pool, request: InferenceRequest, otherwise: frozenset[str]) -> frozenset[str]:
    """What is believed of the request's headers; *otherwise*: where no policy says it."""
    for each in policies(pool, request):
        if each.trusted is not None:
            return each.trusted
    return otherwise


def session(pool: Pool, request: InferenceRequest) -> str | None:
    """Digest of the request's session: what the first source says that has a value, of those that the first
    FlowPolicy names which says anything of sessions."""
    if not request.sessions:
        return None
    sources = DEFAULT
    for each in policies(pool, request):
        if each.sessions is not None:
            sources = each.sessions
            break
    told = dict(request.sessions)
    for source in sources:
        if source in told:
            return told[source]
    return None


def caller(pool: Pool, request: InferenceRequest) -> Caller | None:
    """What the first FlowPolicy says that names the request's client."""
    client = request.client
    if client is None:
        return None
    for each in policies(pool, request):
        found = each.callers.get(client)
        if found is not None:
            return found
    return None


def fairness_id(pool: Pool, request: InferenceRequest) -> str | None:
    """Whom the request counts for: what a header says that is believed, else what a policy makes of its
    client or of all requests, else its client, else its model."""
    if request.fairness_id is not None:
        return request.fairness_id or request.model
    found = caller(pool, request)
    if found is not None:
        return found.fairness_id
    for each in policies(pool, request):
        if each.fairness_id is not None:
            return each.fairness_id
    return request.client or request.model


def priority(pool: Pool, request: InferenceRequest) -> int | None:
    """Of the InferenceObjective the request names, else of its client, else of all requests of a policy, else
    of its InferenceModel's criticality, else None."""
    if request.objective is not None and request.objective in pool.objectives:
        return pool.objectives[request.objective]
    found = caller(pool, request)
    if found is not None and found.priority is not None:
        return found.priority
    for each in policies(pool, request):
        if each.priority is not None:
            return each.priority
    if not pool.models:
        return None
    rule = rule_of(pool, request.model)
    return None if rule is None else rule.priority
