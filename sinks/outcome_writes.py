"""What one record means for Valkey: pure on this side, one atomic script a record on the other.

Enters: a record of audit.recorded, case.decided, event.refused or review.requested. Leaves: one Write. Guaranteed:
whatever order the records come in, and however often, the same set of them leaves the same keys: a transition moves
the case only past the highest case_seq seen, lists are bounded by rank of time and not of arrival, and a key's
lifetime only grows. Each script first compares a guard key with the value its caller knows, and changes nothing when
it differs: a Valkey that was emptied takes no more writes until it is rebuilt. A case that waits for longer than
anything is kept stays, with its timeline, until its wait is over and as long again as others; once decided, no longer
than others.
Cost: 10-20 us of Valkey a record; a batch is one round trip.
Rejected: WATCH (a round trip and a repeat for every record), positions of Kafka in Valkey instead of the guard (the
group's own offsets would have to be ignored, and lag would mean nothing).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, cast

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, CaseDecided, Event, EventRefused, ReviewRequested
from aios.sinks.epoch_store import Write
from aios.streams import outcome_layout as layout
from aios.streams.durations import DAY_MS
from aios.streams.record import Record
from aios.streams.topics import RETENTION_MS
from aios.streams.topology import OUTCOMES

TIMELINE_MAX = 500  # transitions of a case that are shown: its first and its last ones, of each half as many
KEPT_MAX = 100  # refusals and acts under one id; the newest stay

STAYS = frozenset({"ignored", "repeated", "body_replaced", "migrated"})  # the case waits as it did before these

# What returns through the group's retry topic says by its schema what it is.
_ANY = replace(OUTCOMES.retries, contracts=tuple(contract for topic in OUTCOMES.reads for contract in topic.contracts))
_TOPICS = {topic.name: topic for topic in OUTCOMES.reads}


def write_of(record: Record, codec: Codec) -> Write:
    """What this record changes. Raises SchemaMismatch or Unavailable."""
    event = codec.decode_any(record.value, _TOPICS.get(record.topic, _ANY))
    match event:
        case AuditRecorded() if event.case_seq == 0:
            return _act(event)
        case AuditRecorded():
            return _transition(event, record.header("traceparent") or "")
        case CaseDecided():
            return _decision(event)
        case EventRefused():
            return _refusal(event)
    return _review(cast(ReviewRequested, event))


def transition_json(event: AuditRecorded) -> str:
    """A transition as timelines show it: with the words for people in the place of their hash."""
    return ids.canonical(
        {
            "audit_id": event.audit_id,
            "tenant": event.tenant,
            "case_seq": event.case_seq,
            "transition": event.transition,
            "status": event.status,
            "step": event.step,
            "actor": event.actor,
            "at": event.at,
            "detail": _told(event),
            "input": f"{event.input_topic}/{event.input_partition}/{event.input_offset}",
        }
    )


def _transition(event: AuditRecorded, traceparent: str) -> Write:
    detail = _told(event)
    name = layout.list_name(event.tenant, event.workflow, event.status)
    task = str(detail.get("task_id", "")) if event.transition == "review_requested" else ""
    opened = ids.canonical({**detail, "at": event.at}) if event.transition == "admitted" else ""
    return Write(
        "transition",
        (
            layout.case_key(event.case_id),
            layout.timeline_key(event.case_id),
            layout.accepted_key(event.case_id),
            layout.list_key(name),
            layout.reviews_key(event.tenant),
        ),
        (
            _till(max(event.at, detail.get("until") or 0) if event.transition == "waiting" else event.at),
            event.case_id,
            event.tenant,
            event.workflow,
            event.case_seq,
            event.at,
            event.status,
            event.step,
            name,
            transition_json(event),
            opened,
            0 if event.transition in STAYS or detail.get("kept") else 1,
            task,
            traceparent[3:35],
            _waits(event.transition, detail),
            _course(event.transition, detail),
            RETENTION_MS if event.transition == "decided" else layout.OPEN_MS_MAX,
        ),
    )


def _course(transition: str, detail: Mapping[str, Any]) -> str:
    """The version that the case is on and what it can be told: fields of a CaseView; empty: as before."""
    if transition not in ("admitted", "migrated"):
        return ""
    return ids.canonical({"workflow_version": detail.get("workflow_version", 0), "hears": detail.get("hears")})


def _waits(transition: str, detail: Mapping[str, Any]) -> str:
    """What is shown of a case while it waits for an event: fields of a CaseView; empty: it does not."""
    if transition != "waiting":
        return ""
    return ids.canonical({"says": detail["says"], "until": detail["until"], "answers": detail["answers_caller"]})


def _decision(event: CaseDecided) -> Write:
    said = {name: value for name, value in _fields(event).items() if name not in ("case_id", "tenant", "workflow")}
    ends = event.decided_at + event.retain_days * DAY_MS if event.retain_days else _till(event.decided_at)
    return Write(
        "decision",
        (layout.case_key(event.case_id), layout.accepted_key(event.case_id), layout.timeline_key(event.case_id)),
        (_till(event.decided_at), event.case_id, event.tenant, event.workflow, ids.canonical(said), ends),
    )


def _refusal(event: EventRefused) -> Write:
    return Write(
        "refusal",
        (
            layout.refusals_key(event.case_id),
            layout.refusal_key(event.tenant, event.event_id),
            layout.accepted_key(event.case_id),
        ),
        (_till(event.refused_at), event.case_id, event.event_id, event.refused_at, ids.canonical(_fields(event))),
    )


def _review(event: ReviewRequested) -> Write:
    return Write("put", (layout.review_key(event.task_id),), (_till(event.requested_at), ids.canonical(_fields(event))))


def _act(event: AuditRecorded) -> Write:
    return Write("act", (layout.acts_key(event.case_id),), (_till(event.at), event.at, transition_json(event)))


def _fields(event: Event) -> dict[str, Any]:
    return asdict(cast(Any, event))


def _told(event: AuditRecorded) -> dict[str, Any]:
    """The evidence, and what people are told while the case waits, or said of their decision; older records of a wait
    hold it in the evidence itself.
    """
    detail = _object(event.detail)
    if "says_hash" in detail:
        del detail["says_hash"]
        detail["says"] = _object(event.shown) if event.shown else {}
    return detail


def _object(detail: str) -> dict[str, Any]:
    """Evidence as an object; what is none is shown as it is."""
    try:
        said = json.loads(detail)
    except ValueError:
        return {"text": detail}
    return said if isinstance(said, dict) else {"text": detail}


def _till(at_ms: int) -> int:
    return at_ms + RETENTION_MS


_GUARDED = f"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local till = tonumber(ARGV[2])
local function keep(key)
  if redis.call('PEXPIRETIME', key) < till then redis.call('PEXPIREAT', key, till) end
end
local function ranked(key, score, member)
  redis.call('ZADD', key, 'GT', score, member)
  redis.call('ZREMRANGEBYRANK', key, 0, -{KEPT_MAX + 1})
  keep(key)
end
local function listed(key, score, member, kept)
  redis.call('ZADD', key, score, member)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', tonumber(score) - kept)
  keep(key)
end
local function known(key, score, member)
  redis.call('ZADD', key, 'GT', score, member)
  listed(key, redis.call('ZSCORE', key, member), member, {layout.OPEN_MS_MAX})
end
"""

