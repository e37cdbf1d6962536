"""RequestMirror: another backend gets copies of requests; what it answers is dropped."""

from typing import Any, ClassVar, Self

from headgate.gateway import ir
from headgate.gateway.api import Effect, FilterPlugin, Position, Refusal, Scope, Unresolved
from headgate.gateway.plan import backend_refs
from headgate.model.objects import BackendRef, RequestMirror, RouteFilter

_MILLION = 1_000_000


class RequestMirrorFilter(FilterPlugin, frozen=True):
    """A rule may have several. A mirror that leads nowhere is left out, as Gateway API says."""

    TYPE: ClassVar[str] = "RequestMirror"
    ORDER: ClassVar[int] = 30
    ON_BACKENDS: ClassVar[bool] = True

    backend: ir.HostsBackend
    millionths: int
    """Of the requests that are copied."""

    @classmethod
    def read(cls, settings: RouteFilter, scope: Scope) -> Self | Refusal:
        """Refused where the backend does not exist, and for an InferencePool: nobody picks for copies."""
        wanted = settings.request_mirror
        assert wanted is not None, "rules.py asks for it"
        ref = wanted.backend_ref
        found = backend_refs.resolve(
            scope.world,
            scope.route,
            BackendRef(name=ref.name, group=ref.group, kind=ref.kind, namespace=ref.namespace, port=ref.port),
        )
        field = "requestMirror.backendRef"
        if isinstance(found, Unresolved):
            return Refusal(found.message, field, found.reason, left_out=True)
        if isinstance(found, ir.PoolBackend):
            message = "copies of requests are not picked for: name a Service or a ModelServer"
            return Refusal(message, field, "InvalidKind", left_out=True)
        if scope.route.kind == "GRPCRoute":
            found = backend_refs.speaking_grpc(found)
        return cls(found, _millionths(wanted))

    @property
    def backends(self) -> tuple[ir.Backend, ...]:
        """The one that gets copies."""
        return (self.backend,)

    def effect(self, at: Position) -> Effect:
        """An Envoy RequestMirrorPolicy. The copy keeps the request's host."""
        policy: dict[str, Any] = {
            "cluster": self.backend.cluster,
            "disable_shadow_host_suffix_append": True,
        }
        if self.millionths < _MILLION:
            share = {"numerator": self.millionths, "denominator": "MILLION"}
            policy["runtime_fraction"] = {"default_value": share}
        return Effect(mirrors=(policy,))


def _millionths(wanted: RequestMirror) -> int:
    if wanted.percent is not None:
        return wanted.percent * _MILLION // 100
    if wanted.fraction is not None:
        return min(wanted.fraction.numerator * _MILLION // wanted.fraction.denominator, _MILLION)
    return _MILLION
