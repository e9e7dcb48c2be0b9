"""What is shown of dead letters: entries, pages, groups, what a job did, how far a scan is.

Enters: fields as dlq/index_layout.py lays them out, or entries. Leaves: values that are read alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aios.dlq import dead_letter
from aios.dlq.dead_letter import DeadLetter
from aios.dlq.index_layout import Outcome, State, member
from aios.schemas.errors import AiosError
from aios.streams.record import Record, Where

Kind = tuple[str, str, str]  # group, reason, fingerprint


class Ambiguous(AiosError):
    """Several ids begin so; the message names some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The last thing that changed a letter's state. reason: what the principal said. to: topic/partition, or empty."""

    state: str
    generation: int
    job_id: str
    reason: str
    to: str
    edit_hash_before: str
    edit_hash_after: str
    by: str
    at: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A dead letter as it is now. changed: the last change, also one before it failed again."""

    letter: DeadLetter
    state: State
    changed: Change | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        changed = self.changed
        said = {} if changed is None else {name: getattr(changed, name) for name in Change.__slots__}
        more = {"returns_until": self.letter.returns_until, "state": str(self.state), "changed": said or None}
        return self.letter.plain() | more


@dataclass(frozen=True, slots=True)
class Page:
    """cursor: what gives the next page; empty at the end."""

    entries: list[Entry]
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Letters of one group, reason and fingerprint. oldest_at, newest_at: Unix ms. example: the newest one's id."""

    group: str
    reason: str
    fingerprint: str
    count: int
    oldest_at: int
    newest_at: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterOutcome:
    """What became of one letter in a job. reason: of a skip. to: where it went, or stands now if it failed again."""

    letter_id: str
    outcome: Outcome
    reason: str
    to: str
    generation: int
    at: int


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Of one job. by_reason: of those skipped."""

    counts: Mapping[Outcome, int]
    by_reason: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a scan. of: entries that the index gives. unclear: where the expression said neither yes nor no.

    gone: whose records are not there any more.
    """

    scanned: int
    of: int
    found: int
    unclear: int
    gone: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where a scan gets what the index does not hold. fetch: records by place. value: decoded, None if it does not.

    Both may block, and raise Unavailable; they are called in a thread, never twice at a time.
    """

    fetch: Callable[[Iterable[Where]], Mapping[Where, Record]]
    value: Callable[[Record], Any]


def entry(body: str, state: str, change: str | None) -> Entry:
    """Of the fields of a letter's hash."""
    changed = Change(**json.loads(change)) if change else None
    return Entry(dead_letter.of_plain(json.loads(body)), State(state), changed)


def gathered(entries: Iterable[Entry]) -> list[Group]:
    """Groups of entries at hand, as groups() has them."""
    found: dict[Kind, Group] = {}
    for one in entries:
        count(found, one)
    return ordered(found)


def count(found: dict[Kind, Group], one: Entry) -> None:
    """One letter more to the group of its kind."""
    letter = one.letter
    place = member(letter.written_at, letter.id)
    add(found, (letter.group, letter.reason, letter.fingerprint), 1, place, place)


def ordered(found: Mapping[Kind, Group]) -> list[Group]:
    """The most frequent first."""
    return sorted(found.values(), key=lambda one: (-one.count, one.group, one.reason, one.fingerprint))


def add(found: dict[Kind, Group], kind: Sequence[str], count: int, oldest: str, newest: str) -> None:
    """Count letters to the group of their kind. oldest, newest: their members in a list of the index's layout."""
    group, reason, fingerprint = kind
    before = found.get((group, reason, fingerprint))
    oldest_at = int(oldest.split(":", 1)[0])
    at, example = newest.split(":", 1)
    newest_at = int(at)
    if before is not None:
        count += before.count
        oldest_at = min(oldest_at, before.oldest_at)
        newest_at, example = max((newest_at, example), (before.newest_at, before.example))
    found[group, reason, fingerprint] = Group(
        group=group,
        reason=reason,
        fingerprint=fingerprint,
        count=count,
        oldest_at=oldest_at,
        newest_at=newest_at,
        example=example,
    )
