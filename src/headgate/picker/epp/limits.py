"""Usage-limit policies of an EndpointPickerConfig → ceilings of bands: how full a server may be for them."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from headgate.model.objects.flow import BandSpec
from headgate.picker.epp.fields import Fields, Path, short

HOLDBACK = "priority-holdback-policy"
REFLECTIVE = "soft-reflective-ceiling-policy"
LIMITS = ("static-usage-limit-policy", HOLDBACK, REFLECTIVE)
LEAST = 0.001
"""In place of a ceiling of 0: with it one request may be at a server."""

Bands = tuple[Mapping[int, BandSpec], BandSpec]
"""Those of named priorities, and of all others."""


def limited(fields: Fields, kind: str, parameters: Mapping[str, Any], path: Path, bands: Bands) -> Bands:
    """The bands with the ceilings that a policy of this type gives them. What is wrong is noted at *path*."""
    named, others = bands
    match kind:
        case "static-usage-limit-policy":
            ceiling = _part(fields, parameters, "threshold", 1.0, path)
            if ceiling >= 1:
                return bands
            held = {priority: _with(each, ceiling) for priority, each in named.items()}
            return held, _with(others, ceiling)
        case "priority-holdback-policy":
            return _held_back(fields, parameters, path, named), others
        case "soft-reflective-ceiling-policy":
            return _reflected(fields, path, named), others
        case _:
            message = f"{short(kind)} is no usage-limit policy; there are {', '.join(LIMITS)}"
            fields.note(path, "UnknownPlugin", message)
            return bands


def _reflected(fields: Fields, path: Path, named: Mapping[int, BandSpec]) -> Mapping[int, BandSpec]:
    """Band i of N, from the highest, is open there while s < 1 - i * s / (N - 1), s being the saturation: up
    to the ceiling (N - 1) / (N - 1 + i). The cycles that it lets closed bands have are not given."""
    if _too_few(fields, REFLECTIVE, path, named):
        return named
    last = len(named) - 1
    ranked = enumerate(sorted(named, reverse=True))
    return {priority: _with(named[priority], last / (last + rank)) for rank, priority in ranked}


def _too_few(fields: Fields, kind: str, path: Path, named: Mapping[int, BandSpec]) -> bool:
    if len(named) >= 2:
        return False
    message = f"{kind} has no effect with fewer than two priorityBands: name the priorities there"
    fields.note(path, "PluginLeftOut", message, "warning")
    return True


def _held_back(
    fields: Fields, parameters: Mapping[str, Any], path: Path, named: Mapping[int, BandSpec]
) -> Mapping[int, BandSpec]:
    """From the highest priority's ceiling down to the lowest's, by rank or by value."""
    if "minCeiling" not in parameters:
        fields.note(path, "InvalidValue", f"{HOLDBACK} needs a minCeiling, 0 or more and below 1")
        return named
    least = _part(fields, parameters, "minCeiling", 0.0, path)
    most = _part(fields, parameters, "maxCeiling", 1.0, path)
    domain, shape = parameters.get("domain", "rank"), parameters.get("shape", "linear")
    if domain not in ("rank", "value") or shape != "linear" or not least <= most:
        message = "domain is rank or value, shape is linear, and minCeiling is not above maxCeiling"
        fields.note(path, "InvalidValue", f"{HOLDBACK}: {message}")
        return named
    if _too_few(fields, HOLDBACK, path, named):
        return named
    lowest, highest = min(named), max(named)
    found = dict(named)
    for rank, priority in enumerate(sorted(named)):
        up = rank / (len(named) - 1) if domain == "rank" else (priority - lowest) / (highest - lowest)
        found[priority] = _with(named[priority], least + up * (most - least))
    return found


def _with(band: BandSpec, ceiling: float) -> BandSpec:
    return replace(band, ceiling=min(1.0, max(LEAST, ceiling)))


def _part(fields: Fields, parameters: Mapping[str, Any], name: str, usual: float, path: Path) -> float:
    said = float(parameters.get(name, usual))
    if not 0 <= said <= 1:
        fields.note(path, "InvalidValue", f"{name} is 0 to 1")
        return usual
    return said
