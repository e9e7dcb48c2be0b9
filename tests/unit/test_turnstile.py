"""The turnstile before the pools, under any order of coming, leaving, giving up and changing shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.processors.cases import turnstile
from aios.processors.cases.turnstile import Full, Turnstile, pool_key, turn_key
from aios.schemas.models import Event, PoolRemembered, TurnRemembered
from aios.streams.errors import StateBroken

POOL = "classify.bulk"


@dataclass
class Partition:
    """The turnstile's state, and what it must be by the history: who holds a place, who waits, who was called."""

    share: int = 2
    state: dict[bytes, Event] = field(default_factory=dict)
    holds: dict[str, set[str]] = field(default_factory=dict)  # tenant → cases that were let in or have taken their turn
    called: dict[str, list[str]] = field(default_factory=dict)  # their turn is told, and they have not moved yet
    waits: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    ordinals: dict[str, int] = field(default_factory=dict)
    looks: int = 0

    def turn(self) -> Turnstile:
        def look(key: bytes, kind: type[Event]) -> Event | None:
            self.looks += 1
            return self.state.get(key)

        return Turnstile(look, lambda pool: self.share)

    def keep(self, turn: Turnstile, tenant: str) -> None:
        for key, value in turn.changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        for case_id, timer_id in turn.called:
            assert timer_id == f"turn/{case_id}"
            first, _ = self.waits[tenant].pop(0)
            assert case_id == first, "the first who waits is called"
            self.called.setdefault(tenant, []).append(case_id)
        self.check(tenant)

    def enter(self, tenant: str, case_id: str) -> None:
        turn = self.turn()
        ordinal = turn.enter(tenant, POOL, case_id, f"turn/{case_id}")
        if ordinal:
            self.ordinals[case_id] = ordinal
            self.waits.setdefault(tenant, []).append((case_id, ordinal))
        else:
            self.holds.setdefault(tenant, set()).add(case_id)
        self.keep(turn, tenant)

    def leave(self, tenant: str, case_id: str) -> None:
        """Answered, or given up: the case knows its ordinal only until it has asked."""
        turn = self.turn()
        waiting = self.waits.get(tenant, [])
        turn.leave(tenant, POOL, 0 if case_id in self.holds.get(tenant, ()) else self.ordinals[case_id])
        self.waits[tenant] = [one for one in waiting if one[0] != case_id]
        self.holds.setdefault(tenant, set()).discard(case_id)
        if case_id in self.called.get(tenant, []):
            self.called[tenant].remove(case_id)
        self.keep(turn, tenant)

    def take_turn(self, tenant: str) -> None:
        self.holds.setdefault(tenant, set()).add(self.called[tenant].pop(0))

    def check(self, tenant: str) -> None:
        known = self.turn().known(tenant, POOL)
        places = len(self.holds.get(tenant, ())) + len(self.called.get(tenant, ()))
        waiting = self.waits.get(tenant, [])
        assert known.outstanding == places
        assert not waiting or places >= self.share, "nobody waits while there is room"
        entries = {key for key in self.state if key.startswith(turnstile.TURN) and key.endswith(f"/{tenant}".encode())}
        assert entries == {turn_key(tenant, POOL, ordinal) for _, ordinal in waiting}
        assert (pool_key(tenant, POOL) in self.state) == bool(places or waiting)
        if waiting:
            assert known.first == waiting[0][1] < known.next


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "leave", "give_up", "turn", "quit_called", "share"]),
        st.sampled_from(["acme", "a/b", "c"]),
        st.integers(0, 9),
    ),
    min_size=20,
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(actions=ACTIONS)
def test_places_are_counted_and_turns_come_in_order(actions: list[tuple[str, str, int]]) -> None:
    """Outstanding is who holds a place; nobody waits while there is room; the first comes first; nothing is left."""
    world, number = Partition(), 0
    for what, tenant, draw in actions:
        holds, waits = sorted(world.holds.get(tenant, ())), world.waits.get(tenant, [])
        called = world.called.get(tenant, [])
        match what:
            case "enter":
                number += 1
                world.enter(tenant, f"case{number}")
            case "leave" if holds:
                world.leave(tenant, holds[draw % len(holds)])
            case "give_up" if waits:
                world.leave(tenant, waits[draw % len(waits)][0])
            case "turn" if called:
                world.take_turn(tenant)
            case "quit_called" if called:
                world.leave(tenant, called[draw % len(called)])
            case "share" if draw >= world.share:  # who waits is looked at when somebody comes or leaves
                world.share = draw
                for one in world.waits:
                    number += 1
                    world.enter(one, f"case{number}")
    for tenant in ("acme", "a/b", "c"):
        while world.holds.get(tenant) or world.called.get(tenant):
            if world.called.get(tenant):
                world.take_turn(tenant)
            world.leave(tenant, next(iter(world.holds[tenant])))
    assert world.state == {}


