"""Filters of dead letters: strict in what they take, the same after JSON, and true exactly when every part is."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.dlq import envelope, filters
from aios.dlq.dead_letter import GROUPS, DeadLetter, letter_of, of_plain
from aios.dlq.filters import Filter, FilterRefused
from aios.schemas.errors import Reason
from aios.streams.record import Record
from aios.streams.topology import ADMIT, PLAN
from tests.broker import outcome_records as records

NOW = 1_790_000_000_000
IDS = ("11111111-1111-5111-8111-111111111111", "22222222-2222-5222-8222-222222222222")
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SOME_FILTERS = st.builds(
    Filter,
    group=st.sampled_from(["", ADMIT.group, PLAN.group]),
    reason=st.sampled_from(["", *Reason]).map(str),
    fingerprint=TEXTS,
    tenant=TEXTS,
    since=st.integers(0, 5),
    until=st.sampled_from([0, 6, 9]),
    key=TEXTS,
    ids=st.lists(st.sampled_from(IDS), max_size=3).map(tuple),
    expression=st.sampled_from(["", "true", "letter.attempts > 2", 'headers["a"] == "b"']),
)


def letter(**changed: Any) -> DeadLetter:
    out = records.dead("jane", NOW, 3)
    found = letter_of(Record(out.topic, 2, 9, NOW, out.key, out.value, out.headers))
    assert found is not None
    return replace(found, **changed)


@given(SOME_FILTERS)
def test_a_filter_is_the_same_after_json(one: Filter) -> None:
    """Canonical: parsed and written again it is the same text, and nothing empty is in it."""
    text = one.json()
    assert filters.parse(text) == one
    assert filters.parse(text).json() == text
    assert all(json.loads(text).values())


SOME_LETTERS = st.builds(
    letter,
    group=st.sampled_from([ADMIT.group, PLAN.group]),
    reason=st.sampled_from(["undecodable", "unknown"]),
    fingerprint=st.sampled_from("ab"),
    tenant=st.sampled_from(["", "x", "y"]),
    key=st.sampled_from(["", "k"]),
    id=st.sampled_from(IDS),
    written_at=st.integers(0, 9),
    attempts=st.integers(1, 4),
)


@given(
    SOME_LETTERS,
    st.builds(
        Filter,
        group=st.sampled_from(["", ADMIT.group]),
        reason=st.sampled_from(["", "unknown"]),
        fingerprint=st.sampled_from(["", "a"]),
        tenant=st.sampled_from(["", "x"]),
        since=st.integers(0, 5),
        until=st.sampled_from([0, 6, 9]),
        key=st.sampled_from(["", "k"]),
        ids=st.sampled_from([(), IDS[:1], IDS]),
        expression=st.sampled_from(["", "letter.attempts > 2", "letter.nothing == 1"]),
    ),
)
def test_it_holds_when_each_part_holds_by_itself(one: DeadLetter, wanted: Filter) -> None:
    """A filter of several fields is the conjunction of filters of one each."""
    alone = [
        Filter(**{field.name: getattr(wanted, field.name)}).holds(one)
        for field in fields(Filter)
        if getattr(wanted, field.name)
    ]
    assert wanted.holds(one) is all(alone)
    assert wanted.indexed.holds(one) or not wanted.holds(one)


@pytest.mark.parametrize(
    ("wanted", "meant", "not_meant"),
    [
        ({"group": ADMIT.group}, {"group": ADMIT.group}, {"group": PLAN.group}),
        ({"reason": "unknown"}, {"reason": "unknown"}, {"reason": "undecodable"}),
        ({"fingerprint": "a"}, {"fingerprint": "a"}, {"fingerprint": "ab"}),
        ({"tenant": "x"}, {"tenant": "x"}, {"tenant": ""}),
        ({"key": "k"}, {"key": "k"}, {"key": "K"}),
        ({"since": 5}, {"written_at": 5}, {"written_at": 4}),
        ({"until": 6}, {"written_at": 5}, {"written_at": 6}),
        ({"ids": IDS[:1]}, {"id": IDS[0]}, {"id": IDS[1]}),
        ({"expression": "letter.attempts > 2"}, {"attempts": 3}, {"attempts": 2}),
    ],
)
def test_each_part_means_what_it_says(wanted: dict[str, Any], meant: dict[str, Any], not_meant: dict[str, Any]) -> None:
    """From since on, and before until."""
    assert Filter(**wanted).holds(letter(**meant))
    assert not Filter(**wanted).holds(letter(**not_meant))


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("[]", "JSON object"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"grup": "x"}', "no field grup"),
        ('{"group": "aios.nobody"}', "there is no group"),
        ('{"reason": "bad mood"}', "there is no reason"),
        ('{"reason": 1}', "is a text"),
        ('{"since": "today"}', "Unix milliseconds"),
        ('{"since": true}', "Unix milliseconds"),
        ('{"since": -1}', "Unix milliseconds"),
        ('{"since": 5, "until": 5}', "not after"),
        ('{"ids": "all"}', "whole ids"),
        ('{"ids": ["11111111"]}', "whole ids"),
        ('{"ids": [1]}', "whole ids"),
        (json.dumps({"ids": [IDS[0]] * 201}), "too many"),
        (json.dumps({"key": "x" * 2000}), "at most"),
        ('{"key": "\\ud800"}', "no Unicode"),
        ('{"expression": "letter.attempts >"}', "no CEL"),
        ('{"expression": "lettr.attempts > 1"}', "asks about lettr"),
        ('{"expression": "value.a.all(x, value.b.all(y, x == y))"}', "more than once"),
    ],
)
def test_what_is_no_filter_is_refused(said: str, says: str) -> None:
    """In a sentence that names the field, whatever stands there."""
    with pytest.raises(FilterRefused, match=says):
        filters.parse(said)


def test_an_expression_sees_letter_headers_and_value() -> None:
    """The value is decoded only if it is named, and only where everything else holds."""
    asked: list[int] = []

    def value() -> Any:
        asked.append(1)
        return {"text": "My IBAN", "parts": [1, 2]}

    headers = (("aios-tenant", b"old"), ("aios-tenant", b"demo"), ("raw", None))
    one = letter()
    assert Filter(expression='letter.reason == "undecodable" && letter.attempts == 1').holds(one, headers, value)
    assert Filter(expression='headers["aios-tenant"] == "demo" && headers.raw == ""').holds(one, headers, value)
    assert not Filter(tenant="nobody", expression='value.text == ""').holds(one, headers, value)
    assert asked == []
    assert Filter(expression='value.text.contains("IBAN") && value.parts.exists(p, p == 2)').holds(one, headers, value)
    assert asked == [1]


def test_an_expression_that_says_neither_is_told_from_no() -> None:
    """A field that is not there, a value that is no truth, a record that does not decode."""
    for source in ("value.amount > 3", "letter.attempts", "value.text.size() > 1"):
        one = Filter(expression=source)
        assert one.answers(letter(), (), lambda: None) is None
        assert not one.holds(letter())
    assert Filter(expression="value == null").holds(letter(), (), lambda: None)


@given(
    st.sampled_from([*GROUPS, "case.decided.v1"]),
    st.binary(max_size=20) | st.none(),
    st.lists(
        st.tuples(
            st.sampled_from(["id", "replay.count", "reason", "orig.offset", "park.ordinal", "attempts"]),
            st.binary(max_size=30) | st.none(),
        ),
        max_size=8,
    ),
)
def test_no_record_is_too_strange_for_a_dead_letter(
    topic: str, key: bytes | None, said: list[tuple[str, bytes | None]]
) -> None:
    """Whatever its headers and key are: a letter or none, never an error; and it comes back from JSON as it was."""
    headers = tuple((envelope.PREFIX + name, value) for name, value in said)
    found = letter_of(Record(topic, 0, 1, NOW, key, None, headers))
    if found is not None:
        assert of_plain(json.loads(json.dumps(found.plain()))) == found
