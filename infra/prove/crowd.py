"""Cases that wait for a person, in numbers: what stages remember when they are killed, and must open again.

Enters: a running system at rest. Leaves: OPEN_CASES more cases that wait, for three days, through every stage as any
other case. Guaranteed: their number is counted in the topic from which people are asked. Rejected: writing them into
plan's changelog, as `aios bench cases` does for a million (budget, outcomes and the letters' index would hold none).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aios.infra.prove import load, verify
from aios.infra.prove.journal import Kind
from aios.infra.prove.reading import Addresses, Eyes, Reader, everything
from aios.streams.errors import Unavailable
from aios.streams.topics import REVIEW_REQUESTED

OPEN_CASES = 10_000
RATE_PER_S = 400.0
REST_S_MAX = 300.0


def gather(addresses: Addresses, folder: Path, say: Callable[[str], None]) -> None:
    """Raises Unavailable where they did not come to wait."""
    before = _asked(addresses)
    sent = load.run(addresses, folder, rate_per_s=RATE_PER_S, count=OPEN_CASES, mix={Kind.WAITING: 1.0}, http_share=0.0)
    is_at_rest = verify.settle(addresses, REST_S_MAX)
    waiting = _asked(addresses) - before
    say(f"  {waiting} cases wait for a person, behind everything that is done from here on")
    if not is_at_rest or waiting < OPEN_CASES:
        raise Unavailable(f"of {sent.acked} cases {waiting} came to wait for a person")


def _asked(addresses: Addresses) -> int:
    """Questions to people, ever."""
    eyes, reader = Eyes(addresses), Reader(addresses)
    try:
        return sum(1 for _ in everything(eyes, reader, [REVIEW_REQUESTED.name]))
    finally:
        reader.close()
