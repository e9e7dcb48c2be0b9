"""What becomes of a record that could not be processed. Pure.

Enters: the error, which attempt it was, and how its partition has fared lately. Leaves: a verdict. Guaranteed:
infrastructure that is away dead-letters nothing; what is permanent for the record dead-letters it at once; what
nobody foresaw is tried attempts_max times. Where the unforeseen becomes the rule the data is not that bad, the
code is: the partition pauses, and goes on by itself as soon as one record succeeds. Bad data of a known kind never
pauses anything, however much of it comes.

Rejected: an error that says itself whether to retry (the bound must sit in one place); stopping the process when
too much fails (the next process would begin to count from nothing, and lose as many records to the dead letters
again at every restart).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from aios.streams.errors import AiosError, Reason, Verdict


class Class(StrEnum):
    """Kinds of reasons, as in `aios.dlq.class`."""

    TRANSIENT = "transient"  # nothing is wrong with the record
    PERMANENT = "permanent"  # this record, whoever reads it and however often
    POLICY = "policy"  # readable, but against a rule
    UNKNOWN = "unknown"  # nobody foresaw it; perhaps the record, perhaps our code


class Hint(NamedTuple):
    """kind: whose fault it is. hint: what an operator does about it."""

    kind: Class
    hint: str


HINTS: Mapping[Reason, Hint] = {
    Reason.UNDECODABLE: Hint(
        Class.PERMANENT,
        "The bytes are not Avro in Confluent's framing. Ask the producer to use a registry serializer; "
        "replay with --bytes if you can repair them.",
    ),
    Reason.UNKNOWN_SCHEMA: Hint(
        Class.PERMANENT,
        "The registry does not know the schema id: the producer writes to another registry, or registered nothing. "
        "Register the schema, then replay as it is.",
    ),
    Reason.CONTRACT_BROKEN: Hint(
        Class.PERMANENT,
        "It decodes, but not as what this topic carries. Compare the producer's schema with `aios schema show`; "
        "replay with --bytes.",
    ),
    Reason.OVERSIZE: Hint(
        Class.PERMANENT,
        "It is over a bound on size. Ask the producer to shorten it; replay a shorter one with --bytes.",
    ),
    Reason.EMPTY: Hint(
        Class.PERMANENT,
        "There is no value. Nothing to repair unless the producer knows what was meant; then replay with --bytes.",
    ),
    Reason.KILLS_ITS_PROCESS: Hint(
        Class.PERMANENT,
        "A process died with this record alone in hand, more than once. Look at the last exit in `aios status` and "
        "at `aios logs`; fix the code before you replay it.",
    ),
    Reason.WRONG_PARTITION: Hint(
        Class.POLICY,
        "Its key does not sit where murmur2 puts it: the producer uses another partitioner. "
        "Set partitioner=murmur2_random there and have it published again.",
    ),
    Reason.UNATTRIBUTABLE: Hint(
        Class.PERMANENT,
        "It names no workflow, case, request or pool that exists here. Deploy what it names, then replay as it is.",
    ),
    Reason.ENGINE_FAILED: Hint(
        Class.UNKNOWN,
        "The model failed in a way nobody foresaw. Look at the worker's log at that time; replay once it is fixed.",
    ),
    Reason.PARKED: Hint(
        Class.POLICY,
        "An earlier record of its key became a dead letter, and it must not overtake it. Settle that one (replay or "
        "discard it): this one follows by itself.",
    ),
    Reason.THROTTLED: Hint(
        Class.POLICY,
        "It was only slowed: its tenant sends too much that is bad. See `aios status` for the breaker; close it when "
        "the tenant has mended its data.",
    ),
    Reason.UNAVAILABLE: Hint(
        Class.TRANSIENT,
        "Infrastructure was away. Records wait for it and never become dead letters; look at `aios doctor`.",
    ),
    Reason.STATE_BROKEN: Hint(
        Class.TRANSIENT,
        "State and topics do not fit. The process stops and says which command to run; the records stay in place.",
    ),
    Reason.UNKNOWN: Hint(
        Class.UNKNOWN,
        "Our own code failed on it. aios.dlq.error.type and error.where say where; fix it, deploy, then replay "
        "the whole fingerprint.",
    ),
}
"""Every reason, closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """attempts_max: of one record, first included, until it is a dead letter. retry_after_ms: between two of them.

    unknown_in_a_row_max, unknown_share_max: of the records of one partition; beyond either it pauses for pause_ms.
    share_records: over how many records the share is taken.
    """

    attempts_max: int = 3
    retry_after_ms: int = 5_000
    unknown_in_a_row_max: int = 20
    unknown_share_max: float = 0.5
    share_records: int = 200
    pause_ms: int = 2_000


LIMITS = Limits()


def reason_of(error: Exception) -> Reason:
    """The reason an error stands for; whatever nobody named is unknown."""
    return error.reason if isinstance(error, AiosError) else Reason.UNKNOWN


def decide(error: Exception, *, attempt: int, unknown_in_a_row: int, unknown_share: float, limits: Limits) -> Verdict:
    """The verdict on one failure.

    attempt: 1-based. unknown_in_a_row: records of this partition before this one that failed for an unknown cause
    at first sight, since the last success. unknown_share: the same as a share, 0 until there are enough to tell.
    """
    verdict = error.verdict if isinstance(error, AiosError) else Verdict.RETRY
    if verdict in (Verdict.PAUSE, Verdict.STOP):
        return verdict
    too_many = unknown_in_a_row >= limits.unknown_in_a_row_max or unknown_share > limits.unknown_share_max
    if too_many and HINTS[reason_of(error)].kind is Class.UNKNOWN:
        return Verdict.PAUSE
    if verdict is Verdict.RETRY and attempt >= limits.attempts_max:
        return Verdict.DEAD_LETTER
    return verdict
