"""Input contracts: what a body may be, what a case is given of it, and which of two are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aios.processors.admit import Admit
from aios.schemas import contracts, ids
from aios.schemas.codec import Codec
from aios.schemas.models import CaseAdmitted, EventRefused, TenantRegistered
from aios.schemas.plain import Plain
from aios.streams import bodies, documents, ingest, inputs, topics
from aios.streams.deployments import Entry
from aios.streams.errors import ConfigError
from aios.streams.http.problem import Problem
from aios.streams.inputs import Input
from aios.streams.pool_files import Lane
from aios.streams.record import Record
from tests.fakes import claims
from tests.fakes.registry import FakeRegistry

NAME = "expense.claimed.v1"
NOW_MS = 1_700_000_000_000
CLAIM = inputs.of_text(NAME, json.dumps(claims.CONTRACT))
HASH = "d04dfee1a2f75bc4defe0c942545725a54c41d229959f084d8a7b122230b9228"
GOOD: dict[str, Any] = {"employee": "Ann", "purpose": "train", "receipts": [{"what": "ticket", "cents": 4200}]}


def contract(*fields: dict[str, Any]) -> dict[str, Any]:
    return {**claims.CONTRACT, "fields": list(fields)}


def taken(*fields: dict[str, Any]) -> Input:
    return inputs.of_text(NAME, json.dumps(contract(*fields)))


def problems(*fields: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        taken(*fields)
    return str(caught.value)


class Here:
    """One workflow that takes this input, and every tenant."""

    def __init__(self, known: Input, open_: bool = True) -> None:
        self._known, self._open = known, open_

    def entry(self, contract_: str) -> Entry | None:
        return Entry("expenses.claim", self._known, self._open) if contract_ == self._known.contract else None

    def get(self, name: str) -> TenantRegistered:
        return TenantRegistered(tenant=name, key_hashes=(), active=True, registered_at=0)


def admitted(codec: Codec, known: Input, value: bytes, *, open_: bool = True, key: bytes | None = b"k") -> Any:
    """What admit makes of these bytes on the input's topic."""
    here = Here(known, open_)
    record = Record(known.topic.name, 2, 7, NOW_MS, key, value)
    out = Admit(codec, here, here, "demo").step(record, here, NOW_MS).outputs[0]  # type: ignore[arg-type]
    kind = CaseAdmitted if out.topic == topics.CASE_ADMITTED.name else EventRefused
    return codec.decode(out.value, kind)


# ── documents stay what they were ──


def test_a_documents_hash_is_over_the_fields_it_always_was() -> None:
    """Recorded before contracts were read: the same text is the same body for ever."""
    known = inputs.shipped("document.received.v1")
    body = {"text": "Where is my card?", "channel": "message", "subject": "", "customer_id": ""}
    assert known.body_hash({"text": "Where is my card?"}) == ids.body_hash(body)
    assert known.body_hash({"text": "Where is my card?"}) == HASH
    assert known.of_case({"text": "Where is my card?"}, NOW_MS) == body


def test_the_bounds_of_documents_stand_in_their_contract() -> None:
    """One truth: what streams/documents.py names, the contract says."""
    fields = {one["name"]: one for one in contracts.working("document.received.v1").resolved["fields"]}
    assert fields["text"]["aios:max"] == documents.TEXT_CHARS_MAX
    assert fields["subject"]["aios:max"] == documents.SUBJECT_CHARS_MAX
    assert fields["customer_id"]["aios:max"] == documents.NAME_CHARS_MAX
    assert fields["channel"]["aios:choices"] == [documents.LETTER, documents.MESSAGE]


@pytest.mark.parametrize("name", sorted(inputs.SHIPPED))
def test_every_shipped_input_is_an_input_contract(name: str) -> None:
    """Each has its topic, and every envelope field, which is not the case's."""
    known = inputs.shipped(name)
    fields = {one["name"] for one in known.schema.resolved["fields"]}
    assert known.topic.name == name
    assert bodies.ENVELOPE.keys() <= fields
    assert {one["name"] for one in known.business} == fields - bodies.ENVELOPE.keys()


# ── any contract ──


