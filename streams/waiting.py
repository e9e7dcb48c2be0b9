"""Whether a case waits for an outside system that is away, or for an endpoint of it, and since when.

Enters: the timeline of an open case, and the circuits towards systems (breaker.changed.v1, `system/<name>[/<slot>]`)
and endpoints (`endpoint/<system>/<tenant>/<name>[/<slot>]`), which a table follows. Leaves: those that are asked and
away. Guaranteed: only what is asked and not answered yet counts; an endpoint counts for its own tenant alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

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
        mine=lambda key: key.startswith((CIRCUITS.encode(), ENDPOINTS.encode())),
        kept=lambda change: change.state != CLOSED,
    )


class Asked(NamedTuple):
    """Whom a case has asked. endpoint: who of the system, where it is many, and whose; else both are empty."""

    system: str
    endpoint: str = ""
    tenant: str = ""

    @property
    def circuits(self) -> tuple[str, ...]:
        """The keys of those that may hold it up, of slot 0."""
        own = (f"{ENDPOINTS}{self.system}/{self.tenant}/{self.endpoint}",) if self.endpoint else ()
        return (f"{CIRCUITS}{self.system}", *own)


def away_since(whom: Asked, known: Iterable[BreakerChanged]) -> int:
    """Since when it is away, Unix ms, as any of its processes sees it; 0: it is not."""
    since = (
        one.since or one.changed_at
        for one in known
        if one.state != CLOSED and any(_is_of(one.key, circuit) for circuit in whom.circuits)
    )
    return min(since, default=0)


def _is_of(key: str, circuit: str) -> bool:
    """Whether a key is that of this circuit in any process."""
    slot = key.removeprefix(f"{circuit}/")
    return key == circuit or (slot != key and slot.isdigit())


def asked(timeline: Sequence[Mapping[str, Any]]) -> list[Asked]:
    """Those that have been asked for the case and have not answered yet, in the order of asking.

    timeline: transitions in their order, as the outcome store has them.
    """
    waiting: dict[str, Asked] = {}  # by step
    for move in timeline:
        if move["transition"] in ASKED:
            system, endpoint = (str(move["detail"].get(name, "")) for name in ("system", "endpoint"))
            waiting[move["step"]] = Asked(system, endpoint, str(move["tenant"]) if endpoint else "")
        elif move["transition"] in ENDED:
            waiting.pop(move["step"], None)
    return list(dict.fromkeys(one for one in waiting.values() if one.system))


def waits_for(timeline: Sequence[Mapping[str, Any]], known: Iterable[BreakerChanged]) -> list[dict[str, Any]]:
    """[{system, since}] of those that are asked and away, with `endpoint` where they are one. since: Unix ms."""
    kept = list(known)
    found = ((whom, away_since(whom, kept)) for whom in asked(timeline))
    return [
        {"system": whom.system, **({"endpoint": whom.endpoint} if whom.endpoint else {}), "since": since}
        for whom, since in found
        if since
    ]


def told(waits: Iterable[Mapping[str, Any]]) -> str:
    """For people; empty: for none."""
    return ", ".join(
        f"{' to '.join(one[name] for name in ('system', 'endpoint') if name in one)} since "
        f"{datetime.fromtimestamp(one['since'] / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
        for one in waits
    )
