"""What becomes of a request: answered once and then finished, or left for the next process."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import envelope, one_record
from aios.dlq.deaths import Deaths
from aios.dlq.decide import LIMITS
from aios.dlq.in_hand import Quiet
from aios.dlq.settle import Settler
from aios.inference_workers import classify, worker
from aios.inference_workers.answering import Answering
from aios.inference_workers.cache import Answers, Kept
from aios.inference_workers.cancels import Cancelled, Cancels
from aios.inference_workers.classify import Head
from aios.inference_workers.engines import batch
from aios.inference_workers.engines import shelf as shelf_module
from aios.inference_workers.engines.engine import Embed, Embedding, Engine
from aios.inference_workers.engines.openai import OpenAIEngine, at_once
from aios.inference_workers.engines.shelf import Shelf
from aios.inference_workers.measures import WASTED_S, Measures
from aios.inference_workers.one_request import Requests
from aios.inference_workers.pool import Pool
from aios.inference_workers.tasks import CLASSIFIER, Classify, Task, Unreadable, Versions
from aios.schemas.codec import Codec
from aios.schemas.models import InferenceCancelled, InferenceCompleted, InferenceRequested
from aios.streams import installed, model_files, pool_files
from aios.streams.config import InferenceSettings
from aios.streams.errors import ConfigError, EngineDead, Reason, Unavailable
from aios.streams.record import Record
from aios.streams.topics import INFERENCE_COMPLETED
from aios.streams.topology import BY_NAME
from aios.streams.wall_clock import wall_ms
from tests.fakes.breakers import OwnBreakers
from tests.fakes.engine import ENGINE_US, FakeEngine, shelf_of
from tests.fakes.kept import KeptInMemory
from tests.fakes.registry import FakeRegistry
from tests.fakes.roads import FakeRoads

STAGE = BY_NAME["classify.bulk"]
CODEC = Codec(FakeRegistry())
HEAD = Head(("a", "b"), np.ones((2, 4), np.float32), np.zeros(2, np.float32), 1.0, np.zeros(4, np.float32), 0.0)
PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
ENDED_S_MAX = 20.0
REGISTRY_S = 1.0
OLDER = "triage-encoder@1"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_record, "AGAIN_S_MIN", 0.001)
    monkeypatch.setattr(worker, "DRAIN_S_MAX", 2.0)


def request(offset: int, text: str = "hello", **changed: object) -> InferenceRequested:
    asked = InferenceRequested(
        request_id=f"r{offset}",
        case_id=f"c{offset}",
        tenant="demo",
        workflow="document.triage",
        step="classify",
        attempt=1,
        task="classify",
        model=CLASSIFIER,
        input=text,
        options=json.dumps({"head": "letters"}),
        lane="bulk",
        deadline_at=wall_ms() + 60_000,
        requested_at=wall_ms(),
    )
    return replace(asked, **changed)


def record(offset: int, asked: InferenceRequested | bytes, partition: int = 0) -> Record:
    value = asked if isinstance(asked, bytes) else CODEC.encode(STAGE.reads[0], asked)
    headers = [("traceparent", PARENT.encode())]
    return Record(STAGE.reads[0].name, partition, offset, wall_ms() - 500, f"c{offset}".encode(), value, headers)


def pool(
    roads: FakeRoads,
    engine: Engine,
    home: Path,
    breakers: OwnBreakers | None = None,
    *,
    answers: Answers | None = None,
    cancels: Cancelled | None = None,
    task: Task | None = None,
    codec: Codec = CODEC,
    serves: Callable[[str], bool] | None = None,
) -> Pool:
    declared = installed.pools()[STAGE.name]
    measures = Measures(declared)
    requests = Requests(
        STAGE,
        Answering(
            declared,
            task or Classify(engine, {"letters": HEAD}),
            engine,
            answers=answers,
            cancels=cancels,
            here=engine.is_here if isinstance(engine, Shelf) else None,
            serves=serves,
        ),
        codec,
        measures,
        intake=roads,
        delivery=roads,
        settler=Settler(STAGE, "cluster", breakers=breakers or OwnBreakers()),
    )
    return Pool(requests, measures, intake=roads, deaths=Deaths(home, STAGE.name))


async def serve(
    roads: FakeRoads,
    engine: Engine,
    home: Path,
    breakers: OwnBreakers | None = None,
    *,
    answers: Answers | None = None,
    cancels: Cancelled | None = None,
    task: Task | None = None,
    codec: Codec = CODEC,
    serves: Callable[[str], bool] | None = None,
) -> None:
    """Until every record has ended, then stop; raises what the process would end with."""
    await engine.start()
    stop = asyncio.Event()
    one = pool(roads, engine, home, breakers, answers=answers, cancels=cancels, task=task, codec=codec, serves=serves)
    serving = asyncio.create_task(worker.serve([one], engine, stop, lambda: None))
    ended = asyncio.create_task(roads.all_ended.wait())
    await asyncio.wait((serving, ended), timeout=ENDED_S_MAX, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    ended.cancel()
    await asyncio.wait_for(serving, ENDED_S_MAX)


def answers(roads: FakeRoads, codec: Codec = CODEC) -> list[InferenceCompleted]:
    return [
        codec.decode(out.value, InferenceCompleted) for out in roads.delivered if out.topic == INFERENCE_COMPLETED.name
    ]


def test_an_answer_carries_what_it_answers_and_its_trace(tmp_path: Path) -> None:
    """Ids, lane, model, engine, times and the trace of the request; keyed by case."""
    roads = FakeRoads([record(7, request(7))])
    asyncio.run(serve(roads, FakeEngine(), tmp_path))
    (answer,) = answers(roads)
    (out,) = roads.delivered
    assert (answer.request_id, answer.case_id, answer.status, answer.lane) == ("r7", "c7", "ok", "bulk")
    assert (answer.model, answer.engine, answer.output_contract) == (CLASSIFIER, "fake 1", "classification.v1")
    assert json.loads(answer.output)["label"] in ("a", "b")
    assert answer.queue_ms >= 500
    assert out.key == b"c7"
    headers = dict(out.headers)
    assert headers["ce_type"] == b"inference.completed.v1"
    assert (headers["traceparent"] or b"").decode().split("-")[1] == PARENT.split("-")[1]


def test_one_bad_request_fails_alone(tmp_path: Path) -> None:
    """It is answered `failed` with the reason; the others are answered."""
    roads = FakeRoads([record(0, request(0)), record(1, request(1, "refuse me")), record(2, request(2))])
    asyncio.run(serve(roads, FakeEngine(), tmp_path))
    assert {answer.request_id: answer.status for answer in answers(roads)} == {"r0": "ok", "r1": "failed", "r2": "ok"}
    assert next(answer.reason for answer in answers(roads) if answer.status == "failed") == "it is too long"


@pytest.mark.parametrize("error", [ConfigError("the memory is not enough"), EngineDead("it did not load in time")])
def test_a_version_that_cannot_be_loaded_fails_its_own_requests(error: Exception, tmp_path: Path) -> None:
    """With the reason; the process lives, and who asks the version that it serves is answered: in every order."""

    class Broken(FakeEngine):
        async def start(self) -> None:
            raise error

    served = FakeEngine()
    shelf = Shelf({"new": served, "old": Broken()}.__getitem__, {CLASSIFIER: "new", OLDER: "old"}.__getitem__, "new")
    task = Versions(*(Classify(shelf.of(model), {"letters": HEAD}, model) for model in (CLASSIFIER, OLDER)))
    asked = [request(n, model=OLDER if n % 2 else CLASSIFIER) for n in range(6)]
    roads = FakeRoads([record(n, each) for n, each in enumerate(asked)])
    asyncio.run(serve(roads, shelf, tmp_path, task=task))
    found = {answer.request_id: (answer.status, answer.reason) for answer in answers(roads)}
    failed = ("failed", f"old cannot be loaded here: {error}")
    assert found == {f"r{n}": failed if n % 2 else ("ok", "") for n in range(6)}
    assert sorted(one.offset for one in roads.finished) == list(range(6))


@pytest.mark.parametrize("serving", [OLDER, CLASSIFIER])
def test_a_version_that_its_server_does_not_know_stops_the_process_where_it_serves(
    serving: str, tmp_path: Path
) -> None:
    """Where another one serves, it fails its own requests, the newest too: a canary takes nobody's answers away."""

    class Unknown(FakeEngine):
        async def embed(self, request: Embed) -> Embedding:
            raise ConfigError("the server does not know it")

    keys = {CLASSIFIER: "new", OLDER: "old"}
    shelf = Shelf({"new": Unknown(), "old": FakeEngine()}.__getitem__, keys.__getitem__, "new")
    task = Versions(*(Classify(shelf.of(model), {"letters": HEAD}, model) for model in keys))
    roads = FakeRoads([record(n, request(n, model=OLDER if n % 2 else CLASSIFIER)) for n in range(6)])
    running = serve(roads, shelf, tmp_path, task=task, serves=lambda model: model == serving)
    if serving == CLASSIFIER:
        with pytest.raises(ConfigError, match="does not know it"):
            asyncio.run(running)
        return
    asyncio.run(running)
    found = {answer.request_id: (answer.status, answer.reason) for answer in answers(roads)}
    failed = ("failed", f"{CLASSIFIER} cannot be asked here: the server does not know it")
    assert found == {f"r{n}": ("ok", "") if n % 2 else failed for n in range(6)}


