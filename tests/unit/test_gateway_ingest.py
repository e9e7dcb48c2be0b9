"""Bytes become an event, or a list of what is wrong; whatever the bytes are."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.processors.admit import Admit
from aios.processors.language import workflow_files
from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.models import CaseAdmitted, DocumentReceived, TenantRegistered
from aios.streams import bodies, documents, ingest, inputs
from aios.streams.http.problem import Problem
from aios.streams.pool_files import Lane
from aios.streams.record import Record
from aios.streams.topics import CASE_ADMITTED, DOCUMENT_RECEIVED, SOURCES
from tests.fakes.registry import FakeRegistry

TAKEN = inputs.shipped(DOCUMENT_RECEIVED.name)
BODY = TAKEN.body
WORKFLOW = "document.triage"


def wrong(raw: bytes | dict[str, Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        ingest.read_body(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), BODY)
    return caught.value


def fields(problem: Problem) -> dict[str, str]:
    return {each["field"]: each["says"] for each in problem.body["errors"]}


def submit(body: dict[str, Any], key: str | None = None, tenant: str = "acme") -> ingest.Submitted:
    return ingest.submit(
        ingest.validate(body, BODY), TAKEN, tenant=tenant, workflow=WORKFLOW, idempotency_key=key, lane=Lane.BULK
    )


def test_every_shipped_workflow_has_its_source_and_no_other() -> None:
    """topics.SOURCES names the contract that the workflow file names."""
    shipped = {each.workflow: each.input for each in workflow_files.shipped()}
    assert {name: topic.contracts[0] for name, topic in SOURCES.items()} == shipped


def test_the_body_has_every_field_of_the_contract_but_the_servers() -> None:
    """A field added to the contract is either for callers or for the server, never forgotten."""
    twin = {each.name for each in dataclasses.fields(DocumentReceived)}
    assert set(BODY.model_fields) | set(bodies.SERVER_FIELDS) == twin
    assert not set(BODY.model_fields) & set(bodies.SERVER_FIELDS)


def test_every_wrong_field_is_named_at_once() -> None:
    """An unknown field gets a hint, a server's field its reason, a wrong type what it must be."""
    found = fields(wrong({"txt": "a", "subject": 7, "channel": "fax", "tenant": "globex", "received_at": -1}))
    assert found.keys() == {"txt", "text", "subject", "channel", "tenant", "received_at"}
    assert "did you mean text?" in found["txt"]
    assert "API key" in found["tenant"]
    assert "'letter' or 'message'" in found["channel"]


@pytest.mark.parametrize("name", sorted(bodies.SERVER_FIELDS))
def test_no_body_sets_what_the_server_owns(name: str) -> None:
    """Not even to the value it would get."""
    assert name in fields(wrong({"text": "a", name: ""}))


@pytest.mark.parametrize("text", ["", " \n\t", "\x1c", "\u3000", 7, None, ["a"], True])
def test_text_is_text(text: object) -> None:
    """Blank, or no string: refused, and the value is not repeated."""
    assert "text" in fields(wrong({"text": text}))


def test_bounds_hold_at_their_edges() -> None:
    """The last allowed length passes, one more is refused by the name of its field."""
    edges = {"text": documents.TEXT_CHARS_MAX, "subject": documents.SUBJECT_CHARS_MAX, "customer_id": 256}
    ingest.validate({name: "é" * length for name, length in edges.items()}, BODY)
    over = wrong({name: "é" * (length + 1) for name, length in edges.items()})
    assert fields(over).keys() == edges.keys()
    assert "éé" not in json.dumps(over.body, ensure_ascii=False)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff",
        b'{"text": NaN}',
        b'{"text": Infinity}',
        b'{"text": 1e400}',
        b'{"a": [{"b": -1.5E+309}]}',
        b'{"text": "a", "text": "b"}',
        b'{"text": "\\ud800"}',
        b'{"\\ud800": 1}',
        b"[" * 100_000,
        b'{"a":' * 20 + b"1" + b"}" * 20,
        b'{"text": ' + b"9" * 5000 + b"}",
        json.dumps({"text": [0] * 2000}).encode(),
        json.dumps({f"k{n}": 0 for n in range(2000)}).encode(),
    ],
)
def test_no_json_within_our_bounds_is_a_400(raw: bytes) -> None:
    assert wrong(raw).reason == "invalid_json"


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"text"', b"7"])
def test_the_body_must_be_an_object(raw: bytes) -> None:
    assert wrong(raw).reason == "invalid_body"


def test_at_most_so_many_errors_are_told() -> None:
    """A body of a hundred unknown fields does not make an answer of a hundred lines; long names are cut."""
    problem = wrong({"x" * 500 + str(n): 0 for n in range(100)})
    assert len(problem.body["errors"]) == ingest.ERRORS_MAX
    assert all(len(each["field"]) <= ingest.NAME_SHOWN_MAX for each in problem.body["errors"])


