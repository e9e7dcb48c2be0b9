"""The headers of a dead letter: what failed, where it first stood, why, how often, and whether it came back before.

Enters: a record that failed and the error. Leaves: a record for <group>.dlq, or for a retry tier, with the
original key, value and headers. Guaranteed: our headers are replaced and never grow (at most OURS_BYTES_MAX); a
record that returns and fails again keeps its first place, its id and its counts; what a producer writes into
`aios.dlq.*` or `__rule.*` is dropped, because only the topics of returning records are believed; no header holds
payload, so the words of errors that are not ours are left out (a ValueError likes to quote what it could not read).
A value that would not fit travels by reference to where it stands.

    id                 derived from cluster, first place and group: the same for every failure of this record there
    idempotency_key    on source topics the record's key, which admit takes where the value names none; else `ce_id`
    tenant             as the producer's header says; a claim
    payload_sha256     of the value; payload_ref: where it stands, if it did not fit
    orig.*             topic, partition, offset, timestamp, timestamp_type (append: the broker's, create: the
                       producer's), group, schema_id: of the first time, written once
    reason, class      closed lists (dlq/decide.py)
    error.*            type, message (ours only, bounded), where (module:function); fingerprint: groups one kind;
                       trace: where our own code failed, its innermost lines (code alone, never what it held)
    stage, code_version
    attempts           all of them; first_failed_at, last_failed_at: Unix ms
    deferrals          how often it was only slowed, which is no attempt (dlq/settle.py)
    replay.*           count, job, by, at, edited (sha256 before), attempts (made before the latest replay)
    target             of what failed in the stage `retry` alone: the topic to which it was to return, and still is

Rejected: Python's whole stack trace (it is without bound, and ends with words that quote payload); a trace kept once
for all of a fingerprint (a store of its own, for what a breaker bounds); copying headers of an earlier failure (they
would grow with each one).
"""

from __future__ import annotations

import hashlib
import linecache
import re
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from types import FrameType, TracebackType
from typing import NamedTuple

from aios.dlq.decide import HINTS, Class, reason_of
from aios.schemas import ids
from aios.streams import inputs, topics, topology
from aios.streams.errors import AiosError, Reason
from aios.streams.record import Headers, Outgoing, Record, headers_of, key_text
from aios.streams.topics import Family, Tier
from aios.streams.topology import Stage

PREFIX = "aios.dlq."
RETRY_AFTER, RETRY_TARGET = "aios.retry.after", "aios.retry.target"  # of a retry tier: ms, topic
_PREFIX_CHARS = len(PREFIX)
OURS_BYTES_MAX = 16 << 10  # of all headers this file writes
MESSAGE_BYTES_MAX = 1 << 10
TRACE_BYTES_MAX = 3 << 10
TRACE_LINE_BYTES_MAX = 200
TRACE_FRAMES_MAX = 30
KINDS_MAX = 100  # of failures, whose common headers are kept
CAUSES_MAX = 3  # errors of a trace: the last, and what it came from
FIELD_BYTES_MAX = 256  # of every other header
FOREIGN_BYTES_MAX = 32 << 10  # of the original headers beside a reference
HEADERS_MAX = 1_000  # of the original; with more it travels by reference, since each takes much memory in each reader
BATCH_BYTES = 1 << 10  # Kafka's framing around a record of its own batch
FINGERPRINT_CHARS = 16