@pytest.mark.parametrize("serving", [OLDER, CLASSIFIER])
def test_a_version_whose_files_cannot_be_read_stops_the_process_where_it_serves(serving: str, tmp_path: Path) -> None:
    """Where another one serves, it fails its own requests, as one that its server does not know."""
    shelf = shelf_of(FakeEngine())
    task = Versions(Unreadable(CLASSIFIER, OSError("torn")), Classify(shelf, {"letters": HEAD}, OLDER))
    roads = FakeRoads([record(n, request(n, model=OLDER if n % 2 else CLASSIFIER)) for n in range(4)])
    running = serve(roads, shelf, tmp_path, task=task, serves=lambda model: model == serving)
    if serving == CLASSIFIER:
        with pytest.raises(ConfigError, match="torn"):
            asyncio.run(running)
        return
    asyncio.run(running)
    found = {answer.request_id: (answer.status, answer.reason) for answer in answers(roads)}
    assert found == {
        f"r{n}": ("ok", "") if n % 2 else ("failed", f"{CLASSIFIER} cannot be asked here: torn") for n in range(4)
    }


class Loads(FakeEngine):
    """When it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def start(self) -> None:
        await self.may.wait()
        await super().start()


def canaried(second: FakeEngine) -> tuple[Shelf, Task]:
    """The version that is served, and another with an engine of its own."""
    keys = {CLASSIFIER: "stable", OLDER: "second"}
    shelf = Shelf({"stable": FakeEngine(), "second": second}.__getitem__, keys.__getitem__, "stable")
    return shelf, Versions(*(Classify(shelf.of(model), {"letters": HEAD}, model) for model in keys))


def test_nobody_holds_a_place_for_an_engine_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than there are places ask for it, and whoever asks the stable one is answered meanwhile. They come back in
    the first tier, without an attempt, as often as they must, and are answered once it is loaded.
    """
    monkeypatch.setattr(shelf_module, "AT_ONCE_S", 0.01)
    asked = [record(n, request(n, model=OLDER if n < 20 else CLASSIFIER)) for n in range(30)]
    rounds: list[FakeRoads] = []

    async def until_it_is_loaded() -> None:
        second = Loads()
        shelf, task = canaried(second)
        returned = asked
        for loaded in (False, False, True):
            if loaded:
                second.may.set()
            rounds.append(FakeRoads(returned))
            await serve(rounds[-1], shelf, tmp_path, task=task)
            tier = [out for out in rounds[-1].delivered if out.topic == STAGE.tiers[0].topic.name]
            returned = [
                Record(STAGE.retries.name, 0, n, wall_ms(), out.key, out.value, out.headers)
                for n, out in enumerate(tier)
            ]
            counts = {(envelope.attempt_of(each), envelope.deferrals_of(each)) for each in returned}
            assert counts == (set() if loaded else {(1, len(rounds))})
        await shelf.close()

    asyncio.run(until_it_is_loaded())
    answered = [{answer.request_id: answer.status for answer in answers(each)} for each in rounds]
    assert answered == [{f"r{n}": "ok" for n in range(20, 30)}, {}, {f"r{n}": "ok" for n in range(20)}]


