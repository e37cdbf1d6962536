"""Sizes and durations as people write them; one form for every command.

Gateway API objects have a narrower form of their own (`model/durations.py`).
"""

import re

_BYTES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 1 << 10,
    "mi": 1 << 20,
    "gi": 1 << 30,
    "ti": 1 << 40,
}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([kmgt]i?)?b?", re.ASCII)
_PLAIN = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12}", re.ASCII)
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(ns|us|µs|μs|ms|s|m|h)")


def read_bytes(text: str) -> int:
    """Bytes of `1048576`, `64Mi`, `64MiB`, `10MB`, `1.5G`; `k`, `M`, `G`, `T` are powers of 1000.

    Raises ValueError with a sentence for the user.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no size such as 64MiB, 64Mi, 10MB or 1048576 (bytes)")
    number, unit = match[1], _BYTES[match[2] or ""]
    return round(float(number) * unit) if "." in number else int(number) * unit


def read_seconds(text: str) -> float:
    """Seconds of `2s`, `500ms`, `5m`, `1m30s`, or a plain number, which means seconds.

    Raises ValueError with a sentence for the user.
    """
    written = text.strip().lower()
    if _PLAIN.fullmatch(written):
        return float(written)
    parts = _PART.findall(written)
    if not parts or "".join(number + unit for number, unit in parts) != written:
        raise ValueError(f"{text!r} is no duration such as 2s, 500ms, 5m, 1m30s or 2 (seconds)")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def written_seconds(seconds: float) -> str:
    """A duration as `read_seconds` takes it, in a unit that fits: `500ms`, `2s`, `10m`, `1m30s`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m" * (minutes > 0) + f"{rest:g}s" * (rest > 0 or minutes == 0)


def written_bytes(size: int) -> str:
    """A size as `read_bytes` takes it, in a unit that fits without a rest: `64MiB`, `1000`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _BYTES[unit[:2].lower()]
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
