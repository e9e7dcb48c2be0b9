"""What a matrix says of what it found: nothing that must hold may be passed over."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from email.message import Message
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.error import HTTPError
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException

from aios.dlq.operations.routes import ROUTES
from aios.infra.commands.prove import PROOFS
from aios.infra.output import FAILED
from aios.infra.prove import (
    attending,
    commands,
    crowd,
    faults,
    feeding,
    kept,
    load,
    matrix,
    operator,
    outages,
    proving,
    report,
    verify,
)
from aios.infra.prove.findings import Findings, Law, Part
from aios.infra.prove.judged import INPUT, Judged, Result, Row
from aios.infra.prove.reading import Addresses
from aios.infra.prove.stand import Missed, Stand
from aios.processors.cases import guarding
from aios.processors.connectors import registry
from aios.processors.language import policy_files
from aios.streams import failpoints, topology
from aios.streams.errors import Unavailable
from aios.streams.system_files import Effect

README = Path(__file__).parents[2] / "README.md"
ROW = Row(round="taken", fault="kill -9 taken", stage="admit", at=1, bound_s=8.0, goes_on_s=2.5, is_done=True)
ADDRESSES = Addresses(kafka="nowhere:1", registry="", valkey="")
MISSED = Row(round="taken", fault="kill -9 taken", stage="retry", trouble="retry never came to taken")
SOUND = Judged(round="taken", accepted=100)


def test_every_stage_is_killed_at_every_step_it_has_and_twice() -> None:
    """Nothing of the topology is left out."""
    killed = {
        (fault.stage, fault.steps)
        for a_round in matrix.rounds()
        for fault in a_round.faults
        if isinstance(fault, faults.KillAt)
    }
    every = {(p, (name.rpartition(".")[2],)) for p in topology.PROCESSES for name in failpoints.names(p)}
    twice = {(process, faults.TWICE) for process in topology.PROCESSES}
    assert killed == every | twice | {(topology.LETTERS.process, (faults.UNFINISHED,))}


def test_the_whole_takes_as_long_as_the_command_says() -> None:
    """And what it says is what the run took that the README tells of: for each fault, since there may be more."""
    expected_min = matrix.expected_s(matrix.rounds()) / 60
    for said in (PROOFS["matrix"].line, str(proving.matrix.help)):
        (minutes,) = re.findall(r"about (\d+) minutes", said)
        assert int(minutes) - 5 <= expected_min <= int(minutes)
    count = sum(len(one.faults) for one in matrix.rounds())
    ((done, took_min),) = re.findall(r"(\d+) faults in (\d+) minutes", README.read_text(encoding="utf-8"))
    assert expected_min / count == pytest.approx(int(took_min) / int(done), rel=0.1)


def test_names_of_rounds_and_of_the_faults_of_a_stage_are_their_own() -> None:
    rounds = matrix.rounds()
    assert len({one.name for one in rounds}) == len(rounds)
    done = [(fault.name, fault.stage) for one in rounds for fault in one.faults]
    assert len(set(done)) == len(done)


@pytest.mark.parametrize(
    ("row", "judged", "chain"),
    [
        (replace(ROW, goes_on_s=8.1), SOUND, ""),
        (replace(ROW, goes_on_s=None), SOUND, ""),
        (replace(ROW, waited_s=8.1), SOUND, ""),
        (replace(ROW, trouble="not ready"), SOUND, ""),
        (ROW, replace(SOUND, violations={"I4": 1}), ""),
        (ROW, replace(SOUND, is_drained=False), ""),
        (ROW, SOUND, "seq 7 does not follow"),
    ],
)
def test_whatever_did_not_hold_is_a_violation(row: Row, judged: Judged, chain: str) -> None:
    assert not Result(rows=[ROW], rounds=[SOUND]).violated
    assert Result(rows=[row], rounds=[judged], chain=chain).violated


@pytest.mark.parametrize(
    "row",
    [replace(ROW, goes_on_s=8.0, waited_s=8.0), replace(ROW, round=INPUT, goes_on_s=None)],
    ids=["at its bound", "must stop"],
)
def test_what_held_is_none(row: Row) -> None:
    result = Result(rows=[row], rounds=[SOUND])
    assert not result.violated
    assert not result.unproven


def test_a_fault_that_was_not_done_is_in_the_report_and_proves_nothing(tmp_path: Path) -> None:
    """A line of its own in the table, without figures, and its reason below."""
    result = Result(
        rows=[ROW, replace(ROW, stage="plan", goes_on_s=4.0, waited_s=3.1), MISSED], rounds=[SOUND], took_s=60.0
    )
    report.write(result, tmp_path, "2 cores")
    written = (tmp_path / "matrix.md").read_text(encoding="utf-8")
    assert "| kill -9 taken | admit, plan | 0 | 0 | 0 | 2.5 – 4.0 | 3.1 |" in written
    assert "| kill -9 taken | **not proven**: retry | – | – | – | – | – |" in written
    assert "## Not proven\n\n- kill -9 taken × retry: retry never came to taken" in written
    assert json.loads((tmp_path / "matrix.json").read_text(encoding="utf-8"))["unproven"] == report.unproven(result)


def test_faults_of_a_round_in_which_nothing_was_accepted_prove_nothing() -> None:
    """Of nothing, nothing is lost: no figures are shown of it."""
    result = Result(rows=[ROW], rounds=[replace(SOUND, accepted=0)])
    assert report.unproven(result) == ["kill -9 taken × admit: its round had no accepted event"]
    assert report.table(result)[2:] == ["| kill -9 taken | **not proven**: admit | – | – | – | – | – |"]


@pytest.mark.parametrize(
    ("result", "status", "said"),
    [
        (Result(rows=[ROW], rounds=[SOUND]), 0, ""),
        (Result(rows=[ROW, MISSED], rounds=[SOUND]), FAILED, "not proven: kill -9 taken × retry"),
        (Result(rows=[ROW], rounds=[replace(SOUND, accepted=0)]), FAILED, "not proven: kill -9 taken × admit"),
        (Result(rows=[ROW], rounds=[replace(SOUND, violations={"I4": 1})]), FAILED, ""),
    ],
    ids=["proven", "not done", "nothing accepted", "violated"],
)
def test_the_command_ends_with_an_error_where_something_was_not_proven(
    result: Result, status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says of what."""
    monkeypatch.setattr(matrix, "run", lambda *_, **__: result)
    ended = CliRunner().invoke(proving.matrix, ["taken"])
    assert (ended.exit_code, said in ended.stdout) == (status, True)
    scripted = CliRunner().invoke(proving.matrix, ["taken", "--json"])
    assert (scripted.exit_code, json.loads(scripted.stdout)["violated"]) == (status, result.violated)


