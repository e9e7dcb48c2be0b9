"""Stateless stages as processes of the simulated world: model workers and retry.

Enters: records of their groups. Leaves: answers, and what returned. What is the product's is used as it is: Settler,
InHand and Deaths, Held, returning; the flow around them is that of inference_workers/pool.py and dlq/retry.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aios.dlq import one_record
from aios.dlq.in_hand import InHand, Start
from aios.dlq.retry import Held, returning
from aios.infra.prove.simulation.kafka import SimulatedDeaths
from aios.infra.prove.simulation.stages import BACKOFF_MS, HandsProcess
from aios.infra.prove.simulation.world import Actor, Slot, World
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCompleted, InferenceRequested
from aios.streams import failpoints
from aios.streams.errors import Unavailable, Verdict
from aios.streams.log_clock import LogClock
from aios.streams.record import Outgoing, Record
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.topology import RETRY, Stage

ANSWER_MS_MAX = 900.0
SLOW_SHARE = 0.03
SLOW_MS = (20_000.0, 160_000.0)  # an interactive request has 60 s
FAILED_SHARE = 0.04
COST_MICRO = (20, 1_200)  # of an answer, wrong ones too


class PoolProcess(HandsProcess):
    """A pool's worker, as inference_workers/pool.py goes about it, with answers that the seed made up."""

    def __init__(
        self, world: World, slot: Slot, stage: Stage, codec: Codec, trouble: Callable[[Record], Exception | None]
    ) -> None:
        super().__init__(world, slot, stage, stage.process, in_flight_max=16)
        self.codec = codec
        self.trouble = trouble
        self._in_hand = InHand(SimulatedDeaths(world, stage.name))

    def take(self, records: Sequence[Record]) -> None:
        self._start(self._in_hand.take(records))

    def ended(self, record: Record) -> None:
        self._start(self._in_hand.end(record))

    def _start(self, starts: Sequence[Start]) -> None:
        for record, given_up in starts:
            work = _Request(self.world, self, record, given_up)
            self.actors.append(work)
            work.wake()


