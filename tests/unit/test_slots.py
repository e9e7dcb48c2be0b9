"""Where commands to models stand: by tenant and slot."""

from __future__ import annotations

from uuid import uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from aios.dlq import envelope
from aios.processors.language.part import Deadline
from aios.schemas.ids import NAMESPACE
from aios.streams import topics, topology
from aios.streams.partitioner import partition_of
from aios.streams.record import Record
from aios.streams.slots import SLOTS, case_of, key_of
from aios.streams.topics import Family
from aios.streams.topology import Stage

CASES = [str(uuid5(NAMESPACE, str(number))) for number in range(500)]


@settings(deadline=None, max_examples=20)
@given(tenant=st.text(min_size=1, max_size=40))
def test_a_tenant_lies_in_at_most_slots_partitions(tenant: str) -> None:
    """Whatever its cases are; and the commands of one case in one."""
    keys = {key_of(tenant, case_id) for case_id in CASES}
    assert len(keys) == SLOTS
    assert len({partition_of(key, 32) for key in keys}) <= SLOTS
    assert key_of(tenant, CASES[0]) == key_of(tenant, CASES[0])


def test_slots_fill_alike() -> None:
    """No slot has twice the cases of another."""
    counts = [sum(key_of("acme", case_id).endswith(b"/%d" % slot) for case_id in CASES) for slot in range(SLOTS)]
    assert max(counts) < 2 * min(counts)


@pytest.mark.parametrize("stage", [stage for stage in topology.STAGES if stage.reads], ids=lambda one: one.name)
def test_what_fails_has_a_partition_to_lie_in(stage: Stage) -> None:
    """Of the number where it failed, unless it was a command to a pool: those lie in more, and their key chooses."""
    for topic in stage.inputs:
        last = topic.partitions(6) - 1
        record = Record(topic.name, last, 0, 1, b"acme/3", b"", (), "append")
        failure = envelope.Failure(stage=stage, error=ValueError(), attempts=1, now_ms=1, cluster="c")
        tiers = [envelope.waiting(record, failure, tier) for tier in stage.tiers]
        for out in (envelope.wrap(record, failure), *tiers):
            assert out.partition == (None if topic.family is Family.POOL else last)
            assert (out.partition or 0) < topology.all_topics()[out.topic].partitions(6)


def test_pools_have_partitions_enough_to_share() -> None:
    """And one alone for what is called off, which every worker reads."""
    assert topics.inference_requested("classify.bulk").partitions(6) == 32
    assert topics.inference_cancelled("classify.bulk").partitions(6) == 1
    assert {pool.reads[0].family for pool in topology.POOLS} == {Family.POOL}


def test_a_cancellation_is_kept_for_as_long_as_its_command_may_be_answered() -> None:
    """A worker that was away computes nothing that nobody waits for any more."""
    kept_s = topics.inference_cancelled("classify.bulk").retention_hours * 3_600
    assert Deadline(interactive=1, bulk=kept_s).bulk == kept_s
    with pytest.raises(ValidationError):
        Deadline(interactive=1, bulk=kept_s + 1)


def test_the_case_is_told_by_a_header() -> None:
    """Who does not read the value finds it there."""
    assert case_of((("x", b"1"), ("ce_subject", b"c1"))) == "c1"
    assert case_of(()) == ""
