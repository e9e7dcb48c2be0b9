"""Bytes and events: what is written is read again; what is malformed is refused with its reason, in bounded time."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.schemas import contracts, safety
from aios.schemas.codec import ENVELOPE_BYTES_MAX, PREFIX_BYTES, VALUE_BYTES_MAX, Codec
from aios.schemas.errors import Reason, SchemaMismatch, SchemaRefused, Unavailable
from aios.schemas.models import EVENTS, AuditRecorded, DocumentReceived, Event, TimerFired
from tests.fakes.registry import FakeRegistry


@dataclass(frozen=True, slots=True)
class Road:
    """A topic, as far as the codec looks at it."""

    name: str
    contracts: tuple[str, ...]
    bytes_max: int = 1 << 20

    def subject(self, contract: str) -> str:
        if contract not in self.contracts:
            raise ValueError(f"{self.name} does not carry {contract}")
        return f"{self.name}-{contract}"


def road(kind: type[Event]) -> Road:
    return Road(kind.contract, (kind.contract,))


TIMER = TimerFired(timer_id="expiry", case_id="c-1", due_at=1_700_000_000_000, fired_at=1_700_000_000_123)
TIMERS = road(TimerFired)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    '"string"': st.text(max_size=20),
    '"boolean"': st.booleans(),
    '"int"': st.integers(-(2**31), 2**31 - 1),
    '"long"': st.integers(-(2**63), 2**63 - 1),
    '{"type": "long", "logicalType": "timestamp-millis"}': st.integers(-(2**63), 2**63 - 1),
    '"double"': st.floats(allow_nan=False),
    '["null", "bytes"]': st.none() | st.binary(max_size=20),
    '{"type": "array", "items": "string"}': st.lists(st.text(max_size=5), max_size=4).map(tuple),
    '{"type": "array", "items": "long"}': st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(tuple),
    '{"type": "map", "values": "long"}': st.dictionaries(
        st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), max_size=3
    ),
    '{"type": "map", "values": "string"}': st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Of a field's type; in a list of records each is a mapping of texts."""
    items = kind.get("items") if isinstance(kind, dict) else None
    if isinstance(items, dict):
        texts = st.fixed_dictionaries({one["name"]: VALUES[json.dumps(one["type"])] for one in items["fields"]})
        return st.lists(texts, max_size=3).map(tuple)
    return VALUES[json.dumps(kind)]


def events(contract: str) -> st.SearchStrategy[Any]:
    fields = contracts.working(contract).resolved["fields"]
    return st.builds(EVENTS[contract], **{one["name"]: values(one["type"]) for one in fields})


EXAMPLES = {contract: events(contract) for contract in EVENTS}


def reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(SchemaMismatch) as caught:
        call()
    return caught.value.reason


def bytes_of(registry: FakeRegistry, schema: dict[str, Any], said: dict[str, Any]) -> bytes:
    """As a stranger with this schema writes it."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), said)
    return b"\0" + registry.add(schema).to_bytes(4, "big") + out.getvalue()


def timer_schema(**more: Any) -> dict[str, Any]:
    raw = json.loads(contracts.working("timer.fired.v1").text)
    return {**raw, "fields": raw["fields"] + [{"name": name, **each} for name, each in more.items()]}


# ── round trips ──


@pytest.mark.parametrize("contract", EVENTS)
def test_every_event_comes_back_as_it_was(contract: str) -> None:
    """Every contract, any values its fields can hold, in Confluent's framing: the bytes that fastavro makes of them."""
    codec, way = Codec(FakeRegistry()), road(EVENTS[contract])

    @settings(max_examples=25, deadline=None, database=None)
    @given(EXAMPLES[contract])
    def check(event: Event) -> None:
        value = codec.encode(way, event)
        by_fastavro = BytesIO()
        fastavro.schemaless_writer(by_fastavro, contracts.working(contract).parsed, dataclasses.asdict(event))
        assert value[PREFIX_BYTES:] == by_fastavro.getvalue()
        assert codec.decode(value, EVENTS[contract]) == event
        assert codec.decode_any(value, way) == event

    check()


