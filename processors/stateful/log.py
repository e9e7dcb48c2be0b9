"""The log as a partition's store sees it: a fenced producer, what its changelog remembers, and what the broker says.

Enters: a transactional id, a changelog partition. Leaves: transactions, memory, ends of inputs. Guaranteed by whoever
implements it (KafkaLog in service; a simulated log in proofs), and relied on by processors/stateful/store.py:

 - `producer` returns after the earlier owner of the transactional id was fenced and what it left open has ended;
 - what is produced between begin and commit is seen together, in order per partition, or not at all;
 - `remember` reads everything that was committed before it was called, to the end;
 - times are the broker's, and never fall within a partition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer

from aios.processors.stateful import changelog
from aios.processors.stateful.changelog import Remembered
from aios.processors.stateful.ground import Input, Surveyor
from aios.processors.stateful.state import OUTPUTS_MAX
from aios.schemas.codec import Codec
from aios.streams.config import KafkaSettings, client
from aios.streams.errors import Fenced, Unavailable
from aios.streams.topics import DEAD_LETTER_BYTES_MAX, Topic
from aios.streams.topology import Stage

MESSAGES_MAX = 16_000  # written by one transaction; one record more may exceed it
TRANSACTION_MS_MAX = 5_000  # then the broker ends it: a hung one stalls the readers of every partition it touched
INIT_S_MAX = 20.0
BY_KEY = -1  # as a partition: murmur2 of the key chooses
FRAMING_BYTES = 256  # of a record on the wire, beside key, value and headers


class Transactions(Protocol):
    """One owner's producer, in confluent-kafka's words. Each raises KafkaException; a fatal one means fenced."""

    def begin_transaction(self) -> None: ...

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = BY_KEY,
        *,
        on_delivery: Callable[[Any, Any], None] | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """on_delivery(error, message) is called before the commit returns."""
        ...

    def flush(self, timeout: float) -> int: ...

    def commit_transaction(self, timeout: float) -> None: ...


class Log(Protocol):
    """See the module. Called from several threads, one for each partition."""

    def producer(self, transactional_id: str) -> Transactions:
        """The id's one owner from now on. Raises Unavailable, Fenced."""
        ...

    def remember(self, topic: Topic, partition: int, into: Remembered) -> int:
        """changelog.take everything from into.next_offset on; how many records. Raises Unavailable, StateBroken."""
        ...

    def inputs(self, partition: int) -> tuple[dict[str, Input], int]:
        """The stage's inputs at this number, by topic; the changelog's partition count. Raises Unavailable."""
        ...

    def ends(self, partition: int) -> dict[str, int]:
        """Where the inputs end for who reads committed records. Raises Unavailable."""
        ...


class KafkaLog:
    """The broker's. One per process."""

    def __init__(self, kafka: KafkaSettings, stage: Stage, codec: Codec) -> None:
        self._kafka = kafka
        self._codec = codec
        surveyor = Surveyor(kafka, stage)
        self.inputs = surveyor.inputs
        self.ends = surveyor.ends

    def producer(self, transactional_id: str) -> Transactions:
        producer = Producer(
            client(
                self._kafka,
                **{
                    "transactional.id": transactional_id,
                    "transaction.timeout.ms": TRANSACTION_MS_MAX,
                    "client.id": transactional_id,
                    "partitioner": "murmur2_random",
                    "message.max.bytes": DEAD_LETTER_BYTES_MAX + FRAMING_BYTES,
                    "queue.buffering.max.messages": 2 * (MESSAGES_MAX + OUTPUTS_MAX),
                    "linger.ms": 5,  # commit flushes at once; until then larger requests are cheaper
                    "log_level": 0,
                },
            )
        )
        try:
            # connected first: else the client looks for its coordinator every 500 ms
            producer.list_topics(timeout=INIT_S_MAX)
            producer.init_transactions(INIT_S_MAX)
        except KafkaException as error:
            if error.args[0].fatal():
                raise Fenced(f"{transactional_id}: {error}") from error
            raise Unavailable(f"{transactional_id}: no transaction coordinator: {error}") from error
        return producer

    def remember(self, topic: Topic, partition: int, into: Remembered) -> int:
        return changelog.read(self._kafka, self._codec, topic, partition, into)
