"""Asking the stage that changes things: a command on its topic, and the answer that comes back.

Enters: a command, as operation.requested.v1. Leaves: its operation.answered.v1, or None where it did not come in time.
Guaranteed: the command is in Kafka when ask() returns; one asked before is not written again as long as its answer is
remembered; an answer that comes late is found by whoever asks again; nobody gets the answer to another command, though
it was asked under the same idempotency key; while one waits for its answer here, another under its key is not written.
Rejected: request and reply by HTTP to the stage (it is restarted, and may be anywhere; the command would be lost).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from aios.dlq.commands import ASKED, Problem, key_reused, sha256_of
from aios.schemas.codec import Codec
from aios.schemas.errors import ContractError
from aios.schemas.models import OperationAnswered, OperationRequested
from aios.streams import carrying
from aios.streams.admin import reader
from aios.streams.config import KafkaSettings
from aios.streams.errors import Unavailable
from aios.streams.record import Outgoing
from aios.streams.topics import OPERATION_ANSWERED, OPERATION_REQUESTED
from aios.streams.wall_clock import wall_ms

KEPT_MAX = 10_000  # answers in memory
BACK_MAX = 1_000  # answers read again at the start
START_S_MAX = 30.0
POLL_S = 0.2
AGAIN_S = 1.0
SOURCE = "/aios/operations"

log = logging.getLogger(__name__)


class Roads(Protocol):
    """Delivery in service."""

    def deliver(self, out: Outgoing) -> Awaitable[Any]: ...


@dataclass(slots=True)
class _Waiting:
    """asked: sha256 of the command, by which another one under its id is told."""

    asked: str
    answers: set[asyncio.Future[OperationAnswered]] = field(default_factory=set)


class Answers:
    """See the module. Of one event loop: the one that called start()."""

    def __init__(self, kafka: KafkaSettings, codec: Codec, roads: Roads) -> None:
        self._kafka = kafka
        self._codec = codec
        self._roads = roads
        self._known: OrderedDict[str, OperationAnswered] = OrderedDict()
        self._waiting: dict[str, _Waiting] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    async def start(self) -> None:
        """Follow the answers; returns when the latest are known. Raises Unavailable."""
        self._loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._follow, args=(ready,), name="answers", daemon=True)
        self._thread.start()
        try:
            await asyncio.wait_for(ready, START_S_MAX)
        except TimeoutError:
            raise Unavailable(f"{OPERATION_ANSWERED.name} could not be read within {START_S_MAX:.0f} s") from None

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    async def ask(self, command: OperationRequested, tenant: str, s_max: float) -> OperationAnswered | None:
        """The answer; None after s_max. tenant: of what it acts on, for the record. Raises Refused, Unavailable."""
        asked, known = sha256_of(command), self._known.get(command.command_id)
        if known is not None:
            return _own(known, asked)
        waiting = self._waiting.setdefault(command.command_id, _Waiting(asked))
        if waiting.asked != asked:
            raise key_reused()
        answer: asyncio.Future[OperationAnswered] = asyncio.get_running_loop().create_future()
        waiting.answers.add(answer)
        try:
            await self._roads.deliver(self._outgoing(command, tenant))
            with contextlib.suppress(TimeoutError):
                return _own(await asyncio.wait_for(asyncio.shield(answer), s_max), asked)
            return None
        finally:
            waiting.answers.discard(answer)
            if not waiting.answers:
                self._waiting.pop(command.command_id, None)

    def _outgoing(self, command: OperationRequested, tenant: str) -> Outgoing:
        return carrying.outgoing(
            self._codec,
            OPERATION_REQUESTED,
            command,
            key=command.object_id,
            event_id=command.command_id,
            source=SOURCE,
            subject=command.object_id,
            tenant=tenant,
            time_ms=wall_ms(),
        )

    def _settle(self, answer: OperationAnswered) -> None:
        if answer.problem != Problem.KEY_REUSED or answer.command_id not in self._known:
            self._known[answer.command_id] = answer
        self._known.move_to_end(answer.command_id)
        if len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)
        waiting = self._waiting.get(answer.command_id)
        for one in waiting.answers if waiting is not None else ():
            if not one.done():
                one.set_result(answer)

    # ── the thread ──

    def _follow(self, ready: asyncio.Future[None]) -> None:
        assert self._loop is not None
        consumer = reader(self._kafka, **{"auto.offset.reset": "latest", "fetch.wait.max.ms": 50})
        waiting: Message | None = None
        assigned = False
        while not self._stop.is_set():
            try:
                if not assigned:
                    place = TopicPartition(OPERATION_ANSWERED.name, 0)
                    low, high = consumer.get_watermark_offsets(place, timeout=START_S_MAX)
                    place.offset = max(low, high - BACK_MAX)
                    consumer.assign([place])
                    assigned = True
                message = waiting or consumer.poll(POLL_S)
                waiting = None
                if message is None:
                    continue
                if message.error() is not None:
                    if message.error().code() == KafkaError._PARTITION_EOF:
                        self._loop.call_soon_threadsafe(_done, ready)
                    continue
                waiting = message
                self._loop.call_soon_threadsafe(self._settle, self._codec.decode(message.value(), OperationAnswered))
                waiting = None
            except Unavailable as error:
                log.warning("answers are late: %s", error)
                self._stop.wait(AGAIN_S)
            except KafkaException as error:
                log.warning("answers cannot be read at this moment: %s", error.args[0])
                self._stop.wait(AGAIN_S)
            except ContractError as error:
                log.warning("skipped an answer: %s", error)
                waiting = None
            except RuntimeError:  # the loop has ended
                break
        consumer.close()


def _own(answer: OperationAnswered, asked: str) -> OperationAnswered:
    """The answer, if it is to this command. Raises Refused."""
    if json.loads(answer.result or "{}").get(ASKED, asked) != asked:
        raise key_reused()
    return answer


def _done(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