def test_a_suspect_waits_in_its_place_for_an_engine_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each death takes its engine along, and the record's deaths are counted where it stands: put off, it would kill
    for ever.
    """
    monkeypatch.setattr(shelf_module, "AT_ONCE_S", 0.01)
    Deaths(tmp_path, STAGE.name).begin(STAGE.reads[0].name, 0, 0, 0)
    _forget_owner(tmp_path)
    roads = FakeRoads([record(0, request(0, model=OLDER))])

    async def until_it_is_loaded() -> None:
        second = Loads()
        shelf, task = canaried(second)
        asyncio.get_running_loop().call_later(0.2, second.may.set)
        await serve(roads, shelf, tmp_path, task=task)
        await shelf.close()

    asyncio.run(until_it_is_loaded())
    assert [(answer.request_id, answer.status) for answer in answers(roads)] == [("r0", "ok")]
    assert len(roads.delivered) == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model": "triage-encoder@99"}, f"serves {CLASSIFIER}, not triage-encoder@99"),
        ({"task": "generate"}, "serves classify, not generate"),
        ({"options": '{"head": "faces"}'}, "unknown head 'faces'"),
        ({"options": "[]"}, "JSON object"),
        ({"options": '{"colour": 1}'}, "no other keys"),
    ],
)
def test_what_this_worker_does_not_serve_is_answered_with_the_reason(
    changed: dict[str, str], says: str, tmp_path: Path
) -> None:
    """No token is spent on a model, task or option that plan has stamped and this worker does not have. The answer
    is of the version that was asked, so that a canary which nobody has is known by its failures.
    """
    engine = FakeEngine()
    roads = FakeRoads([record(0, request(0, **changed))])
    asyncio.run(serve(roads, engine, tmp_path))
    (answer,) = answers(roads)
    assert (answer.status, answer.model) == ("failed", changed.get("model", CLASSIFIER))
    assert says in answer.reason
    assert not engine.asked


class Away(FakeEngine):
    """It is asked, and answers nothing."""

    async def embed(self, request: Embed) -> Embedding:
        await super().embed(request)
        raise Unavailable("the fake server answers 500")


def test_a_version_whose_server_never_answers_is_told_from_one_that_was_never_asked(tmp_path: Path) -> None:
    """At its deadline the answer says `unanswered`, what came too late says `late`; the version beside it answers."""
    shelf, task = canaried(Away())
    asked = [request(0), request(1, model=OLDER, deadline_at=wall_ms() + 500), request(2)]
    asked.append(request(3, model=OLDER, deadline_at=wall_ms() - 1))
    roads = FakeRoads([record(n, each) for n, each in enumerate(asked)])
    asyncio.run(serve(roads, shelf, tmp_path, task=task))
    found = [(answer.request_id, answer.status, answer.reason) for answer in answers(roads)]
    assert sorted(found) == [
        ("r0", "ok", ""),
        ("r1", "expired", "unanswered"),
        ("r2", "ok", ""),
        ("r3", "expired", "late"),
    ]
    assert len(roads.finished) == 4


def test_a_late_request_costs_no_token(tmp_path: Path) -> None:
    """Its deadline has passed when it is taken: expired, and the engine was not asked."""
    engine = FakeEngine()
    roads = FakeRoads([record(0, request(0, deadline_at=wall_ms() - 1))])
    asyncio.run(serve(roads, engine, tmp_path))
    assert [answer.status for answer in answers(roads)] == ["expired"]
    assert not engine.asked


def test_a_deadline_that_passes_in_the_engine_takes_the_request_back(tmp_path: Path) -> None:
    """It is cancelled there, and answered expired."""
    engine = FakeEngine()
    roads = FakeRoads([record(0, request(0, "hang", deadline_at=wall_ms() + 50))])
    asyncio.run(serve(roads, engine, tmp_path))
    assert [answer.status for answer in answers(roads)] == ["expired"]
    assert engine.cancelled == 1


def test_what_cannot_be_decoded_is_a_dead_letter_and_nobody_else_suffers(tmp_path: Path) -> None:
    """Original bytes and key (a pool's letters lie in fewer partitions), finished only after the broker has it."""
    roads = FakeRoads([record(0, b"\xffgarbage", partition=3), record(1, request(1))])
    asyncio.run(serve(roads, FakeEngine(), tmp_path))
    (letter,) = [out for out in roads.delivered if out.topic == STAGE.dead_letters.name]
    assert (letter.value, letter.key) == (b"\xffgarbage", b"c0")
    assert [answer.request_id for answer in answers(roads)] == ["r1"]
    assert sorted(one.offset for one in roads.finished) == [0, 1]


class SlowRegistry(FakeRegistry):
    """Takes its time to say what a schema is."""

    asked = 0

    def by_id(self, schema_id: int) -> str:
        self.asked += 1
        time.sleep(REGISTRY_S)
        return super().by_id(schema_id)


def test_a_registry_that_takes_its_time_holds_up_nothing_but_what_needs_it(tmp_path: Path) -> None:
    """Requests whose schema nobody has read yet wait for it in a thread, all of them for one question; the event loop
    goes on meanwhile.
    """
    registry = SlowRegistry()
    codec = Codec(registry)
    asked = [replace(record(n, request(n)), value=codec.encode(STAGE.reads[0], request(n))) for n in range(8)]
    roads = FakeRoads(asked)
    gaps: list[float] = []

    async def beat() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - last)
            last = time.monotonic()

    async def until_answered() -> None:
        beating = asyncio.create_task(beat())
        await serve(roads, FakeEngine(), tmp_path, codec=codec)
        beating.cancel()

    asyncio.run(until_answered())
    assert registry.asked == 1
    assert sorted(answer.request_id for answer in answers(roads, codec)) == [f"r{n}" for n in range(8)]
    assert max(gaps) < REGISTRY_S / 2