def test_a_place_that_is_given_back_and_taken_again_changes_nothing() -> None:
    """From one step to the next at the same system nothing is written, and the place is looked up once."""
    world = Partition()
    world.enter("acme", "case0")
    world.looks, turn = 0, world.turn()
    turn.leave("acme", POOL, 0)
    assert turn.enter("acme", POOL, "case0", "turn/case0") == 0
    assert (turn.changes, turn.called, world.looks) == ({}, [], 1)


def test_a_smaller_share_takes_effect_as_places_come_back() -> None:
    """Nobody is thrown out, and nobody is called until there is room again."""
    world = Partition(share=3)
    for number in range(5):
        world.enter("acme", f"case{number}")
    world.share = 1
    world.leave("acme", "case0")
    world.leave("acme", "case1")
    assert not world.called.get("acme")
    world.leave("acme", "case2")
    assert world.called["acme"] == ["case3"]


def test_no_step_looks_at_more_than_it_moves() -> None:
    """Behind a backlog of thousands a case comes and goes in a few look-ups; those who left cost one each, once."""
    world = Partition(share=1)
    for number in range(3_000):
        _quick(world, f"case{number}")
    for number in range(1_000, 2_000):
        turn = world.turn()
        turn.leave("acme", POOL, world.ordinals[f"case{number}"])
        assert world.looks <= 4
        _apply(world, turn)
    most = []
    for _ in range(1_998):
        turn = world.turn()
        turn.leave("acme", POOL, 0)
        most.append(world.looks)
        _apply(world, turn)
    assert sorted(most)[-2] <= 5
    assert sum(most) <= 5 * 1_998 + 1_000


def _quick(world: Partition, case_id: str) -> None:
    turn = world.turn()
    world.ordinals[case_id] = turn.enter("acme", POOL, case_id, f"turn/{case_id}")
    assert world.looks <= 4
    _apply(world, turn)


def _apply(world: Partition, turn: Turnstile) -> None:
    world.looks = 0
    for key, value in turn.changes.items():
        if value is None:
            world.state.pop(key, None)
        else:
            world.state[key] = value


def test_a_full_wait_takes_nobody_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so before anything changes."""
    monkeypatch.setattr(turnstile, "WAITING_MAX", 2)
    world = Partition(share=1)
    for number in range(3):
        world.enter("acme", f"case{number}")
    turn = world.turn()
    with pytest.raises(Full):
        turn.enter("acme", POOL, "one more", "turn/one more")
    assert turn.changes == {}


@pytest.mark.parametrize(
    "state", [{}, {pool_key("acme", POOL): TurnRemembered(case_id="c", timer_id="t")}], ids=["nobody", "foreign"]
)
def test_state_that_cannot_be_is_not_guessed_at(state: dict[bytes, Any]) -> None:
    """A place that nobody holds cannot be given back; going on would let more in than the share."""
    with pytest.raises(StateBroken):
        Turnstile(lambda key, kind: state.get(key), lambda pool: 1).leave("acme", POOL, 0)


def test_shares_of_partitions_never_add_up_to_more_than_the_limit() -> None:
    """Unless there are more partitions than places: each has one."""
    share = turnstile.shares({"a.bulk": 512, "b.bulk": 3}, 6)
    assert (share("a.bulk"), share("b.bulk"), share("gone.bulk")) == (85, 1, 1)
    assert PoolRemembered(outstanding=0, first=1, next=1) == turnstile.NOBODY
