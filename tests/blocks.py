"""Block hashes as the wire packs them, for tests that name their own."""

import struct


def packed(*hashes: int) -> bytes:
    """8 bytes per hash, little-endian."""
    return struct.pack(f"<{len(hashes)}Q", *hashes)