def test_ids_and_schemas_are_looked_up_once() -> None:
    """One question to the registry for writing, one for reading, however many records follow."""
    registry = FakeRegistry()
    codec = Codec(registry)
    codec.warm([TIMERS])
    for _ in range(50):
        codec.decode(codec.encode(TIMERS, TIMER), TimerFired)
    assert registry.calls == 2


def test_what_is_read_is_known_before_the_first_record() -> None:
    """Of a topic's own schema; that of another writer is asked for when it is met, or before, by whoever must not
    wait for it.
    """
    registry = FakeRegistry()
    codec = Codec(registry)
    codec.warm_reading([TIMERS])
    value, asked = Codec(registry).encode(TIMERS, TIMER), registry.calls
    assert codec.is_known(value, TimerFired)
    assert codec.decode(value, TimerFired) == TIMER
    assert registry.calls == asked
    newer = timer_schema(why={"type": "string", "default": ""})
    strange = bytes_of(registry, newer, {**dataclasses.asdict(TIMER), "why": "x"})
    assert not codec.is_known(strange, TimerFired)
    codec.look_up(strange, TimerFired)
    asked = registry.calls
    assert codec.decode(strange, TimerFired) == TIMER
    assert registry.calls == asked
    assert reason(lambda: codec.is_known(b"garbage", TimerFired)) is Reason.UNDECODABLE


def test_a_topic_of_several_contracts_knows_which_it_reads() -> None:
    """By the name of the record in the writer's schema."""
    codec = Codec(FakeRegistry())
    both = Road("state", ("timer.fired.v1", "document.received.v1"))
    document = DocumentReceived(text="hello")
    assert [codec.decode_any(codec.encode(both, event), both) for event in (TIMER, document)] == [TIMER, document]
    assert reason(lambda: codec.decode_any(codec.encode(both, document), TIMERS)) is Reason.CONTRACT_BROKEN
    assert reason(lambda: codec.decode(codec.encode(both, document), TimerFired)) is Reason.CONTRACT_BROKEN
    with pytest.raises(ValueError, match="does not carry"):
        codec.encode(road(DocumentReceived), TIMER)


# ── other versions ──


def test_older_and_newer_writers_are_read() -> None:
    """A field that we do not have is passed over; one that they do not have has its default; numbers are widened."""
    registry = FakeRegistry()
    codec = Codec(registry)
    newer = timer_schema(note={"type": "string", "default": ""}, tags={"type": {"type": "array", "items": "double"}})
    said = {**dataclasses.asdict(TIMER), "note": "n", "tags": [1.5, 2.5]}
    assert codec.decode(bytes_of(registry, newer, said), TimerFired) == TIMER
    whole = json.loads(contracts.working("document.received.v1").text)
    older = {**whole, "fields": whole["fields"][:1]}
    assert codec.decode(bytes_of(registry, older, {"text": "t"}), DocumentReceived) == DocumentReceived(text="t")
    narrow = timer_schema()
    narrow["fields"][2:] = [{"name": name, "type": {"type": "int"}} for name in ("due_at", "fired_at")]
    assert reason(lambda: codec.decode(bytes_of(registry, narrow, {**said, "due_at": 1, "fired_at": 2}), TimerFired))


def test_unions_of_a_writer_keep_their_branch() -> None:
    """What is passed over may be anything: named types of one shape in a union among it."""
    registry = FakeRegistry()
    shapes = [{"type": "record", "name": name, "fields": [{"name": "v", "type": "int"}]} for name in ("A", "B")]
    more = {"either": {"type": shapes}, "kind": {"type": ["null", {"type": "enum", "name": "K", "symbols": ["X"]}]}}
    said = {**dataclasses.asdict(TIMER), "either": ("aios.case.B", {"v": 7}), "kind": "X"}
    assert Codec(registry).decode(bytes_of(registry, timer_schema(**more), said), TimerFired) == TIMER


