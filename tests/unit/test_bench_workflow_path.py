"""What `aios bench workflow --only path` makes of a case's records: parts of its way, and what is apart from ours."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from aios.infra import deploying
from aios.infra.bench import workflow_path, workflow_path_stand
from aios.infra.bench.workflow_path import HTTP, INTENDS, LATE, MODEL, PARTS, QUEUE, SYSTEM_TIME, Asked, Way
from aios.infra.bench.workflow_path_stand import NAME, OUTCOME, POOL_LANE, SYSTEM
from aios.processors.connectors.http import operations_of
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, ConnectorCompleted
from aios.streams import extensions, installed, system_files, topics, topology
from aios.streams.record import Record
from aios.streams.topics import Topic
from tests.fakes.answers import answer
from tests.fakes.registry import FakeRegistry

CODEC = Codec(FakeRegistry())
DELAY_MS = 20.0
ASKS = topics.connector_requested(SYSTEM)
CALL = (ASKS, topics.CONNECTOR_COMPLETED)
ORDER: Sequence[Topic] = (
    topics.CASE_ADMITTED,
    topics.inference_requested(POOL_LANE),
    topics.INFERENCE_COMPLETED,
    *(CALL * 3),
    ASKS,
    topics.CONNECTOR_INTENDED,
    topics.CONNECTOR_COMPLETED,
    *CALL,
    topics.CASE_DECIDED,
)
ANSWER = answer(workflow=NAME, queue_ms=3, compute_ms=2)
CALLED = ConnectorCompleted(
    request_id="r",
    case_id="case",
    tenant="demo",
    workflow=NAME,
    step="bank",
    attempt=1,
    system=SYSTEM,
    operation="look_up",
    status="ok",
    reason="",
    output=json.dumps({"about": "a", "score": 7, "there_ms": 21.5}),
    output_contract="outside.look_up.v1",
    tries=1,
    reconciled=False,
    waited_ms=1,
    call_ms=25,
    completed_at=0,
)


@dataclass(frozen=True)
class Decision:
    """Stands for a decision's bytes."""

    outcome: str


class Reads:
    """A codec for which the decision's value is its outcome: the contract has many fields, and one counts here."""

    def decode(self, value: bytes, kind: type[Any]) -> Any:
        return Decision(value.decode()) if kind is CaseDecided else CODEC.decode(value, kind)


READS: Any = Reads()


def way(gaps: Sequence[int], outcome: str = OUTCOME, called: ConnectorCompleted = CALLED) -> Way:
    """A case whose records came so many milliseconds after each other, told in no order."""
    values: Mapping[Topic, bytes] = {
        topics.INFERENCE_COMPLETED: CODEC.encode(topics.INFERENCE_COMPLETED, ANSWER),
        topics.CONNECTOR_COMPLETED: CODEC.encode(topics.CONNECTOR_COMPLETED, called),
        topics.CASE_DECIDED: outcome.encode(),
    }
    at, records = 1000, []
    for topic, gap in zip(ORDER, gaps, strict=True):
        at += gap
        records.append(Record(topic.name, 0, 0, at, b"case", values.get(topic, b""), ()))
    return Way(began_ms=1000, records=records[::-1])


@given(st.lists(st.integers(0, 200), min_size=len(ORDER), max_size=len(ORDER)))
def test_the_parts_of_a_way_add_up_to_the_whole(gaps: list[int]) -> None:
    """Each millisecond is in one part, whatever came within one millisecond; what answers say of is its own part.

    No intent and no answer comes within the millisecond of its command: a transaction ends before, and a delay is kept.
    """
    later = (topics.CONNECTOR_INTENDED, topics.CONNECTOR_COMPLETED)
    gaps = [gap + (topic in later) for topic, gap in zip(ORDER, gaps, strict=True)]
    hops = workflow_path.hops(way(gaps), READS, DELAY_MS)
    assert sum(hop.ms for hop in hops) == pytest.approx(sum(gaps))
    met = [hop.part for hop in hops if hop.part not in (QUEUE, MODEL, SYSTEM_TIME, LATE, HTTP)]
    assert met == [PARTS[topic.name] for topic in ORDER]
    known = {(hop.part, hop.ms) for hop in hops if hop.part in (QUEUE, MODEL, SYSTEM_TIME, LATE, HTTP)}
    assert known == {(QUEUE, 3), (MODEL, 2), (SYSTEM_TIME, DELAY_MS), (LATE, 1.5), (HTTP, 3.5)}


def test_every_part_ends_with_a_record_of_a_topic_that_there_is() -> None:
    """Else nobody could follow it; the commands of the benchmark's own system come with that system."""
    assert set(PARTS) - {ASKS.name} <= topology.all_topics().keys()


