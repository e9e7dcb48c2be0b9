"""The frozen twins of the contracts: equal to them, immutable, small."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from aios.schemas import contracts, safety, twins
from aios.schemas.models import EVENTS, Event, TimerFired
from aios.schemas.release import differences


@pytest.mark.parametrize("contract", EVENTS)
def test_a_twin_says_what_its_contract_says(contract: str) -> None:
    """Fields, order, types, defaults and docs are equal; neither can drift."""
    assert differences(EVENTS[contract], contracts.working(contract)) == []


def test_every_contract_has_a_twin_and_every_twin_a_file() -> None:
    """No file is forgotten, in either direction."""
    assert {path.stem for path in contracts.FOLDER.glob("*.avsc")} == set(EVENTS)


@pytest.mark.parametrize("contract", EVENTS)
def test_a_twin_cannot_be_changed_nor_grow(contract: str) -> None:
    """Frozen and slotted: an event that was read is what was written."""
    twin: Any = EVENTS[contract]
    event = twin(**{each.name: None for each in dataclasses.fields(twin)})
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, dataclasses.fields(twin)[0].name, "other")
    assert not hasattr(event, "__dict__")


@pytest.mark.parametrize("contract", EVENTS)
def test_a_twin_that_was_made_quickly_is_what_its_class_makes(contract: str) -> None:
    """Equal, of the same class, as frozen, with the same defaults; a field that is missing or unknown is refused."""
    twin: Any = EVENTS[contract]
    fields = dataclasses.fields(twin)
    needed = {each.name: each.name for each in fields if each.default is dataclasses.MISSING}
    make = twins.maker(twin)
    made, same = make(**needed), twin(**needed)
    assert (type(made), made, hash(made), repr(made)) == (twin, same, hash(same), repr(same))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, fields[0].name, "other")
    with pytest.raises(TypeError, match="no_such"):
        make(**needed, no_such="x")
    for name in needed:
        with pytest.raises(TypeError, match=name):
            make(**{key: value for key, value in needed.items() if key != name})


def _timer(change: Any) -> safety.Schema:
    raw = json.loads(contracts.working("timer.fired.v1").text)
    change(raw)
    return safety.read(json.dumps(raw))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(doc="Other."), "its doc is not that of TimerFired"),
        (lambda raw: raw["fields"].reverse(), "its fields are fired_at, due_at"),
        (lambda raw: raw["fields"].pop(), "its fields are timer_id, case_id, due_at;"),
        (lambda raw: raw["fields"][0].update(type="bytes"), 'timer_id: its type is "bytes"; its twin\'s is str'),
        (lambda raw: raw["fields"][2].update(type="double"), 'due_at: its type is "double"; its twin\'s is int'),
        (lambda raw: raw["fields"][0].update(default=""), "timer_id: its default is ''; its twin's is 'none'"),
        (lambda raw: raw["fields"][0].pop("doc"), "timer_id: it has no doc"),
    ],
)
def test_each_way_to_drift_is_seen(change: Any, said: str) -> None:
    """A difference of any kind is named with its field."""
    assert any(why.startswith(said) for why in differences(TimerFired, _timer(change)))


def test_another_default_in_the_twin_is_seen() -> None:
    """The twin may not fill in what the contract does not."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Drifted(Event):
        """A durable timer of a case came due, keyed by case id; an input of plan like any other."""

        contract: ClassVar[str] = "timer.fired.v1"
        timer_id: str
        case_id: str = "c"
        due_at: int
        fired_at: int

    assert differences(Drifted, _timer(lambda _: None)) == ["case_id: its default is 'none'; its twin's is 'c'"]
