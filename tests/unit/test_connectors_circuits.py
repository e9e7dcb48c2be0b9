"""Circuits of a system's endpoints, as everybody is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import breakers
from aios.dlq.operations.routes import KEY_CHARS_MAX
from aios.processors.connectors import circuits
from aios.processors.connectors.circuit import Change, State
from aios.processors.connectors.circuits import Endpoints
from aios.processors.connectors.gate import Gate
from aios.processors.connectors.lines import Party
from aios.schemas.codec import Codec
from aios.schemas.models import BreakerChanged
from aios.streams import installed, waiting
from aios.streams.kafka import Place
from aios.streams.record import Outgoing
from aios.streams.topics import BREAKER_CHANGED
from aios.streams.topology import connecting
from tests.fakes import virtual_time
from tests.fakes.registry import FakeRegistry

HOOK = installed.systems()["webhook"]
STAGE = connecting(HOOK)
FAR, NEAR = Party("demo/far", is_endpoint=True), Party("demo/near", is_endpoint=True)
OPEN, CLOSED = Change(State.OPEN, 5, 5), Change(State.CLOSED, 5, 5)


class Told:
    """What was written, decoded."""

    def __init__(self) -> None:
        self.codec = Codec(FakeRegistry())
        self.said: list[BreakerChanged] = []

    async def deliver_all(self, outs: Sequence[Outgoing]) -> Sequence[Place]:
        await asyncio.sleep(0)
        self.said += [self.codec.decode(one.value, BreakerChanged) for one in outs]
        return [Place(BREAKER_CHANGED.name, 0, len(self.said), 0) for _ in outs]

    def endpoints(self, slot: int = 0) -> Endpoints:
        return Endpoints(self.codec, self, STAGE, system="webhook", slot=slot)


def test_an_endpoint_that_is_away_is_told_resumed_and_closed_by_a_person() -> None:
    """Its own key, tenant and advice; a new life of the process knows it; a person's word closes that one alone."""
    told = Told()

    async def work() -> None:
        before = told.endpoints()
        before.changed(FAR, OPEN, "http_500")
        before.changed(NEAR, OPEN, "no_connection")
        before.changed(NEAR, CLOSED, "")
        await before.close(60.0, leaves=False)
        far, near, near_closed = told.said
        assert (far.key, far.tenant, far.state, far.group) == ("endpoint/webhook/demo/far", "demo", "open", STAGE.group)
        assert "connectors.endpoints.far" in far.action
        assert f"aios breaker close {far.key}" in far.action
        assert far.since
        assert (near.since > 0, near_closed.since, near_closed.action) == (True, 0, "")
        assert waiting.is_circuit(far)
        assert waiting.away_since(waiting.Asked("webhook"), told.said) == 0, "the system itself is not away"

        after = told.endpoints()
        assert after.resume([far, near_closed, replace(far, key="endpoint/webhook/demo/far/1")]) == [FAR]
        assert after.closed_by(replace(far, state="closed", by=far.by)) is None, "its own word"
        closed = breakers.closed(far, by="olga", now_ms=far.changed_at + 1)
        assert after.closed_by(replace(closed, key="endpoint/webhook/demo/near")) is None
        assert after.closed_by(closed) == FAR
        assert after.closed_by(closed) is None

    asyncio.run(work())


def test_a_slot_that_may_not_come_back_leaves_no_circuit_open() -> None:
    """Nobody would close it."""
    told = Told()

    async def work() -> None:
        leaving = told.endpoints(slot=2)
        leaving.changed(FAR, OPEN, "http_500")
        await leaving.close(60.0, leaves=True)

    asyncio.run(work())
    assert [(one.key, one.state) for one in told.said] == [
        ("endpoint/webhook/demo/far/2", "open"),
        ("endpoint/webhook/demo/far/2", "closed"),
    ]


def test_the_gate_tells_of_endpoints_and_takes_a_persons_word() -> None:
    """Left open it is tried by one call; closed by a person all go; what closes with the system is told too."""
    heard: list[tuple[str, str]] = []

    async def work() -> None:
        gate = Gate(
            HOOK,
            lambda change, word: None,
            endpoint_changed=lambda party, change, word: heard.append((party.name, change.state)),
            clock=virtual_time.now,
        )
        gate.reopen_endpoint(FAR)
        assert gate.is_away(FAR)
        asking = [asyncio.create_task(gate.enter(virtual_time.now() + 60, lambda: True, FAR)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert [one.done() for one in asking].count(True) == 1
        gate.close_endpoint(FAR)
        await asyncio.sleep(0.01)
        assert all(one.done() for one in asking)
        gate.reopen_endpoint(FAR)
        gate.close_circuit()
        assert not gate.is_away(FAR)

    virtual_time.run(work())
    assert heard == [("demo/far", "half_open"), ("demo/far", "closed")]


@settings(deadline=None)
@given(
    tenant=st.text("a1-", min_size=1, max_size=4),
    endpoint=st.text("a1-", max_size=4).map("e".__add__),
    slot=st.integers(0, 12),
    other=st.integers(0, 12),
)
def test_a_key_is_of_one_endpoint_and_one_process(tenant: str, endpoint: str, slot: int, other: int) -> None:
    """Whoever made it finds its party again, and no other process takes it for its own."""
    party = Party(f"{tenant}/{endpoint}", is_endpoint=True)
    key = circuits.key_of("webhook", slot, party)
    assert circuits.party_of(key, "webhook", slot) == party
    assert (circuits.party_of(key, "webhook", other) is None) == (slot != other)
    assert circuits.party_of(key, "web", slot) is None
    assert not key.startswith(circuits.key_of("webhook", slot))


def test_the_longest_key_fits_what_an_operator_may_name() -> None:
    """Else its circuit could not be closed."""
    longest = circuits.key_of("w" * 32, 999, Party(f"{'t' * 64}/{'e' * 64}", is_endpoint=True))
    assert len(longest) <= KEY_CHARS_MAX