def test_outside_is_the_delay_that_is_known_and_the_model_no_more() -> None:
    """Five delays and the model's time; what lasted longer than the delay stays ours."""
    found = workflow_path.figures([way([30] * len(ORDER)), way([40] * len(ORDER))], READS, DELAY_MS, OUTCOME)
    whole = [30 * len(ORDER), 40 * len(ORDER)]
    assert found["outside_ms"]["p50"] == 5 * DELAY_MS + 2
    assert found["whole_ms"]["p50"] == sum(whole) / 2
    assert found["ours_ms"]["p50"] == sum(whole) / 2 - 5 * DELAY_MS - 2
    assert (found["cases"], found["decided_share"]) == (2, 1.0)


def test_a_row_says_how_often_a_part_was_met_and_its_share_of_the_way() -> None:
    """The shares of all rows add up to the mean of the whole."""
    ways = [way([10] * len(ORDER)), way([20] * len(ORDER))]
    rows = {row["part"]: row for row in workflow_path.figures(ways, READS, DELAY_MS, OUTCOME)["parts"]}
    assert set(rows) == {*PARTS.values(), QUEUE, MODEL, SYSTEM_TIME, LATE, HTTP}
    assert rows[SYSTEM_TIME] == {
        "part": SYSTEM_TIME,
        "times": 5.0,
        "ms of a case": 5 * DELAY_MS,
        "mean": DELAY_MS,
        "p50": DELAY_MS,
        "p95": DELAY_MS,
        "p99": DELAY_MS,
    }
    assert (rows[INTENDS]["times"], rows[INTENDS]["ms of a case"]) == (1.0, 15.0)
    assert sum(row["ms of a case"] for row in rows.values()) == pytest.approx(15 * len(ORDER), abs=1)


def test_a_case_that_is_not_decided_as_it_should_is_in_the_share_and_not_in_the_times() -> None:
    """A refused one is quick, one that is still open has no time at all."""
    open_one = way([1000] * len(ORDER))
    open_one.records = open_one.records[1:]
    ways = [way([30] * len(ORDER)), way([30] * len(ORDER)), way([1] * len(ORDER), "refused"), open_one]
    found = workflow_path.figures(ways, READS, DELAY_MS, OUTCOME)
    assert (found["decided_share"], found["whole_ms"]["p99"]) == (0.5, 30 * len(ORDER))
    assert found["ends"] == {OUTCOME: 2, "refused": 1, "not decided": 1}


def test_where_nothing_was_decided_there_are_no_times() -> None:
    """And no division by nothing."""
    found = workflow_path.figures([Way(began_ms=0)], READS, DELAY_MS, OUTCOME)
    assert (found["decided_share"], found["whole_ms"], found["parts"]) == (0.0, {}, [])


def test_a_call_that_failed_takes_nothing_off() -> None:
    """Nobody knows how long it was there, so all of it is ours."""
    failed = replace(CALLED, status="failed", output="", reason="http_500: it failed inside")
    found = workflow_path.figures([way([30] * len(ORDER), called=failed)] * 2, READS, DELAY_MS, OUTCOME)
    assert found["outside_ms"]["p50"] == 2


def test_the_warm_up_is_at_the_same_rate_and_bounded() -> None:
    """At 20/s the first 15 s of cases do not count."""
    asked = Asked(seconds=60, per_s=20, delay_ms=DELAY_MS, files="")
    assert (asked.warm, asked.count) == (300, 1200)
    assert (replace(asked, seconds=5, per_s=2).warm, replace(asked, seconds=0.1, per_s=1).count) == (10, 2)


def test_the_outside_system_answers_after_its_delay_and_remembers_bookings() -> None:
    """Never sooner than it was told, or what is subtracted would be too much."""

    async def asked() -> tuple[list[dict[str, Any]], list[float], int]:
        async with TestClient(TestServer(workflow_path_stand.outside(DELAY_MS))) as client:
            said, took = [], []
            for method, path in (("GET", "/facts/a"), ("POST", "/bookings"), ("GET", "/bookings/k")):
                began = time.perf_counter()
                body = {"about": "a", "score": 7} if method == "POST" else None
                async with client.request(method, path, json=body, headers={"Idempotency-Key": "k"}) as answer:
                    said.append(await answer.json())
                took.append((time.perf_counter() - began) * 1000)
            async with client.get("/bookings/other") as answer:
                return said, took, answer.status

    (fact, booking, found), took, missing = asyncio.run(asked())
    assert min(fact["there_ms"], booking["there_ms"], *took[:2]) >= DELAY_MS
    assert (found, missing) == (booking, 404)


def test_the_folder_has_one_system_and_the_workflow_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read beside those that ship, and the recorded case passes."""
    own = workflow_path_stand.extended(tmp_path / "own")
    known = system_files.read(*extensions.folders(system_files.FOLDER, own))
    assert set(known) == {*installed.systems(), SYSTEM}
    assert set(operations_of(known[SYSTEM])) == {"look_up", "book"}
    monkeypatch.setattr(installed, "systems", lambda: known)
    judged = deploying.judge(workflow_path_stand.file_in(workflow_path_stand.written(tmp_path / "workflow")))
    assert [one.wrong for one in judged.ran] == [()]
