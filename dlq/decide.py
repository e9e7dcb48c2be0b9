"""What becomes of a record that could not be processed. Pure.

Enters: the error, and which attempt it was. Leaves: a verdict. Guaranteed: infrastructure that is away dead-letters
nothing; what is permanent for the record dead-letters it at once; what nobody foresaw is tried as often as its stage
has retry tiers, and once before them. Where failing becomes the rule is for dlq/tally.py to say.

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
        "if you can repair them, `aios dlq edit ID --bytes FILE`, then replay.",
    ),
    Reason.UNKNOWN_SCHEMA: Hint(
        Class.PERMANENT,
        "The registry does not know the schema id: the producer writes to another registry, or registered nothing. "
        "Register the schema, then replay as it is.",
    ),
    Reason.CONTRACT_BROKEN: Hint(
        Class.PERMANENT,
        "It decodes, but not as what this topic carries. Compare `aios dlq show ID` with `aios schema show TOPIC`. "
        "Where fields are only called otherwise, one patch mends all: `aios replay plan --fingerprint F --patch …`; "
        "else `aios dlq edit ID`, then replay.",
    ),
    Reason.OVERSIZE: Hint(
        Class.PERMANENT,
        "It is over a bound on size. Ask the producer to shorten it; `aios dlq edit ID --bytes FILE` takes another.",
    ),
    Reason.EMPTY: Hint(
        Class.PERMANENT,
        "There is no value. Nothing to repair unless the producer knows what was meant; then "
        "`aios dlq edit ID --bytes FILE`.",
    ),
    Reason.KILLS_ITS_PROCESS: Hint(
        Class.PERMANENT,
        "A process died with this record alone in hand, more than once. Look at the last exit in `aios status` and "
        "at `aios logs`; fix the code before you replay it: as it is it returns only with a job that names it "
        "(`--reason`, `--fingerprint` or `--id`), since each return that does not help ends two more processes.",
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
        "An earlier record of its key became a dead letter, and it must not overtake it. Replay that one, and this one "
        "comes along; where that one was discarded or expired, `aios replay plan --key KEY` returns this one.",
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
        "Our own code failed on it. `aios dlq show ID` has the trace; fix it, deploy, then replay the whole "
        "fingerprint.",
    ),
}
"""Every reason, closed."""


BAD = frozenset(reason for reason, hint in HINTS.items() if hint.kind is Class.PERMANENT) | {Reason.WRONG_PARTITION}
"""What counts against the tenant whose record it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of the breakers. How often and when a record is tried again stands in the topology (Stage.tiers).

    unknown_in_a_row_max, unknown_share_max: of the records of one partition, the share over share_records.
    bad_share_max: of the last tenant_records of one tenant. tenants_max: remembered at once, by each process.
    claims_max: tenants whose breakers are open at once, where names are only claimed; others are nameless then.
    trickle_per_s: of a throttled tenant's records, by each process. pause_ms: until a paused partition is asked again.
    """

    unknown_in_a_row_max: int = 20
    unknown_share_max: float = 0.5
    share_records: int = 200
    tenant_records: int = 100
    bad_share_max: float = 0.5
    tenants_max: int = 1_000
    claims_max: int = 100
    trickle_per_s: int = 10
    pause_ms: int = 2_000


LIMITS = Limits()


class Throttled(AiosError):
    """The record was not tried: its tenant is throttled."""

    verdict = Verdict.RETRY
    reason = Reason.THROTTLED


def reason_of(error: Exception) -> Reason:
    """The reason an error stands for; whatever nobody named is unknown."""
    return error.reason if isinstance(error, AiosError) else Reason.UNKNOWN


def decide(error: Exception, *, attempt: int, attempts_max: int) -> Verdict:
    """The verdict on one failure. attempt: 1-based."""
    verdict = error.verdict if isinstance(error, AiosError) else Verdict.RETRY
    if verdict is Verdict.RETRY and attempt >= attempts_max:
        return Verdict.DEAD_LETTER
    return verdict


def reasons_table() -> str:
    """Markdown: every reason with its class and what to do; dlq/README.md shows it."""
    rows = ["| reason | class | what it means, and what to do |", "|---|---|---|"]
    rows += [f"| `{reason}` | {hint.kind} | {hint.hint} |" for reason, hint in HINTS.items()]
    return "\n".join(rows)