_FOREIGN = (PREFIX, "aios.retry.", "__rule.")
_TIERS = frozenset(tier.topic.name for tier in topics.RETRY_TIERS)
_WIDE = frozenset(name for name, topic in topology.all_topics().items() if topic.family is Family.POOL)
_OTHERS = frozenset(name for name, topic in topology.all_topics().items() if topic.family is not Family.SOURCE)
_PERSONAL = re.compile(r"aios_[\w-]{8,}|[^\s@]{1,64}@[^\s@]{1,64}\.\w{2,}|\d[\d -]{10,}\d")  # keys, addresses, cards
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]{8,}\b|\d+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and when a record first stood."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure of a record. attempts: made so far, this one included. cluster: the Kafka cluster's id.

    With reason `throttled` it did not fail: attempts is what it was, and one deferral more is counted.
    """

    stage: Stage
    error: Exception
    attempts: int
    now_ms: int
    cluster: str


def said(record: Record) -> Mapping[str, str]:
    """Our headers without their prefix, of a record that failed here before; empty for any other record."""
    return headers_said(record.headers) if _is_ours(record.topic) else {}


def _is_ours(topic: str) -> bool:
    """The retry tiers, and <group>.retry of any group: no producer may write there."""
    return topic in _TIERS or (topic.startswith("aios.") and topic.endswith(".retry"))


def headers_said(headers: Headers) -> dict[str, str]:
    """`aios.dlq.*` without the prefix. Only for topics that nobody else writes."""
    return {
        name[_PREFIX_CHARS:]: value.decode("utf-8", "replace")
        for name, value in headers
        if value is not None and name[:_PREFIX_CHARS] == PREFIX
    }


def foreign(headers: Headers) -> tuple[tuple[str, bytes | None], ...]:
    """The original headers: all that are not ours to write."""
    return tuple((name, value) for name, value in headers if not name.startswith(_FOREIGN))


def origin(record: Record) -> Origin:
    """The first place and time of a record: its own, unless it returns and its headers say another."""
    return _first(record, said(record))


def _first(record: Record, told: Mapping[str, str]) -> Origin:
    try:
        return Origin(
            told["orig.topic"], int(told["orig.partition"]), int(told["orig.offset"]), int(told["orig.timestamp"])
        )
    except (KeyError, ValueError):
        return Origin(record.topic, record.partition, record.offset, record.timestamp_ms)


def attempts_of(record: Record) -> int:
    """How often this record failed before, whatever came of it."""
    return number(said(record), "attempts")


def attempt_of(record: Record) -> int:
    """Which attempt this is, 1-based, counted anew after a replay."""
    told = said(record)
    return max(0, number(told, "attempts") - number(told, "replay.attempts")) + 1


def deferrals_of(record: Record) -> int:
    """How often this record was slowed before, without an attempt."""
    return number(said(record), "deferrals")


def fits(record: Record) -> bool:
    """Whether the whole record can travel with our headers; every record within the bounds of our topics can."""
    few = len(record.headers) <= HEADERS_MAX or len(foreign(record.headers)) <= HEADERS_MAX
    return few and is_small(record)


def is_small(record: Record) -> bool:
    """Whether it can return with our headers, however many its own are: who reads it has read it before."""
    return record.size + OURS_BYTES_MAX + BATCH_BYTES <= topics.DEAD_LETTER_BYTES_MAX


def wrap(record: Record, failure: Failure) -> Outgoing:
    """For the stage's dead letters, into the partition of the same number; what a pool could not answer, by its key.

    What does not fit is left where it is.
    """
    topic, ours, theirs = failure.stage.dead_letters.name, _ours(record, failure), foreign(record.headers)
    if fits(record):
        return Outgoing(topic, record.key, record.value, (*theirs, *ours), _number(record))
    key = record.key if len(record.key or b"") <= topics.RECORD_BYTES_MAX else None
    small = sum(len(name) + len(value or b"") for name, value in theirs) <= FOREIGN_BYTES_MAX
    kept = theirs if small and len(theirs) <= HEADERS_MAX else ()
    place = headers_of({f"{PREFIX}payload_ref": f"{record.topic}/{record.partition}/{record.offset}"})
    return Outgoing(topic, key, None, (*kept, *ours, *place), _number(record))


def waiting(record: Record, failure: Failure, tier: Tier) -> Outgoing:
    """For a retry tier, from which it returns to the stage's group, its delay after it was written there."""
    to = headers_of({RETRY_AFTER: str(tier.after_ms), RETRY_TARGET: failure.stage.retries.name})
    headers = (*foreign(record.headers), *_ours(record, failure), *to)
    return Outgoing(tier.topic.name, record.key, record.value, headers, _number(record))


def _number(record: Record) -> int | None:
    """Of the partition where it waits or lies, and to which it returns; None: its key chooses.

    Commands to pools stand in more partitions than what failed, in no order that anybody keeps.
    """
    return None if record.topic in _WIDE else record.partition


def reference(letter: Record) -> tuple[str, int, int] | None:
    """Where the bytes of a dead letter stand that did not fit into it: topic, partition, offset."""
    parts = (letter.header(f"{PREFIX}payload_ref") or "").split("/")
    return (parts[0], int(parts[1]), int(parts[2])) if len(parts) == 3 else None


class _Kind(NamedTuple):
    """What failures of one kind have in common, in one place of the code."""

    reason: Reason
    type: str
    where: str
    message: str


def _kind_of(error: Exception) -> _Kind:
    return _Kind(reason_of(error), _type(error), _where(error.__traceback__), _message(error))


def fingerprint(error: Exception, stage: Stage) -> str:
    """The same for one kind of failure over many records: numbers, ids and quoted words do not count."""
    return _fingerprint(stage.group, _kind_of(error))


def _fingerprint(group: str, kind: _Kind) -> str:
    whole = "\n".join((group, kind.reason, kind.type, kind.where, _VARYING.sub("#", kind.message)))
    return hashlib.sha256(whole.encode()).hexdigest()[:FINGERPRINT_CHARS]