def test_a_schema_that_means_something_else_is_a_broken_contract() -> None:
    """Another record name, another logical type, a missing field without default."""
    registry = FakeRegistry()
    codec = Codec(registry)
    said = dataclasses.asdict(TIMER)
    micros = json.loads(json.dumps(timer_schema()).replace("timestamp-millis", "timestamp-micros"))
    fewer = timer_schema()
    fewer["fields"].pop()
    for schema in ({**timer_schema(), "name": "Other"}, micros, fewer):
        assert reason(partial(codec.decode, bytes_of(registry, schema, said), TimerFired)) is Reason.CONTRACT_BROKEN


# ── what does not fit ──


@pytest.mark.parametrize(
    "wrong",
    [
        {"case_id": None},
        {"case_id": 7},
        {"case_id": b"c"},
        {"case_id": "\ud800"},
        {"due_at": "1"},
        {"due_at": None},
        {"due_at": 1 << 63},
        {"due_at": 1.5},
        {"due_at": float(TIMER.due_at)},
    ],
)
def test_a_value_that_does_not_fit_its_field_is_not_written(wrong: dict[str, Any]) -> None:
    """Nothing is cut, rounded or turned into text on the way, whatever was written before."""
    codec = Codec(FakeRegistry())
    codec.encode(TIMERS, TIMER)
    assert reason(lambda: codec.encode(TIMERS, dataclasses.replace(TIMER, **wrong))) is Reason.CONTRACT_BROKEN


def test_a_number_beyond_32_bits_is_neither_written_nor_read_as_int() -> None:
    """fastavro checks neither."""
    registry = FakeRegistry()
    codec, audits = Codec(registry), road(AuditRecorded)
    names: dict[str, Any] = {one.name: "" for one in dataclasses.fields(AuditRecorded)}
    event = AuditRecorded(**{**names, "case_seq": 1, "input_partition": 1 << 31, "input_offset": 0, "at": 0})
    assert reason(lambda: codec.encode(audits, event)) is Reason.CONTRACT_BROKEN
    wide = json.loads(contracts.working("audit.recorded.v1").text.replace('"int"', '"long"'))
    value = bytes_of(registry, wide, dataclasses.asdict(event))
    as_int = b"\0" + registry.id_of("s", contracts.working("audit.recorded.v1").text).to_bytes(4, "big") + value[5:]
    assert reason(lambda: codec.decode(as_int, AuditRecorded)) is Reason.UNDECODABLE


def test_a_record_too_large_for_its_topic_is_not_written() -> None:
    """The bound leaves room for key and headers; one byte less passes."""
    codec, way = Codec(FakeRegistry()), Road("t", ("document.received.v1",), bytes_max=64 << 10)
    room = way.bytes_max - ENVELOPE_BYTES_MAX - len(codec.encode(way, DocumentReceived(text=""))) - 2
    assert codec.encode(way, DocumentReceived(text="x" * room))
    assert reason(lambda: codec.encode(way, DocumentReceived(text="x" * (room + 1)))) is Reason.OVERSIZE


# ── bytes of strangers ──


def test_framing_is_checked_before_anything_else() -> None:
    """Empty, foreign, cut and framing V1 (magic 1 and a GUID) are told apart from what we read; so is size."""
    codec = Codec(FakeRegistry())
    decode = partial(partial, codec.decode, expected=TimerFired)
    assert {reason(decode(value)) for value in (None, b"")} == {Reason.EMPTY}
    foreign = (b"\x01" + bytes(16) + b"x", b"\x01", b"{}", b"\0", b"\0\0\0\0", b"\xff" * 9)
    assert {reason(decode(value)) for value in foreign} == {Reason.UNDECODABLE}
    assert reason(decode(bytes(VALUE_BYTES_MAX + 1))) is Reason.OVERSIZE
    assert reason(decode(b"\0\0\0\0\x09x")) is Reason.UNKNOWN_SCHEMA


