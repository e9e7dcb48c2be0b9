"""Signatures of webhooks, in and out: HMAC-SHA256 as in Standard Webhooks (webhook-id, -timestamp, -signature). Pure.

Enters: a secret, an id, a time, the body's bytes. Leaves: headers, or why a message is not believed. Guaranteed: what
is compared is compared in constant time; a message older or newer than TOLERANCE_S is not believed, so that a copied
one is worth little; a secret of fewer than SECRET_BYTES_MIN is refused. During a change of secrets a message may carry
several signatures; one that fits is enough.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from aios.streams.errors import ConfigError

ID, AT, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
VERSION = "v1"
PREFIX = "whsec_"  # of a secret in base64; any other is taken as it is
SECRET_BYTES_MIN = 24
TOLERANCE_S = 300
SIGNATURES_MAX = 8
ID_CHARS_MAX = 200


def signed(secret: str, message_id: str, now_s: int, body: bytes) -> dict[str, str]:
    """The headers of a message. Raises ConfigError for a secret that guards nothing."""
    return {ID: message_id, AT: str(now_s), SIGNATURE: f"{VERSION},{_signature(secret, message_id, now_s, body)}"}


def refusal(secret: str, headers: Mapping[str, str], body: bytes, now_s: int) -> str:
    """Why a message is not believed, empty if it is. headers: any case. Raises ConfigError."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if name.lower() in found and name.lower() in (ID, AT, SIGNATURE):
            return f"it has more than one {name.lower()}"
        found[name.lower()] = value
    message_id, at, given = (found.get(name, "") for name in (ID, AT, SIGNATURE))
    if not (message_id and at and given):
        return f"it lacks {ID}, {AT} or {SIGNATURE}"
    if len(message_id) > ID_CHARS_MAX or not message_id.isprintable():
        return f"its {ID} is no id"
    if not (at.isascii() and at.isdigit() and len(at) <= 12) or abs(int(at) - now_s) > TOLERANCE_S:
        return f"its {AT} is not within {TOLERANCE_S} s of now"
    expected = _signature(secret, message_id, int(at), body).encode()
    matches = False
    for each in given.split()[:SIGNATURES_MAX]:
        version, _, signature = each.partition(",")  # bytes that are no text arrive as surrogates
        matches |= version == VERSION and hmac.compare_digest(signature.encode(errors="replace"), expected)
    return "" if matches else "its signature is not ours"


def _signature(secret: str, message_id: str, at_s: int, body: bytes) -> str:
    signed_over = b".".join((message_id.encode(), str(at_s).encode(), body))
    return base64.b64encode(hmac.new(_key(secret), signed_over, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    try:
        key = (
            base64.b64decode(secret.removeprefix(PREFIX), validate=True)
            if secret.startswith(PREFIX)
            else secret.encode()
        )
    except binascii.Error as error:
        raise ConfigError(f"a webhook's secret begins with {PREFIX} and is not base64") from error
    if len(key) < SECRET_BYTES_MIN:
        raise ConfigError(f"a webhook's secret needs {SECRET_BYTES_MIN} bytes or more")
    return key
