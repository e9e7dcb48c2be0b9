"""The report adds up to the ledger, whatever it is by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios.infra.commands import cost
from aios.schemas.codec import Codec
from aios.schemas.models import UsageSettled
from aios.sinks import lake_files, lake_query, ledger
from aios.sinks.lake import lake_folder
from aios.sinks.lake_tables import Rows
from aios.sinks.ledger import Line
from aios.streams import config
from aios.streams.durations import DAY_MS
from aios.streams.record import Record
from aios.streams.topics import CASE_DECIDED, RETENTION_MS, USAGE_SETTLED
from aios.streams.topology import LAKE
from tests.fakes.flow import Flow
from tests.fakes.registry import FakeRegistry

CODEC = Codec(FakeRegistry())
ROWS = Rows(CODEC, personal=False)
NOW_MS = 1_700_000_000_000

LINES = st.builds(
    UsageSettled,
    settlement_id=st.sampled_from([f"s{number}" for number in range(12)]),
    reservation_id=st.just(""),
    case_id=st.sampled_from(["c1", "c2"]),
    tenant=st.sampled_from(["t", "u's"]),
    workflow=st.sampled_from(["a", "b"]),
    kind=st.sampled_from(["inference", "person", "wasted", "closed"]),
    model=st.sampled_from(["", "m@1", "m@2"]),
    prompt_tokens=st.integers(0, 9),
    engine_us=st.integers(0, 2**40),
    cost_micro=st.integers(0, 2**50),
    settled_at=st.integers(0, 3).map(lambda day: NOW_MS + day * DAY_MS),
)


def distinct(lines: list[UsageSettled]) -> list[UsageSettled]:
    """As plan writes them: the same id is the same line."""
    first = {line.settlement_id: line for line in reversed(lines)}
    return [first[line.settlement_id] for line in lines]


def kept(folder: Path, lines: list[UsageSettled], first: int = 0, topic: str = USAGE_SETTLED.name) -> None:
    """In the lake, as its sink would have them: one record a line, repeats as well."""
    rows = [
        ROWS.of(Record(topic, 0, offset, NOW_MS, b"t", CODEC.encode(USAGE_SETTLED, line)))
        for offset, line in enumerate(lines, start=first)
    ]
    if rows:
        lake_files.write(folder, rows, {name: table.schema for name, table in ROWS.tables.items()})


def summed(lines: Iterable[UsageSettled]) -> Mapping[str, int]:
    """As a report without keys says it, of lines themselves: each id once."""
    found = dict.fromkeys(ledger.SUMS, 0)
    for line in {line.settlement_id: line for line in lines}.values():
        if line.kind not in ("inference", "person", "wasted"):
            continue
        found["answers"] += line.kind == "inference"
        found["prompt_tokens"] += line.prompt_tokens
        found["output_tokens"] += line.output_tokens
        found["engine_us"] += line.engine_us
        found[{"inference": "models", "person": "people", "wasted": "wasted"}[line.kind]] += line.cost_micro
    found["total"] = found["models"] + found["people"]
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(LINES, max_size=12).map(distinct),
    st.lists(st.sampled_from(sorted(ledger.KEYS)), unique=True, max_size=4),
)
def test_any_grouping_adds_up_to_the_ledger_to_the_last_unit(
    tmp_path_factory: pytest.TempPathFactory, lines: list[UsageSettled], by: list[str]
) -> None:
    """A settlement counts once, however often its record stands there; nothing is a float on the way."""
    lake = tmp_path_factory.mktemp("lake")
    kept(lake, lines)
    wanted = summed(lines)
    found = ledger.report(lake, by)
    assert ledger.added(found) == wanted


def test_the_sum_that_is_shown_is_that_of_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the lake takes more while the report is made."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    asked = ledger.report

    def report(lake: Path, by: Sequence[str], **only: str) -> list[dict[str, Any]]:
        found = asked(lake, by, **only)
        kept(lake, [line("later")], first=1)
        return found

    kept(lake_folder(tmp_path), [line("first")])
    monkeypatch.setattr(ledger, "report", report)
    config.load.cache_clear()
    said = CliRunner().invoke(cost.group, ["report", "--by", "case", "--json"])
    config.load.cache_clear()
    told = json.loads(said.stdout)
    assert [row["total"] for row in told["rows"]] == [told["sum"]["total"]] == [5]


def line(settlement: str) -> UsageSettled:
    return UsageSettled(
        settlement_id=settlement,
        reservation_id="",
        case_id="c",
        tenant="t",
        workflow="a",
        kind="inference",
        cost_micro=5,
        settled_at=NOW_MS,
    )


def test_a_key_that_is_used_again_when_its_case_is_forgotten_is_paid_for_again(tmp_path: Path) -> None:
    """Its case has the id of the first, and so have the lines: as many as there are cases, each once."""
    first, later = line("s"), replace(line("s"), settled_at=NOW_MS + RETENTION_MS, cost_micro=7)
    kept(tmp_path, [first, first, later, later])
    assert ledger.report(tmp_path, [])[0]["total"] == 5 + 7
    assert [row["total"] for row in ledger.report(tmp_path, ["day"])] == [5, 7]
    days = lake_query.ask(tmp_path, lake_query.shipped()["cost_by_day"][1]).rows
    assert [row[4] for row in days] == [7, 5]


def test_a_report_of_one_tenant_since_a_day_is_of_these_alone(tmp_path: Path) -> None:
    """A quote in a name is no SQL."""
    lines = [
        UsageSettled(
            settlement_id=f"{tenant}{day}",
            reservation_id="",
            case_id="c",
            tenant=tenant,
            workflow="a",
            kind="inference",
            cost_micro=1 + day,
            settled_at=NOW_MS + day * DAY_MS,
        )
        for tenant in ("t", "u's")
        for day in range(3)
    ]
    kept(tmp_path, lines)
    (row,) = ledger.report(tmp_path, ["tenant"], tenant="u's", since="2023-11-15")
    assert (row["tenant"], row["answers"], row["total"]) == ("u's", 2, 2 + 3)
    days = ledger.report(tmp_path, ["day"], tenant="t")
    assert [row["day"] for row in days] == ["2023-11-14", "2023-11-15", "2023-11-16"]


def test_a_report_by_cost_centre_is_by_that_of_each_decision(tmp_path: Path) -> None:
    """What a case used before it was decided counts for it; of an open case nobody knows it yet."""
    lines = [
        UsageSettled(
            settlement_id=f"s{number}",
            reservation_id="",
            case_id=f"c{number % 3}",
            tenant="t",
            workflow="a",
            kind="inference",
            cost_micro=1 << number,
            settled_at=NOW_MS,
        )
        for number in range(6)
    ]
    kept(tmp_path, lines)
    flow = Flow()
    flow.admit()
    flow.run_out()
    decided = [replace(flow.decided, case_id=f"c{number}", cost_centre=f"CC-{number + 1}") for number in range(2)]
    rows = [
        ROWS.of(Record(CASE_DECIDED.name, 0, offset, NOW_MS, b"c", CODEC.encode(CASE_DECIDED, one)))
        for offset, one in enumerate([*decided, decided[0]])  # one stands there twice
    ]
    lake_files.write(tmp_path, rows, {name: table.schema for name, table in ROWS.tables.items()})
    found = {row["cost_centre"]: row["total"] for row in ledger.report(tmp_path, ["cost_centre"])}
    assert found == {"CC-1": 1 + 8, "CC-2": 2 + 16, "": 4 + 32}


def test_kafka_and_the_lake_are_compared_at_the_same_offsets(tmp_path: Path) -> None:
    """What the lake does not have yet is behind, not different; what it has otherwise is different."""
    lines = [
        UsageSettled(
            settlement_id=f"s{number}",
            reservation_id="",
            case_id="c",
            tenant="t",
            workflow="a",
            kind="inference",
            cost_micro=number,
            settled_at=NOW_MS,
        )
        for number in range(5)
    ]
    kept(tmp_path, lines[:4])
    at = [Line(0, offset, line) for offset, line in enumerate(lines)]
    compared = ledger.compare(tmp_path, at)
    assert (compared.same, compared.lines, compared.behind, compared.kafka) == (True, 4, 1, 0 + 1 + 2 + 3)
    assert ledger.compare(tmp_path, at[2:]).same, "Kafka keeps them for a while only"
    assert not ledger.compare(tmp_path, [*at[:3], Line(0, 3, lines[4])]).same
    assert not ledger.compare(tmp_path, at[:2] + at[3:]).same


def test_a_line_that_the_lake_took_when_it_was_replayed_is_no_difference(tmp_path: Path) -> None:
    """It failed in the lake's group, and came back by the topic of that group alone; one of another time is not asked
    for.
    """
    lines = [line(name) for name in ("a", "b", "c", "d")]
    kept(tmp_path, lines[:1])
    kept(tmp_path, [lines[2]], first=2)
    at = [Line(0, offset, one) for offset, one in enumerate(lines[:3])]
    assert not ledger.compare(tmp_path, at).same
    kept(tmp_path, [lines[1], lines[3]], first=7, topic=LAKE.retries.name)
    compared = ledger.compare(tmp_path, at)
    assert (compared.same, compared.lines, compared.kafka) == (True, 3, 15)
    assert ledger.report(tmp_path, [])[0]["total"] == 20


def test_what_the_lake_takes_while_kafka_is_read_makes_no_difference(tmp_path: Path) -> None:
    """Nor does a line that costs nothing go missing unseen."""
    lines = [
        UsageSettled(
            settlement_id=f"s{number}",
            reservation_id="",
            case_id="c",
            tenant="t",
            workflow="a",
            kind="inference",
            cost_micro=0,
            settled_at=NOW_MS,
        )
        for number in range(3)
    ]
    kept(tmp_path, lines[:2])

    def meanwhile() -> Iterator[Line]:
        yield Line(0, 0, lines[0])
        kept(tmp_path, lines[2:], first=2)
        yield from (Line(0, 1, lines[1]), Line(0, 2, lines[2]))

    compared = ledger.compare(tmp_path, meanwhile())
    assert (compared.same, compared.lines, compared.behind) == (True, 2, 1)
    assert not ledger.compare(tmp_path, [Line(0, 0, lines[0]), Line(0, 2, lines[2])]).same
