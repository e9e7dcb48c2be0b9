"""The lake: rows by contract, files that replace and never double, queries that run from the first day."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from aios.dlq import envelope
from aios.dlq.deaths import Deaths
from aios.dlq.settle import Settler
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, EventRefused, InferenceCompleted, ReviewRequested, UsageSettled
from aios.sinks import lake_files, lake_query
from aios.sinks.lake import Lake, claim
from aios.sinks.lake_query import QueryRefused
from aios.sinks.lake_tables import Rows
from aios.sinks.shell import Shell
from aios.streams import topics
from aios.streams.config import LakeSettings
from aios.streams.durations import DAY_MS
from aios.streams.errors import Reason, RecordError, StateBroken, Unavailable
from aios.streams.record import Record
from aios.streams.topology import ADMIT, LAKE, PLAN
from tests.fakes.answers import answer
from tests.fakes.breakers import OwnBreakers
from tests.fakes.registry import FakeRegistry

NOW = 1_790_000_000_000
FAR = 4_000_000_000_000
CODEC = Codec(FakeRegistry())
ROWS = Rows(CODEC, personal=False)


def decided(case: str, *, by: str = "policy", label: str = "mortgage", outcome: str = "routed") -> CaseDecided:
    return CaseDecided(
        decision_id=f"d-{case}",
        case_id=case,
        tenant="demo",
        workflow="document.triage",
        workflow_version=1,
        event_id=f"e-{case}",
        idempotency_key="a customer's number",
        outcome=outcome,
        label=label,
        confidence=0.83,
        channel="letter",
        reasons=("confident",),
        summary="He is angry.",
        models=("triage-encoder@1",),
        prompts=(),
        decided_by=by,
        received_at=NOW,
        admitted_at=NOW,
        decided_at=NOW + 60_000,
        case_seq=4,
        lane="bulk",
        source_topic="document.received.v1",
        source_partition=0,
        source_offset=1,
    )


def asked(case: str, suggestion: str = "mortgage", at: int = NOW, number: int = 1) -> ReviewRequested:
    return ReviewRequested(
        task_id=f"t-{case}-{number}",
        case_id=case,
        tenant="demo",
        workflow="document.triage",
        workflow_version=1,
        step="ask",
        reasons=("low_confidence", "out_of_scope"),
        suggestion=suggestion,
        confidence=0.41,
        choices=("mortgage", "card"),
        input_contract="document.received.v1",
        input='{"text":"My house"}',
        requested_at=at,
        expires_at=FAR,
        round=number,
    )


def settled(case: str, at: int, kind: str = "person") -> UsageSettled:
    return UsageSettled(
        settlement_id=f"{case}-{at}",
        reservation_id="",
        case_id=case,
        tenant="demo",
        workflow="document.triage",
        kind=kind,
        cost_micro=0,
        settled_at=at,
    )


def answered(case: str) -> InferenceCompleted:
    return answer(
        request_id=f"r-{case}",
        case_id=case,
        output='{"label":"secret"}',
        output_contract="",
        engine="vllm",
        input_hash="ab",
        prompt_tokens=10,
        queue_ms=120,
        compute_ms=30,
        completed_at=NOW,
    )


def record(topic: topics.Topic, event: Any, offset: int, partition: int = 0, at: int = NOW) -> Record:
    return Record(topic.name, partition, offset, at, event.case_id.encode(), CODEC.encode(topic, event))


def decisions(offsets: Sequence[int], at: int = NOW) -> list[Record]:
    return [record(topics.CASE_DECIDED, decided(f"case-{offset}"), offset, at=at) for offset in offsets]


def dead_letter(offset: int, stage: Any = ADMIT) -> Record:
    failed = Record("document.received.v1", 2, 7, NOW, b"jane@example.org", b"garbage", (("ce_subject", b"Jane"),))
    failure = envelope.Failure(
        stage=stage, error=RecordError("no", Reason.UNDECODABLE), attempts=1, now_ms=NOW, cluster="c"
    )
    out = envelope.wrap(failed, failure)
    return Record(out.topic, 2, offset, NOW, out.key, out.value, out.headers)


def put(lake: Path, records: Sequence[Record], rows: Rows = ROWS) -> list[Path]:
    schemas = {name: table.schema for name, table in rows.tables.items()}
    return lake_files.write(lake, [rows.of(one) for one in records], schemas)


def offsets(lake: Path) -> list[int]:
    found = lake_query.ask(lake, "select kafka_offset from case_decided order by all")
    return [row[0] for row in found.rows]


def names(lake: Path) -> list[str]:
    return sorted(path.name for path in lake.rglob("*.parquet"))


def test_a_file_is_named_by_topic_date_partition_and_offsets(tmp_path: Path) -> None:
    """One a date, by the broker's time; a value is what the contract says, with its type."""
    paths = put(tmp_path, [*decisions([3, 4]), *decisions([5], at=NOW + DAY_MS)])
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "case.decided.v1/date=2026-09-21/case.decided.v1-0-3-4.parquet",
        "case.decided.v1/date=2026-09-22/case.decided.v1-0-5-5.parquet",
    ]
    row = pq.read_table(paths[0]).to_pylist()[0]
    assert row["label"] == "mortgage"
    assert row["reasons"] == ["confident"]
    assert row["decided_at"].replace(tzinfo=UTC).timestamp() * 1000 == NOW + 60_000


