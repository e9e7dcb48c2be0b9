"""Settles a record that failed: the one piece of code by which every stage does it.

Enters: the record, the error, the time. Leaves: a verdict and, for a dead letter or a retry, the record to write
before the input's offset may move. Guaranteed: dlq/decide.py's rules; nothing here raises.

    done          the stage says so (Settler.done), and it is counted as a success
    retry         written to the stage's next retry tier, with one attempt more
    dead letter   written to the stage's dead letters
    pause         nothing is written: infrastructure is away, or the breaker of the partition is open
    deferral      a retry with reason `throttled`: its tenant's breaker is open and it is over the tenant's trickle; it
                  was not tried, no attempt is counted, and the wait grows with each; the same where a stage itself puts
                  a record off (put_off)

What opens a breaker is counted here, by dlq/tally.py, and only at first sight: what returns on the group's retry topic
failed before, and would look like nothing but failures; so one record that keeps failing is one failure, and a hasty
replay opens nothing. An open breaker is a record that all processes of the group follow (dlq/breakers.py).

Whose a record is. Between our stages the header `aios-tenant` is written by the stage before, and believed: all of a
throttled tenant's records over its trickle are deferred, by gate(). On a source topic the header is only a claim of
whoever may write there; Kafka does not tell a consumer which principal wrote a record. So that nobody can slow another
by its name, a claim is held against bad records alone: those over the trickle are deferred by settle() instead of
becoming dead letters, so that a flood reaches operators as a trickle; good records of that name pass untouched. Names
may be made up: while claims_max breakers are open, whoever claims another name counts as nameless.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from aios.dlq import envelope, parking
from aios.dlq.decide import BAD, HINTS, LIMITS, Class, Limits, Throttled, decide, reason_of
from aios.dlq.tally import Opening, Scope, Tallies, Trickle
from aios.schemas.models import BreakerChanged
from aios.streams import metrics, topology
from aios.streams.credentials import NAME
from aios.streams.errors import Reason, RecordError, Verdict
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RETRY_TIERS, Family, Tier
from aios.streams.topology import Stage

log = logging.getLogger(__name__)

TENANT = "aios-tenant"
NAMELESS = "?"  # those that claim no tenant, none that could be one, or one too many
OPEN, CLOSED = "open", "closed"
FIRST_DEFERRAL = 1  # index of the tier; a stage with fewer takes its last
LINES_PER_S_MAX, KINDS_MAX = 10, 100  # of the log, about failures of one kind; metrics and letters have all of them
OVER_TRICKLE = "its tenant is throttled, and over its trickle"


@dataclass(frozen=True, slots=True)
class Settlement:
    """outgoing: deliver it, then finish the input; None for PAUSE (come again after pause_ms) and STOP (leave)."""

    verdict: Verdict
    outgoing: Outgoing | None
    reason: Reason
    pause_ms: int = 0


class Breakers(Protocol):
    """The open ones of one group. dlq/breakers.py has the real ones."""

    @property
    def partitions(self) -> Collection[int]: ...

    @property
    def tenants(self) -> Collection[str]: ...

    def open(self, change: BreakerChanged) -> None:
        """From this moment on, here; for the others and after a restart within moments."""


class Whose(NamedTuple):
    """tenant: empty for nobody's. claimed: by a producer; else one of our stages wrote it."""

    tenant: str
    claimed: bool