class _Request(Actor):
    """One request in hand."""

    def __init__(self, world: World, pool: PoolProcess, record: Record, given_up: Exception | None) -> None:
        super().__init__(world, pool)
        self._pool = pool
        self._record = record
        self._error = given_up
        self._request: InferenceRequested | None = None
        self._outs: list[Outgoing] = []
        self._verdict: Verdict | None = None

    def turn(self) -> None:
        """Decode and wait for the engine; then deliver, as often as it takes; then finish."""
        pool, record = self._pool, self._record
        if self._outs:
            self._deliver()
            return
        if self._error is None and self._request is None:
            try:
                self._decode()
            except Exception as error:  # noqa: BLE001 - as in the pool, the settler decides
                self._error = error
            else:
                self.wake(self._latency())
                return
        if self._error is not None:
            self._settle(self._error)
        elif self._request is not None:
            failpoints.hit(f"{pool.point}.computed")
            self._outs = [self._answer(record, self._request)]
        if self._outs:
            self._deliver()

    def _decode(self) -> None:
        failpoints.hit(f"{self._pool.point}.taken", self._record.value or b"")
        if (error := self._pool.trouble(self._record)) is not None:
            raise error
        self._request = self._pool.codec.decode(self._record.value, InferenceRequested)

    def _latency(self) -> float:
        draw = self.world.random
        return draw.uniform(*SLOW_MS) if draw.random() < SLOW_SHARE else draw.uniform(5, ANSWER_MS_MAX)

    def _settle(self, error: Exception) -> None:
        pool, record = self._pool, self._record
        settled = pool.settler.settle(record, error, int(self.process.wall_ms()))
        if settled.verdict is Verdict.STOP:
            raise error
        if settled.outgoing is None:
            for lane in pool.hands.of([(record.topic, record.partition)]):
                pool.hands.give_back(lane)
                lane.resume_at = self.world.now + settled.pause_ms
            self._end()
            return
        self._verdict = settled.verdict
        self._outs = [settled.outgoing]
        if self._request is not None and settled.verdict is Verdict.DEAD_LETTER:
            self._outs.append(self._answer(record, self._request, failed=str(settled.reason)))

    def _deliver(self) -> None:
        pool, record = self._pool, self._record
        try:
            pool.deliver(self._outs)
        except Unavailable:
            if pool.hands.owns(record):
                self.wake(BACKOFF_MS)
            else:
                self._end()
            return
        if pool.hands.owns(record):
            if self._verdict is None:
                pool.settler.done([record])
            pool.finish(record)
        self._end()

    def _end(self) -> None:
        self._pool.actors.remove(self)
        self._pool.ended(self._record)

    def _answer(self, record: Record, request: InferenceRequested, failed: str = "") -> Outgoing:
        draw = self.world.random
        failed = failed or ("the simulated engine failed" if draw.random() < FAILED_SHARE else "")
        sure = draw.choice((0.2, 0.7, 0.95))
        said: dict[str, Any] = (
            {"label": _label(request), "confidence": sure, "out_of_scope": draw.choice((0.1, 0.1, 0.9))}
            if request.task == "classify"
            else {"text": "A summary."}
        )
        answer = InferenceCompleted(
            request_id=request.request_id,
            case_id=request.case_id,
            tenant=request.tenant,
            workflow=request.workflow,
            step=request.step,
            attempt=request.attempt,
            task=request.task,
            status="failed" if failed else "ok",
            reason=failed,
            output="{}" if failed else ids.canonical(said),
            output_contract="" if failed else {"classify": "classification.v1"}.get(request.task, "generation.v1"),
            model=request.model,
            prompt=request.prompt,
            engine="simulated",
            input_hash="",
            prompt_tokens=1,
            output_tokens=1,
            lane=request.lane,
            queue_ms=0,
            compute_ms=0,
            cost_micro=draw.randint(*COST_MICRO),
            completed_at=int(self.process.wall_ms()),
        )
        return one_record.outgoing(self._pool.codec, self._pool.stage, INFERENCE_COMPLETED, answer, record)


class RetryProcess(HandsProcess):
    """dlq/retry.py: what waits is held until it is due, then returned to its group."""

    def __init__(self, world: World, slot: Slot) -> None:
        super().__init__(world, slot, RETRY, RETRY.name, in_flight_max=10_000)
        self.held = Held()
        self._clock = LogClock(self.monotonic)
        self._clock.see(int(world.broker_ms()))
        self._returner = _Returner(world, self)
        self.actors.append(self._returner)

    def take(self, records: Sequence[Record]) -> None:
        for record in records:
            now_ms = self._clock.see(record.timestamp_ms)
            self.held.add(record, now_ms=now_ms, now_s=self.monotonic())
        if records:
            self._returner.wake()


class _Returner(Actor):
    def __init__(self, world: World, retry: RetryProcess) -> None:
        super().__init__(world, retry)
        self._retry = retry

    def turn(self) -> None:
        retry = self._retry
        for record in retry.held.due(retry.monotonic()):
            if retry.hands.owns(record):
                self._return(record)
        wait_s = retry.held.next_in_s(retry.monotonic())
        if wait_s != float("inf"):
            self.wake(wait_s * 1000 + 1)

    def _return(self, record: Record) -> None:
        retry = self._retry
        if (held_up := retry.settler.gate(record, int(retry.wall_ms()))) is not None:
            retry.held.put(record, retry.monotonic() + held_up.pause_ms / 1000)
            return
        failpoints.hit("retry.computed")
        try:
            try:
                retry.deliver([returning(record)])
            except Unavailable:
                raise
            except Exception as error:
                settled = retry.settler.settle(record, error, int(retry.wall_ms()))
                if settled.outgoing is None:
                    raise
                retry.deliver([settled.outgoing])
        except Unavailable:
            retry.held.put(record, retry.monotonic() + BACKOFF_MS / 1000)
            return
        retry.finish(record)


def _label(request: InferenceRequested) -> str:
    return "card" if "letters" in request.options else "card_arrival"
