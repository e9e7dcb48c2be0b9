"""What a record means for the store, how a sink settles a round, and what `aios case` says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from aios.dlq.deaths import Deaths
from aios.dlq.settle import Settler
from aios.infra.commands import audit, case, query
from aios.infra.running import Running
from aios.processors.language.workflow import WAIT_S_MAX
from aios.schemas.codec import Codec
from aios.sinks.audit import chain_folder, head_file, in_order
from aios.sinks.audit_chain import Chain, Entry
from aios.sinks.outcome_writes import write_of
from aios.sinks.shell import Shell
from aios.streams import outcome_layout, outcome_store
from aios.streams.config import RedisSettings, Settings
from aios.streams.errors import Reason, RecordError, SchemaMismatch, StateBroken, Unavailable, Verdict
from aios.streams.outcome_views import CaseView, case_view
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RETENTION_MS
from aios.streams.topology import AUDIT
from aios.streams.tracing import Span
from tests.broker import outcome_records as records
from tests.fakes.breakers import OwnBreakers
from tests.fakes.registry import FakeRegistry

NOW = 1_790_000_000_000
CODEC = Codec(FakeRegistry())


def garbage(topic: str = "case.decided.v1", offset: int = 0) -> Record:
    return Record(topic, 0, offset, NOW, b"k", b"\x07 no Avro")


def test_a_record_that_is_none_of_these_is_refused() -> None:
    """Garbage, an empty value, another topic's contract."""
    for value, reason in ((b"\x07", Reason.UNDECODABLE), (None, Reason.EMPTY)):
        with pytest.raises(SchemaMismatch) as refusal:
            write_of(Record("audit.recorded.v1", 0, 0, NOW, b"k", value), CODEC)
        assert refusal.value.reason is reason
    decision = records.outgoing(CODEC, records.decided("a", 4, NOW))
    with pytest.raises(SchemaMismatch) as refusal:
        write_of(Record("audit.recorded.v1", 0, 0, NOW, b"k", decision.value), CODEC)
    assert refusal.value.reason is Reason.CONTRACT_BROKEN


def test_every_write_has_a_lifetime() -> None:
    """The retention window after the record's own time."""
    for event in (*records.by_person("a", NOW), records.refused("a", "e", NOW), records.audit("a", 0, "x", "", NOW)):
        till = int(write_of(records.taken(records.outgoing(CODEC, event), 0, NOW), CODEC).args[0])
        assert 0 <= till - NOW - RETENTION_MS <= 100


def test_an_open_case_is_listed_for_as_long_as_it_can_wait() -> None:
    """Lists of open cases are trimmed no sooner than the longest wait is over."""
    assert outcome_layout.OPEN_MS_MAX >= RETENTION_MS + WAIT_S_MAX * 1000


class Roads:
    """Intake and Delivery, remembered."""

    def __init__(self) -> None:
        self.finished: list[int] = []
        self.paused: list[tuple[str, int]] = []
        self.delivered: list[Outgoing] = []
        self.away = 0

    def finish(self, record: Record) -> None:
        self.finished.append(record.offset)

    def pause(self, topic: str, partition: int, for_ms: int) -> None:
        assert for_ms > 0
        self.paused.append((topic, partition))

    async def deliver_all(self, outs: Sequence[Outgoing]) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("Kafka is away")
        self.delivered.extend(outs)


def desk(roads: Roads, home: Path, stop: asyncio.Event | None = None) -> Shell:
    return Shell(
        AUDIT,
        stop or asyncio.Event(),
        intake=cast(Any, roads),
        delivery=cast(Any, roads),
        settler=Settler(AUDIT, "cluster", breakers=OwnBreakers()),
        deaths=Deaths(home, "audit"),
        cluster="cluster",
    )


def numbered(*offsets: int, partition: int = 0) -> list[Record]:
    return [Record("audit.recorded.v1", partition, offset, NOW, b"k", str(offset).encode()) for offset in offsets]


def fails(at: int, error: Exception) -> Callable[[Record], int]:
    def meaning(record: Record) -> int:
        if record.offset == at and record.partition == 0:
            raise error
        return record.offset

    return meaning