def test_a_registry_that_is_away_makes_requests_wait(tmp_path: Path) -> None:
    """Of a schema nobody has read yet: it comes back, and they are answered; nothing is a dead letter."""

    class Away(FakeRegistry):
        left = 3

        def by_id(self, schema_id: int) -> str:
            self.left -= 1
            if self.left >= 0:
                raise Unavailable("the fake registry is away")
            return super().by_id(schema_id)

    codec = Codec(Away())
    roads = FakeRoads([replace(record(0, request(0)), value=codec.encode(STAGE.reads[0], request(0)))])
    asyncio.run(serve(roads, FakeEngine(), tmp_path, codec=codec))
    assert [(answer.request_id, answer.status) for answer in answers(roads, codec)] == [("r0", "ok")]
    assert len(roads.delivered) == 1


def test_what_nobody_foresaw_is_tried_again_and_then_answered_as_failed(tmp_path: Path) -> None:
    """First a retry; at the last attempt a dead letter, and plan learns that the request failed."""
    first = FakeRoads([record(0, request(0, "bug"))])
    asyncio.run(serve(first, FakeEngine(), tmp_path))
    (waiting,) = first.delivered
    assert waiting.topic == "aios.retry.5s"
    last = FakeRoads([record(0, request(0, "bug"))])
    for _ in STAGE.tiers:  # it comes back on the group's own topic, with the headers of the attempt before
        returned = replace(record(0, request(0, "bug")), topic=STAGE.retries.name, headers=waiting.headers)
        last = FakeRoads([returned])
        asyncio.run(serve(last, FakeEngine(), tmp_path))
        waiting = last.delivered[0]
    assert [out.topic for out in last.delivered] == [STAGE.dead_letters.name, INFERENCE_COMPLETED.name]
    (answer,) = answers(last)
    assert (answer.status, answer.reason) == ("failed", f"{Reason.UNKNOWN}: ZeroDivisionError")


def test_what_a_breaker_holds_costs_the_model_nothing(tmp_path: Path) -> None:
    """A paused partition rests, a throttled tenant's record waits in a tier; the others are answered."""
    breakers = OwnBreakers()
    breakers.partitions.add(1)
    breakers.tenants.add("poor")
    named = (("aios-tenant", b"poor"),)
    slowed = [
        replace(record(offset, request(offset)), headers=named) for offset in range(2, 2 + 3 * LIMITS.trickle_per_s)
    ]
    roads = FakeRoads([record(0, request(0)), record(1, request(1), partition=1), *slowed])
    engine = FakeEngine()
    asyncio.run(serve(roads, engine, tmp_path, breakers))
    assert ("paused", (STAGE.reads[0].name, 1)) in roads.happened
    waiting = [out for out in roads.delivered if out.topic == STAGE.tiers[1].topic.name]
    asked = {answer.request_id for answer in answers(roads)}
    assert len(waiting) + len(asked) == 1 + len(slowed)
    assert "r0" in asked
    assert "r1" not in asked
    assert len(waiting) >= LIMITS.trickle_per_s  # the seconds may turn while it runs


