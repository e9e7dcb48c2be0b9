"""How a stage settles what failed: tiers, both breakers, whose a record is, and what the log may say."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import envelope
from aios.dlq.decide import LIMITS, Limits
from aios.dlq.settle import LINES_PER_S_MAX, NAMELESS, Settlement, Settler
from aios.streams import topics
from aios.streams.errors import EngineDead, Reason, RecordError, SchemaMismatch, Unavailable, Verdict
from aios.streams.record import Outgoing, Record
from aios.streams.topics import RETRY_TIERS
from aios.streams.topology import ADMIT, BY_NAME, PLAN, REPLAY, RETRY, Stage
from tests.fakes.breakers import OwnBreakers

NOW_MS = 1_700_000_000_000
FEW = Limits(unknown_in_a_row_max=3, share_records=10, tenant_records=8, trickle_per_s=2)
BAD = SchemaMismatch("bytes left over")


def record(offset: int = 0, partition: int = 2, tenant: str = "acme", topic: str = "case.admitted.v1") -> Record:
    headers = (("aios-tenant", tenant.encode()),) if tenant else ()
    return Record(topic, partition, offset, NOW_MS, b"k", b"v", headers)


def sourced(offset: int = 0, tenant: str = "acme") -> Record:
    """As a producer writes it: the tenant is a claim."""
    return record(offset, tenant=tenant, topic="document.received.v1")


def returned(settlement: Settlement, stage: Stage = PLAN) -> Record:
    """As aios.retry brings it back."""
    out = sent(settlement)
    assert dict(out.headers)["aios.retry.target"] == stage.retries.name.encode()
    return Record(stage.retries.name, out.partition or 0, 0, NOW_MS, out.key, out.value, out.headers)


def sent(settlement: Settlement | None) -> Outgoing:
    assert settlement is not None
    assert settlement.outgoing is not None
    return settlement.outgoing


def throttling(settler: Settler, of: Record) -> None:
    """Send bad data until its tenant's breaker is open."""
    for _ in range(5):
        settler.settle(of, BAD, NOW_MS)


# Attempts


@pytest.mark.parametrize("name", ["plan", "classify.interactive"])
def test_an_unknown_error_is_tried_once_more_after_each_tier_and_then_a_dead_letter(name: str) -> None:
    """The count travels in the record itself; each wait is the stage's next, and their number is the bound."""
    stage = BY_NAME[name]
    settler = Settler(stage, "c1", LIMITS, breakers=OwnBreakers())
    failing = replace(record(), topic=stage.reads[0].name)
    for tier in stage.tiers:
        settled = settler.settle(failing, ValueError("?"), NOW_MS)
        keeps = None if ".requested." in failing.topic else failing.partition  # commands lie in more partitions
        assert (settled.verdict, sent(settled).topic, sent(settled).partition) == (
            Verdict.RETRY,
            tier.topic.name,
            keeps,
        )
        assert dict(sent(settled).headers)[envelope.RETRY_AFTER] == str(tier.after_ms).encode()
        failing = returned(settled, stage)
    last = settler.settle(failing, ValueError("?"), NOW_MS)
    assert (last.verdict, sent(last).topic) == (Verdict.DEAD_LETTER, stage.dead_letters.name)
    assert envelope.headers_said(sent(last).headers)["attempts"] == str(stage.attempts_max)


def test_permanent_data_dies_at_once_and_infrastructure_and_deploys_send_nothing() -> None:
    """One of each."""
    settler = Settler(PLAN, "c1", breakers=OwnBreakers())
    dead = settler.settle(record(), SchemaMismatch("no value", Reason.EMPTY), NOW_MS)
    assert (dead.verdict, dead.reason, sent(dead).topic) == (Verdict.DEAD_LETTER, Reason.EMPTY, "aios.plan.dlq")
    away = settler.settle(record(), Unavailable("registry is away"), NOW_MS)
    assert (away.verdict, away.outgoing, away.pause_ms) == (Verdict.PAUSE, None, LIMITS.pause_ms)
    stop = settler.settle(record(), EngineDead("hangs"), NOW_MS)
    assert (stop.verdict, stop.outgoing) == (Verdict.STOP, None)


