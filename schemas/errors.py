"""The root of every error of ours, and the errors of contracts.

    AiosError
    ├── ContractError
    │   ├── SchemaMismatch     bytes and their contract do not fit, or are too many   → dead letter
    │   └── SchemaRefused      a schema we will not register                          → stop
    └── Unavailable            Kafka, registry, Redis or engine is away               → pause

The rest of the tree stands in streams/errors.py; it hangs here so that schemas/ imports nothing of ours.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Verdict(StrEnum):
    """What becomes of a record that could not be processed."""

    RETRY = "retry"  # unknown cause: again after a delay, a bounded number of times
    DEAD_LETTER = "dead_letter"  # permanent for this record
    PAUSE = "pause"  # the infrastructure is away: back off, commit nothing
    STOP = "stop"  # this deploy or its state is broken: leave the process without committing


class Reason(StrEnum):
    """Closed list of the reasons in `aios.dlq.reason`; what to do about each is dlq/decide.py's."""

    UNDECODABLE = "undecodable"  # no Confluent framing, truncated, trailing bytes, bomb
    UNKNOWN_SCHEMA = "unknown_schema"  # the registry does not know the schema id
    CONTRACT_BROKEN = "contract_broken"  # decodes, but not as what this topic carries
    OVERSIZE = "oversize"  # over a bound of ours
    EMPTY = "empty"  # no value where one is needed
    KILLS_ITS_PROCESS = "kills_its_process"  # third death with this record in hand
    WRONG_PARTITION = "wrong_partition"  # key does not sit where murmur2 puts it
    UNATTRIBUTABLE = "unattributable"  # names no case, request or pool that exists
    ENGINE_FAILED = "engine_failed"  # the model failed in a way nobody foresaw
    PARKED = "parked"  # nothing is wrong with it: an earlier record of its key is not settled yet
    THROTTLED = "throttled"  # its tenant sends too much that is bad; it waits, and no attempt is counted
    UNAVAILABLE = "unavailable"  # infrastructure; pauses, never dead-letters
    STATE_BROKEN = "state_broken"  # state and topics do not fit; stops
    UNKNOWN = "unknown"  # an exception nobody named


class AiosError(Exception):
    """Base of every error raised on purpose. The message says what to do; it never carries payload."""

    verdict: ClassVar[Verdict] = Verdict.RETRY
    reason: Reason = Reason.UNKNOWN


class ContractError(AiosError):
    """Something about a contract."""


class SchemaMismatch(ContractError):
    """Bytes and contract do not fit, in either direction; never heals by itself.

    Reading: the bytes do not decode with the schema they name, or not as their topic's contract.
    Writing: an event's values do not fit its contract, or its bytes do not fit its topic (reason OVERSIZE).
    """

    verdict = Verdict.DEAD_LETTER

    def __init__(self, message: str, reason: Reason = Reason.UNDECODABLE) -> None:
        super().__init__(message)
        self.reason = reason


class SchemaRefused(ContractError):
    """A schema that old readers could not read, or that could be used as a bomb; the message names the place."""

    verdict = Verdict.STOP


class Unavailable(AiosError):
    """Infrastructure does not answer; nothing is wrong with the record. Heals by itself."""

    verdict = Verdict.PAUSE
    reason = Reason.UNAVAILABLE