def test_rounds_are_listed_for_scripts_too() -> None:
    listed = json.loads(CliRunner().invoke(proving.matrix, ["--list", "--json"]).stdout)
    assert [one["round"] for one in listed] == [one.name for one in matrix.rounds()]


def test_a_load_says_what_it_sent_for_scripts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress goes elsewhere."""
    sent = load.Sent("run", 1_000, 3_000, Counter(good=3, repeat=1), acked=2, refused=Counter({503: 1}))

    def run(*_: object, hold: Callable[[load.Sent], bool], **__: object) -> load.Sent:
        hold(sent)
        return sent

    monkeypatch.setattr(commands, "of_running", lambda: ADDRESSES)
    monkeypatch.setattr(load, "run", run)
    ended = CliRunner().invoke(commands.load, ["--folder", str(tmp_path), "--json"])
    told = json.loads(ended.stdout)
    assert (told["sent"], told["kinds"], told["acknowledged"]) == (4, {"good": 3, "repeat": 1}, 2)
    assert (told["refused"], told["never_answered"]) == ({"503": 1}, 1)
    assert "sent 4" in ended.stderr


def test_without_a_compiler_clocks_are_left_out_by_name_or_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(_: Path, wanted: Sequence[matrix.Round], *__: object, **___: object) -> Result:
        started.append([one.name for one in wanted])
        return Result(rows=[ROW], rounds=[SOUND])

    monkeypatch.setattr(matrix, "run", run)
    monkeypatch.setattr(proving, "compiled", lambda _: None)
    refused = CliRunner().invoke(proving.matrix, ["clock", "taken"])
    assert (refused.exit_code, started) == (FAILED, [])
    assert "--without clock" in refused.stderr
    assert CliRunner().invoke(proving.matrix, ["clock", "taken", "--without", "clock"]).exit_code == 0
    assert started == [["taken"]]


def test_what_is_fed_to_a_system_is_what_it_can_be_asked() -> None:
    """The operation exists, only reads, and takes the request."""
    operation = registry.operation(feeding.SYSTEM, feeding.OPERATION)
    assert operation.effects == {Effect.NONE}
    operation.request.model_validate_json(feeding.REQUEST)


def test_a_proof_that_was_ended_says_so(tmp_path: Path) -> None:
    """What it had found until then is kept all the same."""
    report.write(Result(rows=[ROW], rounds=[SOUND]), tmp_path, "a machine")
    assert "**Not finished**" in (tmp_path / "matrix.md").read_text(encoding="utf-8")
    report.write(Result(is_whole=True, rows=[ROW], rounds=[SOUND]), tmp_path, "a machine")
    assert "**Not finished**" not in (tmp_path / "matrix.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("a_round", [one for one in matrix.rounds() if one.name != INPUT], ids=lambda one: one.name)
def test_every_round_is_looked_at_in_its_middle(
    a_round: matrix.Round, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def do(_: Stand, name: str, fault: faults.Fault, __: object) -> Row:
        done.append(fault.name)
        return Row(round=name, fault=fault.name, stage=fault.stage)

    quiet = SimpleNamespace(
        start=lambda: None, close=lambda: None, end=lambda: None, said=lambda: "", answered=(), sent=0
    )
    looking = SimpleNamespace(start=lambda: done.append("a look"), into=lambda _: None)
    for name, value in (("Loading", quiet), ("Operator", quiet), ("Feeding", quiet), ("Looking", looking)):
        monkeypatch.setattr(matrix, name, lambda *_, value=value: value)
    for name in ("WARM_S", "BETWEEN_S", "AFTER_S"):
        monkeypatch.setattr(matrix, name, 0.0)
    monkeypatch.setattr(matrix, "_do", do)
    monkeypatch.setattr(matrix, "_judge", lambda *_: replace(SOUND))
    monkeypatch.setattr(matrix, "_answered", lambda *_: None)
    monkeypatch.setattr(kept, "letters", lambda _: {})
    monkeypatch.setattr(kept, "unarchived", lambda *_: [])
    stand = SimpleNamespace(addresses=ADDRESSES, operations="", home=SimpleNamespace(folder=tmp_path))
    matrix._round(cast(Stand, stand), tmp_path, a_round, Result(), lambda _: None)
    assert [number for number, what in enumerate(done) if what == "a look"] == [len(a_round.faults) // 2]


def test_cases_gather_once_in_each_system_before_the_first_round_that_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    stand = nullcontext(SimpleNamespace(addresses=ADDRESSES))
    monkeypatch.setattr(matrix, "_stand", lambda *_: stand)
    monkeypatch.setattr(matrix, "_round", lambda _, __, one, *___: done.append(one.name))
    monkeypatch.setattr(matrix, "_chain", lambda _: "")
    monkeypatch.setattr(crowd, "gather", lambda *_: done.append("they gather"))
    wanted = [one for one in matrix.rounds() if one.name in ("stores", "taken", "computed", "brokers")]
    result = matrix.run(tmp_path, wanted, lambda _: None)
    assert done == ["stores", "they gather", "taken", "computed", "brokers"]
    assert result.open_cases == crowd.OPEN_CASES
    assert not matrix.run(tmp_path, [wanted[0], wanted[-1]], lambda _: None).open_cases


def test_what_gathers_is_read_by_no_model() -> None:
    """So that each case waits for a person."""
    assert guarding.judge(policy_files.load("no_injection@1"), f"{load.ORDERS} and a text").refused


def looked(tmp_path: Path) -> Judged:
    """What a look into a running system adds to its round."""
    stand = cast(Stand, SimpleNamespace(addresses=ADDRESSES))
    looking, judged = attending.Looking(stand, tmp_path, lambda _: None), replace(SOUND, violations={}, examples=[])
    looking.start()
    looking.into(judged)
    return judged


def test_what_does_not_hold_while_faults_run_is_a_violation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part(events=Counter(decided=7))
    part.violations.add(Law.COMMITTED, "it passes what is unfinished")
    monkeypatch.setattr(verify, "check", lambda *_, drained: Findings(part, drained))
    judged = looked(tmp_path)
    assert (judged.seen_running, judged.unseen, judged.violations) == (7, "", {"I9 while it ran": 1})


@pytest.mark.parametrize("error", [Unavailable("no broker answers"), KafkaException("no broker answers")])
def test_a_look_that_saw_nothing_is_counted_in_the_report(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the verifier needs may be what is broken."""

    def check(*_: object, **__: object) -> Findings:
        raise error

    monkeypatch.setattr(verify, "check", check)
    judged = looked(tmp_path)
    assert (judged.seen_running, judged.violations) == (0, {})
    report.write(Result(rows=[ROW], rounds=[judged, replace(SOUND, seen_running=5)]), tmp_path, "a machine")
    written = (tmp_path / "matrix.md").read_text(encoding="utf-8")
    assert "judged in the middle of 1 of 2 rounds" in written
    assert "- taken: not judged while it ran: no broker answers" in written


