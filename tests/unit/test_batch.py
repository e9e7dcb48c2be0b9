"""Who takes the next seat of the engine's batch, and who pays for its time."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.inference_workers.engines import batch
from aios.inference_workers.engines.batch import BULK_PRIORITY, METER, Line, Usage, share

lines = st.lists(st.tuples(st.sampled_from([0, 1, BULK_PRIORITY, BULK_PRIORITY + 5]), st.sampled_from("abc")))


@given(asks=lines, taken=st.integers(0, 10))
def test_who_waits_goes_before_bulk_and_bulk_leaves_seats(asks: list[tuple[int, str]], taken: int) -> None:
    """Priorities never go backwards while nobody comes; bulk never sits on the seats that are kept free."""
    line: Line[tuple[int, str]] = Line(seats=8, kept_free=2)
    for ask in asks:
        line.add(ask, ask[0], ask[1])
    order = []
    assert line.bulk == sum(priority >= BULK_PRIORITY for priority, _ in asks)
    while (ask := line.next(taken)) is not None:
        assert taken < (6 if ask[0] >= BULK_PRIORITY else 8)
        order.append(ask[0])
        taken += 1
    assert order == sorted(order)
    assert len(line) + len(order) == len(asks)
    if taken < 6:
        assert not len(line)


@given(beginnings=st.lists(st.sampled_from("abcdef"), max_size=60))
def test_what_begins_alike_goes_together_and_nobody_is_overtaken_for_long(beginnings: list[str]) -> None:
    """Whoever came later passes at most so many times, and each has a turn."""
    line: Line[int] = Line(seats=1_000, kept_free=0)
    for number, beginning in enumerate(beginnings):
        line.add(number, 0, beginning)
    order = [number for _ in beginnings if (number := line.next(0)) is not None]
    assert sorted(order) == list(range(len(beginnings)))
    for place, number in enumerate(order):
        assert sum(later > number for later in order[:place]) <= batch.OVERTAKEN_MAX


def _changes(beginnings: list[int]) -> int:
    return sum(a != b for a, b in itertools.pairwise(beginnings))


def test_two_prompts_that_alternate_are_taken_in_runs() -> None:
    """Of 64 in turn, each beginning is computed for runs of many and not for each anew."""
    line: Line[int] = Line(seats=1_000, kept_free=0)
    for number in range(64):
        line.add(number, 0, number % 2)
    order = [line.next(0) or 0 for _ in range(64)]
    assert _changes([number % 2 for number in order]) <= 5


def test_who_gave_up_is_not_in_line() -> None:
    line: Line[str] = Line(seats=4, kept_free=0)
    line.add("a", 0)
    line.add("b", 0)
    assert line.remove("a")
    assert not line.remove("a")
    assert line.next(0) == "b"


@given(steps=st.lists(st.tuples(st.floats(0, 2), st.sets(st.integers(0, 5), min_size=1)), max_size=30))
def test_all_of_the_engines_time_is_somebodys(steps: list[tuple[float, set[int]]]) -> None:
    """What the requests are charged for together is what the steps took."""
    usages = [Usage() for _ in range(6)]
    asked: Counter[int] = Counter()
    for seconds, members in steps:
        share(seconds, [usages[one] for one in members])
        asked.update(members)
    total = sum(seconds for seconds, _ in steps) * 1_000_000
    assert abs(sum(usage.engine_us for usage in usages) - total) <= 1e-6 * max(1.0, total)
    assert all(usage.engine_us == 0 for number, usage in enumerate(usages) if not asked[number])


PIECES = st.lists(st.lists(st.tuples(st.integers(1, 3), st.floats(0.01, 1)), min_size=1, max_size=20), max_size=5)


@given(PIECES)
def test_what_is_written_at_the_same_time_is_timed_by_the_piece(pieces: list[list[tuple[int, float]]]) -> None:
    """Whatever the order of their steps: all tokens count, and the time between two is that of one piece."""
    usage = Usage(asked_at=5.0)
    steps: list[tuple[float, int, float | None]] = []  # when, how many, after when
    for piece in pieces:
        at, before = 10.0, None
        for tokens, gap in piece:
            at += gap
            steps.append((at, tokens, before))
            before = at
    for at, tokens, before in sorted(steps, key=lambda one: one[0]):
        usage.wrote(tokens, at=at, before=before)
    assert usage.output_tokens == sum(tokens for _, tokens, _ in steps)
    assert usage.between == sum(tokens for piece in pieces for tokens, _ in piece[1:])
    assert usage.between_s == pytest.approx(sum(gap for piece in pieces for _, gap in piece[1:]))
    first = min((at for at, _, _ in steps), default=5.0)
    assert usage.first_token_ms == pytest.approx((first - 5.0) * 1000)


def test_a_wait_for_a_seat_is_no_time_in_the_engine() -> None:
    """Until it is seated, or until it is given up; an engine that tells of no seats has no line."""
    assert Usage().in_line_ms(100.0) == 0
    assert Usage(asked_at=10.0, seated_at=12.5).in_line_ms(100.0) == 2500
    assert Usage(asked_at=10.0).in_line_ms(11.0) == 1000


def test_whoever_asks_several_pieces_has_asked_with_the_first() -> None:
    """And a context that charges nobody has a usage of its own."""
    usage = Usage()
    METER.set(usage)
    assert batch.metered(3.0) is usage
    assert batch.metered(9.0).asked_at == 3.0
    METER.set(None)
    assert batch.metered(4.0) is not usage
