"""RequestRedirect: answer with a redirect."""

from typing import Any, ClassVar

from headgate.gateway.api import Effect, FilterKind, Refusal
from headgate.gateway.paths import prefix_rewrite
from headgate.model.objects import PathMatch, RouteFilter

_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}


class RequestRedirectFilter(FilterKind):
    """Scheme, host, port and path are replaced where given and kept where not."""

    type: ClassVar[str] = "RequestRedirect"

    def effect(self, settings: RouteFilter, path: PathMatch) -> Effect | Refusal:
        """An Envoy RedirectAction."""
        wanted = settings.request_redirect
        assert wanted is not None, "rules.py asks for it"
        redirect: dict[str, Any] = {"response_code": _CODES[wanted.status_code]}
        if wanted.scheme is not None:
            redirect["scheme_redirect"] = wanted.scheme
        if wanted.hostname is not None:
            redirect["host_redirect"] = wanted.hostname
        port = wanted.port or {"http": 80, "https": 443, None: None}[wanted.scheme]
        if port is not None:
            redirect["port_redirect"] = port
        if wanted.path is not None and wanted.path.replace_full_path is not None:
            redirect["path_redirect"] = wanted.path.replace_full_path
        elif wanted.path is not None and wanted.path.replace_prefix_match is not None:
            rewrite = prefix_rewrite(path, wanted.path.replace_prefix_match)
            if isinstance(rewrite, str):
                return Refusal(rewrite)
            redirect |= rewrite
        return Effect(redirect=redirect)
