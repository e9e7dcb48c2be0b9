"""What may be committed, against a model that remembers everything."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aios.streams.offsets import OffsetTracker


class Partition(RuleBasedStateMachine):
    """A log with gaps, read in order, sought back now and then; records end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.log: list[int] = []  # offsets that hold a record, read at least once
        self.unread = 0  # index into log: what a seek makes come again
        self.open: set[int] = set()
        self.finished: set[int] = set()
        self.end = 0
        self.committed = 0
        self.highest = 0

    def arrive(self, offset: int) -> None:
        known = offset in self.open or offset in self.finished
        assert self.tracker.read(offset) is not known
        self.open |= set() if known else {offset}

    @rule(gap=st.integers(0, 3))
    def read_on(self, gap: int) -> None:
        """The next record, or one that a seek brings again."""
        if self.unread == len(self.log):
            self.log.append(self.end + gap)
            self.end += gap + 1
        self.arrive(self.log[self.unread])
        self.unread += 1

    @precondition(lambda self: self.unread == len(self.log))
    @rule(markers=st.integers(0, 2))
    def reach_the_end(self, markers: int) -> None:
        self.end += markers
        self.tracker.reached(self.end)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        assert self.tracker.finish(offset)
        assert not self.tracker.finish(offset)
        self.open.remove(offset)
        self.finished.add(offset)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        assert self.tracker.give_back(offset)
        assert not self.tracker.finish(offset)
        self.open.remove(offset)

    @rule()
    def give_back_all(self) -> None:
        self.tracker.give_back_all()
        self.open.clear()

    @rule()
    def seek(self) -> None:
        """Where the tracker says; nothing given back, nothing sought."""
        offset = self.tracker.again_from
        given_back = sorted(set(self.log[: self.unread]) - self.open - self.finished)
        if offset is None:
            assert not given_back
        else:
            assert offset == min(o for o in self.log if o not in self.open | self.finished)
            self.unread = self.log.index(offset)

    @rule(data=st.data())
    def be_overtaken(self, data: st.DataObject) -> None:
        """What is deleted is not read again; what is in hand of it may still end."""
        below = data.draw(st.integers(0, self.end + 2))
        self.tracker.passed_over(below)
        gone = [offset for offset in self.log if offset < below]
        self.finished |= set(gone) - self.open
        self.unread = max(self.unread, len(gone))
        self.end = max(self.end, below)

    @rule()
    def commit(self) -> None:
        offset = self.tracker.to_commit
        if offset is not None:
            assert offset > self.committed or offset == 0
            self.tracker.committed(offset)
            self.committed = offset
            assert self.tracker.to_commit is None

    @invariant()
    def what_is_finished_behind_an_unfinished_record_is_known(self) -> None:
        lowest = min((offset for offset in self.log if offset not in self.finished), default=self.end)
        assert self.tracker.ended_behind == sum(offset > lowest for offset in self.finished)

    @invariant()
    def no_position_passes_an_unfinished_record(self) -> None:
        unfinished = [offset for offset in self.log if offset not in self.finished]
        position = self.tracker.position
        if position is None:
            assert not self.log
            return
        assert position <= min(unfinished, default=self.end)
        assert position >= self.highest
        self.highest = position

    @invariant()
    def nothing_is_held_back(self) -> None:
        """With everything read and finished, the position is the end."""
        if self.log and self.finished.issuperset(self.log):
            assert self.tracker.position == self.end
            assert self.tracker.span == 0


Partition.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
test_any_order_of_ends = Partition.TestCase


def test_finished_records_wait_behind_an_unfinished_one() -> None:
    """The law in one example: 10 is in hand, 11 and 12 are done, 10 may be committed; then 13."""
    tracker = OffsetTracker()
    assert all(tracker.read(offset) for offset in (10, 11, 12))
    assert tracker.finish(12)
    assert tracker.finish(11)
    assert (tracker.position, tracker.to_commit, tracker.span) == (10, 10, 3)
    assert tracker.finish(10)
    assert (tracker.position, tracker.to_commit, tracker.span) == (13, 13, 0)