def test_while_something_is_away_nothing_is_lost_or_dead_lettered(tmp_path: Path) -> None:
    """Engine and broker come back: the request is answered, once."""
    roads = FakeRoads([record(0, request(0, "away")), record(1, request(1))], away=3)
    asyncio.run(serve(roads, FakeEngine(), tmp_path))
    assert sorted(answer.request_id for answer in answers(roads)) == ["r0", "r1"]
    assert len(roads.delivered) == 2


def test_an_answer_of_a_partition_that_has_left_is_discarded(tmp_path: Path) -> None:
    """Its next owner answers; this process neither delivers nor finishes."""
    roads = FakeRoads([record(0, request(0)), record(1, request(1))], lost={0})

    async def until_answered() -> None:
        engine = FakeEngine()
        await engine.start()
        stop = asyncio.Event()
        serving = asyncio.create_task(worker.serve([pool(roads, engine, tmp_path)], engine, stop, lambda: None))
        await asyncio.wait_for(roads.any_finished.wait(), ENDED_S_MAX)
        roads.in_flight.clear()  # the rebalance takes it away
        stop.set()
        await serving

    asyncio.run(until_answered())
    assert [answer.request_id for answer in answers(roads)] == ["r1"]
    assert [one.offset for one in roads.finished] == [1]


def test_what_a_partition_took_along_leaves_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next owner asks the model: here it takes no seat any more, long before its deadline, what was spent on it is
    counted as wasted, and the others are answered.
    """
    monkeypatch.setattr("aios.inference_workers.answering.LOOK_S", 0.01)
    roads = FakeRoads([record(0, request(0, "hang")), record(1, request(1))])
    engine = FakeEngine()

    def wasted() -> float:
        return WASTED_S.labels(STAGE.name)._value.get()

    async def until_it_left() -> None:
        await engine.start()
        stop = asyncio.Event()
        serving = asyncio.create_task(worker.serve([pool(roads, engine, tmp_path)], engine, stop, lambda: None))
        await asyncio.wait_for(roads.any_finished.wait(), ENDED_S_MAX)
        await asyncio.sleep(0.05)  # it was looked at more than once
        roads.in_flight.clear()  # the rebalance takes it away
        await asyncio.wait_for(engine.any_cancelled.wait(), ENDED_S_MAX)
        stop.set()
        await serving

    before = wasted()
    asyncio.run(until_it_left())
    assert engine.cancelled == 1
    assert [answer.request_id for answer in answers(roads)] == ["r1"]
    assert wasted() - before == pytest.approx(ENGINE_US / 1_000_000)


def test_what_is_called_off_while_known_answers_are_looked_up_is_not_asked(tmp_path: Path) -> None:
    """It is heard between the first look and the work: no token is spent."""
    engine = FakeEngine()
    roads = FakeRoads([record(0, request(0, "hang"))])

    async def until_answered() -> None:
        cancels = Cancels()

        class Slow(KeptInMemory):
            async def get(self, key: str) -> Kept | None:
                cancels.heard(_cancelled("r0", "timed_out"))
                await asyncio.sleep(0.01)
                return None

        await serve(roads, engine, tmp_path, answers=Slow(), cancels=cancels)

    asyncio.run(until_answered())
    assert [(answer.status, answer.reason) for answer in answers(roads)] == [("expired", "cancelled: timed_out")]
    assert not engine.asked


def test_a_dead_engine_ends_the_process_with_everything_in_hand_unsettled(tmp_path: Path) -> None:
    """EngineDead is raised; what was in the engine is neither answered nor finished."""
    roads = FakeRoads([record(0, request(0, "hang")), record(1, request(1, "die")), record(2, request(2, "hang"))])
    with pytest.raises(EngineDead):
        asyncio.run(serve(roads, FakeEngine(), tmp_path))
    assert not roads.finished
    assert not roads.delivered


class DiesAtTheEnd(FakeEngine):
    """While the worker drains: of a request, or by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping = asyncio.Event()

    async def _obey(self, text: str) -> None:
        if text == "later":
            await self.stopping.wait()
            text = "die"
        await super()._obey(text)

    async def watch(self) -> NoReturn:
        await self.stopping.wait()
        raise EngineDead("the fake engine died")


@pytest.mark.parametrize("text", ["later", "hang"])
def test_an_engine_that_dies_while_the_worker_drains_ends_it_like_any_other_time(text: str, tmp_path: Path) -> None:
    """At once, since nothing in hand can end any more; what was in hand is suspect to whoever is next."""
    roads = FakeRoads([record(0, request(0, text)), record(1, request(1, "hang"))])

    async def until_it_dies() -> float:
        engine = DiesAtTheEnd()
        await engine.start()
        stop = asyncio.Event()
        serving = asyncio.create_task(worker.serve([pool(roads, engine, tmp_path)], engine, stop, lambda: None))
        while len(engine.texts) < 2:  # noqa: ASYNC110 - asked in this loop
            await asyncio.sleep(0)
        stop.set()
        await asyncio.sleep(0.05)
        engine.stopping.set()
        died = time.monotonic()
        with pytest.raises(EngineDead):
            await serving
        return time.monotonic() - died

    assert asyncio.run(until_it_dies()) < worker.DRAIN_S_MAX / 2
    assert not roads.finished
    _forget_owner(tmp_path)
    assert Deaths(tmp_path, STAGE.name).suspicious(STAGE.reads[0].name, 0, [0, 1]) == {0: 0, 1: 0}