def test_the_derived_key_is_of_tenant_workflow_and_body() -> None:
    """Same body, same case, whatever the order of its keys; another tenant or body is another case."""
    first = submit({"text": "a", "subject": "s"})
    assert submit({"subject": "s", "text": "a"}) == first
    assert submit({"text": "a", "subject": "s"}, tenant="globex").case_id != first.case_id
    assert submit({"text": "a"}).case_id != first.case_id
    assert submit({"text": "a", "subject": "s", "received_at": 5}).case_id != first.case_id
    assert first.case_id == ids.case_id("acme", WORKFLOW, first.idempotency_key)


def test_a_given_key_is_the_case_and_another_body_is_recognised() -> None:
    """The event id tells the body; of an id that is not ours nothing is claimed."""
    first, again, other = submit({"text": "a"}, "k"), submit({"text": "a"}, "k"), submit({"text": "b"}, "k")
    assert first == again
    assert first.case_id == other.case_id
    assert ingest.same_body(other, first.event_id) is False
    assert ingest.same_body(again, first.event_id) is True
    assert ingest.same_body(first, "a producer's own id") is None


def test_a_default_that_is_spelled_out_is_the_same_body() -> None:
    """A short text is a message, said or not."""
    assert submit({"text": "a"}, "k").body_hash == submit({"text": "a", "channel": "message"}, "k").body_hash
    assert submit({"text": "a"}, "k").body_hash != submit({"text": "a", "channel": "letter"}, "k").body_hash


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), 0),
        (("wait=5",), 5),
        (("respond-async, wait=7",), 7),
        (("respond-async", 'WAIT = "3"'), 3),
        (("wait=600",), 30),
        (("wait=-1",), 0),
        (("wait=x",), 0),
        (("wait",), 0),
        (("await=5",), 0),
        (("wait=99999999999999999999",), 0),
        (("wait=\u0665",), 0),
    ],
)
def test_prefer_wait_is_read_as_its_rfc_says(headers: tuple[str, ...], expected: int) -> None:
    """What is not understood is ignored; the server's bound holds."""
    assert ingest.wait_s(headers, at_most=30) == expected


@pytest.mark.parametrize("headers", [("",), (" a",), ("a ",), ("é",), ("a" * 257,), ("a\x00",), ("a", "b")])
def test_a_broken_idempotency_key_is_refused(headers: tuple[str, ...]) -> None:
    with pytest.raises(Problem, match="Idempotency-Key"):
        ingest.idempotency_key(headers)


class _Tenants:
    def get(self, name: str) -> TenantRegistered:
        return TenantRegistered(tenant=name, key_hashes=(), active=True, registered_at=0)


BODIES = st.fixed_dictionaries(
    {"text": st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)},
    optional={
        "channel": st.sampled_from(["", "letter", "message"]),
        "subject": st.text(st.characters(codec="utf-8")),
        "customer_id": st.text(st.characters(codec="utf-8"), max_size=256),
        "received_at": st.integers(0, documents.TIME_MS_MAX),
    },
)


@given(BODIES, st.none() | st.from_regex(ingest.KEY, fullmatch=True))
def test_what_the_gateway_accepts_admit_does_not_refuse(body: dict[str, Any], key: str | None) -> None:
    """And both name the same case, the same body and the same event."""
    codec = Codec(FakeRegistry())
    submitted = submit(body, key)
    value = codec.encode(DOCUMENT_RECEIVED, submitted.event)
    record = Record(DOCUMENT_RECEIVED.name, 0, 0, 1_700_000_000_000, b"any", value)
    admit = Admit(codec, _Tenants(), workflow_files.shipped(), "demo")
    (out,) = admit.step(record, _Nothing(), 1_700_000_000_000).outputs
    assert out.topic == CASE_ADMITTED.name
    admitted = codec.decode(out.value, CaseAdmitted)
    assert admitted.case_id == submitted.case_id
    assert admitted.body_hash == submitted.body_hash
    assert admitted.event_id == submitted.event_id


class _Nothing:
    def get(self, key: bytes) -> bytes | None:
        return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(BODY.model_fields)), inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_arrives_is_an_event_or_a_problem(raw: bytes) -> None:
    """Never another exception; and what is accepted can be written."""
    try:
        body = ingest.read_body(raw, BODY)
    except Problem:
        return
    submitted = ingest.submit(body, TAKEN, tenant="acme", workflow=WORKFLOW, idempotency_key=None, lane=Lane.BULK)
    Codec(FakeRegistry()).encode(DOCUMENT_RECEIVED, submitted.event)
