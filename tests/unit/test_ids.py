"""Derived identities: the same parts give the same id, other parts another one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.schemas import ids

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(st.lists(st.text()), st.lists(st.text()))
def test_ids_differ_where_their_parts_differ(left: list[str], right: list[str]) -> None:
    """Also where the parts joined are the same: ("a", "bc") and ("ab", "c")."""
    assert (ids.derive(*left) == ids.derive(*right)) == (left == right)


@given(st.lists(st.text()))
def test_an_id_as_text_is_the_same_id(parts: list[str]) -> None:
    """The short way gives what the library's uuid5 gives, whatever the parts hold."""
    assert ids.derive(*parts) == str(
        uuid.uuid5(ids.NAMESPACE, "".join(f"{len(part.encode())}:{part}" for part in parts))
    )


def test_ids_never_change() -> None:
    """What is derived today is derived in ten years: replays meet the same case and the same commands."""
    case = ids.case_id("demo", "document.triage", "k-1")
    assert case == "93590c6e-11f0-5902-b512-7f78435b67c6"
    assert ids.command_id(case, "classify", 1) == "c2269608-6dc2-5d40-89c0-c288d9bc165e"
    assert uuid.UUID(case).version == 5


def test_a_case_id_depends_on_each_of_its_parts() -> None:
    """Another tenant, workflow or key is another case; another attempt is another command."""
    cases = {ids.case_id(*parts) for parts in (("a", "w", "k"), ("b", "w", "k"), ("a", "v", "k"), ("a", "w", "l"))}
    commands = {ids.command_id(*parts) for parts in (("c", "s", 1), ("c", "s", 2), ("c", "t", 1), ("d", "s", 1))}
    assert (len(cases), len(commands)) == (4, 4)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_order_of_fields_does_not_change_a_body(fields: dict[str, Any]) -> None:
    """A producer that writes its JSON in another order repeats the same body."""
    turned = dict(reversed(fields.items()))
    assert ids.canonical(turned) == ids.canonical(fields)
    assert ids.body_hash(turned) == ids.body_hash(fields)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"x": [float("-inf")]}])
def test_canonical_json_is_json(value: object) -> None:
    """What other languages cannot read is refused."""
    with pytest.raises(ValueError, match="JSON compliant"):
        ids.canonical(value)
