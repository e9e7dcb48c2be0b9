"""When a breaker opens, and for whom: the code, or one tenant's data; within bounded memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq.decide import LIMITS, Limits
from aios.dlq.tally import Opening, Scope, Tallies, Trickle

FEW = Limits(unknown_in_a_row_max=3, share_records=10, tenant_records=8, tenants_max=3, trickle_per_s=2)
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])


def scope(opening: Opening | None) -> Scope | None:
    return opening.scope if opening else None


def test_unknown_failures_in_a_row_open_their_partition_alone() -> None:
    """One more than the bound; another partition is not concerned, and the counts begin anew."""
    tallies = Tallies(FEW)
    assert [scope(tallies.unknown(2, "a")) for _ in range(4)] == [None, None, None, Scope.PARTITION]
    assert tallies.unknown(4, "a") is None
    assert [scope(tallies.unknown(2, "a")) for _ in range(4)] == [None, None, None, Scope.PARTITION]


def test_one_success_ends_a_row() -> None:
    """Of whomever."""
    tallies = Tallies(FEW)
    for _ in range(3):
        tallies.unknown(2, "a")
    tallies.done(2, "a")
    assert [tallies.unknown(2, "a") for _ in range(2)] == [None, None]


def test_a_row_over_the_end_of_a_window_counts_whole() -> None:
    """The share begins anew there; a row does not."""
    tallies = Tallies(FEW)
    tallies.unknown(2, "a")
    tallies.done(2, "a", FEW.share_records - 3)
    assert [scope(tallies.unknown(2, "a")) for _ in range(4)] == [None, None, None, Scope.PARTITION]


def test_a_share_of_unknown_failures_opens_too() -> None:
    """Every third succeeds: never a row, and it is the code all the same."""
    tallies = Tallies(FEW)
    found = []
    for number in range(12):
        if number % 3 == 2:
            tallies.done(2, "a")
        else:
            found.append(tallies.unknown(2, "a"))
    assert found[:6] == [None] * 6
    assert found[6] == Opening(Scope.PARTITION, 7, 10)


def test_what_one_tenants_data_does_to_our_code_is_held_against_that_tenant() -> None:
    """Others fare well in this process: a row, or a share, of one tenant's failures must not hold them."""
    tallies = Tallies(FEW)
    tallies.done(0, "good")
    assert [scope(tallies.unknown(2, "poor")) for _ in range(4)] == [None, None, None, Scope.TENANT]
    shares = Tallies(FEW)
    found = []
    for number in range(12):
        shares.done(2, "good") if number % 3 == 2 else found.append(shares.unknown(2, "poor"))
    assert scope(found[6]) is Scope.TENANT


def test_a_stray_failure_of_another_does_not_make_it_the_code() -> None:
    """Nine of ten are one tenant's."""
    tallies = Tallies(LIMITS)
    tallies.done(0, "good")
    tallies.unknown(2, "stray")
    found = [scope(tallies.unknown(2, "poor")) for _ in range(LIMITS.unknown_in_a_row_max)]
    assert found == [None] * (LIMITS.unknown_in_a_row_max - 1) + [Scope.TENANT]


def test_where_several_fail_or_nobody_else_is_there_it_is_the_code() -> None:
    """No sign that others would fare better: the partition pauses."""
    several = Tallies(FEW)
    several.done(0, "good")
    assert [scope(several.unknown(2, name)) for name in "abaa"][-1] is Scope.PARTITION
    alone = Tallies(FEW)
    alone.done(0, "a")  # of itself: proves nothing
    assert [scope(alone.unknown(2, "a")) for _ in range(4)][-1] is Scope.PARTITION
    nobodys = Tallies(FEW)
    nobodys.done(0, "good")
    assert [scope(nobodys.unknown(2, "")) for _ in range(4)][-1] is Scope.PARTITION


def test_bad_data_opens_the_breaker_of_its_tenant_by_its_share() -> None:
    """More than half of its last records; another tenant's do not count."""
    tallies = Tallies(FEW)
    for _ in range(4):
        assert tallies.bad(2, "a") is None
        assert tallies.bad(2, "b") is None
    assert tallies.bad(3, "a") == Opening(Scope.TENANT, 5, 5)
    for _ in range(8):
        tallies.done(2, "b")
    assert [tallies.bad(2, "b") for _ in range(4)] == [None] * 4


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), NAMES), min_size=60, max_size=300))
def test_bad_data_of_a_known_kind_never_pauses_a_partition(rounds: list[tuple[bool, str]]) -> None:
    """Whoever sends however much of it."""
    tallies = Tallies(FEW)
    for good, name in rounds:
        if good:
            tallies.done(2, name)
        else:
            assert scope(tallies.bad(2, name)) in (None, Scope.TENANT)
    assert tallies.unknown(2, "z") is None