def test_however_long_infrastructure_is_away_no_breaker_opens() -> None:
    """Nothing is wrong with the records, nor with the code."""
    breakers = OwnBreakers()
    settler = Settler(PLAN, "c1", FEW, breakers=breakers)
    for offset in range(1_000):
        assert settler.settle(record(offset % 3), Unavailable("away"), NOW_MS).verdict is Verdict.PAUSE
    assert not breakers.changes
    assert settler.gate(record(), NOW_MS) is None


def test_a_record_too_large_to_travel_with_our_headers_is_not_sent_round() -> None:
    """By reference it could not come back."""
    huge = replace(record(), value=b"x" * topics.DEAD_LETTER_BYTES_MAX)
    assert (
        Settler(PLAN, "c1", breakers=OwnBreakers()).settle(huge, ValueError("?"), NOW_MS).verdict is Verdict.DEAD_LETTER
    )


# The breaker of a partition


def test_unknown_failures_in_a_row_pause_their_partition_until_somebody_closes_it() -> None:
    """Untried, whatever comes there; other partitions go on; and after the closing it counts anew."""
    breakers = OwnBreakers()
    settler = Settler(PLAN, "c1", FEW, breakers=breakers)
    waits = [settler.settle(record(offset), ValueError("?"), NOW_MS) for offset in range(3)]
    assert settler.settle(record(3), ValueError("?"), NOW_MS).verdict is Verdict.PAUSE
    for each in (record(3), record(9, tenant="other"), returned(waits[0]), replace(record(), topic="timer.fired.v1")):
        held = settler.gate(each, NOW_MS)
        assert held is not None
        assert (held.verdict, held.outgoing, held.pause_ms) == (Verdict.PAUSE, None, FEW.pause_ms)
    assert settler.gate(record(0, partition=4), NOW_MS) is None
    (opened,) = breakers.changes
    assert (opened.key, opened.partition, opened.tenant, opened.state) == ("aios.plan/2", 2, "", "open")
    assert (opened.failed, opened.settled, opened.reason) == (4, 4, "unknown")
    assert "aios breaker close aios.plan/2" in opened.action
    breakers.partitions.clear()
    assert settler.gate(record(3), NOW_MS) is None
    assert settler.settle(record(3), ValueError("?"), NOW_MS).verdict is Verdict.RETRY


def test_of_many_that_succeeded_each_counts_for_its_own_tenant() -> None:
    """Told at once, whoever comes last: as many good ones as bad ones open nobody's breaker."""
    breakers = OwnBreakers()
    settler = Settler(PLAN, "c1", FEW, breakers=breakers)
    settler.settle(record(0, tenant="a"), BAD, NOW_MS)
    for offset in range(20):
        settler.done([record(offset, tenant="a"), record(offset, tenant="b")])
        settler.settle(record(offset, tenant="a"), BAD, NOW_MS)
    assert not breakers.changes


def test_a_flood_of_one_failure_is_a_trickle_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    """So many of each kind a second; another kind, and the next second, are told."""
    settler = Settler(PLAN, "c1", breakers=OwnBreakers())
    for offset in range(3 * LINES_PER_S_MAX):
        settler.settle(record(offset), BAD, NOW_MS)
    assert len(caplog.records) == LINES_PER_S_MAX
    settler.settle(record(100), RecordError("no", Reason.EMPTY), NOW_MS)
    settler.settle(record(101), BAD, NOW_MS + 1_000)
    assert len(caplog.records) == LINES_PER_S_MAX + 2


def test_a_few_records_that_always_fail_are_no_broken_deploy() -> None:
    """The retry topic holds only what failed before: its failures alone must not pause it, over however long."""
    breakers = OwnBreakers()
    settler = Settler(PLAN, "c1", FEW, breakers=breakers)
    for round_ in range(20):
        settler.done([record(2 * round_)])
        settled = settler.settle(record(2 * round_ + 1), ValueError("?"), NOW_MS)
        while settled.verdict is Verdict.RETRY:
            settled = settler.settle(returned(settled), ValueError("?"), NOW_MS)
        assert settled.verdict is Verdict.DEAD_LETTER
    assert not breakers.changes


