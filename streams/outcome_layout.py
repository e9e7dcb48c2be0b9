"""Where outcomes and letters stand in Valkey: the names of keys, and what marks that everything is there.

Enters: ids, tenants, keys of producers. Leaves: names. Guaranteed: no two things share one, and no name grows with what
a producer writes (KEY_CHARS_MAX). sinks/outcome_writes.py and letter_writes.py write there; outcome_store.py and
dlq/index.py read.
"""

from __future__ import annotations

import hashlib
import json

from aios.streams.durations import DAY_MS
from aios.streams.topics import RETENTION_MS

OPEN_MS_MAX = RETENTION_MS + 400 * DAY_MS  # of an open case in its list: no wait is longer
KEY_CHARS_MAX = 200  # of a producer's key inside a key of ours; longer ones by their digest
EPOCH = "aios:epoch"  # random, set once everything is there; missing: emptied, or not rebuilt yet
LETTERS_EPOCH = "aios:letters:epoch"  # the same, of the index of dead letters
MOVED = "aios:moved"  # channel: ids of cases and events that came to rest
LISTS = "aios:lists"  # members: list_name() of every list of cases
REVIEW_TENANTS = "aios:review_tenants"


def case_key(case_id: str) -> str:
    """Hash: tenant, workflow, trace; of the last transition seq, status, step, at, list; task, task_seq; JSON: opened,
    waits (what is shown while it waits for an event), decision; ends: once it is decided, when it is forgotten.
    """
    return f"aios:case:{case_id}"


def timeline_key(case_id: str) -> str:
    """Hash: case_seq → JSON of the transition."""
    return f"aios:timeline:{case_id}"


def acts_key(object_id: str) -> str:
    """Sorted set, by time: JSON of what happened outside the case's order (case_seq 0)."""
    return f"aios:acts:{object_id}"


def accepted_key(case_id: str) -> str:
    """String: the tenant; only until the case is seen."""
    return f"aios:accepted:{case_id}"


def list_name(tenant: str, workflow: str, status: str) -> str:
    return json.dumps([tenant, workflow, status], ensure_ascii=False)


def list_key(name: str) -> str:
    """Sorted set, by time of the last transition: case ids. name: of list_name()."""
    return f"aios:list:{name}"


def review_key(task_id: str) -> str:
    """String: JSON of review.requested."""
    return f"aios:review:{task_id}"


def reviews_key(tenant: str) -> str:
    """Sorted set, by time asked: ids of open tasks."""
    return f"aios:reviews:{tenant}"


def refusals_key(case_id: str) -> str:
    """Sorted set, by time: JSON of event.refused, of the case the events would have been."""
    return f"aios:refusals:{case_id}"


def refusal_key(tenant: str, event_id: str) -> str:
    """Sorted set, by time: JSON of event.refused, of one event."""
    return f"aios:refusal:{json.dumps([tenant, event_id], ensure_ascii=False)}"


def letter_key(letter_id: str) -> str:
    """Hash of the index of dead letters (dlq/index_layout.py): body is JSON of the dead letter, now its state."""
    return f"aios:letters:letter:{letter_id}"


def letters_key(record_key: str) -> str:
    """Sorted set, `<time>:<id>` of that index: dead letters whose record has this key, in any state."""
    return f"aios:letters:key:{short(record_key)}"


def open_letters_key(record_key: str) -> str:
    """Set of that index: ids of dead letters with this key that wait for an operator."""
    return f"aios:letters:open:{short(record_key)}"


def short(text: str) -> str:
    """A producer's text inside a key of ours; a long one by its digest."""
    return text if len(text) <= KEY_CHARS_MAX else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
