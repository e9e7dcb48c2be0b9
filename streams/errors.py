"""Every error of ours, drawn once.

    AiosError                          schemas/errors.py
    ├── ContractError                  schemas/errors.py
    │   ├── SchemaMismatch             bytes and their contract do not fit        → dead letter
    │   └── SchemaRefused              a schema we will not register              → stop
    ├── Unavailable                    Kafka, registry, Redis or engine is away   → pause
    ├── ConfigError                    a setting is wrong; names it               → stop
    ├── Fenced                         another process owns this partition now    → stop
    ├── StateBroken                    state and topics do not fit together       → stop
    ├── RecordError                    this record, for good                      → dead letter
    └── EngineDead                     the model engine died or hangs             → stop

Unavailable and the errors of contracts are written in schemas/errors.py, which raises them too.
What becomes of a record is `error.verdict`, decided in dlq/decide.py; anything that is no AiosError
counts as unknown and is retried a bounded number of times.
"""

from __future__ import annotations

from aios.schemas.errors import (
    AiosError,
    ContractError,
    Reason,
    SchemaMismatch,
    SchemaRefused,
    Unavailable,
    Verdict,
)

__all__ = [
    "AiosError",
    "ConfigError",
    "ContractError",
    "EngineDead",
    "Fenced",
    "Reason",
    "RecordError",
    "SchemaMismatch",
    "SchemaRefused",
    "StateBroken",
    "Unavailable",
    "Verdict",
]


class ConfigError(AiosError):
    """A setting, file or argument is wrong; the message names it and says what is allowed."""

    verdict = Verdict.STOP


class Fenced(AiosError):
    """Another process holds this partition's transactional id; this one must leave without acking."""

    verdict = Verdict.STOP
    reason = Reason.STATE_BROKEN


class StateBroken(AiosError):
    """State and topics do not fit (recreated topic, lost log, other partition count); names the command to run."""

    verdict = Verdict.STOP
    reason = Reason.STATE_BROKEN


class RecordError(AiosError):
    """A record that this stage can never process; goes to dead letters at once."""

    verdict = Verdict.DEAD_LETTER

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class EngineDead(AiosError):
    """The model engine died or made no step within its watchdog; the process leaves with its records unsettled."""

    verdict = Verdict.STOP