def test_a_hasty_replay_opens_nothing() -> None:
    """Dead letters that return before the code or the data is mended fail again, and that is all."""
    breakers = OwnBreakers()
    settler = Settler(PLAN, "c1", FEW, breakers=breakers)
    said = {"attempts": "3", "replay.attempts": "3", "replay.count": "1", "orig.topic": "case.admitted.v1"}
    headers = tuple((envelope.PREFIX + name, value.encode()) for name, value in said.items())
    dead = replace(record(), topic=PLAN.retries.name, headers=(*record().headers, *headers))
    for offset in range(20):
        assert settler.settle(replace(dead, offset=offset), ValueError("?"), NOW_MS).verdict is Verdict.RETRY
        assert settler.settle(replace(dead, offset=offset), BAD, NOW_MS).verdict is Verdict.DEAD_LETTER
    assert not breakers.changes


def test_no_breaker_stops_the_stage_that_closes_breakers() -> None:
    """Its commands come through the partition that would be held."""
    breakers = OwnBreakers()
    settler = Settler(REPLAY, "c1", FEW, breakers=breakers)
    command = replace(record(), topic=REPLAY.reads[0].name)
    for offset in range(20):
        settler.settle(replace(command, offset=offset), ValueError("?"), NOW_MS)
        settler.settle(replace(command, offset=offset), BAD, NOW_MS)
    assert not breakers.changes


def test_one_tenants_data_that_our_code_fails_at_holds_no_partition() -> None:
    """Others are done by the same code: that tenant is slowed, and they go on."""
    breakers = OwnBreakers()
    settler = Settler(PLAN, "c1", FEW, breakers=breakers)
    settler.done([record(0, partition=1, tenant="good")])
    verdicts = [settler.settle(record(offset, tenant="poor"), ValueError("?"), NOW_MS).verdict for offset in range(9)]
    assert verdicts == [Verdict.RETRY] * 9
    assert [one.key for one in breakers.changes] == ["aios.plan/tenant/poor"]
    assert settler.gate(record(20, tenant="good"), NOW_MS) is None


# The breaker of a tenant


def test_bad_data_of_a_tenant_slows_that_tenant_to_a_trickle() -> None:
    """Between our stages its header is believed: all of its records, untried; nobody else's."""
    breakers = OwnBreakers()
    settler = Settler(PLAN, "c1", FEW, breakers=breakers)
    throttling(settler, record(tenant="poor"))
    (opened,) = breakers.changes
    assert (opened.key, opened.partition, opened.tenant) == ("aios.plan/tenant/poor", -1, "poor")
    assert (opened.failed, opened.settled, opened.reason) == (5, 5, "undecodable")
    assert "aios breaker close aios.plan/tenant/poor" in opened.action
    passes = [settler.gate(record(offset, tenant="poor"), NOW_MS + offset * 100) is None for offset in range(21)]
    assert [number for number, passed in enumerate(passes) if passed] == [0, 1, 10, 11, 20]
    assert all(settler.gate(record(offset, tenant="good"), NOW_MS) is None for offset in range(20))
    assert all(settler.gate(record(offset, tenant=""), NOW_MS) is None for offset in range(20))


def test_a_deferral_costs_no_attempt_and_waits_longer_each_time() -> None:
    """From the minute on; and once it may be tried, it has all of its attempts."""
    settler = Settler(PLAN, "c1", FEW, breakers=OwnBreakers())
    throttling(settler, record(tenant="poor"))
    slowed = record(7, tenant="poor")
    for tier in (RETRY_TIERS[1], RETRY_TIERS[2], RETRY_TIERS[2]):
        while (settled := settler.gate(slowed, NOW_MS)) is None:
            pass  # the trickle of this second
        assert (settled.verdict, settled.reason) == (Verdict.RETRY, Reason.THROTTLED)
        assert sent(settled).topic == tier.topic.name
        slowed = returned(settled)
        assert (envelope.attempt_of(slowed), envelope.origin(slowed).offset) == (1, 7)
    tried = settler.settle(slowed, ValueError("?"), NOW_MS)
    assert (tried.verdict, sent(tried).topic) == (Verdict.RETRY, RETRY_TIERS[0].topic.name)
    interactive = BY_NAME["classify.interactive"]
    alone = Settler(interactive, "c1", FEW, breakers=OwnBreakers())
    its = replace(slowed, topic=interactive.reads[0].name, headers=record(tenant="poor").headers)
    throttling(alone, its)
    while (settled := alone.gate(its, NOW_MS)) is None:
        pass
    assert sent(settled).topic == interactive.tiers[-1].topic.name