def test_every_cut_and_every_byte_more_is_seen() -> None:
    """Truncated anywhere, or followed by anything: refused."""
    codec = Codec(FakeRegistry())
    value = codec.encode(TIMERS, TIMER)
    assert {reason(partial(codec.decode, value[:cut], TimerFired)) for cut in range(5, len(value))} == {
        Reason.UNDECODABLE
    }
    for more in (b"\0", b"x" * 100, value):
        assert reason(partial(codec.decode, value + more, TimerFired)) is Reason.UNDECODABLE


@pytest.mark.parametrize("contract", EVENTS)
def test_flipped_and_random_bytes_are_an_event_or_a_mismatch(contract: str) -> None:
    """No other error, whatever the bytes; an event that comes out can be written again."""
    codec, way, dice = Codec(FakeRegistry()), road(EVENTS[contract]), random.Random(contract)

    @settings(max_examples=8, deadline=None, database=None)
    @given(EXAMPLES[contract])
    def check(event: Event) -> None:
        whole = codec.encode(way, event)
        for _ in range(40):
            value = bytearray(whole)
            for _ in range(dice.randint(1, 4)):
                value[dice.randrange(5, len(value))] ^= 1 << dice.randrange(8)
            tried = bytes(value) if dice.random() < 0.7 else whole[:5] + dice.randbytes(dice.randint(0, 60))
            try:
                read = codec.decode(tried, EVENTS[contract])
            except SchemaMismatch:
                continue
            assert codec.encode(way, read)

    check()


@given(st.binary(max_size=64))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_or_read(value: bytes) -> None:
    """Also where the schema id is made up."""
    codec = Codec(FakeRegistry())
    codec.warm([TIMERS])
    for tried in (value, b"\0\0\0\0\x01" + value):
        try:
            codec.decode(tried, TimerFired)
        except SchemaMismatch:
            continue


BOMBS = Path(__file__).parents[1] / "fakes" / "bombs.py"


def test_bombs_end_in_bounded_time_and_memory() -> None:
    """In a child with 10 s of processor time and 1 GiB of memory: every bomb is a mismatch, none kills it."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tests.fakes.bombs"],
        cwd=BOMBS.parents[2],
        env={"PYTHONPATH": str(BOMBS.parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    took = json.loads(done.stdout)
    assert len(took) >= 40
    assert {name: result for name, (result, _, _) in took.items() if result != "SchemaMismatch"} == {}
    assert {name: seconds for name, (_, seconds, _) in took.items() if seconds > 1} == {}
    assert {name: mib for name, (_, _, mib) in took.items() if mib > 32} == {}


# ── the registry ──


def test_a_schema_that_is_unsafe_to_read_with_is_not_read_with() -> None:
    """Whoever let it into the registry."""
    registry = FakeRegistry()
    tree = timer_schema(next={"type": ["null", "aios.case.TimerFired"], "default": None})
    assert reason(lambda: Codec(registry).decode(b"\0" + registry.add(tree).to_bytes(4, "big") + b"xx", TimerFired))
    with pytest.raises(SchemaRefused):
        safety.read(json.dumps(tree))


def test_a_registry_that_is_away_pauses_and_condemns_no_record() -> None:
    """Unavailable for what is not known yet; what is known goes on."""
    registry = FakeRegistry()
    codec = Codec(registry)
    value = codec.encode(TIMERS, TIMER)
    codec.decode(value, TimerFired)
    registry.away = True
    assert codec.decode(codec.encode(TIMERS, TIMER), TimerFired) == TIMER
    with pytest.raises(Unavailable):
        codec.decode(b"\0\0\0\0\x63x", TimerFired)
    with pytest.raises(Unavailable):
        codec.encode(road(DocumentReceived), DocumentReceived(text="t"))
    registry.away = False
    assert codec.encode(road(DocumentReceived), DocumentReceived(text="t"))