def test_a_bad_record_goes_to_the_dead_letters_before_it_is_finished(tmp_path: Path) -> None:
    """The others are read; while Kafka is away nothing of it is finished."""

    async def check() -> None:
        roads = Roads()
        shell = desk(roads, tmp_path)
        read = await shell.understand(numbered(1, 2, 3), fails(2, RecordError("no", Reason.UNDECODABLE)))
        assert [meaning for _, meaning in read.good] == [1, 3]
        roads.away = 1
        with pytest.raises(Unavailable):
            await shell.give_up(read)
        assert roads.finished == []
        await shell.give_up(read)
        assert roads.finished == [2]
        assert [out.topic for out in roads.delivered] == [AUDIT.dead_letters.name]

    asyncio.run(check())


def test_a_registry_that_is_away_pauses_its_partition_and_no_other(tmp_path: Path) -> None:
    """What comes after in that partition is left to come again; nothing is dead-lettered."""

    async def check() -> None:
        roads = Roads()
        shell = desk(roads, tmp_path)
        taken = [*numbered(1, 2, 3), *numbered(7, partition=1)]
        read = await shell.understand(taken, fails(2, Unavailable("the registry is away")))
        assert sorted(meaning for _, meaning in read.good) == [1, 7]
        await shell.give_up(read)
        assert (roads.paused, roads.finished, roads.delivered) == ([("audit.recorded.v1", 0)], [], [])

    asyncio.run(check())


def test_a_broken_deploy_leaves_the_process(tmp_path: Path) -> None:
    """STOP is raised, nothing is finished, and the record is no suspect, however often that happens."""
    with pytest.raises(StateBroken):
        asyncio.run(desk(Roads(), tmp_path).understand(numbered(1), fails(1, StateBroken("this deploy"))))
    (file,) = (tmp_path / "run" / "deaths" / "audit").iterdir()
    in_hand, *_ = json.loads(file.read_text())
    assert in_hand is None


def test_the_third_process_gives_up_a_record_that_killed_two_alone(tmp_path: Path) -> None:
    """Once in company, twice alone; then it is settled without being decoded."""

    def died_with(first: int, last: int) -> None:
        deaths = Deaths(tmp_path, "audit")
        deaths.begin("audit.recorded.v1", 0, first, last)
        deaths.close()
        (file,) = (tmp_path / "run" / "deaths" / "audit").iterdir()
        mark = json.loads(file.read_text())
        mark[1] = "1.0"  # a process that is no more
        file.write_text(json.dumps(mark).ljust(512))

    async def check() -> None:
        shell = desk(Roads(), tmp_path)
        decoded: list[int] = []

        def meaning(record: Record) -> int:
            decoded.append(record.offset)
            return record.offset

        read = await shell.understand(numbered(1, 2, 3, 4), meaning)
        assert decoded == [1, 3, 4]
        ((record, settled),) = read.bad
        assert (record.offset, settled.reason) == (2, Reason.KILLS_ITS_PROCESS)

    died_with(1, 4)
    died_with(2, 2)
    died_with(2, 2)
    asyncio.run(check())


def test_a_round_perseveres_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """It tries again while something is away; a stop ends it after one more try at most."""

    async def check() -> None:
        stop = asyncio.Event()
        shell = desk(Roads(), tmp_path, stop)
        tries: list[int] = []

        async def away() -> None:
            tries.append(1)
            if len(tries) == 2:
                stop.set()
            raise Unavailable("still away")

        assert not await shell.persevere(away)
        assert len(tries) == 2

        async def works() -> None: ...

        assert await shell.persevere(works)

    asyncio.run(check())


def test_the_chain_takes_bad_records_in_their_place() -> None:
    """Partitions by arrival, offsets growing: what is below a position would be skipped."""
    from aios.sinks.shell import Read

    def entry(partition: int, offset: int) -> Entry:
        return Entry("audit.recorded.v1", partition, offset, NOW, {})

    settled = Settler(AUDIT, "c", breakers=OwnBreakers()).settle(numbered(5)[0], RecordError("no", Reason.EMPTY), NOW)
    assert settled.verdict is Verdict.DEAD_LETTER
    good = [(record, entry(record.partition, record.offset)) for record in (*numbered(4, 6), *numbered(1, partition=1))]
    ordered = in_order(Read(good=good, bad=[(numbered(5)[0], settled)]))
    assert [(one.partition, one.offset) for one in ordered] == [(0, 4), (0, 5), (0, 6), (1, 1)]
    assert ordered[1].record["kind"] == "not_understood"


