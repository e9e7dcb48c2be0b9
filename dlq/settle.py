"""Settles a record that failed: the one piece of code by which every stage does it.

Enters: the record, the error, the time. Leaves: a verdict and, for a dead letter or a retry, the record to write
before the input's offset may move. Guaranteed: dlq/decide.py's rules; nothing here raises.

How a partition fares is counted by its number, over all topics of the stage: what returns on the retry topic is
only what failed before, and would look like nothing but failures by itself. Only what fails at first sight is counted,
so that one record that keeps failing is one failure, and a hasty replay pauses nobody. Counts live as long as the
process.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass

from aios.dlq import envelope
from aios.dlq.decide import HINTS, LIMITS, Class, Limits, decide, reason_of
from aios.streams.errors import Reason, Verdict
from aios.streams.record import Outgoing, Record
from aios.streams.topology import Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settlement:
    """outgoing: deliver it, then finish the input; None for PAUSE (come again after pause_ms) and STOP (leave)."""

    verdict: Verdict
    outgoing: Outgoing | None
    reason: Reason
    pause_ms: int = 0


@dataclass(slots=True)
class _Tally:
    """Of one partition since its first unknown failure. The window starts anew after share_records."""

    in_a_row: int = 0
    unknown: int = 0
    settled: int = 0

    def share(self, limits: Limits) -> float:
        """Against the whole window, so that a few failures at its start are no share of anything."""
        return self.unknown / limits.share_records


class Settler:
    """One per stage and process. cluster: the Kafka cluster's id, part of a dead letter's id."""

    def __init__(self, stage: Stage, cluster: str, limits: Limits = LIMITS) -> None:
        self._stage = stage
        self._cluster = cluster
        self._limits = limits
        self._tallies: dict[int, _Tally] = {}
        self._paused: frozenset[int] = frozenset()

    def gate(self, record: Record, now_ms: int) -> Settlement | None:  # noqa: ARG002 - for a tenant's trickle
        """Ask before any work on a record; None: go on. now_ms: Unix ms, as for settle.

        PAUSE, while the breaker of its partition is open: nothing is tried until somebody closes it. RETRY with
        reason `throttled`: its tenant is throttled and over its trickle; write `outgoing` and finish the record as
        for any RETRY (no attempt is counted; a key that is parked behind a RETRY is parked behind this one too).
        """
        if record.partition in self._paused:
            return Settlement(Verdict.PAUSE, None, Reason.UNKNOWN, self._limits.pause_ms)
        return None

    def settle(self, record: Record, error: Exception, now_ms: int) -> Settlement:
        """What becomes of the record. now_ms: Unix ms; stamps the headers, decides nothing."""
        reason, attempt = reason_of(error), envelope.attempt_of(record)
        tally = self._tallies.get(record.partition, _NONE)
        verdict = decide(
            error,
            attempt=attempt,
            unknown_in_a_row=tally.in_a_row,
            unknown_share=tally.share(self._limits),
            limits=self._limits,
        )
        if verdict is Verdict.RETRY and not envelope.fits(record):
            verdict = Verdict.DEAD_LETTER
        if verdict in (Verdict.PAUSE, Verdict.STOP):
            self._say(record, error, verdict)
            return Settlement(verdict, None, reason, self._limits.pause_ms if verdict is Verdict.PAUSE else 0)
        at_first_sight = not envelope.attempts_of(record)
        self._count(record, unknown=at_first_sight and HINTS[reason].kind is Class.UNKNOWN)
        self._say(record, error, verdict)
        return Settlement(verdict, self._write(record, error, verdict, now_ms), reason)

    def done(self, record: Record) -> None:
        """The record succeeded: what failed before it was not the code."""
        tally = self._tallies.get(record.partition)
        if tally is not None:
            tally.in_a_row = 0
            self._settled(record, tally)

    def _count(self, record: Record, *, unknown: bool) -> None:
        tally = self._tallies.get(record.partition)
        if tally is None:
            if not unknown:
                return
            tally = self._tallies[record.partition] = _Tally()
        tally.in_a_row += unknown
        tally.unknown += unknown
        self._settled(record, tally)

    def _settled(self, record: Record, tally: _Tally) -> None:
        tally.settled += 1
        if tally.settled >= self._limits.share_records and not tally.in_a_row:
            del self._tallies[record.partition]

    def _write(self, record: Record, error: Exception, verdict: Verdict, now_ms: int) -> Outgoing:
        failure = envelope.Failure(
            stage=self._stage,
            error=error,
            attempts=envelope.attempts_of(record) + 1,
            now_ms=now_ms,
            cluster=self._cluster,
        )
        if verdict is Verdict.RETRY:
            return envelope.waiting(record, failure, after_ms=self._limits.retry_after_ms)
        return envelope.wrap(record, failure)

    def _say(self, record: Record, error: Exception, verdict: Verdict) -> None:
        """Where it failed, without its words if they are not ours."""
        where = f"{record.topic}/{record.partition}/{record.offset}"
        kind = HINTS[reason_of(error)].kind
        if verdict is Verdict.PAUSE and kind is Class.UNKNOWN:
            log.error(
                "partition %d pauses: too many of its records fail for an unknown reason, so it is the code and not "
                "the data; the next is %s (%s). Fix it and deploy, it goes on by itself",
                record.partition,
                where,
                type(error).__name__,
            )
            return
        log.warning("%s: %s, %s (%s)", where, verdict, reason_of(error), type(error).__name__)
        if kind is Class.UNKNOWN:
            log.warning("%s failed here:\n%s", where, "".join(traceback.format_tb(error.__traceback__)))


_NONE = _Tally()