def test_a_request_that_kills_engines_is_given_up_undecoded(tmp_path: Path) -> None:
    """In company once, alone twice; then it is a dead letter, and its neighbours have been answered."""
    left = [record(offset, request(offset, "die" if offset == 1 else "hello")) for offset in range(3)]
    answered: list[str] = []
    deaths = 0
    while True:
        _forget_owner(tmp_path)
        roads = FakeRoads(left)
        try:
            asyncio.run(serve(roads, FakeEngine(), tmp_path))
        except EngineDead:
            answered += [answer.request_id for answer in answers(roads)]
            done = {one.offset for one in roads.finished}
            left = [one for one in left if one.offset not in done]
            deaths += 1
        else:
            break
    assert deaths == 3
    (letter,) = [out for out in roads.delivered if out.topic == STAGE.dead_letters.name]
    assert dict(letter.headers)["aios.dlq.reason"] == Reason.KILLS_ITS_PROCESS.encode()
    assert sorted({*answered, *(answer.request_id for answer in answers(roads))}) == ["r0", "r2"]


def _forget_owner(home: Path) -> None:
    """Make the marks those of a process that is not there any more, as after a real death."""
    for file in (home / "run" / "deaths" / STAGE.name).glob("*"):
        known = json.loads(file.read_text())
        if known[0]:
            known[1] = "999999999.1"
            file.write_text(json.dumps(known).ljust(512))


def test_nobody_is_given_up_for_what_another_did(tmp_path: Path) -> None:
    """Each alone in hand of its partition when the killer ends the process, twice: only the killer is given up."""
    left = [record(0, request(n, "die" if n == 1 else f"hello {n}"), partition=n) for n in range(5)]
    answered: list[str] = []
    deaths = 0
    while True:
        _forget_owner(tmp_path)
        roads = FakeRoads(left)
        try:
            asyncio.run(serve(roads, FakeEngine(), tmp_path))
        except EngineDead:
            deaths += 1
            assert deaths < 10
        finally:
            answered += [answer.request_id for answer in answers(roads)]
        done = {one.partition for one in roads.finished}
        left = [one for one in left if one.partition not in done]
        if not left:
            break
    assert sorted(set(answered)) == ["r0", "r2", "r3", "r4"]
    assert [out.topic for out in roads.delivered if out.topic == STAGE.dead_letters.name] == [STAGE.dead_letters.name]
    assert deaths <= 3


def test_a_suspect_has_the_process_for_itself() -> None:
    """Over all lanes: it waits until nothing else is started, nothing starts beside it, and then all go on."""
    quiet, resumed = Quiet(), []
    quiet.join(lambda: resumed.append(quiet.is_open))
    quiet.enter()
    assert not quiet.alone((1, ("a", 0)))
    assert not quiet.alone((2, ("b", 0)))
    assert not quiet.is_open
    quiet.leave()
    assert quiet.alone((1, ("a", 0)))
    assert not quiet.alone((2, ("b", 0)))
    quiet.leave()
    assert quiet.alone((2, ("b", 0)))
    quiet.leave()
    assert quiet.is_open
    assert resumed == [False, False, True]


def test_who_gives_up_his_wish_for_quiet_lets_the_others_start() -> None:
    """What was told to wait for him starts then, in every lane, though nothing ends that closed the process."""
    quiet, resumed = Quiet(), []
    quiet.join(lambda: resumed.append(True))
    quiet.enter()
    assert not quiet.alone((1, ("a", 0)))
    assert not quiet.opened()
    quiet.forget((2, ("b", 0)))
    assert not quiet.opened()
    quiet.forget((1, ("a", 0)))
    assert quiet.opened()
    assert not quiet.opened()
    assert resumed == [True]


def test_what_nobody_waits_for_is_taken_out_of_the_engine(tmp_path: Path) -> None:
    """Cancelled before its turn it costs nothing; cancelled while it runs it ends at once. Both are answered."""
    engine = FakeEngine()
    roads = FakeRoads([record(0, request(0, "hang")), record(1, request(1)), record(2, request(2))])

    async def until_cancelled() -> None:
        cancels = Cancels()
        cancels.heard(_cancelled("r1", "case_decided"))
        await asyncio.sleep(0)
        serving = asyncio.create_task(serve(roads, engine, tmp_path, cancels=cancels))
        await asyncio.wait_for(roads.any_finished.wait(), ENDED_S_MAX)
        cancels.heard(_cancelled("r0", "timed_out"))
        await serving

    asyncio.run(until_cancelled())
    found = {answer.request_id: (answer.status, answer.reason) for answer in answers(roads)}
    assert found == {
        "r0": ("expired", "cancelled: timed_out"),
        "r1": ("expired", "cancelled: case_decided"),
        "r2": ("ok", ""),
    }
    assert engine.cancelled == 1
    assert len(engine.asked) == 2


def _cancelled(request_id: str, reason: str) -> InferenceCancelled:
    return InferenceCancelled(
        request_id=request_id, case_id="c", tenant="demo", pool=STAGE.name, reason=reason, cancelled_at=1
    )


