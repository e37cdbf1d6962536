"""Key sets of token issuers: every key is looked at, and none is shown."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from headgate.model.key_sets import problem_of


def number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8)).rstrip(b"=").decode()


RSA_NUMBERS = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
EC_NUMBERS = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
ED25519 = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
RSA = {"kty": "RSA", "kid": "a", "alg": "RS256", "n": number(RSA_NUMBERS.n), "e": "AQAB"}
EC = {"kty": "EC", "crv": "P-256", "x": number(EC_NUMBERS.x), "y": number(EC_NUMBERS.y)}
OKP = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(ED25519).rstrip(b"=").decode()}
SHARED = {"kty": "oct", "k": "c2VjcmV0"}


def keys(*some: Any) -> str:
    return json.dumps({"keys": some})


def test_what_issuers_publish_is_in_order() -> None:
    assert problem_of(keys(RSA, EC, OKP, SHARED, {**RSA, "use": "enc", "alg": "RSA-OAEP"})) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": 1}', '{"keys": [1]}', '{"keys": [{}]}'])
def test_what_is_no_key_set(text: str) -> None:
    assert "no JSON Web Key Set" in (problem_of(text) or "")


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ({"kty": "RSA"}, "n must be base64url"),
        ({**RSA, "n": "!!"}, "n must be base64url"),
        ({**RSA, "e": ""}, "e must be base64url"),
        ({**RSA, "e": "Ag"}, "no RSA key"),
        ({**RSA, "n": number((1 << 511) - 1)}, "from 512 to 16384 bits"),
        ({**RSA, "e": number((1 << 34) + 1)}, "33 at most"),
        ({**RSA, "alg": "ES256"}, "alg must begin with RS or PS"),
        ({**RSA, "alg": 5}, "alg must be text"),
        ({**RSA, "kid": 5}, "kid must be text"),
        ({**EC, "crv": "secp256k1"}, "crv must be one of P-256"),
        ({**EC, "crv": []}, "crv must be one of P-256"),
        ({**EC, "y": "AQAB"}, "no point of the curve"),
        ({**EC, "alg": "ES384"}, "alg must begin with ES256"),
        ({**OKP, "crv": "X25519"}, "crv must be Ed25519"),
        ({**OKP, "x": "AQAB"}, "no Ed25519 key"),
        ({**SHARED, "k": ""}, "k must be base64url"),
        ({**SHARED, "alg": "none"}, "alg must begin with HS256"),
        ({"kty": "PQ"}, "kty must be one of RSA, EC, OKP, oct"),
        ({"kty": []}, "kty must be one of RSA, EC, OKP, oct"),
    ],
)
def test_a_key_that_envoy_could_not_use_is_named(key: Any, says: str) -> None:
    found = problem_of(keys(RSA, key)) or ""
    assert found.startswith("keys[1]: ") and says in found
    assert RSA["n"] not in found


def test_an_empty_set() -> None:
    assert problem_of(keys()) == "the key set is empty"