def test_what_is_put_off_is_back_before_its_deadline() -> None:
    """From the first tier on, longer each time, and never longer than is left."""
    settler = Settler(PLAN, "c1", FEW, breakers=OwnBreakers())
    ways = {
        3_600_000: (RETRY_TIERS[0], RETRY_TIERS[1], RETRY_TIERS[2], RETRY_TIERS[2]),
        90_000: (RETRY_TIERS[0], RETRY_TIERS[1], RETRY_TIERS[1]),
        10_000: (RETRY_TIERS[0], RETRY_TIERS[0]),
    }
    for left_ms, tiers in ways.items():
        one = record()
        for tier in tiers:
            settled = settler.put_off(one, "away", NOW_MS, until_ms=NOW_MS + left_ms)
            assert sent(settled).topic == tier.topic.name
            one = returned(settled)
    assert settler.put_off_ms(record()) == RETRY_TIERS[0].after_ms


def test_on_a_source_topic_a_claim_slows_bad_records_alone() -> None:
    """Whoever may write there can write any name: good records that bear it must not wait for that."""
    breakers = OwnBreakers()
    settler = Settler(ADMIT, "c1", FEW, breakers=breakers)
    found = [settler.settle(sourced(offset, "victim"), BAD, NOW_MS) for offset in range(20)]
    assert breakers.tenants == {"victim"}
    reasons = [one.reason for one in found]
    assert reasons == [Reason.UNDECODABLE] * 6 + [Reason.THROTTLED] * 14  # the one that opens it takes from the trickle
    assert {sent(one).topic for one in found[6:]} == {RETRY_TIERS[1].topic.name}
    assert all(settler.gate(sourced(offset, "victim"), NOW_MS) is None for offset in range(20))
    again = settler.settle(returned(found[-1], ADMIT), BAD, NOW_MS + 1_000)
    assert (again.verdict, again.reason) == (Verdict.DEAD_LETTER, Reason.UNDECODABLE)
    away = settler.settle(sourced(99, "victim"), Unavailable("registry"), NOW_MS)
    assert away.verdict is Verdict.PAUSE


def test_a_dead_letter_that_is_replayed_fails_again_at_once() -> None:
    """Whoever replayed it is to see that it did; it was counted and slowed when it was new."""
    settler = Settler(ADMIT, "c1", FEW, breakers=OwnBreakers())
    throttling(settler, sourced())
    dead = sent(settler.settle(sourced(50), BAD, NOW_MS + 9_000))
    back = Record(ADMIT.retries.name, 2, 0, NOW_MS, dead.key, dead.value, dead.headers)
    found = [settler.settle(back, BAD, NOW_MS + 9_000) for _ in range(9)]
    assert {one.reason for one in found} == {Reason.UNDECODABLE}


@pytest.mark.parametrize("claim", ["", "Not A Name", "x" * 64])
def test_what_claims_no_tenant_is_counted_as_nameless(claim: str) -> None:
    """It slows nobody who has a name."""
    breakers = OwnBreakers()
    settler = Settler(ADMIT, "c1", FEW, breakers=breakers)
    throttling(settler, sourced(tenant=claim))
    assert breakers.tenants == {NAMELESS}
    assert breakers.changes[0].key == "aios.admit/tenant/?"


