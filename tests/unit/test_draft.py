"""A micro-batch that is being computed: what a core sees of it, and when it is full."""

from __future__ import annotations

from typing import Any

import pytest

from aios.processors.stateful import draft as module
from aios.processors.stateful.draft import Draft, size_of
from aios.processors.stateful.state import OUTPUTS_MAX, Effects
from aios.processors.stateful.states import States
from aios.schemas.models import ParkedRemembered
from aios.streams.errors import Reason, SchemaMismatch
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RECORD_BYTES_MAX

OUT = Outgoing("t", b"k", b"v")
PARKED = ParkedRemembered(lowest=1, next=2, discarded=(), dead=(), place="t", since=1)


def test_a_core_sees_what_earlier_records_of_the_batch_have_changed() -> None:
    """By key and by prefix, each once; what they forgot is not there."""
    states = States()
    for key in (b"a:1", b"a:2", b"a:3", b"b:1"):
        states.set(key, b"before")
    batch = Draft(states, {}, {})
    batch.add(Effects(changes={b"a:1": b"now", b"a:2": None, b"a:4": b"new"}), 0)
    assert sorted(batch.scan(b"a:")) == [(b"a:1", b"now"), (b"a:3", b"before"), (b"a:4", b"new")]
    assert [batch.get(key) for key in (b"a:1", b"a:2", b"a:3", b"a:5")] == [b"now", None, b"before", None]


def test_a_state_that_is_set_anew_has_the_end_that_was_said_last() -> None:
    """None, where the later record of the batch said none: it is not forgotten by what came before it."""
    batch = Draft(States(), {}, {})
    batch.add(Effects(changes={b"a": b"1", b"b": b"1"}, ends={b"a": 5, b"b": 5}), 0)
    batch.add(Effects(changes={b"a": b"2"}), 0)
    assert batch.ends == {b"b": 5}
    batch.add(Effects(changes={b"b": b"2"}, ends={b"b": 7}), 0)
    assert batch.ends == {b"b": 7}


@pytest.mark.parametrize("what", ["records", "outputs", "changes", "timers", "parked", "bytes"])
def test_a_batch_is_full_by_whatever_it_holds_most_of(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind alone, at its bound and not before."""
    monkeypatch.setattr(module, "RECORDS_MAX", 3)
    monkeypatch.setattr(module, "MESSAGES_MAX", 3)
    monkeypatch.setattr(module, "BYTES_MAX", 3)
    batch = Draft(States(), {}, {})
    for number in range(3):
        assert not batch.full
        key = b"%d" % number
        one: dict[str, Any] = {
            "outputs": {"outputs": [OUT]},
            "changes": {"changes": {key: None}},
            "timers": {"timers": {(str(number), "t"): 1}},
        }.get(what, {})
        batch.add(Effects(**one), what == "bytes")
        if what == "records":
            batch.succeeded.append(Record("t", 0, number, 1, None, None))
        if what == "parked":
            batch.park(key, PARKED)
    assert batch.full


@pytest.mark.parametrize(
    "effects",
    [
        Effects(outputs=[OUT] * (OUTPUTS_MAX + 1)),
        Effects(outputs=[Outgoing("t", b"k", b"v" * RECORD_BYTES_MAX)]),
        Effects(outputs=[Outgoing("t", b"k", b"v", (("h", b"x" * RECORD_BYTES_MAX),))]),
        Effects(changes={b"k": b"v" * RECORD_BYTES_MAX}),
    ],
    ids=["many outputs", "a large one", "large headers", "a large state"],
)
def test_what_would_end_its_transaction_is_refused_before(effects: Effects) -> None:
    """It is that record's matter alone."""
    with pytest.raises(SchemaMismatch) as refused:
        size_of(effects)
    assert refused.value.reason is Reason.OVERSIZE


def test_no_core_keeps_state_under_the_names_of_the_changelog_itself() -> None:
    """It would be read back as a position, a timer or a held key."""
    with pytest.raises(ValueError, match="reserved"):
        size_of(Effects(changes={b"\0position": b"v"}))


def test_a_record_without_a_time_took_no_time_that_could_be_told() -> None:
    """Counted from the beginning of time, one of them would be the stage's whole latency."""
    batch = Draft(States(), {}, {"t": 0})
    batch.done([Record("t", 0, offset, stamp, b"k", b"v") for offset, stamp in enumerate((0, 1_000))], "done")
    assert batch.stamps == [1_000]
    assert batch.position == {"t": 2}
