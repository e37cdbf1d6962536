"""RequestRedirect: answer with a redirect."""

from typing import Any, ClassVar, Self

from headgate.gateway.api import Effect, FilterPlugin, Position, Refusal, Scope
from headgate.gateway.paths import prefix_rewrite
from headgate.model.objects import PathMatch, RequestRedirect, RouteFilter

_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_USUAL = {"http": 80, "https": 443}


class RequestRedirectFilter(FilterPlugin, frozen=True):
    """Scheme, host, port and path are replaced where given and kept where not."""

    TYPE: ClassVar[str] = "RequestRedirect"
    ORDER: ClassVar[int] = 50
    ON_BACKENDS: ClassVar[bool] = True
    ANSWERS: ClassVar[bool] = True

    wanted: RequestRedirect
    path: PathMatch

    @classmethod
    def read(cls, settings: RouteFilter, scope: Scope) -> Self | Refusal:
        """Refused where a prefix is replaced that no match has."""
        wanted = settings.request_redirect
        assert wanted is not None, "rules.py asks for it"
        if wanted.path is not None and wanted.path.replace_prefix_match is not None:
            rewrite = prefix_rewrite(scope.path, wanted.path.replace_prefix_match)
            if isinstance(rewrite, str):
                return Refusal(rewrite)
        return cls(wanted, scope.path)

    def effect(self, at: Position) -> Effect:
        """An Envoy RedirectAction. Without a port it is that of the scheme, without that the listener's."""
        wanted = self.wanted
        redirect: dict[str, Any] = {"response_code": _CODES[wanted.status_code]}
        if wanted.scheme is not None:
            redirect["scheme_redirect"] = wanted.scheme
        if wanted.hostname is not None:
            redirect["host_redirect"] = wanted.hostname
        port = wanted.port or (_of_scheme(wanted.scheme, at) if wanted.scheme is not None else at.port)
        usual = _USUAL[wanted.scheme or at.scheme]
        redirect["port_redirect"] = 0 if port == usual else port
        if wanted.path is not None and wanted.path.replace_full_path is not None:
            redirect["path_redirect"] = wanted.path.replace_full_path
        elif wanted.path is not None and wanted.path.replace_prefix_match is not None:
            rewrite = prefix_rewrite(self.path, wanted.path.replace_prefix_match)
            assert not isinstance(rewrite, str), "read() has refused it"
            redirect |= rewrite
        return Effect(redirect=redirect)


def _of_scheme(scheme: str, at: Position) -> int:
    return at.https_port if scheme == "https" else at.http_port
