"""Names that clients and servers give to sessions and to what they store: only their digests are kept."""

import xxhash


def digest(name: str) -> str:
    """The name's digest, the same in every process: 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(name.encode("utf-8", "surrogatepass"))
