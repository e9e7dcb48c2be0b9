"""Secrets that are shown once: API keys of tenants, tokens of principals.

Enters: nothing but randomness. Leaves: a secret for whoever asked, its SHA-256 for the topic, a file for its owner.
Guaranteed: what is stored lets nobody in; a kept file is readable by its owner alone.
Rejected: slow password hashes (a secret is 256 random bits, nothing to guess; and every request pays for the check),
comparing in constant time (a secret is looked up by its digest, whose likeness to a stored one tells nothing).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

NAME = re.compile(r"[a-z0-9-]{1,63}")
PREFIX = "aios_"  # so that secret scanners and people recognise one
SECRET_BYTES = 32
VALID_MAX = 5  # at once, of one owner; the oldest gives way


def make() -> str:
    """A new one."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """What is stored of it: SHA-256, hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def kept(file: Path) -> str:
    """What is kept there, empty if nothing."""
    return file.read_text(encoding="ascii").strip() if file.is_file() else ""


def keep(file: Path, secret: str) -> None:
    """Keep it for its owner alone (mode 600), instead of the one before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
        out.write(secret + "\n")
