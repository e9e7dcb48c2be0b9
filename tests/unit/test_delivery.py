"""Delivery around a producer that does not keep its word; the rest is shown on a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError

from aios.dlq.envelope import Failure, waiting, wrap
from aios.streams import delivery as module
from aios.streams.config import KafkaSettings
from aios.streams.delivery import Delivery
from aios.streams.errors import ConfigError, Reason, SchemaMismatch, Unavailable
from aios.streams.record import Outgoing, Record
from aios.streams.topics import DEAD_LETTER_BYTES_MAX, RECORD_BYTES_MAX, RETRY_TIERS
from aios.streams.topology import ADMIT

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")
OUT = Outgoing("t", b"k", b"v")


class Silent:
    """Takes everything, reports nothing."""

    made: list[Silent]

    def __init__(self, config: dict[str, Any], **_: Any) -> None:
        self.error_cb: Callable[[KafkaError], None] = config["error_cb"]
        self.taken = 0
        self.purged = False
        self.full = False
        self.waited_s = 0.0  # for what is under way
        Silent.made.append(self)

    def produce(self, topic: str, **_: Any) -> None:
        if self.full:
            raise BufferError
        self.taken += 1

    def poll(self, timeout: float) -> int:
        time.sleep(0.01)
        return 0

    def flush(self, timeout: float) -> int:
        self.waited_s += 0.0 if self.purged else timeout
        return self.taken

    def purge(self) -> None:
        self.purged = True


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    Silent.made = []
    monkeypatch.setattr(module, "Producer", Silent)
    monkeypatch.setattr(module, "GRACE_S", 0.1)


def test_a_producer_that_owes_an_answer_is_purged_and_replaced() -> None:
    """Its deliveries end as Unavailable; the next ones go to a new one."""

    async def run() -> None:
        delivery = Delivery(KAFKA, client_id="t", deliver_s_max=0.1)
        async with asyncio.timeout(5):
            done = await asyncio.gather(*(delivery.deliver(OUT) for _ in range(3)), return_exceptions=True)
        assert {type(error) for error in done} == {Unavailable}
        task = asyncio.create_task(delivery.deliver(OUT))
        await asyncio.sleep(0)
        assert [(one.taken, one.purged) for one in Silent.made] == [(3, True), (1, False)]
        delivery.close()
        with pytest.raises(Unavailable):
            await task
        with pytest.raises(Unavailable):
            await delivery.deliver(OUT)

    asyncio.run(run())


def test_a_fatal_error_replaces_the_producer_at_once() -> None:
    """What it had in hand is undelivered, long before its deadline."""

    async def run() -> None:
        delivery = Delivery(KAFKA, client_id="t", deliver_s_max=60.0)
        task = asyncio.create_task(delivery.deliver(OUT))
        await asyncio.sleep(0)
        Silent.made[0].error_cb(KafkaError(KafkaError._FATAL, "fatal", fatal=True))
        with pytest.raises(Unavailable):
            await asyncio.wait_for(task, 5)
        assert [one.purged for one in Silent.made] == [True, False]
        delivery.close()

    asyncio.run(run())


def test_a_producer_that_cannot_be_replaced_now_is_replaced_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a secret is changed: everybody who waits is told, and the next one waits for the next producer."""

    def refused(*_: Any, **__: Any) -> None:
        raise ConfigError("the secret's file cannot be read")

    async def run() -> None:
        delivery = Delivery(KAFKA, client_id="t", deliver_s_max=0.2)
        with monkeypatch.context() as patched:
            patched.setattr(module, "client", refused)
            with pytest.raises(Unavailable):
                await asyncio.wait_for(delivery.deliver(OUT), 5)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(delivery.deliver(OUT), 5)
        assert [one.purged for one in Silent.made] == [True, False]
        delivery.close()

    asyncio.run(run())


def test_what_is_under_way_has_its_time_before_it_is_given_up() -> None:
    """Whoever closes waits for the broker as long as a delivery may take."""

    async def run() -> None:
        delivery = Delivery(KAFKA, client_id="t", deliver_s_max=7.0)
        task = asyncio.create_task(delivery.deliver(OUT))
        await asyncio.sleep(0)
        delivery.close()
        with pytest.raises(Unavailable):
            await task

    asyncio.run(run())
    assert [(one.waited_s, one.purged) for one in Silent.made] == [(7.0, True)]


def test_a_queue_that_stays_full_refuses_in_time() -> None:
    """Nobody waits for room for longer than for a delivery."""

    async def run() -> None:
        delivery = Delivery(KAFKA, client_id="t", deliver_s_max=0.1)
        Silent.made[0].full = True
        with pytest.raises(Unavailable, match="takes nothing"):
            await asyncio.wait_for(delivery.deliver(OUT), 5)
        delivery.close()

    asyncio.run(run())


def test_headers_count_as_what_they_take() -> None:
    """A record that is large by them alone is refused here, so that the others of its call are not written."""
    large = Outgoing("document.received.v1", b"k", b"v", (("h", b"x" * (DEAD_LETTER_BYTES_MAX + 1)),))

    async def run() -> None:
        delivery = Delivery(KAFKA, client_id="t", deliver_s_max=0.1)
        with pytest.raises(SchemaMismatch) as refused:
            await delivery.deliver_all([OUT, large])
        assert refused.value.reason is Reason.OVERSIZE
        delivery.close()

    asyncio.run(run())
    assert Silent.made[0].taken == 0


def test_nothing_to_deliver_is_nothing_to_wait_for() -> None:
    """No ticket without records."""

    async def run() -> None:
        delivery = Delivery(KAFKA, client_id="t")
        assert await delivery.deliver_all([]) == []
        delivery.close()

    asyncio.run(run())


def test_a_dead_letter_of_any_record_that_kafka_took_can_be_delivered() -> None:
    """Also of one that is nothing but headers of three bytes: a stage that cannot write it would end at it for ever."""
    headers = tuple(("h", b"") for _ in range(RECORD_BYTES_MAX // 3))
    record = Record("document.received.v1", 0, 7, 1, b"k", None, headers)
    failure = Failure(stage=ADMIT, error=ValueError("no"), attempts=1, now_ms=1, cluster="c")

    async def run() -> None:
        delivery = Delivery(KAFKA, client_id="t", deliver_s_max=0.1)
        for letter in (wrap(record, failure), waiting(record, failure, RETRY_TIERS[0])):
            with pytest.raises(Unavailable):  # nobody answers here; it is taken
                await delivery.deliver(letter)
        delivery.close()

    asyncio.run(run())