def test_a_verifier_that_breaks_while_faults_run_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was away: it is the proof that is broken."""

    def check(*_: object, **__: object) -> Findings:
        raise ValueError("not framed")

    monkeypatch.setattr(verify, "check", check)
    with pytest.raises(ValueError, match="not framed"):
        looked(tmp_path)


def test_what_a_fault_does_while_it_is_done_is_part_of_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rolling restart is over when the last process is there again; plan was silent in the middle of it."""
    moments = [90_000, 60_000, 10_000]
    monkeypatch.setattr(matrix, "wall_ms", lambda: moments[-1])
    monkeypatch.setattr(
        matrix, "Watched", lambda *_: SimpleNamespace(begin=lambda: None, again=lambda: None, seconds=0)
    )
    fault = SimpleNamespace(name="SIGTERM, rolling", stage="all", hold_s=0.0, bound_s=30.0, goes_on=True)
    fault.inject = fault.heal = lambda _: moments.pop()
    row = matrix._do(cast(Stand, None), "restart", cast(faults.Fault, fault), lambda _: None)
    part = Part()
    for at in (*range(9_000, 20_000, 500), *range(55_000, 90_000, 500)):
        part.pace("plan").tell(at)
    part.pace("plan").wait(20_000, 55_000)
    judge = {"until_ready": lambda: None, "addresses": ADDRESSES}
    monkeypatch.setattr(matrix, "_rest", lambda *_: True)
    monkeypatch.setattr(verify, "check", lambda *_, drained: Findings(part, drained))
    a_round, quiet = matrix.Round("restart", []), lambda _: None
    matrix._judge(cast(Stand, SimpleNamespace(**judge)), Path(), a_round, [row, MISSED], quiet)
    assert (row.goes_on_s, row.waited_s, row.is_late) == (35.5, 35.0, True)


