"""How other pickers know a session → what of it is followed here: its name in one header."""

from collections.abc import Mapping
from typing import Any

from headgate.picker.epp.fields import Fields, Path, short

HEADER = "x-session-id"
_NAME_IT = f"clients name their session in {HEADER}"


def check(fields: Fields, kind: str, parameters: Mapping[str, Any], path: Path) -> None:
    """Warn where a plugin of this type knows sessions by something else. *path*: of its parameters."""

    def left_out(at: Path, what: str) -> None:
        fields.note(at, "PluginLeftOut", f"{what} has no effect: {_NAME_IT}", "warning")

    if kind == "session-id-producer":
        if "cookieName" in parameters:
            left_out((*path, "cookieName"), f"the cookie {short(parameters['cookieName'])}")
        if str(parameters.get("headerName", HEADER)).lower() != HEADER:
            left_out((*path, "headerName"), f"the header {short(parameters['headerName'])}")
    elif kind in ("session-affinity-scorer", "session-affinity-filter"):
        strategy = parameters.get("strategy", "encoded_endpoint_header")
        if strategy != "session_id":
            left_out((*path, "strategy"), f"strategy {short(str(strategy))}")
            return
        configured = parameters.get("sessionIdConfig")
        sources = configured.get("sources") if isinstance(configured, Mapping) else None
        for number, each in enumerate(sources if isinstance(sources, list) else ()):
            header = each.get("header") if isinstance(each, Mapping) else None
            if header is not None and str(header).lower() != HEADER:
                at = (*path, "sessionIdConfig", "sources", number, "header")
                left_out(at, f"the header {short(str(header))}")
