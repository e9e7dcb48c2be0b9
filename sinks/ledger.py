"""The ledger as a report: what was used, by tenant, workflow, model, day, to the last unit.

Enters: usage.settled.v1, from the lake (all that ever was) or from Kafka (what is still kept); the decisions of its
cases, from the lake. Leaves: sums by the columns asked for, and whether Kafka and the lake say the same. Guaranteed: a
settlement counts once, by its id, and one of a case whose key is used again when the first is forgotten is another,
though its id is the same; sums are whole numbers; `total` is what models and people have cost, `wasted`
(answers that came twice or too late) stands beside it and in no total; the rows of any grouping add up to those of any
other.
Rejected: a table of sums that is kept up to date (a second truth; DuckDB adds up as many lines as there are).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aios.schemas.models import UsageSettled
from aios.sinks import lake_query
from aios.sinks.lake_query import QueryRefused
from aios.streams.topics import RETENTION_MS, USAGE_SETTLED

KEYS = {
    "tenant": "tenant",
    "workflow": "workflow",
    "cost_centre": "coalesce(cost_centre, '')",
    "model": "model",
    "prompt": "prompt",
    "pool": "pool",
    "kind": "kind",
    "case": "case_id",
    "day": "strftime(settled_at, '%Y-%m-%d')",
}
"""What a report can be by, as SQL. cost_centre: as the case's decision says; empty: it has none, or is open."""

SUMS = ("answers", "prompt_tokens", "output_tokens", "engine_us", "models", "people", "total", "wasted")
"""What a report adds up."""

_SUMMED = """count(*) filter (kind = 'inference')::bigint as answers,
    coalesce(sum(prompt_tokens), 0)::bigint as prompt_tokens,
    coalesce(sum(output_tokens), 0)::bigint as output_tokens,
    coalesce(sum(engine_us), 0)::bigint as engine_us,
    coalesce(sum(cost_micro) filter (kind = 'inference'), 0)::bigint as models,
    coalesce(sum(cost_micro) filter (kind = 'person'), 0)::bigint as people,
    coalesce(sum(cost_micro) filter (kind in ('inference', 'person')), 0)::bigint as total,
    coalesce(sum(cost_micro) filter (kind = 'wasted'), 0)::bigint as wasted"""
_ONCE = f"""select * from usage_settled
    where kind in ('inference', 'person', 'wasted')
    qualify coalesce(epoch_ms(settled_at) - epoch_ms(lag(settled_at) over (
        partition by settlement_id order by settled_at, kafka_partition, kafka_offset)) >= {RETENTION_MS}, true)"""  # noqa: S608 - ours

_OWN = f"(kafka_topic = '{USAGE_SETTLED.name}')"
_CENTRES = "(select case_id, any_value(cost_centre) as cost_centre from case_decided group by case_id)"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the ledger and where it stands."""

    partition: int
    offset: int
    event: UsageSettled


@dataclass(frozen=True, slots=True)
class Compared:
    """kafka, lake: the sum at the offsets that both have, in micro; lines, lake_lines: how many. behind: lines that are
    not in the lake yet.
    """

    kafka: int
    lake: int
    lines: int
    lake_lines: int
    behind: int

    @property
    def same(self) -> bool:
        return (self.kafka, self.lines) == (self.lake, self.lake_lines)


def report(lake: Path, by: Sequence[str], *, tenant: str = "", since: str = "", case: str = "") -> list[dict[str, Any]]:
    """Sums by these of KEYS, in their order. since: a day, YYYY-MM-DD, UTC. case: of this one alone. Raises
    QueryRefused, KeyError.
    """
    keys = ", ".join(f'{KEYS[name]} as "{name}"' for name in by)
    numbers = ", ".join(str(number) for number, _ in enumerate(by, start=1))
    where = [
        *([f"tenant = {lake_query.quoted(tenant)}"] if tenant else []),
        *([f"case_id = {lake_query.quoted(case)}"] if case else []),
        *([f"settled_at >= {lake_query.quoted(since)}::timestamp"] if since else []),
    ]
    filtered = f"where {' and '.join(where)}" if where else ""
    lines = f"({_ONCE}) left join {_CENTRES} using (case_id)" if "cost_centre" in by else f"({_ONCE})"
    asked = f"select {keys}{', ' if by else ''}{_SUMMED} from {lines} {filtered}"  # noqa: S608 - KEYS and quoted texts
    answer = lake_query.ask(lake, f"{asked} group by {numbers} order by {numbers}" if by else asked)
    if answer.cut:
        raise QueryRefused(f"more than {lake_query.ROWS_MAX} rows: ask by fewer of {', '.join(by)}")
    return answer.plain()


def added(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The sum of a report's rows: of what they were read from, and not of what the lake has taken since."""
    kept = list(rows)
    return {name: sum(row[name] for row in kept) for name in SUMS}


def compare(lake: Path, lines: Iterable[Line]) -> Compared:
    """What Kafka still has of the ledger against the same offsets in the lake. Raises QueryRefused.

    Up to where the lake ended before Kafka was read: what it takes meanwhile is of neither side. A line that the lake
    could not take at first came to it by another topic, and is known by its id.
    """
    ends = dict(_asked(lake, "kafka_partition, max(kafka_offset)", f"{_OWN} group by 1"))
    elsewhere = {settlement for settlement, _ in _asked(lake, "distinct settlement_id, 0", f"not {_OWN}")}
    returned: set[str] = set()
    begins: dict[int, int] = {}
    kafka = count = behind = 0
    for line in lines:
        begins.setdefault(line.partition, line.offset)
        if line.offset > ends.get(line.partition, -1):
            behind += 1
            continue
        count += 1
        kafka += line.event.cost_micro
        if line.event.settlement_id in elsewhere:
            returned.add(line.event.settlement_id)
    places = [
        f"({_OWN} and kafka_partition = {partition} and kafka_offset between {begin} and {ends[partition]})"
        for partition, begin in begins.items()
        if partition in ends
    ]
    if returned:
        places.append(f"(not {_OWN} and settlement_id in ({', '.join(map(lake_query.quoted, sorted(returned)))}))")
    ((lake_lines, in_lake),) = _asked(
        lake, "count(*)::bigint, coalesce(sum(cost_micro), 0)::bigint", " or ".join(places) or "false"
    )
    return Compared(kafka, in_lake, count, lake_lines, behind)


def _asked(lake: Path, what: str, where: str) -> Sequence[tuple[Any, Any]]:
    asked = f"select {what} from usage_settled where {where}"  # noqa: S608 - ours
    return [(row[0], row[1]) for row in lake_query.ask(lake, asked).rows]