def test_what_a_contract_lacks_of_the_envelope_is_added() -> None:
    """A team writes its own fields only; the text that is registered has all, and is the same when read again."""
    fields = {one["name"] for one in CLAIM.schema.resolved["fields"]}
    assert fields == {"employee", "purpose", "receipts", *bodies.ENVELOPE}
    assert inputs.compact(CLAIM.schema.text) == CLAIM.schema.text


def test_bounds_hold_wherever_they_stand() -> None:
    """Characters, items, numbers and blanks, at any depth; the place is named, the value is not."""
    for wrong, says in (
        ({"employee": "x" * 101}, "employee has more than 100 characters"),
        ({"employee": " "}, "employee is empty"),
        ({"receipts": [{"cents": 1}] * 51}, "receipts has more than 50 items"),
        ({"receipts": [{"cents": 1}, {"cents": -1}]}, "receipts[1].cents"),
        ({"receipts": [{"cents": 1 << 40}]}, "receipts[0].cents"),
        ({"receipts": [{"cents": "1"}]}, "receipts[0].cents"),
        ({"secret-name": 1}, "… is wrong"),
    ):
        said = CLAIM.wrong(GOOD | wrong)
        assert said.startswith(says), said
    assert CLAIM.wrong(GOOD) == ""


def test_what_is_too_large_to_publish_is_told_the_way_for_it() -> None:
    """Where the contract has a reference for it, by the field and by the whole."""
    known = inputs.shipped("kyc.application.submitted.v1")
    document = {"name": "scan.pdf", "content": "x" * 349_529}
    said = known.wrong({"applicant_name": "Ann", "documents": [document]})
    assert said.startswith("documents[0].content has more than 349528 characters; ")
    assert "POST /v1/documents" in said
    assert "POST" not in known.wrong({"applicant_name": "Ann", "documents": [{"name": "x" * 257}]})
    assert bodies.larger(known.body)
    assert not bodies.larger(CLAIM.body)


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ({"name": "a", "type": "bytes"}, "base64"),
        ({"name": "a", "type": "float"}, "use double"),
        ({"name": "a", "type": ["string", "long"]}, "null and one type"),
        ({"name": "a", "type": "string", "aios:max": 0}, "aios:max"),
        ({"name": "a", "type": "string", "aios:max": "9"}, "aios:max"),
        ({"name": "a", "type": "string", "aios:choices": "x"}, "aios:choices"),
        ({"name": "a", "type": "long", "aios:filled": "today"}, "aios:filled"),
        ({"name": "a", "type": "int", "aios:filled": "received_at"}, "aios:filled is nothing that a int has"),
        ({"name": "a", "type": "string", "aios:maximum": 9}, "aios:maximum is nothing that a string has; did you mean"),
        ({"name": "a", "type": "int", "aios:mn": 9}, "did you mean aios:min? (allowed here: aios:max, aios:min)"),
        ({"name": "a", "type": ["null", "int"], "default": None, "aios:choices": ["b"]}, "aios:choices is nothing"),
        ({"name": "a", "type": "string", "aios:min": 1}, "aios:min is nothing that a string has"),
        ({"name": "a", "type": "boolean", "aios:max": 1}, "aios:max is nothing that a boolean has"),
        ({"name": "a", "type": {"type": "string", "aios:max": 9}}, "aios:max stands beside the field's name"),
        ({"name": "a", "type": "int", "aios:min": True}, "aios:min and aios:max are whole numbers"),
        ({"name": "a", "type": "int", "aios:min": 0.5}, "aios:min and aios:max are whole numbers"),
        ({"name": "a", "type": "int", "aios:max": 1 << 31}, "from -2147483648 to 2147483647"),
        ({"name": "a", "type": "long", "aios:min": 10, "aios:max": 5}, "the first no more than the second"),
        ({"name": "a", "type": "double", "aios:min": 10, "aios:max": 5}, "the first no more than the second"),
        ({"name": "a", "type": "double", "aios:min": "0"}, "aios:min and aios:max are numbers"),
        ({"name": "a", "type": "double", "aios:max": True}, "aios:min and aios:max are numbers"),
        ({"name": "a", "type": "double", "aios:max": 10**400}, "aios:min and aios:max are numbers"),
        ({"name": "model_dump", "type": "string"}, "cannot be a field's"),
        ({"name": "_a", "type": "string"}, "cannot be a field's"),
    ],
)
def test_what_no_body_can_say_is_refused(field: dict[str, Any], says: str) -> None:
    """When it is deployed, not when the first event comes."""
    assert says in problems(field)


