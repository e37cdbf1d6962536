"""What a host answers where models are matched and no route takes a request.

The client is told which models there are, or what is wrong with the body.
"""

from collections.abc import Iterator, Mapping, Sequence

from headgate.gateway.envoy.body_script import NAMESPACE, UNREAD
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.model_routing import by_model, switched_off
from headgate.gateway.envoy.names import Json
from headgate.gateway.envoy.replies import NO_ROUTE
from headgate.model import headers

MODEL_NOT_FOUND = "model-not-found"
"""Reason of a 404: a model was read, and no route takes it. `code` in the body is OpenAI's word."""
UNREADABLE_BODY = "unreadable-body"
"""Reason of a 400: no model could be read."""
MOST_NAMES = 20
"""Models that an error names."""
LONGEST_SHOWN = 100
"""Characters of a route's model that an error shows."""


def last_routes(matches: Sequence[Json], base_models: Mapping[str, str] | None = None) -> list[Json]:
    """The last routes of a host in which models are matched, for what no other one takes.

    *matches* are the Envoy matches of its routes, *base_models* as for `model_routing.switched_on`. Where a
    model could have chosen a route, the client is told that no route takes its model, and which models have
    one; or why no model was read. All else is told that there is no route, without waiting for its body.
    """
    asking = [match for match in matches if by_model(match)]
    places: list[Json] = []
    for match in asking:
        place = _without_model(match)
        if place not in places:
            places.append(place)
    message = _not_found(sorted(set(_known_models(asking, base_models or {}))))
    return [
        *(_unread(number, place) for number, place in enumerate(places)),
        *(_unknown(number, place, message) for number, place in enumerate(places)),
        *(_nowhere(f"{NO_ROUTE.reason}/{number}", place) for number, place in enumerate(places)),
        _nowhere(NO_ROUTE.reason, {"prefix": "/"}) | {"typed_per_filter_config": switched_off()},
    ]


def _without_model(match: Json) -> Json:
    kept = [each for each in match["headers"] if each["name"].lower() not in headers.FROM_BODY]
    place = {key: value for key, value in match.items() if key != "headers"}
    return place | ({"headers": kept} if kept else {})


def _known_models(matches: Sequence[Json], base_models: Mapping[str, str]) -> Iterator[str]:
    """Names that a match takes exactly, and those whose base model one takes."""
    of_base: dict[str, list[str]] = {}
    for name, base in base_models.items():
        of_base.setdefault(base, []).append(name)
    for match in matches:
        for each in match["headers"]:
            value = each["string_match"].get("exact")
            if value is None:
                continue
            if each["name"].lower() == headers.MODEL_NAME:
                yield value
            elif each["name"].lower() == headers.BASE_MODEL_NAME:
                yield from of_base.get(value, ())


def _not_found(known: Sequence[str]) -> str:
    """The message as a format, which Envoy writes as valid JSON whatever the client's name is."""
    shown = ", ".join(name[:LONGEST_SHOWN] for name in known[:MOST_NAMES]).replace("%", "%%")
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    there = f"; there are routes for {shown}{more}" if known else ""
    return f'No route takes the model "%REQ({headers.MODEL_NAME})%" here{there}.'


def _unread(number: int, place: Json) -> Json:
    told = [{"filter": NAMESPACE, "path": [{"key": UNREAD}], "value": {"present_match": True}}]
    body = _body(f"%DYNAMIC_METADATA({NAMESPACE}:{UNREAD})%", UNREADABLE_BODY)
    match = place | {"dynamic_metadata": told}
    return _answer(f"{UNREADABLE_BODY}/{number}", match, UNREADABLE_BODY, 400, body)


def _unknown(number: int, place: Json, message: str) -> Json:
    asked = [*place.get("headers", ()), {"name": headers.MODEL_NAME, "present_match": True}]
    body = _body(message, "model_not_found", "model")
    return _answer(f"{MODEL_NOT_FOUND}/{number}", place | {"headers": asked}, MODEL_NOT_FOUND, 404, body)


def _nowhere(name: str, place: Json) -> Json:
    return _answer(name, place, NO_ROUTE.reason, 404, _body(NO_ROUTE.message, NO_ROUTE.reason))


def _body(message: str, code: str, param: str | None = None) -> Json:
    """An error in OpenAI's shape; its texts are formats of Envoy's."""
    return {"error": {"message": message, "type": NO_ROUTE.type, "param": param, "code": code}}


def _answer(name: str, match: Json, reason: str, status: int, body: Json) -> Json:
    return {
        "name": name,
        "match": match,
        "direct_response": {
            "status": status,
            "body_format": {"json_format": body, "content_type": "application/json"},
        },
        "response_headers_to_add": [header(headers.REASON, reason)],
    }
