"""budget as a stage: keys, partitions, state, ends and repeats, around the books of test_accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.budget import Budget
from aios.processors.stateful.state import FORGET, Effects
from aios.schemas.codec import Codec
from aios.schemas.models import (
    EVENTS,
    AccountRemembered,
    BudgetAnswered,
    BudgetChanged,
    BudgetDeclared,
    Event,
    ReservationRemembered,
    UsageSettled,
)
from aios.streams import limits, topics
from aios.streams.errors import Reason, RecordError
from aios.streams.partitioner import partition_of
from aios.streams.record import Outgoing, Record
from aios.streams.topology import BUDGET
from tests.fakes.registry import FakeRegistry
from tests.unit.test_accounts import EXPIRES_MS, NOW_MS, limit, request, used

PARTITIONS = 6
CODEC = Codec(FakeRegistry())


@dataclass
class Declared:
    """The limits, as the table would have them."""

    limits: dict[str, BudgetDeclared] = field(default_factory=dict)

    def of(self, tenant: str, workflow: str) -> Mapping[str, BudgetDeclared]:
        return {name: self.limits[name] for name in limits.names_of(tenant, workflow) if name in self.limits}


@dataclass
class Stage:
    """One partition: what is remembered survives, the core is a new one for each record."""

    declared: Declared = field(default_factory=lambda: Declared({"t/a": limit(100)}))
    state: dict[bytes, bytes] = field(default_factory=dict)
    ends: dict[bytes, int] = field(default_factory=dict)
    offset: int = 0
    now_ms: int = NOW_MS

    def get(self, key: bytes) -> bytes | None:
        return self.state.get(key)

    def scan(self, prefix: bytes) -> Any:
        return ((key, value) for key, value in self.state.items() if key.startswith(prefix))

    def compute(self, event: Any) -> Effects:
        topic = topics.USAGE_SETTLED if isinstance(event, UsageSettled) else topics.BUDGET_REQUESTED
        key = event.tenant.encode()
        record = Record(
            topic.name, partition_of(key, PARTITIONS), self.offset, self.now_ms, key, CODEC.encode(topic, event)
        )
        self.offset += 1
        return Budget(CODEC, self.declared, PARTITIONS).step(record, self, self.now_ms)

    def feed(self, event: Any) -> list[Event]:
        effects = self.compute(event)
        for key, value in effects.changes.items():
            self.state.pop(key, None)
            self.ends.pop(key, None)
            if value is not None:
                self.state[key] = value
        self.ends.update(effects.ends)
        return [told(out) for out in effects.outputs]

    def of(self, kind: type[Any]) -> list[Any]:
        prefix = b"account/" if kind is AccountRemembered else b"held/"
        return [CODEC.decode(value, kind) for key, value in self.state.items() if key.startswith(prefix)]


def told(out: Outgoing) -> Event:
    topic = next(one for one in BUDGET.writes if one.name == out.topic)
    return CODEC.decode(out.value, EVENTS[topic.contracts[0]])


def test_a_reservation_is_answered_to_its_case_and_settled_by_its_tenant() -> None:
    """The answer is keyed by case; each change of a budget is told under its name."""
    stage = Stage()
    first = stage.compute(request("c", 60))
    assert [(out.topic, out.key, out.partition) for out in first.outputs] == [
        ("budget.answered.v1", b"c", None),
        ("budget.changed.v1", b"t/a", None),
    ]
    answer, changed = stage.feed(request("c", 60))
    assert isinstance(answer, BudgetAnswered)
    assert isinstance(changed, BudgetChanged)
    assert (answer.status, answer.amount_micro, changed.reserved_micro) == ("granted", 60, 60)
    assert list(stage.ends.values()) == [EXPIRES_MS]
    stage.feed(used("c", 25))
    (last,) = stage.feed(used("c", 0, "closed"))
    assert isinstance(last, BudgetChanged)
    assert (last.reserved_micro, last.spent_micro) == (0, 25)
    assert not stage.of(ReservationRemembered)
    assert not stage.ends


def test_a_reservation_whose_time_is_over_returns_by_a_line_of_the_ledger() -> None:
    """The case's plan is gone: what it had reserved is there for others, and later lines of it are not charged."""
    stage = Stage()
    stage.feed(request("c", 60))
    (key,) = stage.ends
    core = Budget(CODEC, stage.declared, PARTITIONS)
    out = core.fire(key.decode(), FORGET, EXPIRES_MS, EXPIRES_MS + 9)
    assert (out.topic, out.key) == ("usage.settled.v1", b"t")
    expired = told(out)
    assert out == core.fire(key.decode(), FORGET, EXPIRES_MS, EXPIRES_MS + 9), "a firing is computed again as it was"
    stage.feed(expired)
    stage.feed(used("c", 25))
    (account,) = stage.of(AccountRemembered)
    assert (account.reserved_micro, account.spent_micro, account.over_micro) == (0, 0, 25)


def test_nothing_is_told_of_what_changes_nothing() -> None:
    """A repeated settlement, an end of what has ended, usage where no limit is declared."""
    stage = Stage()
    stage.feed(request("c", 60))
    stage.feed(used("c", 25))
    assert stage.feed(used("c", 25)) == []
    stage.feed(used("c", 0, "closed"))
    assert stage.feed(used("c", 0, "closed")) == []
    assert stage.feed(used("d", 25, workflow="b", reserved=False)) == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"key": b"other"}, Reason.UNATTRIBUTABLE),
        ({"partition": (partition_of(b"t", PARTITIONS) + 1) % PARTITIONS}, Reason.WRONG_PARTITION),
    ],
)
def test_a_record_that_does_not_sit_where_its_tenant_lives_changes_nothing(
    changed: dict[str, Any], reason: Reason
) -> None:
    """Else another partition would have books of its own for the tenant."""
    value = CODEC.encode(topics.BUDGET_REQUESTED, request("c", 60))
    record = Record(topics.BUDGET_REQUESTED.name, partition_of(b"t", PARTITIONS), 0, NOW_MS, b"t", value)
    with pytest.raises(RecordError) as caught:
        Budget(CODEC, Declared(), PARTITIONS).step(replace(record, **changed), Stage(), NOW_MS)
    assert caught.value.reason is reason


def test_nobody_is_paid_by_a_settlement() -> None:
    """A cost below nothing would make room that nobody has."""
    with pytest.raises(RecordError):
        Stage().feed(used("c", -1))


EVENTS_OF = st.one_of(
    st.builds(request, st.sampled_from("cdef"), st.integers(1, 60)),
    st.builds(used, st.sampled_from("cdef"), st.integers(0, 60), st.just("inference"), st.sampled_from("123")),
    st.builds(used, st.sampled_from("cdef"), st.just(0), st.sampled_from(("closed", "expired"))),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(EVENTS_OF, st.booleans(), st.booleans()), min_size=12, max_size=40))
def test_crashes_and_repeats_take_no_more_than_the_limit(events: list[tuple[Any, bool, bool]]) -> None:
    """A record is computed, lost before its commit and computed again; or committed and sent again: the limit holds."""
    stage = Stage()
    for event, lost, repeated in events:
        if lost:
            assert stage.compute(event).changes == stage.compute(event).changes
        for _ in range(1 + repeated):
            stage.feed(event)
            for account in stage.of(AccountRemembered):
                assert account.reserved_micro + account.spent_micro <= 100
                assert account.reserved_micro == sum(held.left_micro for held in stage.of(ReservationRemembered))
