"""Versions of a model and a prompt change while cases flow and plan dies: each case ends with those it began with."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest

from aios.inference_workers.tasks import WRITER
from aios.infra.tail import Tail
from aios.schemas.codec import Codec
from aios.schemas.models import AuditRecorded, ModelActivated
from aios.streams import activations, prompt_files, topology
from aios.streams.config import KafkaSettings, RedisSettings, RegistrySettings, Settings
from aios.streams.kafka import Delivery, ensure_topics
from aios.streams.record import Outgoing
from aios.streams.topics import AUDIT_RECORDED, CASE_ADMITTED
from tests.broker.canaried import MODEL, Canaried
from tests.broker.test_workflow_deploy import process
from tests.fakes import twice

pytestmark = pytest.mark.broker
PROMPT = "summary"
SERVED = (1, 2, 1)  # versions of both, one after the other
BEGAN_MIN = 100  # cases that each of these is first asked for
AT_ONCE, EVERY_S = 3, 0.1  # cases that come: 30 a second, some 400 in all
TEXT = "AIOS-DRILL-SLOW=0.800 My card has not arrived, and nobody tells me when it comes."
FIRST, AGAIN = {MODEL: "label", PROMPT: "tell"}, {MODEL: "label_again", PROMPT: "tell_again"}  # steps


class Ask(NamedTuple):
    case_id: str
    step: str
    version: int


class Stamps:
    """What plan has asked: by model or prompt, and by partition of plan's, in its order."""

    def __init__(self, tail: Tail, there: Canaried) -> None:
        self.asked: dict[str, dict[int, list[Ask]]] = {name: defaultdict(list) for name in FIRST}
        self._tail = tail
        self._codec = there.codec
        self._tenant = there.tenant

    def read(self) -> None:
        """What has come since."""
        for record in self._tail.poll(0.1):
            one = self._codec.decode(record.value, AuditRecorded)
            if (one.tenant, one.transition) == (self._tenant, "requested"):
                said, name = json.loads(one.detail), MODEL if one.step.startswith(FIRST[MODEL]) else PROMPT
                version = said["model" if name == MODEL else "prompt"].rpartition("@")[2]
                self.asked[name][record.partition].append(Ask(one.case_id, one.step, int(version)))

    def began(self, name: str) -> list[list[tuple[int, int]]]:
        """By partition: the versions that cases began with, one after the other, and how many did."""
        return [runs(one.version for one in asks if one.step == FIRST[name]) for asks in self.asked[name].values()]

    def by_case(self, step: str) -> dict[str, int]:
        """The version that this step asked."""
        asks = (one for found in self.asked.values() for each in found.values() for one in each)
        return {one.case_id: one.version for one in asks if one.step == step}


def runs(versions: Iterable[int]) -> list[tuple[int, int]]:
    return [(version, len(list(same))) for version, same in groupby(versions)]


