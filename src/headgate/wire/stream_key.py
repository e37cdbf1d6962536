"""Names of ext_proc streams in Envoy's access log, which nobody can guess who was not told."""

from hashlib import sha256

from headgate.wire.numbers import whole_number

SEAL_BYTES = 8


class StreamKeys:
    """The keys of one process's streams: `NONCE-NUMBER-SEAL`.

    The seal is the first 8 bytes of SHA-256 over a secret and what stands before it, in hex; without the rest
    of the digest nobody can go on from there. A peer is told the keys of its own streams, which say nothing
    of other streams' seals: it cannot report their ends.
    """

    __slots__ = ("_nonce", "_secret")

    def __init__(self, nonce: str, secret: bytes) -> None:
        """*nonce* tells this process's streams from those of another run; *secret* never leaves it."""
        self._nonce = nonce
        self._secret = secret

    def name(self, number: int) -> str:
        """The stream for people: no secret, and believed by nobody."""
        return f"{self._nonce}-{number}"

    def key(self, number: int) -> str:
        """What the peer of the stream is told."""
        name = self.name(number)
        return f"{name}-{self._seal(name)}"

    def number(self, key: str) -> int | None:
        """The stream's number; None when *key* is none of this process."""
        name, _, seal = key.rpartition("-")
        nonce, _, number = name.rpartition("-")
        if nonce != self._nonce or seal != self._seal(name):
            return None
        return whole_number(number)

    def _seal(self, name: str) -> str:
        return sha256(self._secret + name.encode()).digest()[:SEAL_BYTES].hex()