@given(
    kind=st.sampled_from(["string", "int", "long", "double", "boolean", "array"]),
    mark=st.sampled_from(["aios:min", "aios:max", "aios:choices", "aios:filled", "aios:mx"]),
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["", "9", "received_at"]),
    ),
)
def test_whatever_stands_beside_a_field_is_held_or_refused(kind: str, mark: str, value: Any) -> None:
    """Never passed over, and refused with the field's name."""
    typed = {"type": "array", "items": "string"} if kind == "array" else kind
    try:
        known = taken({"name": "a", "type": typed, mark: value})
    except ConfigError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert told.startswith(f"{NAME}: a: ")
        return
    if mark == "aios:filled":
        assert known.of_case({"a": 0}, NOW_MS) == {"a": NOW_MS}
        return
    beyond = {"string": lambda: "x" * (value + 1), "array": lambda: ["x"] * (value + 1)}
    step = -1 if mark == "aios:min" else 1
    assert known.wrong({"a": beyond.get(kind, lambda: value + step * max(1, abs(value)))()})


def test_an_envelope_field_has_its_type_and_a_default() -> None:
    assert "received_at" in problems({"name": "a", "type": "string"}, {"name": "received_at", "type": "string"})
    assert "own" in problems({"name": "tenant", "type": "string", "default": ""})


@pytest.mark.parametrize(
    "name", ["case.decided.v1", "document.received.v1", "Claim", "a.b", "connector.x.v1", "a.b.v0"]
)
def test_a_name_that_is_taken_or_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        inputs.of_text(name, json.dumps(claims.CONTRACT))


def test_a_number_that_is_left_out_is_filled_in_the_input_and_not_in_the_hash() -> None:
    """A meeting asked for without a time was asked for when it arrived."""
    known = inputs.shipped("meeting.requested.v1")
    said = known.complete({"organiser": "ana", "text": "an hour"})
    assert known.of_case(said, NOW_MS)["sent_at"] == NOW_MS
    assert known.of_case(said | {"sent_at": 5}, NOW_MS)["sent_at"] == 5
    assert known.body_hash(said) == known.body_hash(said | {"received_at": 9})
    assert known.body_hash(said) != known.body_hash(said | {"sent_at": 5})


def test_a_double_that_is_left_out_is_no_whole_number() -> None:
    """Its default may be written as one: a workflow is checked with what its cases are given."""
    rate = {"name": "rate", "type": "double", "default": 0}
    lines = {"type": "array", "items": {"type": "record", "name": "Line", "fields": [rate]}}
    known = taken({"name": "who", "type": "string"}, rate, {"name": "lines", "type": lines})
    said = known.complete({"who": "Ann", "lines": [{}]})
    assert [type(each) for each in (said["rate"], said["lines"][0]["rate"])] == [float, float]
    older = known.of_case({"who": "Ann", "lines": [], "rate": 0}, NOW_MS)  # as a writer that lacks it is read
    assert type(older["rate"]) is float
    assert known.body_hash(said) == known.body_hash({**said, "rate": 0})


def test_a_contract_that_grows_changes_no_hash() -> None:
    """New fields have defaults; who does not use them repeats the same body, at any depth."""
    grown = json.loads(json.dumps(claims.CONTRACT))
    grown["fields"].append({"name": "project", "type": "string", "default": ""})
    grown["fields"][2]["type"]["items"]["fields"].append({"name": "vat", "type": "int", "default": 19})
    later = inputs.of_text(NAME, json.dumps(grown))
    assert later.body_hash(later.complete(GOOD)) == CLAIM.body_hash(CLAIM.complete(GOOD))
    assert later.body_hash(later.complete(GOOD | {"project": "x"})) != CLAIM.body_hash(CLAIM.complete(GOOD))


# ── the gateway and admit judge alike ──

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
LEAVES: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any], Any]] = st.sampled_from(
    [
        ("string", st.text(st.characters(codec="utf-8"), max_size=12), ""),
        ("long", st.integers(-(1 << 63), (1 << 63) - 1), 0),
        ("int", st.integers(-(1 << 31), (1 << 31) - 1), 0),
        ("double", st.floats(allow_nan=False, allow_infinity=False), 0.0),
        ("boolean", st.booleans(), False),
        (["null", "string"], st.none() | WORDS, None),
        ({"type": "array", "items": "long"}, st.lists(st.integers(0, 99), max_size=3), []),
        ({"type": "map", "values": "string"}, st.dictionaries(WORDS, WORDS, max_size=3), {}),
    ]
)