def test_a_process_of_several_stages_has_the_longest_wait_of_them() -> None:
    """A worker serves two lanes of its pool, and tells what each of them did."""
    part, row = Part(), replace(ROW, stage="classify", waited_s=None, began=10_000)
    part.pace("classify.interactive").wait(12_000, 13_000)
    part.pace("classify.bulk").wait(14_000, 21_000)
    part.pace("generate.bulk").wait(14_000, 29_000)
    matrix._time(row, 30_000, Findings(part, drained=True))
    assert row.waited_s == 7.0


def test_a_round_of_which_nothing_could_be_done_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its load was there all the same."""
    monkeypatch.setattr(matrix, "_rest", lambda *_: True)
    monkeypatch.setattr(verify, "check", lambda *_, drained: Findings(Part(events=Counter(decided=7)), drained))
    stand = cast(Stand, SimpleNamespace(until_ready=lambda: None, addresses=ADDRESSES))
    assert matrix._judge(stand, Path(), matrix.Round("clock", []), [MISSED], lambda _: None).accepted == 7


def test_where_nothing_bad_was_sent_one_dead_letter_is_a_violation() -> None:
    """Of any group, and it is said of which; none is none."""
    for letters in (Counter[str](), Counter({"aios.plan.dlq": 2, "aios.cost.dlq": 1})):
        judged = Judged(round="away", accepted=100)
        matrix._none_died(judged, letters)
        assert judged.violations == ({matrix.UNEXPECTED: 3} if letters else {})
        assert Result(rows=[ROW], rounds=[judged]).violated == bool(letters)
    assert "2 more dead letters in aios.plan.dlq" in judged.examples


def test_what_operators_do_is_what_operations_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The routes exist and take it, from a principal who has the role; who edits or plans approves nothing."""
    asked: list[tuple[str, str]] = []

    def ask(_: object, who: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        path, _, query = path.partition("?")
        (route,) = [
            one
            for one in ROUTES
            if (one.method == "POST") == (body is not None)
            and re.fullmatch(re.sub(r"{\w+}", "[^/{}]+", one.path), path)
            and "scan" not in one.path
        ]
        assert who in route.roles
        assert set(parse_qs(query)) <= set(route.query or ())
        for model in route.takes:
            model.model_validate(body)
        asked.append((who, route.name))
        return {"object_id": "j", "letters": [{"id": "abcdef", "state": "quarantined"}]}

    monkeypatch.setattr(operator.credentials, "kept", lambda _: "a token")
    monkeypatch.setattr(operator.Asking, "_ask", ask)
    asking = operator.Asking(tmp_path, "")
    asking.replay()
    (letter,) = asking.letters()
    asking.discard(letter)
    asking.mend(letter, b"other bytes")
    assert asked == [
        ("operator", "plan"),
        ("approver", "job_approve"),
        ("operator", "job_run"),
        ("operator", "letters"),
        ("operator", "discard"),
        ("operator", "edit"),
        ("approver", "approve_edit"),
        ("approver", "free"),
    ]


@pytest.mark.parametrize("counted", [{3}, {2, 3}], ids=["it knows", "it does not"])
def test_two_brokers_away_prove_something_where_kafka_counts_on_the_third_alone(
    counted: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would wait for the copies of those that left, and refuse nobody."""
    left: list[int] = []
    brokers = {number: SimpleNamespace(stop=lambda _, number=number: left.append(number)) for number in (1, 2, 3)}
    cluster = SimpleNamespace(brokers=brokers, in_sync=lambda _: counted)
    stand = cast(Stand, SimpleNamespace(cluster=cluster, until=partial(Stand.until, cast(Stand, None))))
    monkeypatch.setattr(outages, "PREPARED_S", 0.0)
    with nullcontext() if counted == {3} else pytest.raises(faults.Unreached):
        outages.TooFewBrokers().inject(stand)
    assert left == [1, 2]


@pytest.mark.parametrize(("full", "after", "held"), [(503, 201, True), (201, 201, False), (500, 201, False)])
def test_a_document_is_refused_while_the_disk_is_full_and_kept_whole_after_it(
    *, full: int, after: int, held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another answer is trouble, and so is a 201 without the document."""
    answers = iter((full, after, after))

    def urlopen(*_: object, **__: object) -> object:
        status = next(answers)
        if status >= 400:
            raise HTTPError("", status, "", Message(), None)
        return nullcontext(SimpleNamespace(status=status))

    monkeypatch.setattr(faults.urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(faults, "limit_files", lambda *_: None)
    stand = cast(
        Stand,
        SimpleNamespace(
            addresses=replace(ADDRESSES, gateway="http://nowhere:1"),
            home=SimpleNamespace(folder=tmp_path),
            pid=lambda _: 1,
            until_ready=lambda: None,
        ),
    )
    fault = faults.DocumentsFull()
    with nullcontext() if held else pytest.raises(Missed, match=f"is answered {full}, not 503"):
        fault.inject(stand)
    with pytest.raises(Missed, match="there are 0 of it"):
        fault.heal(stand)
    place = tmp_path / "documents" / "tenant" / "00"
    place.mkdir(parents=True)
    (place / sha256(faults.DOCUMENT).hexdigest()).write_bytes(faults.DOCUMENT)
    fault.heal(stand)
