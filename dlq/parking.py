"""Order per key across failures: behind a record of an ordered topic that failed, its key's later ones wait. Pure.

Enters: what is known of a key, and the record at hand. Leaves: what to do with the record, and what is known then.
Guaranteed, for the records of one key from ordered topics, whatever fails, waits, returns, repeats or dies: each is
processed at most once, in the order in which they first stood, and the key is free as soon as all that were held
are done or discarded.

How: a record that fails gets an ordinal and holds its key; while a key is held its later records get the next
ordinals and follow without being tried. They return in any order, perhaps repeatedly: the lowest is processed, one
above it follows again, one below it was settled before and is passed over. The last ordinal is the marker behind
which the key is free. Ordinals of a key are never used again (`start` grows with each record of the partition), so
that a repeat from an earlier holding is known for what it is, also when the key is free or held again.

A held record that an operator discards, or whose time is up, is named by a control record on <group>.retry: key and
partition of the letter, headers CONTROL = DISCARDED and ORDINAL.

Where a record follows to: to the dead letters if one before it lies there (it could not come before somebody
replays that one), else to where the records before it wait for a retry.

What does not park: dead letters for FOREIGN reasons, because such a record does not belong to its key, and nobody
may hold another's case; a dead letter that was discarded and restored returns without ordinal, and stands behind
all that was held before it.

Rejected: holding by offset (what returns has another one); counting the held (a repeat would be counted twice);
keeping the held records in the state (it would grow by their bytes).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from enum import StrEnum

from aios.schemas.models import ParkedRemembered as Parked
from aios.streams.errors import Reason, RecordError
from aios.streams.record import Outgoing, Record

ORDINAL = "aios.dlq.park.ordinal"  # header of a held record, wherever it waits and when it returns
CONTROL, DISCARDED = "aios.dlq.control", "discarded"  # header of a record without value: the ordinal will not return
FOREIGN = frozenset({Reason.UNATTRIBUTABLE, Reason.WRONG_PARTITION})
SPANS_MAX = 10_000  # of ordinals, in each of both lists of a key

Spans = tuple[int, ...]
"""Ordinals as from, to, from, to …: growing, each `to` excluded."""


class Way(StrEnum):
    """What becomes of a record before anything is tried."""

    PROCESS = "process"
    FOLLOW = "follow"
    SKIP = "skip"  # it was settled before
    DISCARD = "discard"  # it only says that another one will not return


def ordinal_of(record: Record) -> int | None:
    """Under which a record was held; only of records that returned, where nobody else writes."""
    text = record.header(ORDINAL) or ""
    return int(text) if text.isdecimal() else None


def is_discard(record: Record) -> bool:
    """Whether it is a control record; asked only of records that returned."""
    return record.header(CONTROL) == DISCARDED


def marked(out: Outgoing, ordinal: int | None) -> Outgoing:
    """With this ordinal and no other; None takes it away."""
    kept = tuple((name, value) for name, value in out.headers if name != ORDINAL)
    told = () if ordinal is None else ((ORDINAL, b"%d" % ordinal),)
    return replace(out, headers=(*kept, *told))


def control(out: Outgoing, ordinal: int) -> Outgoing:
    """As a record that says of this ordinal that it will not return."""
    return marked(replace(out, headers=(*out.headers, (CONTROL, DISCARDED.encode()))), ordinal)


def way(parked: Parked | None, ordinal: int | None) -> Way:
    """ordinal: of a record that returns, None if it was not held before."""
    if ordinal is None:
        return Way.PROCESS if parked is None else Way.FOLLOW
    if parked is None or ordinal < parked.lowest or has(parked.discarded, ordinal):
        return Way.SKIP
    return Way.PROCESS if ordinal == parked.lowest else Way.FOLLOW


def place(parked: Parked, ordinal: int | None, dead_letters: str) -> str:
    """Where a record that may not be tried yet goes. dead_letters: the topic of the stage."""
    upto = parked.next if ordinal is None else ordinal
    return dead_letters if parked.dead and parked.dead[0] < upto else parked.place


def hold(
    parked: Parked | None, ordinal: int | None, *, start: int, place: str, dead: bool, now_ms: int
) -> tuple[Parked, int]:
    """A record failed or follows, and is written to `place`; its ordinal, and what is known of the key then.

    start: of a key that is free; above every ordinal that was given out in this partition. dead: place holds dead
    letters.
    """
    known = parked or Parked(lowest=start, next=start, discarded=(), dead=(), place=place, since=now_ms)
    one = known.next if ordinal is None else ordinal
    lying = add(known.dead, one) if dead else remove(known.dead, one)
    if len(lying) > 2 * SPANS_MAX:  # somebody replays every other one: what is in between is taken to lie there too
        lying = (lying[0], lying[-1])
    waits = known.place if dead else place
    return replace(known, next=max(known.next, one + 1), dead=lying, place=waits), one


def done(parked: Parked | None, ordinal: int | None) -> Parked | None:
    """The lowest succeeded, or belongs to nobody. None: the key is free."""
    if parked is None or ordinal is None:
        return parked
    return _beyond(parked, ordinal + 1)


def discard(parked: Parked | None, ordinal: int) -> Parked | None:
    """A held record will not return. Nothing changes for one that was settled before, or that nobody holds.

    Raises RecordError where too many are discarded here and there while the lowest waits.
    """
    if parked is None or not parked.lowest <= ordinal < parked.next:
        return parked
    if ordinal == parked.lowest:
        return _beyond(parked, ordinal + 1)
    discarded = add(parked.discarded, ordinal)
    if len(discarded) > 2 * SPANS_MAX:
        raise RecordError("too many gaps of one key; discard from its first held record on", Reason.OVERSIZE)
    return replace(parked, discarded=discarded, dead=remove(parked.dead, ordinal))


def _beyond(parked: Parked, lowest: int) -> Parked | None:
    """With all below `lowest` settled."""
    if parked.discarded and parked.discarded[0] <= lowest < parked.discarded[1]:
        lowest = parked.discarded[1]
    if lowest >= parked.next:
        return None
    return replace(parked, lowest=lowest, discarded=from_(parked.discarded, lowest), dead=from_(parked.dead, lowest))


def has(spans: Spans, one: int) -> bool:
    return bisect_right(spans, one) % 2 == 1


def add(spans: Spans, one: int) -> Spans:
    """With it; spans that touch become one."""
    if has(spans, one):
        return spans
    at = bisect_right(spans, one)  # an even number: it lies before this span
    before, after = spans[:at], spans[at:]
    joins_before, joins_after = bool(before) and before[-1] == one, bool(after) and after[0] == one + 1
    left = before[:-1] if joins_before else (*before, one)
    right = after[1:] if joins_after else (one + 1, *after)
    return (*left, *right)


def remove(spans: Spans, one: int) -> Spans:
    """Without it."""
    if not has(spans, one):
        return spans
    at = bisect_right(spans, one)
    begin, end = spans[at - 1], spans[at]
    left = (begin, one) if begin < one else ()
    right = (one + 1, end) if one + 1 < end else ()
    return (*spans[: at - 1], *left, *right, *spans[at + 1 :])


def from_(spans: Spans, lowest: int) -> Spans:
    """Without all below lowest."""
    at = bisect_left(spans, lowest)
    if at % 2 == 0:
        return spans[at:]
    return (lowest, *spans[at:]) if spans[at] > lowest else spans[at + 1 :]
