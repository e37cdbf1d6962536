"""Gateway API durations (GEP-2257): `1h30m`, `10s`, `500ms`."""

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]{1,5})(ms|h|m|s)")


def seconds(text: str) -> float:
    """A decoded duration in seconds; 0 means no limit."""
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
