"""Breakers: which partitions of a group pause, and which tenants are slowed; records that outlive their process.

Enters: breaker.changed.v1, compacted and keyed by the breaker (`<group>/<partition>` or `<group>/tenant/<name>`), and
what a Settler finds of its own stage. The circuits towards outside systems and their endpoints (`system/<name>`,
`endpoint/<system>/<tenant>/<name>`, kept by processors/connectors) stand in the same table, for whoever looks; they try
by themselves, and pause nothing here.
Leaves: the open ones of a group, for its Settler; a record for each that opens; the record that closes one, for the
stage that carries out operators' commands (it is audited there).
Guaranteed: an open breaker holds from the moment it is found, in this process at once, in all processes of the group
and after a restart as soon as the record is read; it holds until a closing record, however often anything restarts.
It is written within moments, again and again until Kafka takes it. A process that dies before that has opened nothing:
the next one counts from nothing and finds the same.
Rejected: half-open states that try by themselves (a broken deploy would send a few records more to the dead letters at
each try, for as long as nobody looks); breakers in Valkey (one store more to be there before anything may start).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from dataclasses import replace

from aios.dlq.settle import CLOSED, OPEN
from aios.dlq.tally import Scope
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged
from aios.streams import carrying, metrics, reference
from aios.streams.config import KafkaSettings
from aios.streams.errors import AiosError
from aios.streams.record import Outgoing
from aios.streams.reference import ReferenceTable
from aios.streams.topics import BREAKER_CHANGED
from aios.streams.topology import Stage
from aios.streams.waiting import is_circuit

AGAIN_S = 1.0  # before what could not be written is tried again

log = logging.getLogger(__name__)


class BreakerTable(ReferenceTable[BreakerChanged]):
    """Every breaker that ever opened, of all groups, as it is now."""

    def __init__(self, kafka: KafkaSettings, codec: Codec) -> None:
        super().__init__(kafka, codec, BREAKER_CHANGED, BreakerChanged, name_of=_key, changed=self._seen)

    def open_ones(self) -> list[BreakerChanged]:
        """Those that are open, the latest first."""
        found = [one for one in self.all().values() if one.state != CLOSED]
        return sorted(found, key=lambda one: (-one.changed_at, one.key))

    def _seen(self, name: str, before: BreakerChanged | None, after: BreakerChanged | None) -> None:
        """Called by the reader once get() knows it."""


class GroupBreakers(BreakerTable):
    """Those of one group, for its Settler. Not filled until start(); asked from any thread. Needs close()."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, stage: Stage) -> None:
        super().__init__(kafka, codec)
        self._stage = stage
        self._changing = threading.Condition()
        self._found: dict[str, BreakerChanged] = {}  # opened here, and not read back yet
        self._unwritten: list[BreakerChanged] = []
        self._writer: threading.Thread | None = None
        self._closing = False
        self.partitions: Collection[int] = frozenset()
        self.tenants: Collection[str] = frozenset()
        self._gather()

    def start(self) -> None:
        super().start()
        for one in self._own():
            log.error("breaker %s is open: %d of %d records failed. %s", one.key, one.failed, one.settled, one.action)

    def open(self, change: BreakerChanged) -> None:
        with self._changing:
            if change.key in self._found:
                return
            self._found[change.key] = change
            self._unwritten.append(change)
            self._gather()
            if self._writer is None or not self._writer.is_alive():
                self._writer = threading.Thread(target=self._write_all, name=BREAKER_CHANGED.name, daemon=True)
                self._writer.start()
            self._changing.notify_all()

    def close(self) -> None:
        """Stop following. What Kafka has not taken yet is forgotten, as by a process that dies."""
        with self._changing:
            self._closing = True
            self._changing.notify_all()
        if self._writer is not None:
            self._writer.join()
        super().close()

    def _seen(self, name: str, before: BreakerChanged | None, after: BreakerChanged | None) -> None:  # noqa: ARG002 - as ReferenceTable calls it
        with self._changing:
            mine = self._found.get(name)
            if mine is not None and after is not None and (after == mine or after.changed_at > mine.changed_at):
                del self._found[name]
            self._gather()
        if after is not None and after.group == self._stage.group and after.state == CLOSED and not is_circuit(after):
            log.warning("breaker %s was closed by %s", name, after.by)

    def _own(self) -> list[BreakerChanged]:
        return [one for one in {**self.all(), **self._found}.values() if self._is_own(one)]

    def _is_own(self, one: BreakerChanged) -> bool:
        return one.group == self._stage.group and one.state == OPEN and not is_circuit(one)

    def _gather(self) -> None:
        """Each set is replaced whole: a Settler sees it before or after."""
        own = self._own()
        self.partitions = frozenset(one.partition for one in own if not one.tenant)
        self.tenants = frozenset(one.tenant for one in own if one.tenant)
        for scope, count in ((Scope.PARTITION, len(self.partitions)), (Scope.TENANT, len(self.tenants))):
            metrics.BREAKERS.labels(self._stage.name, scope).set(count)

    def _write_all(self) -> None:
        while True:
            with self._changing:
                while not self._unwritten and not self._closing:
                    self._changing.wait()
                if not self._unwritten:
                    return
                change = self._unwritten[0]
            try:
                reference.write(
                    self._kafka,
                    self._codec,
                    BREAKER_CHANGED,
                    change,
                    name=change.key,
                    tenant=change.tenant,
                    seed=change.fingerprint,
                )
            except AiosError as error:
                log.warning("breaker %s is open, but not written yet: %s", change.key, error)
                with self._changing:
                    if self._closing or self._changing.wait_for(lambda: self._closing, AGAIN_S):
                        return
            else:
                with self._changing:
                    self._unwritten.remove(change)


def read(kafka: KafkaSettings, codec: Codec) -> list[BreakerChanged]:
    """The open breakers of all groups, the latest first. Raises Unavailable."""
    table = BreakerTable(kafka, codec)
    try:
        table.load()
        return table.open_ones()
    finally:
        table.close()


def closed(before: BreakerChanged, *, by: str, now_ms: int) -> BreakerChanged:
    """The breaker as a principal closes it: what opened it stays to be read. Its group goes on with it in moments."""
    return replace(before, state=CLOSED, by=by, changed_at=max(now_ms, before.changed_at + 1))


def outgoing(codec: Codec, change: BreakerChanged, *, traceparent: str = "") -> Outgoing:
    """The record of a change, as a stage writes it in its own transaction."""
    return carrying.outgoing(
        codec,
        BREAKER_CHANGED,
        change,
        key=change.key,
        event_id=ids.derive("breaker", change.key, change.state, str(change.changed_at)),
        source="/aios/breakers",
        subject=change.key,
        tenant=change.tenant,
        traceparent=traceparent,
        time_ms=change.changed_at,
    )


def _key(change: BreakerChanged) -> str:
    return change.key
