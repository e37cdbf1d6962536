"""Host names: which takes which, exact or with `*.` in front; `*` takes every host."""

from collections.abc import Sequence


def covers(wide: str, narrow: str) -> bool:
    """True when every host that *narrow* takes is also taken by *wide*."""
    if wide in ("*", narrow):
        return True
    return wide.startswith("*.") and narrow.endswith(wide[1:])


def intersection(listener: str, route: Sequence[str]) -> tuple[str, ...]:
    """Host names that both take: of two that overlap, the narrower one."""
    if not route:
        return (listener,)
    found = {
        name if covers(listener, name) else listener
        for name in route
        if covers(listener, name) or covers(name, listener)
    }
    return tuple(sorted(found))


def wider_names(hostname: str) -> list[str]:
    """*hostname* and all names that take every host it takes, narrowest first: `a.b`, `*.b`, `*`."""
    if hostname == "*":
        return ["*"]
    labels = hostname.removeprefix("*.").split(".")
    first = 0 if hostname.startswith("*.") else 1
    wild = ["*." + ".".join(labels[index:]) for index in range(first, len(labels))]
    return [*([] if first == 0 else [hostname]), *wild, "*"]
