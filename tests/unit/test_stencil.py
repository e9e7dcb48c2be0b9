"""Stencils write what the codec writes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.schemas import ids
from aios.schemas.codec import Codec
from aios.schemas.errors import Reason, SchemaMismatch
from aios.schemas.models import AuditRecorded
from aios.schemas.stencil import Stencil
from aios.streams.topics import AUDIT_RECORDED
from tests.fakes.registry import FakeRegistry

CODEC = Codec(FakeRegistry())
VARYING = ("audit_id", "detail", "input_partition", "at")
ONE = AuditRecorded(
    audit_id="a",
    case_id="case",
    tenant="demo",
    workflow="",
    case_seq=7,
    transition="replayed",
    actor="ada",
    detail="{}",
    input_topic="topic",
    input_partition=0,
    input_offset=1 << 40,
    at=0,
)
STENCIL = Stencil(CODEC, AUDIT_RECORDED, ONE, VARYING)
INTS = st.integers(-(1 << 31), (1 << 31) - 1)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.text(max_size=200), st.text(max_size=200), INTS, LONGS)
def test_a_stencil_writes_the_bytes_of_the_codec(audit_id: str, detail: str, partition: int, at: int) -> None:
    """Whatever the values are: the same bytes, one event after the other."""
    event = replace(ONE, audit_id=audit_id, detail=detail, input_partition=partition, at=at)
    assert STENCIL.encode(audit_id, detail, partition, at) == CODEC.encode(AUDIT_RECORDED, event)


@pytest.mark.parametrize(
    "values", [("a", "{}", 1 << 31, 0), ("a", "{}", 0, 1 << 63), (None, "{}", 0, 0), ("\ud800", "{}", 0, 0)]
)
def test_a_stencil_refuses_what_the_codec_refuses(values: tuple[str, str, int, int]) -> None:
    """Values out of their fields' range are a broken contract."""
    with pytest.raises(SchemaMismatch) as refused:
        STENCIL.encode(*values)
    assert refused.value.reason is Reason.CONTRACT_BROKEN


def test_a_stencil_refuses_what_the_topic_would_not_hold() -> None:
    """A value that is too large is refused before it ends a transaction."""
    with pytest.raises(SchemaMismatch) as refused:
        STENCIL.encode("a", "x" * AUDIT_RECORDED.bytes_max, 0, 0)
    assert refused.value.reason is Reason.OVERSIZE


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), max_size=6))
def test_an_id_as_text_is_the_id(parts: list[str]) -> None:
    """derived is derive, whatever the parts."""
    assert ids.derive(*parts) == ids.derive(*parts)
