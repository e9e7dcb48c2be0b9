"""Whether a case waits for an outside system that is away, and since when.

Enters: the timeline of an open case, and the circuits towards systems (breaker.changed.v1, `system/<name>[/<slot>]`),
which a table follows. Leaves: the systems that are asked and away. Guaranteed: only what is asked and not answered yet
counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged
from aios.streams.config import KafkaSettings
from aios.streams.reference import ReferenceTable
from aios.streams.topics import BREAKER_CHANGED

CIRCUITS = "system/"  # of the key of a circuit towards an outside system
ENDPOINTS = "endpoint/"  # the same towards one endpoint of a system that is many
CLOSED = "closed"
ASKED = frozenset({"call_queued", "call_requested"})
ENDED = frozenset({"call_completed", "call_unanswered", "not_called"})


def is_circuit(change: BreakerChanged) -> bool:
    """Whether it is a circuit towards an outside system or an endpoint of it, and not a breaker of a group."""
    return change.key.startswith((CIRCUITS, ENDPOINTS))


def circuits(kafka: KafkaSettings, codec: Codec) -> ReferenceTable[BreakerChanged]:
    """The circuits that are not closed. Not filled until start() or load(); needs close()."""
    return ReferenceTable(
        kafka,
        codec,
        BREAKER_CHANGED,
        BreakerChanged,
        name_of=lambda change: change.key,
        mine=lambda key: key.startswith(CIRCUITS.encode()),
        kept=lambda change: change.state != CLOSED,
    )


def away_since(system: str, known: Iterable[BreakerChanged]) -> int:
    """Since when a system is away, Unix ms, as any of its processes sees it; 0: it is not."""
    name = f"{CIRCUITS}{system}"
    since = (
        one.since or one.changed_at
        for one in known
        if one.state != CLOSED and (one.key == name or one.key.startswith(f"{name}/"))
    )
    return min(since, default=0)


def asked(timeline: Sequence[Mapping[str, Any]]) -> list[str]:
    """Systems that have been asked for the case and have not answered yet, in the order of asking.

    timeline: transitions in their order, as the outcome store has them.
    """
    waiting: dict[str, str] = {}  # system, by step
    for move in timeline:
        if move["transition"] in ASKED:
            waiting[move["step"]] = str(move["detail"].get("system", ""))
        elif move["transition"] in ENDED:
            waiting.pop(move["step"], None)
    return list(dict.fromkeys(filter(None, waiting.values())))


def waits_for(timeline: Sequence[Mapping[str, Any]], known: Iterable[BreakerChanged]) -> list[dict[str, Any]]:
    """[{system, since}] of those that are asked and away. since: Unix ms."""
    kept = list(known)
    found = ((system, away_since(system, kept)) for system in asked(timeline))
    return [{"system": system, "since": since} for system, since in found if since]


def told(waits: Iterable[Mapping[str, Any]]) -> str:
    """For people; empty: for none."""
    return ", ".join(
        f"{one['system']} since {datetime.fromtimestamp(one['since'] / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
        for one in waits
    )