def test_a_decision_counts_before_its_audit_entry_is_seen() -> None:
    """The two come by different topics; whichever is first, the case is decided."""
    body = json.dumps(
        {
            **dict.fromkeys(("outcome", "event_id", "label", "channel", "lane", "summary", "decided_by"), "expired"),
            **dict.fromkeys(("received_at", "admitted_at", "decided_at", "case_seq", "workflow_version"), 5),
            **dict.fromkeys(("reasons", "models", "prompts"), ()),
            "confidence": 0.5,
        }
    )
    view = case_view("a", {"tenant": "demo", "workflow": "w", "seq": "3", "status": "x", "decision": body})
    assert (view.status, view.case_seq, view.settled) == ("expired", 5, True)


# The commands


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands look."""
    settings = Settings(home=tmp_path)
    for command in (audit, query):
        monkeypatch.setattr(command, "load_settings", lambda: settings)
    monkeypatch.setattr(case, "running", lambda: Running(settings, "", ""))
    return tmp_path


class Answers:
    """The store's questions, answered from here."""

    def __init__(self) -> None:
        self.views: list[CaseView] = []
        self.refused: list[dict[str, Any]] = []
        self.dead: dict[str, list[dict[str, Any]]] = {}
        self.steps: list[dict[str, Any]] = []

    async def status(self, case_id: str, tenant: str | None) -> CaseView | None:
        return self.views[0] if self.views else None

    async def timeline(self, case_id: str, tenant: str | None) -> list[dict[str, Any]]:
        return self.steps

    async def refusals(self, case_id: str, tenant: str | None) -> list[dict[str, Any]]:
        return self.refused

    async def dead_letters(self, key: str, tenant: str | None) -> list[dict[str, Any]]:
        return self.dead.get(key, [])

    async def list_cases(self, **_: Any) -> list[CaseView]:
        return self.views


