"""Our own contracts as files: avro/<contract>.avsc today, avro/released/<contract>/<n>.avsc for ever.

Enters: a contract's name. Leaves: its schema, ready to use. Files are read once.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from aios.schemas import safety
from aios.schemas.models import EVENTS
from aios.schemas.safety import Schema

FOLDER = Path(__file__).parent / "avro"
PERSONAL = "PII"  # tag in `confluent:tags`


@cache
def working(contract: str) -> Schema:
    """The contract as it is now. Raises KeyError for a name that is no contract of ours."""
    if contract not in EVENTS:
        raise KeyError(contract)
    return parse_file(FOLDER / f"{contract}.avsc")


def parse_file(path: Path) -> Schema:
    """One .avsc file; its text is made compact, as it is registered."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    return safety.read(json.dumps(raw, separators=(",", ":"), ensure_ascii=False))


@cache
def personal_fields(contract: str) -> frozenset[str]:
    """Names of the fields that carry personal data."""
    fields = working(contract).resolved["fields"]
    return frozenset(one["name"] for one in fields if PERSONAL in one.get("confluent:tags", ()))
