"""A stage that is killed while a key is held, and again at each step of bringing back what was held."""

from __future__ import annotations

import signal
from pathlib import Path

from aios.streams.config import KafkaSettings
from tests.broker.stages import committed, counting_stage, create, put, put_back
from tests.fault.test_stage_poison import Slot

FAILS = '{"do": "fail"}'


def test_a_held_key_comes_back_in_order_whatever_is_killed(kafka: KafkaSettings, unique: str, tmp_path: Path) -> None:
    """kill -9 while it is parked and at every step of its return: each record counts once, in order, none is stuck."""
    stage = counting_stage(unique, inputs=2, ordered=True)
    create(kafka, stage, 1)
    first, letters = stage.reads[0].name, stage.dead_letters.name
    put(kafka, first, [("a", FAILS), ("a", "1"), ("b", "other"), ("a", "2"), ("a", "3")])
    steps = ("produced=kill", "computed=kill@2", "produced=kill", "committed=kill")
    slot = Slot(kafka, unique, tmp_path, [f"{stage.name}.{step}" for step in steps], ordered=True)
    try:
        parked = slot.until(kafka, letters, 4)
        assert slot.until_told(kafka, stage, 1) == [("other", 1)]
        assert [one.value() for one in parked] == [FAILS.encode(), b"1", b"2", b"3"]
        assert [dict(one.headers())["aios.dlq.reason"] for one in parked] == [b"undecodable", *[b"parked"] * 3]

        head, one, two, three = parked
        put_back(kafka, stage, [(two, b"2"), (head, b"0"), (two, b"2"), (one, b"1"), (one, b"1")])
        slot.until_told(kafka, stage, 3)
        again = slot.until(kafka, letters, 6)[4:]
        put(kafka, first, [("a", "4")])
        assert [one.value() for one in again] == [b"2", b"2"]

        five = slot.until(kafka, letters, 7)[6]
        put_back(kafka, stage, [(again[0], b"2"), (three, b"3"), (again[1], b"2"), (five, b"4")])
        slot.until_told(kafka, stage, 6)
        put(kafka, first, [("a", "5")])
        told = slot.until_told(kafka, stage, 7)
    finally:
        slot.kill()
    assert told == [("other", 1), ("0", 1), ("1", 2), ("2", 3), ("3", 4), ("4", 5), ("5", 6)]
    assert len(committed(kafka, letters)) == 7
    assert slot.exits == [-signal.SIGKILL] * 4
