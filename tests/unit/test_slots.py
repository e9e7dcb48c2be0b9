"""Where commands to models stand: by tenant and slot."""

from __future__ import annotations

from uuid import uuid5

from hypothesis import given, settings
from hypothesis import strategies as st

from aios.schemas.ids import NAMESPACE
from aios.streams import topics, topology
from aios.streams.partitioner import partition_of
from aios.streams.slots import SLOTS, case_of, key_of
from aios.streams.topics import Family

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


def test_what_returns_fits_where_it_failed() -> None:
    """Tiers, dead letters and returns have the partitions of the widest input whose numbers they keep."""
    for per_family in (6, 48):
        for stage in topology.STAGES:
            widest = max((topic.partitions(per_family) for topic in stage.reads), default=0)
            for back in (stage.dead_letters, stage.retries, *(tier.topic for tier in stage.tiers)):
                assert back.partitions(per_family) >= widest, (stage.name, back.name)
    assert topics.inference_requested("classify.bulk").partitions(6) == 32
    assert topics.inference_cancelled("classify.bulk").partitions(6) == 1
    assert {pool.family for pool in topology.POOLS} == {Family.POOL}


def test_the_case_is_told_by_a_header() -> None:
    """Who does not read the value finds it there."""
    assert case_of((("x", b"1"), ("ce_subject", b"c1"))) == "c1"
    assert case_of(()) == ""