class Flow(Canaried):
    """Cases that ask a model and a prompt twice each."""

    def activate(self, version: int) -> None:
        """Both, past the commands, which let no older prompt serve."""
        kafka, codec = self.settings.kafka, self.codec
        told = ModelActivated(model=MODEL, version=version, reason="", by="", activated_at=0)
        activations.write(kafka, codec, told, by="ann", reason="a test")
        kept = prompt_files.evaluated(f"{PROMPT}@{version}")
        assert kept is not None
        passed = kept.model_copy(update={"passed": True})
        activations.write_prompt(kafka, codec, PROMPT, version, evaluation=passed, by="ann", reason="a test")

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Cases come, whatever else happens, until the block ends."""
        stop = threading.Event()

        async def feed() -> None:
            delivery = Delivery(self.settings.kafka, client_id="test")
            while not stop.is_set():
                new = self.made(AT_ONCE, text=TEXT)
                await delivery.deliver_all(
                    Outgoing(CASE_ADMITTED.name, case_id.encode(), self.codec.encode(CASE_ADMITTED, one))
                    for case_id, one in new.items()
                )
                self.cases |= new.keys()
                await asyncio.sleep(EVERY_S)
            delivery.close()

        feeding = threading.Thread(target=lambda: asyncio.run(feed()))
        feeding.start()
        try:
            yield
        finally:
            stop.set()
            feeding.join()

    def until_it_serves(self, stamps: Stamps, nth: int) -> None:
        """So many cases began with the nth of SERVED, of model and of prompt."""

        def true() -> bool:
            stamps.read()
            served = [[each[nth][1] for each in stamps.began(name) if len(each) > nth] for name in FIRST]
            return min(map(sum, served)) >= BEGAN_MIN

        self.until(true)


@pytest.fixture
def settings(kafka: KafkaSettings, registry_url: str, valkey_url: str, tmp_path: Path) -> Settings:
    asyncio.run(ensure_topics(kafka, topology.all_topics().values()))
    return Settings(
        home=tmp_path / "home",
        kafka=kafka,
        registry=RegistrySettings(url=registry_url),
        redis=RedisSettings(url=valkey_url),
    )


@pytest.fixture
def there(settings: Settings, codec: Codec, unique: str, tmp_path: Path) -> Flow:
    """Deployed; nothing runs yet."""
    made = Flow(settings, codec, unique, write=twice.write)
    made.deploy(tmp_path)
    return made


def test_each_case_ends_with_the_versions_it_began_with(there: Flow) -> None:
    """@1, @2, @1 of both while cases come and are asked for; plan is killed, and the change of a table that it has
    slept through is what it goes on with. None is lost, none is answered twice or by two versions, and in each of
    plan's partitions the versions that cases begin with follow the table.
    """
    first, then, last = SERVED
    there.activate(first)
    with ExitStack() as processes, closing(Tail(there.settings.kafka, [AUDIT_RECORDED.name])) as tail:
        stamps = Stamps(tail, there)
        for name in ("classify", "generate"):
            processes.enter_context(process(there.settings, name, AIOS_INFERENCE__ENGINE="echo"))
        processes.enter_context(process(there.settings, "retry"))  # who asks while an engine loads comes back by it
        killed = processes.enter_context(process(there.settings, "plan"))
        with there.flowing():
            there.until_it_serves(stamps, 0)
            killed.kill()
            killed.wait()
            there.activate(then)
            processes.enter_context(process(there.settings, "plan"))
            there.until_it_serves(stamps, 1)
            there.activate(last)
            there.until_it_serves(stamps, 2)
        decided = there.decided(there.cases)
        there.until(lambda: stamps.read() or stamps.by_case(AGAIN[PROMPT]).keys() == there.cases)
    assert {one.outcome for one in decided.values()} == {"told"}
    began = {name: stamps.by_case(FIRST[name]) for name in FIRST}
    assert {name: stamps.by_case(AGAIN[name]) for name in AGAIN} == began
    answers = there.answers()
    said = {case_id: sorted((one.step, one.model, one.prompt) for one in answers[case_id]) for case_id in there.cases}
    assert said == {case_id: expected(began[MODEL][case_id], began[PROMPT][case_id]) for case_id in there.cases}
    for name, asks in stamps.asked.items():
        assert [[version for version, _ in each] for each in stamps.began(name)] == [[*SERVED]] * len(asks)
        changes = [len(runs(one.version for one in each)) for each in asks.values()]
        assert max(changes) > len(SERVED), "no case was asked again by the one while others began with the other"


def expected(model: int, prompt: int) -> list[tuple[str, str, str]]:
    """Step, model and prompt of a case's answers, of which each came once."""
    labelled = [(step, f"{MODEL}@{model}", "") for step in (FIRST[MODEL], AGAIN[MODEL])]
    told = [(step, WRITER, f"{PROMPT}@{prompt}") for step in (FIRST[PROMPT], AGAIN[PROMPT])]
    return sorted(labelled + told)