@settings(deadline=None)
@given(st.lists(st.sampled_from(["done", "bad", "unknown"]), min_size=20, max_size=120), st.integers(0, 40))
def test_a_tenant_whose_records_are_good_is_never_slowed_by_another(rounds: list[str], every: int) -> None:
    """However the other's records fail, and whatever comes in between."""
    tallies = Tallies(FEW)
    tallies.done(1, "good")
    for number, what in enumerate(rounds):
        if number % (every + 1) == 0:
            tallies.done(2, "good")
        if what == "done":
            tallies.done(2, "poor")
            continue
        opening = tallies.bad(2, "poor") if what == "bad" else tallies.unknown(2, "poor")
        assert scope(opening) in (None, Scope.TENANT)


@given(st.lists(st.booleans(), min_size=20, max_size=200))
def test_a_tenants_share_is_that_of_its_last_records(marks: list[bool]) -> None:
    """Compared with counting them again each time; opened once, it begins anew."""
    tallies, last = Tallies(FEW), list[bool]()
    for bad in marks:
        last = [*last, bad][-FEW.tenant_records :]
        if not bad:
            tallies.done(2, "a")
            continue
        opening = tallies.bad(2, "a")
        assert (opening is not None) == (sum(last) > FEW.bad_share_max * FEW.tenant_records)
        if opening:
            last = []


def test_what_is_remembered_is_bounded() -> None:
    """A name for every record fills no memory; and who was bad longest ago is forgotten first."""
    tallies = Tallies(FEW)
    for number in range(1_000):
        assert tallies.bad(0, f"t{number}") is None
        assert len(tallies._tenants) <= FEW.tenants_max
    tallies.bad(0, "t998")
    tallies.bad(0, "other")
    assert list(tallies._tenants) == ["t999", "t998", "other"]
    slow = Trickle(1, FEW.tenants_max)
    for number in range(1_000):
        slow.passes(f"t{number}", 0)
        assert len(slow._passed) <= FEW.tenants_max


def test_in_the_usual_case_nothing_is_kept() -> None:
    """Successes alone, and a bad one that a whole window of good ones followed, leave nothing behind."""
    tallies = Tallies(FEW)
    tallies.done(0, "a")
    assert (tallies.quiet, tallies.knows_enough) == (True, False)
    tallies.done(0, "b")
    assert tallies.knows_enough
    tallies.bad(0, "a")
    tallies.unknown(0, "a")
    assert (tallies.quiet, tallies.knows_enough) == (False, False)
    tallies.done(0, "a", 20)
    assert tallies.knows_enough


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["done", "bad", "unknown"]), NAMES, st.integers(1, 30)), min_size=20, max_size=60
    )
)
def test_many_at_once_count_as_one_by_one(rounds: list[tuple[str, str, int]]) -> None:
    """What opens, and what is remembered, after each step."""
    at_once, singly = Tallies(FEW), Tallies(FEW)
    for what, name, count in rounds:
        if what == "done":
            at_once.done(2, name, count)
            for _ in range(count):
                singly.done(2, name)
        else:
            assert getattr(at_once, what)(2, name) == getattr(singly, what)(2, name)
        assert (at_once._tenants, at_once._partitions) == (singly._tenants, singly._partitions)


@given(st.lists(st.tuples(NAMES, st.integers(0, 3_000) | st.just(0)), min_size=20, max_size=100))
def test_a_trickle_passes_so_many_a_second(steps: list[tuple[str, int]]) -> None:
    """Of each tenant, and never fewer while there is room; time never falls."""
    trickle, now, passed = Trickle(2, 10), 0, dict[tuple[str, int], int]()
    for name, ms in steps:
        now += ms
        slot = name, now // 1000
        assert trickle.passes(name, now) == (passed.get(slot, 0) < 2)
        passed[slot] = min(2, passed.get(slot, 0) + 1)


def test_the_bounds_are_worth_their_name() -> None:
    """A few failures are no share of anything."""
    assert LIMITS.unknown_in_a_row_max < LIMITS.share_records * LIMITS.unknown_share_max
    assert LIMITS.tenant_records * LIMITS.bad_share_max >= 50
