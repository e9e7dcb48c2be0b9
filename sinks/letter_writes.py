"""What one record means for the index of dead letters: pure on this side, one atomic script a record on the other.

Enters: a dead letter of any group, or letter.changed. Leaves: one Write, or none. Guaranteed: whatever order the
records come in, and however often, the same set of them leaves the same keys. Of one id counts the letter of the
highest generation, and the last change by its offset (one id, one partition); the letter is in the change's state if
the change meant its generation or a later one, else it came back and failed again: it is open, or quarantined if its
replays are too many (dlq/dead_letter.py). Of one letter in one job, failed_again stands above what the job did, and
that above skipped. Lists and counts move only with these. A letter is forgotten after the retention window; `sweep`
takes what is older out of the lists of all tenants and groups. A change keeps the letter itself longer, not its places.
Cost: 30 us of Valkey a record; a batch is one round trip.
Rejected: counters of their own for groups (a list's length is one question), states in a list per letter (a page would
have to look into every letter).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aios.dlq import envelope
from aios.dlq import index_layout as layout
from aios.dlq.dead_letter import GROUPS, REPLAYS_FREE_MAX, DeadLetter, letter_of
from aios.dlq.index_layout import UNRESOLVED, Outcome, State
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason, SchemaMismatch
from aios.schemas.models import LetterChanged
from aios.sinks.epoch_store import Write
from aios.streams.outcome_layout import letter_key, short
from aios.streams.record import Record
from aios.streams.topics import RETENTION_MS

SKIPPED = "skipped"  # a job left the letter as it is
SWEEP_MAX = 1_000  # members taken out of one list at once

_OUTCOMES: Mapping[str, tuple[Outcome, int]] = {  # of a job, by the state it made; and what stands above what
    SKIPPED: (Outcome.SKIPPED, 0),
    State.QUARANTINED: (Outcome.SKIPPED, 0),
    State.REPLAYED: (Outcome.REPLAYED, 1),
    State.DISCARDED: (Outcome.DISCARDED, 1),
    State.EXPIRED: (Outcome.EXPIRED, 1),
}
_FAILED_AGAIN_RANK = 2


@dataclass(frozen=True, slots=True)
class Meaning:
    """write: None for what changes nothing. change: of a letter whose state changed."""

    write: Write | None
    change: LetterChanged | None = None


def meaning_of(record: Record, codec: Codec) -> Meaning:
    """What this record changes. Raises SchemaMismatch or Unavailable, but never for a dead letter."""
    if record.topic in GROUPS:
        letter = letter_of(record)
        return Meaning(None if letter is None else letter_write(letter))
    if envelope.origin(record).topic in GROUPS:  # a dead letter that an operator returned to us: it is here already
        return Meaning(None)
    change = codec.decode(record.value, LetterChanged)
    if change.state != SKIPPED and change.state not in set(State):
        raise SchemaMismatch(f"there is no state {change.state[:40]!r}", Reason.CONTRACT_BROKEN)
    return Meaning(change_write(change, envelope.origin(record).offset), change)


def sweep(now_ms: int) -> Write:
    """Take out of the lists what is older than the window."""
    waiting = tuple(layout.waiting_key(group) for group in sorted(set(GROUPS.values())))
    return Write("sweep", waiting, (f"({layout.member(now_ms - RETENTION_MS, '')}",))


def letter_write(letter: DeadLetter) -> Write:
    """A dead letter stands in its topic."""
    till = letter.written_at + RETENTION_MS
    place = "/".join(map(str, letter.place))
    again = _said(Outcome.FAILED_AGAIN, "", place, letter.generation, letter.written_at)
    return Write(
        "letter",
        (letter_key(letter.id), *_job_keys(letter.job)),
        (
            till,
            letter.id,
            letter.generation,
            f"{letter.written_at:013d}/{letter.place[1]:010d}/{letter.place[2]:019d}",
            ids.canonical(letter.plain()),
            letter.group,
            letter.reason,
            letter.fingerprint,
            short(letter.tenant),
            short(letter.key),
            layout.member(letter.written_at, letter.id),
            letter.job,
            ids.canonical(again | {"rank": _FAILED_AGAIN_RANK, "order": letter.place[2]}),
            layout.member(letter.stood_at, letter.id),
        ),
    )


def change_write(change: LetterChanged, offset: int) -> Write:
    """Something became of one. offset: of the change in letter.changed."""
    outcome, rank = _OUTCOMES.get(change.state, (None, 0))
    job = change.job_id if outcome is not None else ""
    done: dict[str, Any] = {}
    if outcome is not None:
        reason = "" if outcome is not Outcome.SKIPPED else change.reason if change.state == SKIPPED else change.state
        done = _said(outcome, reason, change.to, change.generation, change.at) | {"rank": rank, "order": offset}
    names = ("state", "generation", "job_id", "reason", "to", "edit_hash_before", "edit_hash_after", "by", "at")
    shown = {name: value for name, value in asdict(change).items() if name in names}
    return Write(
        "changed",
        (letter_key(change.letter_id), *_job_keys(job)),
        (
            change.at + RETENTION_MS,
            change.letter_id,
            "" if change.state == SKIPPED else change.state,
            change.generation,
            offset,
            ids.canonical(shown),
            job,
            ids.canonical(done),
        ),
    )


def _job_keys(job: str) -> tuple[str, str]:
    return layout.job_key(job), layout.job_counts_key(job)


def _said(outcome: Outcome, reason: str, to: str, generation: int, at: int) -> dict[str, Any]:
    return {"outcome": str(outcome), "reason": reason, "to": to, "generation": generation, "at": at}


_OPEN = " or ".join(f"state == '{state}'" for state in sorted(UNRESOLVED))
_GUARDED = f"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local function keep(key, till)
  if redis.call('PEXPIRETIME', key) < till then redis.call('PEXPIREAT', key, till) end
end
local function list_of(kind) return 'aios:letters:list:' .. kind end
local function tenant_list_of(tenant, kind) return 'aios:letters:of:' .. tenant .. ':' .. kind end
local function tenant_kinds_of(tenant) return 'aios:letters:tenant:' .. tenant end

local function out(list, set, kind, member)
  redis.call('ZREM', list, member)
  if redis.call('EXISTS', list) == 0 then redis.call('SREM', set, kind) end
end

-- Put the letter where it belongs by what its hash says.
local function stand(letter, id, till)
  local f = redis.call('HMGET', letter, 'generation', 'change_generation', 'change_state', 'group', 'reason',
    'fingerprint', 'tenant', 'key', 'member', 'kind', 'tenant_was', 'key_was', 'member_was',
    'first', 'first_was')
  if not f[1] then return end
  local state = '{State.OPEN}'
  if tonumber(f[1]) >= {REPLAYS_FREE_MAX} and f[5] ~= '{Reason.PARKED}' then state = '{State.QUARANTINED}' end
  if f[2] and tonumber(f[2]) >= tonumber(f[1]) then state = f[3] end
  local kind = cjson.encode({{state, f[4], f[5], f[6]}})
  local tenant, key, member = f[7], f[8], f[9]
  if f[10] ~= kind or f[13] ~= member then
    if f[10] then
      out(list_of(f[10]), '{layout.KINDS}', f[10], f[13])
      out(tenant_list_of(f[11], f[10]), tenant_kinds_of(f[11]), f[10], f[13])
      redis.call('ZREM', 'aios:letters:key:' .. f[12], f[13])
    end
    redis.call('ZADD', list_of(kind), 0, member)
    redis.call('SADD', '{layout.KINDS}', kind)
    redis.call('ZADD', tenant_list_of(tenant, kind), 0, member)
    redis.call('SADD', tenant_kinds_of(tenant), kind)
    redis.call('ZADD', 'aios:letters:key:' .. key, 0, member)
    redis.call('ZADD', '{layout.IDS}', 0, id)
    redis.call('HSET', letter, 'now', state, 'kind', kind, 'tenant_was', tenant, 'key_was', key, 'member_was', member)
    local open, waiting = 'aios:letters:open:' .. key, '{layout.waiting_key("")}' .. f[4]
    if {_OPEN} then redis.call('SADD', open, id) else redis.call('SREM', open, id) end
    if f[15] then redis.call('ZREM', waiting, f[15]) end
    if f[14] then
      redis.call('HSET', letter, 'first_was', f[14])
      if {_OPEN} then redis.call('ZADD', waiting, 0, f[14]) end
    end
  end
  for _, one in ipairs({{tenant_list_of(tenant, kind), tenant_kinds_of(tenant), 'aios:letters:key:' .. key,
      'aios:letters:open:' .. key, '{layout.waiting_key("")}' .. f[4]}}) do keep(one, till) end
end

-- What a job did with a letter, unless something stands there that counts more.
local function outcome(of, counts, job, id, said, till)
  if job == '' then return end
  local new, before = cjson.decode(said), redis.call('HGET', of, id)
  local list = 'aios:letters:job_list:' .. job .. ':'
  if before then
    local old = cjson.decode(before)
    if old['rank'] > new['rank'] or (old['rank'] == new['rank'] and old['order'] >= new['order']) then return end
    local name = cjson.encode({{old['outcome'], old['reason']}})
    if redis.call('HINCRBY', counts, name, -1) < 1 then redis.call('HDEL', counts, name) end
    redis.call('ZREM', list .. old['outcome'], id)
  end
  redis.call('HSET', of, id, said)
  redis.call('HINCRBY', counts, cjson.encode({{new['outcome'], new['reason']}}), 1)
  redis.call('ZADD', list .. new['outcome'], 0, id)
  keep(of, till); keep(counts, till); keep(list .. new['outcome'], till)
end
"""