@pytest.fixture
def answers(home: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What the store would say."""
    said = Answers()

    def ask(url: str, question: Callable[[Any], Awaitable[Any]]) -> Any:
        async def once() -> Any:
            return await question(said)

        return asyncio.run(once())

    monkeypatch.setattr(outcome_store, "ask", ask)
    return said


VIEW = CaseView(
    case_id="c-1", tenant="demo", workflow="document.triage", workflow_version=1, status="decided", outcome="routed",
    label="mortgage", confidence=0.91, decided_by="policy", changed_at=NOW, decided_at=NOW, trace_id="ab" * 16,
)  # fmt: skip


def test_find_says_what_became_of_a_key(answers: Answers) -> None:
    """Not seen, dead-lettered, refused, admitted: the furthest it came first, the rest beside it."""

    def find() -> tuple[int, dict[str, Any]]:
        result = CliRunner().invoke(case.group, ["find", "--key", "jane", "--json"])
        return result.exit_code, json.loads(result.output)

    status, found = find()
    assert (status, found["found"]) == (3, "not_seen")
    answers.dead["jane"] = [{"id": "d-1", "reason": "undecodable", "tenant": "demo"}]
    status, found = find()
    assert (status, found["found"], found["dead_letters"]) == (0, "dead_lettered", ["d-1 (undecodable)"])
    answers.refused = [{"reason": "stale", "detail": "too old", "event_id": "e"}]
    assert find()[1]["found"] == "refused"
    answers.views = [VIEW]
    status, found = find()
    assert (found["found"], found["status"], found["label"]) == ("admitted", "decided", "mortgage")
    assert found["refused"] == ["stale: too old (event e)"]


def test_list_and_show_are_tables_for_people_and_json_for_scripts(answers: Answers) -> None:
    """Step, model, confidence and duration stand in the timeline."""
    assert CliRunner().invoke(case.group, ["show", "c-1"]).exit_code == 3
    assert "no such cases" in CliRunner().invoke(case.group, ["list"]).output
    answers.views = [VIEW]
    detail = {"model": "triage-encoder@1", "confidence": 0.912, "queue_ms": 100, "compute_ms": 50, "label": "mortgage"}
    step = {"case_seq": 3, "transition": "answered", "step": "classify", "status": "classifying", "at": NOW}
    answers.steps = [{**step, "case_seq": 2, "at": NOW - 500, "detail": {}}, {**step, "detail": detail}]
    shown = CliRunner().invoke(case.group, ["show", "c-1"]).output
    for word in ("document.triage@1", "triage-encoder@1", "0.91", "0.150 s", "+0.500 s", "classify", "label mortgage"):
        assert word in shown
    told = json.loads(CliRunner().invoke(case.group, ["show", "c-1", "--json"]).output)
    assert (told["case_id"], len(told["timeline"])) == ("c-1", 2)
    assert "mortgage" in CliRunner().invoke(case.group, ["list"]).output
    assert json.loads(CliRunner().invoke(case.group, ["list", "--json"]).output)[0]["confidence"] == 0.91


def test_a_store_that_is_away_is_said_in_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 4, no traceback."""
    settings = Settings(home=home, redis=RedisSettings(url="redis://127.0.0.1:1/0"))
    monkeypatch.setattr(case, "running", lambda: Running(settings, "", ""))
    result = CliRunner().invoke(case.group, ["list"])
    assert result.exit_code == 4
    assert result.output.count("\n") == 1


def test_a_trace_is_drawn_as_a_tree() -> None:
    """Children under their parents, bars on the time of the whole, a lost parent is no loss."""

    def span(name: str, parent: str, start: float, took: float, error: str = "") -> Span:
        return Span("ab" * 16, name, parent, "plan", 0, name, start, took, error)

    spans = [span("a", "elsewhere", 0, 100), span("b", "a", 50, 50, "Unavailable"), span("c", "b", 90, 0)]
    head, *lines = case.draw(spans)
    assert "0.100 s" in head
    assert [line.split()[1] for line in lines] == ["a", "b", "c"]
    assert [line.index("plan") for line in lines] == [0, 2, 4]
    assert [line.count("█") for line in lines] == [40, 20, 1]
    assert lines[1].endswith("Unavailable")
    assert list(case.draw([])) == []


def test_audit_verify_exits_with_what_it_found(home: Path) -> None:
    """0 and the head; 1 and the place; the printed head can be given back; a case can be shown."""
    chain = Chain(chain_folder(home), head_file(home), "cluster")
    chain.open()
    event = {"case_id": "c-1", "at": NOW, "case_seq": 1, "transition": "admitted", "status": "admitted", "step": "s"}
    event |= {"actor": "plan", "detail": "{}", "input_topic": "t", "input_partition": 0, "input_offset": 1}
    chain.append([Entry("audit.recorded.v1", 0, offset, NOW, {"kind": "audit", "event": event}) for offset in range(3)])
    chain.close()

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(audit.group, words)
        return result.exit_code, result.output

    status, said = run("verify")
    assert (status, said.split(":")[0]) == (0, "sound")
    head = said.split("head ")[1].strip()
    assert run("verify", "--expect", head)[0] == 0
    assert run("verify", "--expect", "3:" + "0" * 64)[0] == 1
    assert run("verify", "--expect", "three")[0] == 2
    assert json.loads(run("verify", "--json")[1])["sound"] is True
    assert len(json.loads(run("show", "c-1", "--json")[1])) == 3
    assert run("show", "c-2")[0] == 3
    (path,) = chain_folder(home).glob("*.jsonl")
    path.write_text(path.read_text().replace("admitted", "approved", 1))
    status, said = run("verify")
    assert status == 1
    assert f"{path.name}:2" in said
    assert "NOT SOUND" in said


def test_query_speaks_plainly(home: Path) -> None:
    """Lists, names, SQL, and mistakes in one line."""

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(query.query, words)
        return result.exit_code, result.output

    assert len(json.loads(run("--list", "--json")[1])) == 7
    assert run("automation-rate") == (0, "no rows\n")
    assert "case_decided" in run("--views")[1]
    assert json.loads(run("select 1 as one", "--json")[1]) == [{"one": 1}]
    assert "only the first 2 rows" in run("select * from range(5)", "--limit", "2")[1]
    assert run("nothing_like_it")[0] == 3
    assert run()[0] == 2
    status, said = run("select * from cases")
    assert (status, said.count("\n")) == (1, 1)


def test_find_knows_no_other_tenants_letter_of_the_same_key(answers: Answers) -> None:
    """One that names nobody may be this tenant's: a record that cannot be read often has no header."""

    def find() -> str:
        return str(
            json.loads(CliRunner().invoke(case.group, ["find", "--key", "1", "--tenant", "a", "--json"]).output)[
                "found"
            ]
        )

    answers.dead["1"] = [{"id": "d-1", "reason": "undecodable", "tenant": "b"}]
    assert find() == "not_seen"
    for tenant in ("a", ""):
        answers.dead["1"] = [{"id": "d-1", "reason": "undecodable", "tenant": tenant}]
        assert find() == "dead_lettered"