@st.composite
def bodies_drawn(draw: st.DrawFn) -> tuple[Input, dict[str, Any]]:
    """A contract, and a body that may fit it."""
    leaves = draw(st.lists(LEAVES, min_size=1, max_size=5))
    fields: list[dict[str, Any]] = []
    body: dict[str, Any] = {}
    for number, (kind, values, default) in enumerate(leaves):
        one: dict[str, Any] = {"name": f"f{number}", "type": kind, "doc": "a field"}
        if draw(st.booleans()):
            one["default"] = default
        if draw(st.booleans()) or "default" not in one:
            body[one["name"]] = draw(values)
        fields.append(one)
    if draw(st.booleans()):
        item = {
            "type": "record",
            "name": "Item",
            "fields": [{"name": "a", "type": "string", "default": ""}, *fields[:1]],
        }
        fields.append({"name": "items", "type": {"type": "array", "items": item}})
        first = {name: value for name, value in body.items() if name == "f0"}
        body["items"] = [first] if first or "default" in fields[0] else []
    return taken(*fields), body


@settings(max_examples=150, deadline=None)
@given(given_=bodies_drawn())
def test_what_the_gateway_accepts_admit_does_not_refuse(given_: tuple[Input, dict[str, Any]]) -> None:
    """Any contract, any body: both name the same case, the same hash, and expressions see what was sent."""
    known, raw = given_
    try:
        body = ingest.read_body(json.dumps(raw).encode(), known.body)
    except Problem:
        assume(False)
    submitted = ingest.submit(
        body, known, tenant="acme", workflow="expenses.claim", idempotency_key=None, lane=Lane.BULK
    )
    codec = Codec(FakeRegistry())
    event = admitted(codec, known, codec.encode(known.topic, submitted.event))
    assert isinstance(event, CaseAdmitted), event
    assert (event.case_id, event.body_hash) == (submitted.case_id, submitted.body_hash)
    assert event.event_id == submitted.event_id
    case = json.loads(event.input)
    assert {name: case[name] for name in raw if name != "items"} == {n: v for n, v in raw.items() if n != "items"}


def test_admit_refuses_what_only_kafka_can_bring() -> None:
    """A producer that writes straight to the topic: over a bound, no JSON number, to a retired workflow."""
    codec = Codec(FakeRegistry())

    def put(fields: dict[str, Any], known: Input = CLAIM, **more: Any) -> Any:
        return admitted(codec, known, codec.encode(known.topic, Plain(NAME, known.schema, fields)), **more)

    assert put(GOOD).idempotency_key == "k"
    assert put(GOOD | {"idempotency_key": "own"}).idempotency_key == "own"
    assert put(GOOD, key=None).idempotency_key == put(GOOD, key=None).event_id
    assert put(GOOD | {"employee": "x" * 101}).reason == "invalid_field"
    assert "more than 100" in put(GOOD | {"employee": "x" * 101}).detail
    assert put(GOOD, open_=False).reason == "workflow_retired"
    number = taken({"name": "amount", "type": "double"})
    assert put({"amount": float("nan")}, number).reason == "invalid_field"
    assert put({"amount": float("inf")}, number).reason == "invalid_field"
    large = taken({"name": "text", "type": "string", "aios:max": 1_000_000})
    assert "bytes as JSON" in put({"text": "\x01" * 200_000}, large).detail


def test_an_older_writer_is_read_with_the_newer_contract() -> None:
    """What a producer with the first version sends has the defaults of the second."""
    codec = Codec(FakeRegistry())
    value = codec.encode(CLAIM.topic, Plain(NAME, CLAIM.schema, GOOD))
    grown = json.loads(json.dumps(claims.CONTRACT))
    grown["fields"].append({"name": "project", "type": "string", "default": "none"})
    later = inputs.of_text(NAME, json.dumps(grown))
    event = admitted(codec, later, value)
    assert json.loads(event.input)["project"] == "none"
    assert event.body_hash == admitted(codec, CLAIM, value).body_hash