class Settler:
    """One per stage and process, from any thread. cluster: the Kafka cluster's id, part of a dead letter's id."""

    def __init__(self, stage: Stage, cluster: str, limits: Limits = LIMITS, *, breakers: Breakers) -> None:
        self._stage = stage
        self._retries = stage.retries.name
        self._cluster = cluster
        self._limits = limits
        self._breakers = breakers
        self._tallies = Tallies(limits)
        self._trickle = Trickle(limits.trickle_per_s, limits.tenants_max)
        self._lines = Trickle(LINES_PER_S_MAX, KINDS_MAX)
        tiers = {tier.topic for tier in RETRY_TIERS}
        declared = (*topology.all_topics().values(), *stage.inputs)
        self._families = {topic.name: topic.family for topic in declared if topic not in tiers}
        self._deferred = metrics.DEFERRED.labels(stage.name)

    def gate(self, record: Record, now_ms: int) -> Settlement | None:
        """Ask before any work on a record; None: go on. now_ms: Unix ms, as for settle.

        PAUSE, while the breaker of its partition is open: nothing is tried until somebody closes it. RETRY with
        reason `throttled`: its tenant is throttled and over its trickle; write `outgoing` and finish the record as
        for any RETRY (no attempt is counted; a key that is parked behind a RETRY is parked behind this one too).
        """
        breakers = self._breakers
        if record.partition in breakers.partitions:
            return Settlement(Verdict.PAUSE, None, Reason.UNKNOWN, self._limits.pause_ms)
        if not breakers.tenants or (record.topic == self._retries and parking.is_discard(record)):
            return None
        whose = self._whose(record)
        if whose.claimed or not self._is_over(whose.tenant, record, now_ms):
            return None
        return self._defer(record, now_ms, self._tier_of(record), OVER_TRICKLE)

    def put_off_ms(self, record: Record) -> int | None:
        """The least that it is away for when it is put off; None: it cannot be."""
        return self._stage.tiers[0].after_ms if self._stage.tiers and envelope.fits(record) else None

    def put_off(self, record: Record, why: str, now_ms: int, *, until_ms: int) -> Settlement:
        """A record that is better tried later, since what it waits for holds up others: RETRY, as a deferral.

        until_ms: when it is to be back, Unix ms. It begins in the first tier, and goes no further than is back by then.
        """
        most = envelope.deferrals_of(record)
        reached = [tier for tier in self._stage.tiers[: most + 1] if now_ms + tier.after_ms <= until_ms]
        return self._defer(record, now_ms, reached[-1] if reached else self._stage.tiers[0], why)

    def settle(self, record: Record, error: Exception, now_ms: int) -> Settlement:
        """What becomes of the record. now_ms: Unix ms; stamps the headers and measures a tenant's trickle."""
        reason, attempt = reason_of(error), envelope.attempt_of(record)
        verdict = decide(error, attempt=attempt, attempts_max=self._stage.attempts_max)
        if verdict is Verdict.RETRY and not envelope.fits(record):
            verdict = Verdict.DEAD_LETTER
        if verdict in (Verdict.PAUSE, Verdict.STOP):
            self._say(record, error, verdict, now_ms)
            return Settlement(verdict, None, reason, self._limits.pause_ms if verdict is Verdict.PAUSE else 0)
        whose = self._whose(record)
        opening = self._count(record, reason, whose.tenant)
        if opening is not None:
            self._open(record, error, opening, whose.tenant, now_ms)
            if opening.scope is Scope.PARTITION:
                return Settlement(Verdict.PAUSE, None, reason, self._limits.pause_ms)
        new = not envelope.attempts_of(record) and (reason in BAD or HINTS[reason].kind is Class.UNKNOWN)
        if whose.claimed and new and self._is_over(whose.tenant, record, now_ms):
            return self._defer(record, now_ms, self._tier_of(record), OVER_TRICKLE)
        self._say(record, error, verdict, now_ms)
        return Settlement(verdict, self._write(record, error, verdict, attempt, now_ms), reason)

    def follow(self, record: Record, place: str, now_ms: int) -> Outgoing:
        """A record that may not be tried, because an earlier one of its key is not settled (dlq/parking.py).

        place: where that one waits: the topic of a tier, or the stage's dead letters. No attempt is counted.
        """
        error = RecordError("an earlier record of its key is not settled yet", Reason.PARKED)
        failure = self._failure(error, envelope.attempts_of(record), now_ms)
        tier = next((one for one in self._stage.tiers if one.topic.name == place), None)
        if tier is None or not envelope.fits(record):
            return envelope.wrap(record, failure)
        return envelope.waiting(record, failure, tier)

    def done(self, records: Sequence[Record]) -> None:
        """These succeeded, one after the other: what failed before them was not the code, nor their tenant's data.

        Told by many, before the next failure of theirs is settled.
        """
        tallies = self._tallies
        if tallies.knows_enough:
            return
        looked_at = records[-1:] if tallies.quiet else records
        counts = Counter(
            [(one.partition, self._first_topic(one), one.header(TENANT) if one.headers else None) for one in looked_at]
        )
        for (partition, topic, said), count in counts.items():
            tallies.done(partition, self._who(topic, said).tenant, count)

    def _count(self, record: Record, reason: Reason, tenant: str) -> Opening | None:
        """What is throttled already is not held against its partition too."""
        if not self._stage.breaks or envelope.said(record) or tenant in self._breakers.tenants:
            return None
        if HINTS[reason].kind is Class.UNKNOWN:
            return self._tallies.unknown(record.partition, tenant)
        return self._tallies.bad(record.partition, tenant) if reason in BAD else None

    def _whose(self, record: Record) -> Whose:
        return self._who(self._first_topic(record), record.header(TENANT))

    def _first_topic(self, record: Record) -> str:
        """Where it first stood. What waits in a retry tier is held against nobody: it failed elsewhere."""
        topic = record.topic
        return envelope.said(record).get("orig.topic", topic) if topic == self._retries else topic

    def _who(self, topic: str, claim: str | None) -> Whose:
        """Who stands behind a record of that topic."""
        if topic not in self._families:
            return Whose("", claimed=False)
        claimed = self._families[topic] is Family.SOURCE
        said, slowed = claim or "", self._breakers.tenants
        if NAME.fullmatch(said) and (not claimed or said in slowed or len(slowed) < self._limits.claims_max):
            return Whose(said, claimed)
        return Whose(NAMELESS if claimed else "", claimed)

    def _is_over(self, tenant: str, record: Record, now_ms: int) -> bool:
        """Whether a throttled tenant's record is one too many in this second, and can travel."""
        return (
            tenant in self._breakers.tenants
            and bool(self._stage.tiers)
            and not self._trickle.passes(tenant, now_ms)
            and envelope.fits(record)
        )

    def _tier_of(self, record: Record) -> Tier:
        """Of a throttled tenant's record."""
        tiers = self._stage.tiers
        return tiers[min(FIRST_DEFERRAL + envelope.deferrals_of(record), len(tiers) - 1)]

    def _defer(self, record: Record, now_ms: int, tier: Tier, why: str) -> Settlement:
        self._deferred.inc()
        error = Throttled(why)
        failure = self._failure(error, envelope.attempts_of(record), now_ms)
        return Settlement(Verdict.RETRY, envelope.waiting(record, failure, tier), Reason.THROTTLED)

    def _write(self, record: Record, error: Exception, verdict: Verdict, attempt: int, now_ms: int) -> Outgoing:
        failure = self._failure(error, envelope.attempts_of(record) + 1, now_ms)
        if verdict is Verdict.RETRY:
            return envelope.waiting(record, failure, self._stage.tiers[attempt - 1])
        return envelope.wrap(record, failure)

    def _failure(self, error: Exception, attempts: int, now_ms: int) -> envelope.Failure:
        return envelope.Failure(stage=self._stage, error=error, attempts=attempts, now_ms=now_ms, cluster=self._cluster)

    def _open(self, record: Record, error: Exception, opening: Opening, tenant: str, now_ms: int) -> None:
        """The breaker, said at once: an operator is to read why and what to do."""
        stage, of_tenant = self._stage, opening.scope is Scope.TENANT
        key = f"{stage.group}/tenant/{tenant}" if of_tenant else f"{stage.group}/{record.partition}"
        change = BreakerChanged(
            key=key,
            group=stage.group,
            partition=-1 if of_tenant else record.partition,
            tenant=tenant if of_tenant else "",
            state=OPEN,
            reason=reason_of(error),
            fingerprint=envelope.fingerprint(error, stage),
            failed=opening.failed,
            settled=opening.settled,
            action=_action(stage, key, tenant if of_tenant else "", reason_of(error)),
            by=stage.name,
            changed_at=now_ms,
        )
        self._breakers.open(change)
        log.error(
            "breaker %s opens: %d of %d records failed, the last %s/%d/%d for reason %s (%s). %s",
            key,
            opening.failed,
            opening.settled,
            record.topic,
            record.partition,
            record.offset,
            reason_of(error),
            type(error).__name__,
            change.action,
        )
        if HINTS[reason_of(error)].kind is Class.UNKNOWN:
            log.error("it failed here:\n%s", "".join(traceback.format_tb(error.__traceback__)))

    def _say(self, record: Record, error: Exception, verdict: Verdict, now_ms: int) -> None:
        """Where it failed, without its words if they are not ours."""
        if not self._lines.passes(f"{verdict} {reason_of(error)} {type(error).__name__}", now_ms):
            return
        where = f"{record.topic}/{record.partition}/{record.offset}"
        log.warning("%s: %s, %s (%s)", where, verdict, reason_of(error), type(error).__name__)
        if HINTS[reason_of(error)].kind is Class.UNKNOWN:
            log.warning("%s failed here:\n%s", where, "".join(traceback.format_tb(error.__traceback__)))


def _action(stage: Stage, key: str, tenant: str, reason: Reason) -> str:
    """What to do, in the order in which to do it."""
    close = f"then `aios breaker close {key}`."
    if not tenant:
        return (
            "The code is broken, or what it stands on: nothing of this partition is tried. Read "
            f"`aios logs {stage.name}`, fix and deploy, {close}"
        )
    who = "Records that name no tenant" if tenant == NAMELESS else f"Records of tenant {tenant}"
    if HINTS[reason].kind is Class.UNKNOWN:
        return (
            f"{who} make our code fail, those of others do not: they pass as a trickle. Read `aios logs {stage.name}`, "
            f"fix and deploy, {close}"
        )
    return (
        f"{who} are broken ({reason}): they pass as a trickle. See `aios dlq list --group {stage.group} --reason "
        f"{reason}`, have the producer mended, {close}"
    )
