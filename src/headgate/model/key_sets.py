"""JSON Web Key Sets as policies hold them, checked before Envoy sees them: for one bad key it refuses the
listener of every client."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_CURVES: Mapping[str, tuple[ec.EllipticCurve, str]] = {
    "P-256": (ec.SECP256R1(), "ES256"),
    "P-384": (ec.SECP384R1(), "ES384"),
    "P-521": (ec.SECP521R1(), "ES512"),
}


def problem_of(text: str) -> str | None:
    """What is wrong with a key set; None: every key of it can be used. No message shows a key."""
    try:
        keys = json.loads(text)["keys"]
        kinds = [(each, each["kty"]) for each in keys]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it is no JSON Web Key Set: an object with keys, each with kty"
    if not kinds:
        return "the key set is empty"
    for index, (key, kind) in enumerate(kinds):
        read = _KINDS.get(kind) if isinstance(kind, str) else None
        try:
            if read is None:
                raise ValueError(f"kty must be one of {', '.join(_KINDS)}")
            for name in ("kid", "alg"):
                if not isinstance(key.get(name, ""), str):
                    raise ValueError(f"{name} must be text")
            read(key)
        except UnsupportedAlgorithm:
            return f"keys[{index}]: it is of a kind that is not known here"
        except ValueError as error:
            return f"keys[{index}]: {error}"
    return None


def _rsa(key: Mapping[str, Any]) -> None:
    _algorithm(key, "RS", "PS")
    modulus, exponent = (int.from_bytes(_bytes(key, name)) for name in ("n", "e"))
    if not 512 <= modulus.bit_length() <= 16384 or exponent.bit_length() > 33:
        raise ValueError("n must have from 512 to 16384 bits, and e 33 at most")
    try:
        rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise ValueError("n and e are no RSA key") from None


def _elliptic(key: Mapping[str, Any]) -> None:
    name = key.get("crv")
    if not isinstance(name, str) or name not in _CURVES:
        raise ValueError(f"crv must be one of {', '.join(_CURVES)}")
    curve, algorithm = _CURVES[name]
    _algorithm(key, algorithm)
    x, y = (int.from_bytes(_bytes(key, name)) for name in ("x", "y"))
    try:
        ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError:
        raise ValueError("x and y are no point of the curve") from None


def _edwards(key: Mapping[str, Any]) -> None:
    if key.get("crv") != "Ed25519":
        raise ValueError("crv must be Ed25519")
    _algorithm(key, "EdDSA")
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key, "x"))
    except ValueError:
        raise ValueError("x is no Ed25519 key") from None


def _shared(key: Mapping[str, Any]) -> None:
    _algorithm(key, "HS256", "HS384", "HS512")
    _bytes(key, "k")


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "RSA": _rsa,
    "EC": _elliptic,
    "OKP": _edwards,
    "oct": _shared,
}


def _algorithm(key: Mapping[str, Any], *beginnings: str) -> None:
    if "alg" in key and not key["alg"].startswith(beginnings):
        raise ValueError(f"alg must begin with {' or '.join(beginnings)}")


def _bytes(key: Mapping[str, Any], name: str) -> bytes:
    value = key.get(name)
    try:
        if isinstance(value, str) and value:
            return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        pass
    raise ValueError(f"{name} must be base64url of bytes")
