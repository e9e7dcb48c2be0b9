"""The layout of the index of dead letters in Valkey (or Redis): every key, and what stands there.

sinks/letters.py writes it, dlq/index.py reads it. A list is a sorted set whose members all have score 0 and are
`<written_at, 13 digits>:<id>`: in order of time, with exact places between two letters of one millisecond. Every
letter stands in two: of its kind (state, group, reason, fingerprint: their number is bounded by our code), and of its
kind within its tenant (a claim of the producer, whose number nobody bounds, and which therefore is in no list of lists
but its own). While it waits for an operator it stands in a third, of its group, by when its record first stood: a
letter that fails again is written anew, and its record is no younger for that. What a case shows of its dead letters is
laid out in streams/outcome_store.py: the letter itself, and the letters of a key.

A letter's hash. body: JSON of DeadLetter, of the last generation; generation, version; the lists it belongs to: group,
reason, fingerprint, tenant, key, member. change: JSON of the latest change; change_generation, change_offset,
change_state. first: its member of the third list. now: the state it is in. kind, tenant_was, key_was, member_was,
first_was: the lists it stands in.

Rejected: RediSearch (a module that not every Valkey has), scores as times (ties cannot be paged), one list with a scan
(100,000 entries are a second).
"""

from __future__ import annotations

from enum import StrEnum

from aios.streams.outcome_layout import LETTERS_EPOCH, short

EPOCH = LETTERS_EPOCH  # random, set once everything is there; missing: emptied, or not rebuilt yet
KINDS = "aios:letters:kinds"  # set: names of the lists of all tenants
IDS = "aios:letters:ids"  # sorted set, all scores 0: ids, for those who write only their beginning


class State(StrEnum):
    """What has become of a dead letter, as letter.changed.v1 has it."""

    OPEN = "open"  # nobody has done anything about it, or it failed again
    EDITED = "edited"  # an edit of it waits for approval, or to be replayed
    REPLAYED = "replayed"  # returned to its group, and not failed again
    DISCARDED = "discarded"
    QUARANTINED = "quarantined"  # failed again after as many replays as are free; only a person frees it
    EXPIRED = "expired"  # too old; archived


UNRESOLVED = frozenset({State.OPEN, State.EDITED, State.QUARANTINED})
"""States in which it waits for an operator."""


class Outcome(StrEnum):
    """What a replay job did with one letter."""

    REPLAYED = "replayed"
    FAILED_AGAIN = "failed_again"
    SKIPPED = "skipped"
    DISCARDED = "discarded"
    EXPIRED = "expired"


def list_key(kind: str) -> str:
    """Sorted set: member()s of one kind, which is JSON: [state, group, reason, fingerprint]."""
    return f"aios:letters:list:{kind}"


def tenant_kinds_key(tenant: str) -> str:
    """Set: names of the lists that hold something of this tenant."""
    return f"aios:letters:tenant:{short(tenant)}"


def tenant_list_key(tenant: str, kind: str) -> str:
    """Sorted set: member()s of one kind and tenant."""
    return f"aios:letters:of:{short(tenant)}:{kind}"


def waiting_key(group: str) -> str:
    """Sorted set: member()s of a group's letters that wait for an operator, by the time of their records."""
    return f"aios:letters:waiting:{group}"


def job_key(job_id: str) -> str:
    """Hash: letter id → JSON of its outcome: outcome, reason, to, generation, at; rank and order decide between two."""
    return f"aios:letters:job:{job_id}"


def job_counts_key(job_id: str) -> str:
    """Hash: JSON of [outcome, reason] → how many."""
    return f"aios:letters:job_counts:{job_id}"


def job_list_key(job_id: str, outcome: str) -> str:
    """Sorted set, all scores 0: letter ids."""
    return f"aios:letters:job_list:{job_id}:{outcome}"


def member(at: int, letter_id: str) -> str:
    """at: when it was written, Unix ms; in waiting_key() its record."""
    return f"{max(at, 0):013d}:{letter_id}"