SCRIPTS: Mapping[str, str] = {
    name: _GUARDED + body + "\nreturn 1"
    for name, body in {
        "transition": f"""
local case, timeline, accepted, list, reviews = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local case_id, tenant, workflow = ARGV[3], ARGV[4], ARGV[5]
local seq, at, status, step, name = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local shown, opened, moves, task, trace, waits = ARGV[11], ARGV[12], ARGV[13], ARGV[14], ARGV[15], ARGV[16]
local course, listed_ms = ARGV[17], tonumber(ARGV[18])
local ends = redis.call('HGET', case, 'ends')
if ends then till = math.min(till, tonumber(ends)) end
local newest, half = tonumber(redis.call('HGET', case, 'seq') or 0), {TIMELINE_MAX // 2}
if seq <= half or seq > newest - half then redis.call('HSET', timeline, seq, shown); keep(timeline) end
for gone = math.max(newest - half, half) + 1, math.min(newest, seq - half) do redis.call('HDEL', timeline, gone) end
redis.call('DEL', accepted)
redis.call('HSET', case, 'tenant', tenant, 'workflow', workflow)
if opened ~= '' then redis.call('HSET', case, 'opened', opened) end
if trace ~= '' then redis.call('HSET', case, 'trace', trace) end
if course ~= '' and seq > tonumber(redis.call('HGET', case, 'course_seq') or 0) then
  redis.call('HSET', case, 'course', course, 'course_seq', seq)
end
known('{layout.LISTS}', at, name)
if seq > newest then
  local before = redis.call('HGET', case, 'list')
  if before and before ~= name then redis.call('ZREM', 'aios:list:' .. before, case_id) end
  listed(list, at, case_id, listed_ms)
  redis.call('HSET', case, 'seq', seq, 'status', status, 'step', step, 'at', at, 'list', name)
end
if task ~= '' then known('{layout.REVIEW_TENANTS}', at, tenant) end
if moves == '1' and seq > tonumber(redis.call('HGET', case, 'task_seq') or 0) then
  local before = redis.call('HGET', case, 'task') or ''
  if before ~= '' and before ~= task then redis.call('ZREM', reviews, before) end
  if task ~= '' then listed(reviews, at, task, {RETENTION_MS}) end
  redis.call('HSET', case, 'task', task, 'task_seq', seq, 'waits', waits)
end
keep(case)
if task ~= '' or waits ~= '' then redis.call('PUBLISH', '{layout.MOVED}', case_id) end
""",
        "decision": f"""
redis.call('HSET', KEYS[2], 'tenant', ARGV[4], 'workflow', ARGV[5], 'decision', ARGV[6])
redis.call('DEL', KEYS[3])
keep(KEYS[2])
redis.call('HSET', KEYS[2], 'ends', ARGV[7])
redis.call('PEXPIREAT', KEYS[2], ARGV[7])
redis.call('PEXPIREAT', KEYS[4], ARGV[7])
redis.call('PUBLISH', '{layout.MOVED}', ARGV[3])
""",
        "refusal": f"""
local case_id, event_id, at, body = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if case_id ~= '' then ranked(KEYS[2], at, body); redis.call('DEL', KEYS[4]) end
ranked(KEYS[3], at, body)
redis.call('PUBLISH', '{layout.MOVED}', case_id)
redis.call('PUBLISH', '{layout.MOVED}', event_id)
""",
        "put": """
redis.call('SET', KEYS[2], ARGV[3], 'KEEPTTL')
keep(KEYS[2])
""",
        "act": """
ranked(KEYS[2], ARGV[3], ARGV[4])
""",
    }.items()
}