SCRIPTS: Mapping[str, str] = {
    name: _GUARDED + body + "\nreturn 1"
    for name, body in {
        "letter": """
local letter, till, id, generation, version = KEYS[2], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local before = redis.call('HMGET', letter, 'generation', 'version')
local old = tonumber(before[1] or -1)
if old < tonumber(generation) or (old == tonumber(generation) and before[2] < version) then
  redis.call('HSET', letter, 'generation', generation, 'version', version, 'body', ARGV[6], 'group', ARGV[7],
    'reason', ARGV[8], 'fingerprint', ARGV[9], 'tenant', ARGV[10], 'key', ARGV[11], 'member', ARGV[12],
    'first', ARGV[15])
end
stand(letter, id, till)
keep(letter, till)
outcome(KEYS[3], KEYS[4], ARGV[13], id, ARGV[14], till)
""",
        "changed": """
local letter, till, id, state, offset = KEYS[2], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[6])
if state ~= '' and tonumber(redis.call('HGET', letter, 'change_offset') or -1) < offset then
  redis.call('HSET', letter, 'change_state', state, 'change_generation', ARGV[5], 'change_offset', offset,
    'change', ARGV[7])
  stand(letter, id, till)
end
if state ~= '' then keep(letter, till) end
outcome(KEYS[3], KEYS[4], ARGV[8], id, ARGV[9], till)
""",
        "sweep": f"""
for _, kind in ipairs(redis.call('SMEMBERS', '{layout.KINDS}')) do
  local list = list_of(kind)
  for _, member in ipairs(redis.call('ZRANGE', list, '-', ARGV[2], 'BYLEX', 'LIMIT', 0, {SWEEP_MAX})) do
    redis.call('ZREM', '{layout.IDS}', string.sub(member, 15))
    redis.call('ZREM', list, member)
  end
  if redis.call('EXISTS', list) == 0 then redis.call('SREM', '{layout.KINDS}', kind) end
end
for i = 2, #KEYS do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[i], '-', ARGV[2], 'BYLEX', 'LIMIT', 0, {SWEEP_MAX})) do
    local letter = '{letter_key("")}' .. string.sub(member, 15)
    local stands = redis.call('HGET', letter, 'member')
    if not stands or stands < string.sub(ARGV[2], 2) then redis.call('ZREM', KEYS[i], member) end
  end
end
""",
    }.items()
}
