"""Numbers in sentences."""


def counted(number: int, what: str, plural: str = "") -> str:
    """`1 route`, `2 routes`; *plural* where an s at the end is not enough."""
    return f"{number} {what if number == 1 else plural or what + 's'}"