def test_names_that_somebody_makes_up_open_a_bounded_number_of_breakers() -> None:
    """One over the bound is nameless; who is slowed stays so by name, and our own stages are believed."""
    breakers, limits = OwnBreakers(), replace(FEW, claims_max=3)
    settler = Settler(ADMIT, "c1", limits, breakers=breakers)
    for number in range(20):
        throttling(settler, sourced(tenant=f"made-up-{number}"))
    assert breakers.tenants == {"made-up-0", "made-up-1", "made-up-2", NAMELESS}
    found = [settler.settle(sourced(tenant="made-up-1"), BAD, NOW_MS + 9_000).reason for _ in range(3)]
    assert found == [Reason.UNDECODABLE] * 2 + [Reason.THROTTLED]
    breakers.tenants -= {"made-up-0", "made-up-2"}
    throttling(settler, sourced(tenant="acme"))
    assert breakers.tenants == {"acme", "made-up-1", NAMELESS}
    between = Settler(PLAN, "c1", limits, breakers=breakers)
    throttling(between, record(tenant="poor"))
    assert "poor" in breakers.tenants


def test_closing_lets_the_backlog_through_without_opening_again() -> None:
    """What was deferred is bad still, and was counted when it was first seen."""
    breakers = OwnBreakers()
    settler = Settler(ADMIT, "c1", FEW, breakers=breakers)
    found = [settler.settle(sourced(offset), BAD, NOW_MS) for offset in range(30)]
    backlog = [returned(one, ADMIT) for one in found if one.reason is Reason.THROTTLED]
    breakers.tenants.clear()
    assert {settler.settle(one, BAD, NOW_MS).verdict for one in backlog} == {Verdict.DEAD_LETTER}
    assert len(breakers.changes) == 1
    assert not breakers.tenants


def test_what_waits_in_a_tier_is_held_against_nobody() -> None:
    """It failed in another group; and a command to a group passes every breaker but its partition's."""
    breakers = OwnBreakers()
    settler = Settler(RETRY, "c1", FEW, breakers=breakers)
    stray = replace(record(), topic=RETRY_TIERS[0].topic.name)
    for _ in range(20):
        assert settler.settle(stray, RecordError("no target", Reason.UNATTRIBUTABLE), NOW_MS).outgoing is not None
    assert not breakers.changes
    plan = Settler(PLAN, "c1", FEW, breakers=OwnBreakers())
    throttling(plan, record())
    control = (("aios-tenant", b"acme"), (f"{envelope.PREFIX}control", b"discarded"))
    command = Record(PLAN.retries.name, 2, 0, NOW_MS, b"k", b"", control)
    assert [plan.gate(command, NOW_MS) for _ in range(9)] == [None] * 9


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(["good", "poor", "worse"]), st.sampled_from(["done", "bad"])),
        min_size=80,
        max_size=200,
    )
)
def test_every_record_is_settled_whatever_the_breakers_do(rounds: list[tuple[str, str]]) -> None:
    """Done, or one record out with the original bytes; bad data alone pauses nothing; the count of records is kept."""
    breakers = OwnBreakers()
    settler = Settler(PLAN, "c1", FEW, breakers=breakers)
    for offset, (tenant, what) in enumerate(rounds):
        one = record(offset, tenant=tenant)
        settled = settler.gate(one, NOW_MS + offset)
        if settled is None and what == "done":
            settler.done([one])
            continue
        if settled is None:
            settled = settler.settle(one, BAD, NOW_MS + offset)
        assert settled.verdict in (Verdict.RETRY, Verdict.DEAD_LETTER)
        out = sent(settled)
        assert (out.key, out.value, out.partition) == (one.key, one.value, one.partition)
        assert out.topic == PLAN.dead_letters.name or settled.reason is Reason.THROTTLED
    assert not breakers.partitions


# The log


def test_the_log_says_what_happened_without_the_words_of_others(caplog: pytest.LogCaptureFixture) -> None:
    """Place, verdict, reason, type, stack and what to do; never what the error quotes."""
    settler = Settler(PLAN, "c1", FEW, breakers=OwnBreakers())
    with caplog.at_level(logging.DEBUG):
        try:
            int("Jane Doe")
        except ValueError as error:
            for offset in range(4):
                settler.settle(record(offset), error, NOW_MS)
        settler.settle(record(9), RecordError("no such case", Reason.UNATTRIBUTABLE), NOW_MS)
    text = caplog.text
    assert "case.admitted.v1/2/0" in text
    assert "breaker aios.plan/2 opens: 4 of 4 records failed" in text
    assert "aios breaker close aios.plan/2" in text
    assert "unattributable" in text
    assert "Jane Doe'" not in text.replace('int("Jane Doe")', "")