@pytest.mark.parametrize("file", [model_files.HEADS, model_files.CARD])
def test_heads_that_were_trained_anew_under_one_version_are_not_answered_by_old_labels(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker has read at its start is part of the question; one that has the same files knows the answer."""
    monkeypatch.setattr(model_files, "FOLDERS", (tmp_path,))
    folder = model_files.folder(CLASSIFIER)
    folder.mkdir(parents=True)
    (folder / model_files.CARD).write_text(f"model: {CLASSIFIER}\n", encoding="utf-8")
    classify.save(folder / model_files.HEADS, {"letters": HEAD})
    engine, kept = FakeEngine(), KeptInMemory()

    def answer(task: Classify, number: int) -> InferenceCompleted:
        roads = FakeRoads([record(0, request(number))])
        asyncio.run(serve(roads, engine, tmp_path, answers=kept, task=task))
        return answers(roads)[0]

    first, same = Classify(engine), Classify(engine)
    if file == model_files.HEADS:
        classify.save(folder / file, {"letters": replace(HEAD, labels=("c", "d"))})
    else:
        (folder / file).write_text(f"model: {CLASSIFIER}\nweights: others\n", encoding="utf-8")
    anew = Classify(engine)
    told = [answer(task, number) for number, task in enumerate((first, same, anew, anew))]
    assert [one.cached for one in told] == [False, True, False, True]
    assert [json.loads(one.output)["label"] for one in told[:3]] == [
        "a",
        "a",
        "c" if file == model_files.HEADS else "a",
    ]


def test_an_engine_that_reads_more_is_not_answered_by_what_it_read_less_of() -> None:
    """A piece that was cut at 256 tokens has another vector where 512 are read."""
    engine, kept, asked = FakeEngine(), KeptInMemory(), request(0)

    def is_known(context_tokens: int) -> bool:
        pool, task = installed.pools()[STAGE.name], Classify(engine, {"letters": HEAD})
        answering = Answering(pool, task, engine, answers=kept, context_tokens=context_tokens)
        return asyncio.run(answering.answer(record(0, asked), asked)).cached

    assert [is_known(each) for each in (256, 256, 512, 512)] == [False, True, False, True]
    served = worker.SERVED[STAGE.process]
    assert served.context_tokens(InferenceSettings()) == 256
    assert served.context_tokens(InferenceSettings(context_tokens=512)) == 512


def test_the_same_question_costs_nothing_the_second_time(tmp_path: Path) -> None:
    """The same answer, marked as known; another tenant, text or option is another question; failures are not kept."""
    engine, kept = FakeEngine(), KeptInMemory()
    first = FakeRoads([record(0, request(0)), record(1, request(1, "refuse me"))])
    asyncio.run(serve(first, engine, tmp_path, answers=kept))
    again = FakeRoads(
        [
            record(0, request(2, options=' {"head" : "letters"}')),
            record(1, request(3, tenant="other")),
            record(2, request(4, "hello there")),
            record(3, request(5, "refuse me")),
        ]
    )
    asyncio.run(serve(again, engine, tmp_path, answers=kept))
    told = {answer.request_id: answer for answer in (*answers(first), *answers(again))}
    assert [told[f"r{n}"].cached for n in range(6)] == [False, False, True, False, False, False]
    assert (told["r2"].output, told["r2"].input_hash) == (told["r0"].output, told["r0"].input_hash)
    assert (told["r2"].prompt_tokens, told["r2"].cost_micro, told["r2"].engine_us) == (0, 0, 0)
    assert told["r2"].model == CLASSIFIER
    assert len(engine.asked) == 5
    assert len(kept.kept) == 3


def test_an_answer_says_what_it_took_and_what_that_costs(tmp_path: Path) -> None:
    """By the price of its pool's file: prompt tokens, output tokens and engine time."""
    engine = FakeEngine()
    asked = request(0, "word " * 500, fallback_of="other.bulk")
    roads = FakeRoads([record(0, asked)])
    asyncio.run(serve(roads, engine, tmp_path))
    (answer,) = answers(roads)
    price = installed.pools()[STAGE.name].price
    assert answer.engine_us > 0
    assert answer.cost_micro == price.of(
        prompt_tokens=answer.prompt_tokens, output_tokens=0, engine_us=answer.engine_us
    )
    assert answer.cost_micro > 0
    assert (answer.pool, answer.fallback_of) == (STAGE.name, "other.bulk")


class Bills(OpenAIEngine):
    """A server that bills 10 tokens for each piece it answers. That of `m` it does not answer at first, and then as
    told: it answers, hangs, is away, or what it says makes no sense.
    """

    def __init__(self, then: str) -> None:
        super().__init__("m", url="http://127.0.0.1:1/v1", api_key="", answer_s_max=60, calls=at_once(8))
        self.billed = 0
        self._then = then
        self._tries = 0

    async def start(self) -> None:
        """Nobody is there."""

    async def _send(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if body["input"].startswith("m"):
            self._tries += 1
            await asyncio.sleep(0.01)  # the other piece is answered meanwhile
            if self._tries == 1 or self._then == "away":
                raise Unavailable("the fake server is busy")
            if self._then == "hangs":
                await asyncio.sleep(3600)
            if self._then == "nonsense":
                raise ZeroDivisionError
        self.billed += 10
        return 200, {"data": [{"embedding": [1.0] * 4}], "usage": {"prompt_tokens": 10}}


TWO_PIECES = "a " * classify.WORDS_MAX + "m " * classify.WORDS_MAX


@pytest.mark.parametrize(("then", "status"), [("answers", "ok"), ("hangs", "expired"), ("away", "expired")])
def test_what_a_server_billed_for_earlier_tries_is_counted(then: str, status: str, tmp_path: Path) -> None:
    """A piece that was answered while another was not is paid anew with each try, whatever comes of the last one."""
    roads, engine = FakeRoads([record(0, request(0, TWO_PIECES, deadline_at=wall_ms() + 500))]), Bills(then)
    asyncio.run(serve(roads, engine, tmp_path))
    (answer,) = answers(roads)
    assert engine.billed >= 20
    assert (answer.status, answer.prompt_tokens) == (status, engine.billed)
    price = installed.pools()[STAGE.name].price
    assert answer.cost_micro == price.of(prompt_tokens=engine.billed, output_tokens=0, engine_us=0)


def test_what_a_server_billed_for_a_request_that_is_given_up_is_counted(tmp_path: Path) -> None:
    """Of its last attempt: those before were other records."""
    asked = record(0, request(0, TWO_PIECES))
    for _ in range(STAGE.attempts_max):
        roads, engine = FakeRoads([asked]), Bills("nonsense")
        asyncio.run(serve(roads, engine, tmp_path))
        asked = replace(asked, topic=STAGE.retries.name, headers=roads.delivered[0].headers)
    (answer,) = answers(roads)
    assert (answer.status, answer.prompt_tokens, engine.billed) == ("failed", 20, 20)


class HalfWay(FakeEngine):
    """Waits five seconds for a seat, writes seven tokens, and no more: by what it tells the meter."""

    async def _obey(self, text: str) -> None:
        usage = batch.metered(time.monotonic() - 5)
        if not usage.seated_at:
            usage.seated_at = usage.asked_at + 5
        usage.wrote(7, at=usage.seated_at, before=None)
        await super()._obey(text)


@pytest.mark.parametrize(("text", "status", "written"), [("hello", "ok", 0), ("hang", "expired", 7)])
def test_a_wait_for_a_seat_counts_as_a_wait_and_what_was_written_for_nobody_as_written(
    text: str, status: str, written: int, tmp_path: Path
) -> None:
    """The time in line is before the engine, not in it; what an answer had written when it came too late is charged."""
    roads = FakeRoads([record(0, request(0, text, deadline_at=wall_ms() + 500))])
    asyncio.run(serve(roads, HalfWay(), tmp_path))
    (answer,) = answers(roads)
    assert (answer.status, answer.output_tokens) == (status, written)
    assert answer.queue_ms >= 5_500 > answer.compute_ms
    assert answer.first_token_ms == 5_000


def test_a_price_is_rounded_once_and_up() -> None:
    """Nothing that has a price is free, and nothing is rounded part by part."""
    price = pool_files.Price(per_1000_prompt_tokens=20, per_1000_output_tokens=600, per_engine_second=30)
    assert price.of(prompt_tokens=0, output_tokens=0, engine_us=0) == 0
    assert price.of(prompt_tokens=25, output_tokens=0, engine_us=0) == 1
    assert price.of(prompt_tokens=50, output_tokens=0, engine_us=0) == 1
    assert price.of(prompt_tokens=51, output_tokens=0, engine_us=0) == 2
    assert price.of(prompt_tokens=1_000, output_tokens=1_000, engine_us=1_000_000) == 650


def test_whoever_waits_goes_first_in_the_engine() -> None:
    """Any interactive request is before any bulk one, whatever their own priorities say."""

    engine = FakeEngine()

    def priority(lane: str, own: int) -> int:
        declared = installed.pools()[f"classify.{lane}"]
        return Answering(declared, Classify(engine, {}), engine)._priority(request(0, priority=own))

    assert priority("interactive", 10**9) < priority("bulk", -(10**9))
    assert priority("bulk", 1) < priority("bulk", 2)


VERBS = st.sampled_from(["hello", "hello", "refuse", "away", "bug", "die", "late", "garbage"])


@settings(max_examples=60, deadline=None)
@given(verbs=st.lists(VERBS, max_size=12), in_flight_max=st.integers(1, 5), away=st.integers(0, 2))
def test_every_record_is_finished_once_or_left_to_the_next_process(
    verbs: list[str], in_flight_max: int, away: int
) -> None:
    """Whatever they do to the engine: nothing is finished before it was written somewhere, nothing twice."""
    records = []
    for offset, verb in enumerate(verbs):
        late = {"deadline_at": wall_ms() - 1} if verb == "late" else {}
        asked: InferenceRequested | bytes = (
            b"\xff" if verb == "garbage" else request(offset, f"{verb} {offset}", **late)
        )
        records.append(record(offset, asked, partition=offset % 2))
    roads = FakeRoads(records, in_flight_max=in_flight_max, away=away)
    if not records:
        roads.all_ended.set()
    died = False
    with TemporaryDirectory() as home:
        try:
            asyncio.run(serve(roads, FakeEngine(), Path(home)))
        except EngineDead:
            died = True
    finished = Counter(one.offset for one in roads.finished)
    assert all(count == 1 for count in finished.values())
    assert died == ("die" in verbs)
    assert roads.in_flight_seen <= in_flight_max
    if not died:
        assert len(finished) == len(records)
    ended = Counter(answer.request_id for answer in answers(roads))
    assert all(count == 1 for count in ended.values())
    for offset in finished:
        assert verbs[offset] != "die"
        assert (f"r{offset}" in ended) == (verbs[offset] not in ("garbage", "bug"))
    delivered_before = 0
    for what, _ in roads.happened:
        delivered_before += 1 if what == "delivered" else -1
        assert delivered_before >= 0