def _ours(record: Record, failure: Failure) -> Headers:
    stage, error = failure.stage, failure.error
    before = said(record)
    first = _first(record, before)
    reason = reason_of(error)
    place = (first.topic, str(first.partition), str(first.offset))
    slowed = reason is Reason.THROTTLED
    now = before.get("last_failed_at", "") if slowed else str(failure.now_ms)
    values = {
        "id": ids.derive("dead-letter", failure.cluster, *place, stage.group),
        "idempotency_key": before.get("idempotency_key") or _idempotency_key(record),
        "tenant": record.header("aios-tenant") or "",
        "payload_sha256": sha256(record.value),
        "orig.topic": first.topic,
        "orig.partition": place[1],
        "orig.offset": place[2],
        "orig.timestamp": str(first.timestamp_ms),
        "orig.timestamp_type": before.get("orig.timestamp_type") or record.timestamp_type,
        "orig.schema_id": before.get("orig.schema_id") or _schema_id(record.value),
        "attempts": str(failure.attempts),
        "first_failed_at": before.get("first_failed_at") or now,
        "last_failed_at": now,
        "deferrals": str((number(before, "deferrals") + slowed) or ""),
    }
    if before:
        values |= {name: before[name] for name in _REPLAY if name in before}
    if stage.group == topology.RETRY.group:  # it comes in between: whose the record is, and its place, stay as they are
        values["target"] = before.get("target") or record.header(RETRY_TARGET) or ""
        values["park.ordinal"] = before.get("park.ordinal", "")
    own = [(PREFIX + name, clipped(value).encode()) for name, value in values.items() if value]
    trace = _trace(error) if HINTS[reason].kind is Class.UNKNOWN else ""
    return (*own, *_common(stage.name, stage.group, _kind_of(error)), *headers_of({f"{PREFIX}error.trace": trace}))


@lru_cache(maxsize=KINDS_MAX)
def _common(stage: str, group: str, kind: _Kind) -> Headers:
    """Of all failures of one kind in one stage: made once for a flood of them."""
    values = {
        "orig.group": group,
        "reason": kind.reason,
        "class": HINTS[kind.reason].kind,
        "error.type": kind.type,
        "error.where": kind.where,
        "fingerprint": _fingerprint(group, kind),
        "stage": stage,
        "code_version": metadata.version("aios-on-kafka"),
    }
    bounded = {PREFIX + name: clipped(value) for name, value in values.items()}
    return headers_of(bounded | {f"{PREFIX}error.message": kind.message})


_REPLAY = ("replay.count", "replay.job", "replay.by", "replay.at", "replay.edited", "replay.attempts")


def _idempotency_key(record: Record) -> str:
    """What repeats of the record have in common, as far as it can be told without reading the value."""
    if is_input(record.topic) and record.key:
        return key_text(record.key)
    return record.header("ce_id") or ""


def is_input(topic: str) -> bool:
    """Whether producers' events enter by it, also those of workflows that came later."""
    return topic not in _OTHERS and inputs.NAME.fullmatch(topic) is not None


def sha256(value: bytes | None) -> str:
    """Hex; empty for no value."""
    return "" if value is None else hashlib.sha256(value).hexdigest()


def _schema_id(value: bytes | None) -> str:
    framed = value is not None and len(value) >= 5 and value[0] == 0
    return str(int.from_bytes(value[1:5], "big")) if value is not None and framed else ""


def number(told: Mapping[str, str], name: str) -> int:
    """A count in our headers; 0 if it is none."""
    said = told.get(name)
    if said is None:
        return 0
    try:
        return max(0, int(said))
    except ValueError:
        return 0


def _type(error: Exception) -> str:
    """ValueError, RecordError, redis.exceptions.ConnectionError; with what caused it, one step back."""
    names = [_name(type(each)) for each in (error, error.__cause__) if each is not None]
    return " from ".join(names)


def _name(kind: type[BaseException]) -> str:
    short = kind.__module__ == "builtins" or kind.__module__.startswith("aios.")
    return kind.__qualname__ if short else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: Exception) -> str:
    """Words of an error of ours, which never hold payload by its contract; made safe once more, and bounded."""
    if not isinstance(error, AiosError):
        return ""
    words = clipped(" ".join(str(error).split()), MESSAGE_BYTES_MAX)
    return _PERSONAL.sub("[redacted]", words)


def _where(trace: TracebackType | None) -> str:
    """module:function of the innermost frame of our own code; without a line, which moves with every edit."""
    innermost = None
    for frame, _ in traceback.walk_tb(trace):
        if frame.f_globals.get("__name__", "").startswith("aios."):
            innermost = frame
    return _place(innermost).removeprefix("aios.") if innermost else ""


def _place(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '')}:{frame.f_code.co_qualname}"


def _trace(error: Exception) -> str:
    """As Python tells it, what caused an error before it: a line a frame, the outermost ones left out for the bound."""
    told: list[str] = []
    each: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if each is not None:
            told += [_name(type(each)), *_lines(each.__traceback__)]
            each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    kept, left = list[str](), TRACE_BYTES_MAX
    for line in told:
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join(reversed(kept))


def _lines(trace: TracebackType | None) -> Iterator[str]:
    """module:function:line and the code there, the innermost frame first."""
    for frame, number in reversed(deque(traceback.walk_tb(trace), maxlen=TRACE_FRAMES_MAX)):
        code = linecache.getline(frame.f_code.co_filename, number).strip()
        yield clipped(f"{_place(frame)}:{number}  {code}".rstrip(), TRACE_LINE_BYTES_MAX)


def clipped(text: str, bytes_max: int = FIELD_BYTES_MAX) -> str:
    """At most so many bytes of UTF-8."""
    if len(text) <= bytes_max and text.isascii():
        return text
    return text.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")