def test_personal_fields_stay_out_unless_the_deployment_says_so(tmp_path: Path) -> None:
    """Nothing of a person in any file; with the setting the tagged fields, but never what models said."""
    events = [
        record(topics.CASE_DECIDED, decided("a", by="reviewer:Jane"), 0),
        record(topics.REVIEW_REQUESTED, asked("a"), 0),
        record(topics.INFERENCE_COMPLETED, answered("a"), 0),
        dead_letter(0),
    ]
    put(tmp_path / "without", events)
    rows = [row for path in (tmp_path / "without").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    told = json.dumps(rows, default=str)
    assert len(rows) == 4
    for secret in ("Jane", "jane@", "angry", "customer's", "My house", "secret"):
        assert secret not in told
    assert '"decided_by_kind": "reviewer"' in told
    put(tmp_path / "with", events, Rows(CODEC, personal=True))
    rows = [row for path in (tmp_path / "with").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    told = json.dumps(rows, default=str)
    for known in ("reviewer:Jane", "jane@example.org", "angry", "My house"):
        assert known in told
    assert "secret" not in told


def test_a_partition_read_again_replaces_its_files(tmp_path: Path) -> None:
    """From the committed position on, whatever the new cuts are: every offset once."""
    put(tmp_path, decisions([0, 1, 2]))
    put(tmp_path, decisions([3, 4]))  # written, and the process died before the commit
    assert lake_files.resume(tmp_path, ["case.decided.v1"], "case.decided.v1", 0, 3) == 3
    put(tmp_path, decisions([3, 4, 5, 6]))
    assert offsets(tmp_path) == list(range(7))
    assert names(tmp_path) == ["case.decided.v1-0-0-2.parquet", "case.decided.v1-0-3-6.parquet"]


def test_a_position_inside_a_file_passes_over_what_the_file_holds(tmp_path: Path) -> None:
    """A commit of half a flush, or a group set back: nothing is lost with the file, nothing doubled."""
    put(tmp_path, [*decisions([0, 1, 4]), *decisions([2, 3], at=NOW + DAY_MS)])
    put(tmp_path, decisions([5, 6]))
    held = lake_files.resume(tmp_path, ["case.decided.v1"], "case.decided.v1", 0, 1)
    assert held == 5
    put(tmp_path, decisions(range(held, 8)))
    assert offsets(tmp_path) == list(range(8))


def test_resuming_touches_no_other_partition_topic_or_unfinished_file_of_others(tmp_path: Path) -> None:
    """Only the partition's own files go, half-written ones included."""
    put(tmp_path, [record(topics.CASE_DECIDED, decided("x"), 9, partition=11)])
    put(tmp_path, [record(topics.CASE_DECIDED, decided("x"), 9, partition=1)])
    put(tmp_path, [record(topics.EVENT_REFUSED, refused(), 9, partition=1)])
    half = tmp_path / "case.decided.v1" / "date=2026-09-21" / "case.decided.v1-1-9-9.parquet.tmp"
    half.write_bytes(b"PAR1")
    lake_files.resume(tmp_path, ["case.decided.v1"], "case.decided.v1", 1, 0)
    assert names(tmp_path) == ["case.decided.v1-11-9-9.parquet", "event.refused.v1-1-9-9.parquet"]
    assert not half.exists()


def refused() -> EventRefused:
    return EventRefused(
        event_id="e",
        tenant="demo",
        workflow="document.triage",
        case_id="c",
        reason="invalid_field",
        detail="text is empty",
        refused_by="admit",
        refused_at=NOW,
        source_topic="document.received.v1",
        source_partition=0,
        source_offset=0,
    )


def test_files_that_two_processes_wrote_show_each_record_once(tmp_path: Path) -> None:
    """A process that lost its partition while it wrote: its file overlaps, the views do not."""
    put(tmp_path, decisions([0, 1, 2]))
    put(tmp_path, decisions([0, 1, 2, 3]))
    assert offsets(tmp_path) == [0, 1, 2, 3]


def test_a_record_that_returns_by_the_retry_topic_stands_in_its_table(tmp_path: Path) -> None:
    """Named by where it was read, so that its offsets meet no others."""
    returned = replace(decisions([5])[0], topic=LAKE.retries.name)
    (path,) = put(tmp_path, [returned])
    assert str(path.relative_to(tmp_path)).startswith("case.decided.v1/date=2026-09-21/aios.lake.retry-0-5-5")
    assert offsets(tmp_path) == [5]
    tables_of = tuple(ROWS.written_to(LAKE.retries.name))
    assert lake_files.resume(tmp_path, tables_of, LAKE.retries.name, 0, 5) == 5
    assert names(tmp_path) == []


def test_small_files_become_one_and_a_crash_in_between_doubles_nothing(tmp_path: Path) -> None:
    """Every offset once before, between and after; what a crash left is cleared when the partition is resumed."""
    for offset in range(5):
        put(tmp_path, decisions([offset]))
    ((_, paths),) = lake_files.small(tmp_path, ["case.decided.v1"], "case.decided.v1", 0).items()
    kept = {path: path.read_bytes() for path in paths}
    merged = lake_files.merge(paths)
    assert names(tmp_path) == ["case.decided.v1-0-0-4.parquet"]
    assert offsets(tmp_path) == list(range(5))
    for path, data in kept.items():  # as if it had died before removing them
        path.write_bytes(data)
    assert offsets(tmp_path) == list(range(5))
    assert lake_files.merge([merged, *paths]) == merged
    assert pq.read_table(merged)["kafka_offset"].to_pylist() == list(range(5))
    for path, data in kept.items():
        path.write_bytes(data)
    assert lake_files.resume(tmp_path, ["case.decided.v1"], "case.decided.v1", 0, 5) == 5
    assert names(tmp_path) == [merged.name]


class Roads:
    """An intake that hands out batches, and remembers what was finished."""

    def __init__(self, batches: Sequence[list[Record]]) -> None:
        self._batches = list(batches)
        self.finished: list[int] = []
        self.lost = False
        self.left: set[int] = set()  # offsets whose partition left while they were in hand

    async def take(self, records_max: int, *, wait_ms_max: int) -> list[Record]:
        return self._batches.pop(0) if self._batches else []

    def finish(self, record: Record) -> None:
        self.finished.append(record.offset)

    def owns(self, record: Record) -> bool:
        return not self.lost and record.offset not in self.left

    def lag(self) -> dict[tuple[str, int], int]:
        return {("case.decided.v1", 0): 0}

    async def deliver_all(self, outs: Sequence[Any]) -> None: ...


def sink(folder: Path, roads: Roads, limits: LakeSettings) -> Lake:
    desk = Shell(
        LAKE,
        asyncio.Event(),
        intake=cast(Any, roads),
        delivery=cast(Any, roads),
        settler=Settler(LAKE, "c", breakers=OwnBreakers()),
        deaths=Deaths(folder, "lake"),
        cluster="c",
    )
    return Lake(desk, folder / "lake", ROWS, limits)


def test_rows_are_finished_when_they_are_on_disk_and_not_before(tmp_path: Path) -> None:
    """Below both limits nothing is; a repeat of what is buffered is taken once; small files are merged as they come."""

    async def check(lake: Lake, roads: Roads) -> None:
        await lake.round()
        assert (roads.finished, names(tmp_path)) == ([], [])
        await lake.round()  # records_max is reached
        assert roads.finished == [0, 1, 2, 3]
        await lake.round()
        await lake.round()  # the same again, as after a pause
        await lake.flush(everything=True)
        assert roads.finished == [0, 1, 2, 3, 4, 5]
        assert offsets(tmp_path / "lake") == list(range(6))

    roads = Roads([decisions([0, 1]), decisions([2, 3]), decisions([4, 5]), decisions([4, 5])])
    asyncio.run(check(sink(tmp_path, roads, LakeSettings(flush_s_max=60, records_max=4)), roads))


def test_small_files_are_merged_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three flushes, one file; the next three, with it, one again."""
    monkeypatch.setattr(lake_files, "MERGE_FILES", 3)

    async def check(lake: Lake) -> None:
        for _ in range(6):
            await lake.round()

    roads = Roads([decisions([offset]) for offset in range(6)])
    asyncio.run(check(sink(tmp_path, roads, LakeSettings(flush_s_max=60, records_max=1))))
    assert names(tmp_path) == ["case.decided.v1-0-0-4.parquet", "case.decided.v1-0-5-5.parquet"]
    assert offsets(tmp_path / "lake") == roads.finished == list(range(6))


def test_a_file_with_many_records_is_merged_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small it is on disk: what is merged is in memory unpacked. Nor is it after a restart."""
    monkeypatch.setattr(lake_files, "MERGE_FILES", 3)
    monkeypatch.setattr(lake_files, "SMALL_OFFSETS", 2)

    async def check(lake: Lake) -> None:
        for _ in range(8):
            await lake.round()

    roads = Roads([decisions([offset]) for offset in range(8)])
    asyncio.run(check(sink(tmp_path, roads, LakeSettings(flush_s_max=60, records_max=1))))
    merged = ["case.decided.v1-0-0-2.parquet", "case.decided.v1-0-3-5.parquet"]
    single = ["case.decided.v1-0-6-6.parquet", "case.decided.v1-0-7-7.parquet"]
    assert names(tmp_path) == [*merged, *single]
    assert offsets(tmp_path / "lake") == list(range(8))
    left = lake_files.small(tmp_path / "lake", ["case.decided.v1"], "case.decided.v1", 0)
    assert [path.name for paths in left.values() for path in paths] == single


def test_what_is_merged_has_no_large_file_between_its_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as files come nor after a restart: its rows would be taken for merged, and removed by the next one."""
    monkeypatch.setattr(lake_files, "MERGE_FILES", 4)
    monkeypatch.setattr(lake_files, "SMALL_OFFSETS", 2)
    batches = [decisions(one) for one in ([0], [1], [2, 3, 4, 5], [6], [7], [8], [9])]

    async def check(lake: Lake, rounds: int) -> None:
        for _ in range(rounds):
            await lake.round()

    for part in (batches[:3], batches[3:5], batches[5:], [decisions([10])]):
        limits = LakeSettings(flush_s_max=60, records_max=1)
        asyncio.run(check(sink(tmp_path, Roads(part), limits), len(part)))
    assert offsets(tmp_path / "lake") == list(range(11))
    assert "case.decided.v1-0-2-5.parquet" in names(tmp_path)
    assert "case.decided.v1-0-6-9.parquet" in names(tmp_path)


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody cut it: what comes after is written all the same, and merged without it."""
    monkeypatch.setattr(lake_files, "MERGE_FILES", 2)

    async def check(lake: Lake) -> None:
        await lake.round()
        (first,) = (tmp_path / "lake").rglob("*.parquet")
        first.write_bytes(b"PAR1 no more")
        for _ in range(3):
            await lake.round()
        first.unlink()

    roads = Roads([decisions([offset]) for offset in range(4)])
    asyncio.run(check(sink(tmp_path, roads, LakeSettings(flush_s_max=60, records_max=1))))
    assert roads.finished == [0, 1, 2, 3]
    assert names(tmp_path) == ["case.decided.v1-0-1-1.parquet", "case.decided.v1-0-2-3.parquet"]


def test_rows_of_a_partition_that_left_are_not_written(tmp_path: Path) -> None:
    """Its next owner writes them."""

    async def check(lake: Lake, roads: Roads) -> None:
        await lake.round()
        roads.lost = True
        await lake.flush(everything=True)
        assert (roads.finished, names(tmp_path)) == ([], [])

    roads = Roads([decisions([0, 1])])
    asyncio.run(check(sink(tmp_path, roads, LakeSettings(flush_s_max=60, records_max=9)), roads))


def test_a_partition_that_left_and_came_back_is_begun_anew(tmp_path: Path) -> None:
    """Further on, because another owner was faster: what it brings now is written, and not dropped with the rest."""

    async def check(lake: Lake, roads: Roads) -> None:
        await lake.round()
        roads.left = {0, 1}
        await lake.round()
        await lake.flush(everything=True)
        assert roads.finished == offsets(tmp_path / "lake") == [5, 6]

    roads = Roads([decisions([0, 1]), decisions([5, 6])])
    asyncio.run(check(sink(tmp_path, roads, LakeSettings(flush_s_max=60, records_max=9)), roads))


def test_a_full_disk_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paused, not dead-lettered; nothing unfinished counts as a file."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(Unavailable, match="No space left"):
        put(tmp_path, decisions([0]))
    assert names(tmp_path) == []


def test_a_lake_of_another_kafka_is_refused(tmp_path: Path) -> None:
    """Its offsets would replace this one's files."""
    claim(tmp_path, "one")
    claim(tmp_path, "one")
    with pytest.raises(StateBroken, match="another Kafka"):
        claim(tmp_path, "two")


@pytest.mark.parametrize(("label", "agreed", "another"), [("mortgage", 1, 0), ("card", 0, 1), ("", 0, 0)])
def test_whether_a_person_agreed_is_told_of_decisions_with_a_label_alone(
    tmp_path: Path, label: str, agreed: int, another: int
) -> None:
    """Where a workflow gives its decisions none, nobody is counted as of another opinion."""
    put(tmp_path, [record(topics.REVIEW_REQUESTED, asked("b"), 0)])
    put(tmp_path, [record(topics.CASE_DECIDED, decided("b", by="reviewer:Jane", label=label), 0)])
    (row,) = lake_query.ask(tmp_path, lake_query.shipped()["confidence_against_outcome"][1]).rows
    assert row == ("document.triage", 0.4, 1, 0, agreed, another, 0, 0)


@pytest.mark.parametrize("name", sorted(lake_query.shipped()))
def test_a_shipped_query_runs_on_an_empty_lake(tmp_path: Path, name: str) -> None:
    """Typed views stand before the first file."""
    answers, sql = lake_query.shipped()[name]
    assert answers
    assert lake_query.ask(tmp_path / "none", sql).rows == []


def test_the_shipped_queries_count_what_is_there(tmp_path: Path) -> None:
    """One row of each, worked out by hand."""
    put(tmp_path, [record(topics.REVIEW_REQUESTED, asked(case), offset) for offset, case in enumerate("bcd")])
    put(tmp_path, [record(topics.REVIEW_REQUESTED, asked("e", suggestion=""), 3)])
    ended = [
        decided("a"),
        decided("b", by="reviewer:Jane", label="card"),
        decided("c", by="timer", label="", outcome="expired"),
        decided("e", by="reviewer:Jane", label="card"),
    ]
    put(tmp_path, [record(topics.CASE_DECIDED, event, offset) for offset, event in enumerate(ended)])
    put(tmp_path, [record(topics.USAGE_SETTLED, settled(case, NOW + 60_000), n) for n, case in enumerate("be")])
    put(tmp_path, [record(topics.INFERENCE_COMPLETED, answered("a"), 0)])
    put(tmp_path, [dead_letter(0)])
    put(tmp_path, [dead_letter(1, PLAN)])

    def ask(name: str) -> list[tuple[Any, ...]]:
        return lake_query.ask(tmp_path, lake_query.shipped()[name][1]).rows

    assert ("2026-09-21", "document.triage", "routed", "card", 2) in ask("outcomes_by_day")
    assert ask("automation_rate") == [("document.triage", "letter", 4, 1, 2, 1, 0.25)]
    assert ask("confidence_against_outcome") == [
        ("document.triage", 0.8, 1, 1, 0, 0, 0, 0),
        ("document.triage", 0.4, 3, 0, 0, 1, 1, 1),
    ]
    assert ask("time_per_step") == [
        ("document.triage", "ask", "a person", 2, 0, None, None, 60_000.0, 60_000.0),
        ("document.triage", "classify", "triage-encoder@1", 1, 0, 120.0, 120.0, 30.0, 30.0),
    ]
    assert [row[:3] for row in ask("waiting_by_reason")] == [
        ("document.triage", "low_confidence", 1),
        ("document.triage", "out_of_scope", 1),
    ]
    assert sorted(row[:3] for row in ask("dead_letters_by_reason")) == [
        ("admit", "undecodable", "permanent"),
        ("plan", "undecodable", "permanent"),
    ]
    put(tmp_path, [record(topics.CASE_DECIDED, decided("f", by="producer"), len(ended))])
    assert ask("automation_rate") == [("document.triage", "letter", 4, 1, 2, 1, 0.25)], "called off"


def test_a_case_with_several_questions_is_one_case_to_the_shipped_queries(tmp_path: Path) -> None:
    """Two people who agree, the second asked in the moment the first answers; and a case that goes on after a person
    answered waits for nobody, nor does one whose question has expired.
    """
    minute = 60_000
    questions = [
        asked("two"),
        asked("two", at=NOW + minute, number=2),
        asked("on"),
        asked("again"),
        asked("again", at=NOW + 9 * minute, number=2),
        replace(asked("late"), expires_at=NOW + 1),
    ]
    lines = [
        settled("two", NOW + minute),
        settled("two", NOW + 4 * minute),
        settled("on", NOW + 2 * minute),
        settled("on", NOW + 5 * minute, "inference"),
        settled("again", NOW + 2 * minute),
    ]
    put(tmp_path, [record(topics.REVIEW_REQUESTED, one, offset) for offset, one in enumerate(questions)])
    put(tmp_path, [record(topics.USAGE_SETTLED, one, offset) for offset, one in enumerate(lines)])
    put(tmp_path, [record(topics.CASE_DECIDED, decided("two", by="reviewer:Jane+Ann"), 0)])

    def ask(name: str) -> list[tuple[Any, ...]]:
        return lake_query.ask(tmp_path, lake_query.shipped()[name][1]).rows

    assert ask("confidence_against_outcome") == [("document.triage", 0.4, 1, 0, 1, 0, 0, 0)]
    ((*_, p50, _),) = ask("time_per_step")
    assert (ask("time_per_step")[0][3], p50) == (4, 2.0 * minute)
    waits = [(row[1], row[2], row[3].replace(tzinfo=UTC).timestamp() * 1000) for row in ask("waiting_by_reason")]
    assert waits == [("low_confidence", 1, NOW + 9 * minute), ("out_of_scope", 1, NOW + 9 * minute)]


def test_a_case_whose_key_was_used_long_before_is_among_those_that_wait(tmp_path: Path) -> None:
    """The case that had it is decided and forgotten; this one has the same id."""
    put(tmp_path, [record(topics.CASE_DECIDED, replace(decided("a"), decided_at=NOW - 31 * DAY_MS), 0)])
    put(tmp_path, [record(topics.REVIEW_REQUESTED, asked("a"), 0)])
    found = lake_query.ask(tmp_path, lake_query.shipped()["waiting_by_reason"][1]).rows
    assert [row[:3] for row in found] == [
        ("document.triage", "low_confidence", 1),
        ("document.triage", "out_of_scope", 1),
    ]


def test_a_case_that_waits_for_a_person_without_a_reason_is_among_those_that_wait(tmp_path: Path) -> None:
    """A workflow may ask a person at once, and say no reason."""
    put(tmp_path, [record(topics.REVIEW_REQUESTED, replace(asked("a"), reasons=()), 0)])
    found = lake_query.ask(tmp_path, lake_query.shipped()["waiting_by_reason"][1]).rows
    assert [row[:3] for row in found] == [("document.triage", "", 1)]


@pytest.mark.parametrize(
    "sql",
    [
        "drop view case_decided",
        "copy (select 1) to '{lake}/x.csv'",
        "select 1; select 2",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "attach '{lake}/x.db'",
        "set enable_external_access = true",
        "select nothing_like_this from case_decided",
        "selec",
        "",
    ],
)
def test_a_query_only_reads_the_lake(tmp_path: Path, sql: str) -> None:
    """Anything else is refused in one line, and leaves nothing."""
    with pytest.raises(QueryRefused) as refusal:
        lake_query.ask(tmp_path, sql.replace("{lake}", str(tmp_path)))
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_every_view_that_can_be_asked_is_listed(tmp_path: Path) -> None:
    """Also the one of all dead letters."""
    put(tmp_path, [dead_letter(0)])
    put(tmp_path, [dead_letter(1, PLAN)])
    listed = {one["view"]: one for one in lake_query.views(tmp_path)}
    there = lake_query.ask(tmp_path, "select view_name from duckdb_views() where not internal").rows
    assert set(listed) == {name for (name,) in there}
    assert listed["dead_letters"]["files"] == 2
    assert listed["dead_letters"]["columns"] == list(lake_query.ask(tmp_path, "from dead_letters").columns)


def test_more_rows_than_asked_for_are_cut_and_said(tmp_path: Path) -> None:
    """A bound on what a question brings back."""
    answer = lake_query.ask(tmp_path, "select * from range(10)", rows_max=3)
    assert (len(answer.rows), answer.cut) == (3, True)
    assert not lake_query.ask(tmp_path, "select * from range(3)", rows_max=3).cut


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """A row is a mapping by column: neither value stands in the place of the other."""
    answer = lake_query.ask(tmp_path, "select 1 as label, 2 as label, 3 as label_2, 4 as label")
    assert answer.plain() == [{"label": 1, "label_2": 2, "label_2_2": 3, "label_3": 4}]
    assert answer.columns == tuple(answer.plain()[0])
