"""Who has records in hand in a process: whoever must be alone is, and nobody waits for ever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import deaths
from aios.dlq.deaths import Deaths
from aios.dlq.settle import Settler
from aios.processors.stateful.batch import Batch
from aios.processors.stateful.company import Company
from aios.processors.stateful.state import Effects, StateView
from aios.processors.stateful.store import PartitionStore, Services
from aios.schemas.codec import Codec
from aios.streams.record import Outgoing, Record
from aios.streams.topology import PLAN
from tests.fakes.breakers import OwnBreakers
from tests.fakes.memory_log import MemoryLog
from tests.fakes.registry import FakeRegistry

INPUT = PLAN.reads[0].name
DONE_S_MAX = 30.0
LOOK_S = 0.1  # after which whoever did not wait would have begun


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=30), min_size=2, max_size=5))
def test_whoever_is_alone_has_the_process_for_itself_and_all_come_to_an_end(lanes: list[list[bool]]) -> None:
    """Lanes that go together, and alone, in any order: nobody else is in hand then."""
    company, in_hand, met = Company(), set[int](), list[set[int]]()

    def work(who: int, turns: list[bool]) -> None:
        for alone in turns:
            with company.alone() if alone else company.beside(who):
                in_hand.add(who)
                if alone:
                    met.append(in_hand - {who})
                in_hand.discard(who)

    with ThreadPoolExecutor(len(lanes)) as pool:
        for done in [pool.submit(work, who, turns) for who, turns in enumerate(lanes)]:
            done.result(DONE_S_MAX)
    assert not any(met)


def test_who_is_suspect_waits_for_those_in_hand_and_they_for_it() -> None:
    """In that order, whoever comes first."""
    company = Company()
    alone, go_on, beside = threading.Event(), threading.Event(), threading.Event()

    def suspect() -> None:
        with company.alone():
            alone.set()
            assert go_on.wait(DONE_S_MAX)

    def other() -> None:
        with company.beside(2):
            beside.set()

    with ThreadPoolExecutor(3) as pool:
        with company.beside(1):
            first = pool.submit(suspect)
            assert not alone.wait(LOOK_S)
            second = pool.submit(other)
            assert not beside.wait(LOOK_S)
            assert not alone.is_set()
        assert alone.wait(DONE_S_MAX)  # who waits behind it is not in hand
        assert not beside.wait(LOOK_S)
        go_on.set()
        assert beside.wait(DONE_S_MAX)
        first.result(DONE_S_MAX)
        second.result(DONE_S_MAX)


class Meeting:
    """A core that stays at the record of partition 0 until it is told to go on. met: by partition."""

    def __init__(self) -> None:
        self.met, self.go_on = (threading.Event(), threading.Event()), threading.Event()

    def step(self, record: Record, state: StateView, now_ms: int) -> Effects:
        self.met[record.partition].set()
        if record.partition == 0:
            assert self.go_on.wait(DONE_S_MAX)
        return Effects()

    def fire(self, key: str, timer_id: str, due_ms: int, now_ms: int) -> Outgoing:
        raise NotImplementedError


def test_a_death_with_a_suspect_in_hand_is_held_against_nobody_in_another_partition(tmp_path: Path) -> None:
    """Each was alone in hand of its partition when a process died; the next one dies of the first of them."""
    codec, core = Codec(FakeRegistry()), Meeting()
    assert PLAN.changelog is not None
    codec.warm([PLAN.changelog])
    services = Services(
        stage=PLAN,
        core=core,
        codec=codec,
        log=MemoryLog(codec, PLAN),
        deaths=Deaths(tmp_path, PLAN.name),
        settler=Settler(PLAN, "test", breakers=OwnBreakers()),
    )
    batches = [Batch(INPUT, one, 0, [Record(INPUT, one, 0, 1_000, b"k", b"v")], 1) for one in (0, 1)]
    stores = [PartitionStore(replace(services, log=MemoryLog(codec, PLAN, partition=one)), one) for one in (0, 1)]
    with mock.patch.object(deaths, "_me", return_value="first"):
        for one in (0, 1):
            Deaths(tmp_path, PLAN.name).begin(INPUT, one, 0, 0)
    with (
        mock.patch.object(deaths, "_me", return_value="second"),
        mock.patch.object(deaths, "_alive", lambda owner: owner == "second"),
        ThreadPoolExecutor(2) as pool,
    ):
        for store in stores:
            store.open()
        killing = pool.submit(stores[0].apply, [batches[0]])
        assert core.met[0].wait(DONE_S_MAX)
        waiting = pool.submit(stores[1].apply, [batches[1]])
        assert not core.met[1].wait(LOOK_S)
        marks = [path.read_text() for path in sorted((tmp_path / "run/deaths" / PLAN.name).iterdir())]
        core.go_on.set()
        killing.result(DONE_S_MAX)
        waiting.result(DONE_S_MAX)
    assert ["second" in mark for mark in marks] == [True, False]
    assert core.met[1].is_set()
