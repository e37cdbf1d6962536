"""How other pickers know a session → the sources that name one here; what of it is not followed is named."""

import re
from collections.abc import Mapping
from typing import Any

from headgate.model.headers import SESSION, reserved
from headgate.model.sessions import COOKIE, DEFAULT, HEADER
from headgate.picker.epp.fields import Fields, Path, short

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")


def sources_of(fields: Fields, kind: str, parameters: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """What a plugin of this type knows sessions by, as `model.sessions` has it. *path*: of its parameters."""
    if kind == "session-id-producer":
        if "cookieName" in parameters:
            return _source(fields, COOKIE, parameters["cookieName"], (*path, "cookieName"))
        return _source(fields, HEADER, parameters.get("headerName", SESSION[0]), (*path, "headerName"))
    if kind not in ("session-affinity-scorer", "session-affinity-filter"):
        return ()
    strategy = parameters.get("strategy", "encoded_endpoint_header")
    if strategy != "session_id":
        message = (
            f"strategy {short(str(strategy))} has no effect: no endpoint is named to clients; use session_id"
        )
        at = (*path, "strategy") if "strategy" in parameters else (*path[:-1], "type")
        fields.note(at, "PluginLeftOut", message, "warning")
        return ()
    configured = parameters.get("sessionIdConfig")
    listed = configured.get("sources") if isinstance(configured, Mapping) else None
    if not isinstance(listed, list) or not listed:
        return DEFAULT
    found: list[str] = []
    for number, each in enumerate(listed):
        at = (*path, "sessionIdConfig", "sources", number)
        if isinstance(each, Mapping) and "header" in each:
            found += _source(fields, HEADER, each["header"], (*at, "header"))
        elif not isinstance(each, Mapping) or "attribute" not in each:
            message = f"{short(str(each))} names no session: a source has a header or an attribute"
            fields.note(at, "PluginLeftOut", message, "warning")
    return tuple(found)


def _source(fields: Fields, kind: str, name: object, path: Path) -> tuple[str, ...]:
    why = None
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        why = "it is no name of a header or cookie"
    elif kind == HEADER:
        why = reserved(name)
    if why is not None:
        message = f"{short(str(name))} names no session of a client: {why}"
        fields.note(path, "PluginLeftOut", message, "warning")
        return ()
    return (kind + (str(name).lower() if kind == HEADER else str(name)),)
