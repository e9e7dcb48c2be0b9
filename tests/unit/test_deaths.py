"""Deaths are counted outside the process: who kills is given up at the third, and nobody else is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.dlq import deaths
from aios.dlq.deaths import ALONE_MAX, RETURNS_MAX, Alone, Deaths, given_up
from aios.streams.errors import Reason

TOPIC = "document.received.v1"


class Processes:
    """Which process we are, and which have died; in place of the operating system."""

    def __init__(self) -> None:
        self.current = 1
        self.alive: set[str] = set()

    def me(self, _: int) -> str:
        return str(self.current)

    def lives(self, owner: str) -> bool:
        return owner in self.alive

    def die(self) -> None:
        self.current += 1


@contextmanager
def simulated() -> Iterator[Processes]:
    one = Processes()
    with (
        mock.patch.object(deaths, "_me", one.me),
        mock.patch.object(deaths, "_alive", one.lives),
    ):
        yield one


@pytest.fixture
def processes() -> Iterator[Processes]:
    with simulated() as one:
        yield one


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Deaths]:
    one = Deaths(tmp_path, "admit")
    yield one
    one.close()


def test_what_is_ended_leaves_nothing(counted: Deaths, processes: Processes) -> None:
    """A process that dies with nothing in hand suspects nobody."""
    counted.begin(TOPIC, 0, 10, 19)
    counted.end(TOPIC, 0)
    processes.die()
    assert counted.suspects(TOPIC, 0, 20) is None


def test_a_batch_that_was_in_hand_goes_one_at_a_time(counted: Deaths, processes: Processes) -> None:
    """In company nobody's own death is counted; what was not in hand goes on as before."""
    counted.begin(TOPIC, 0, 10, 19)
    processes.die()
    assert counted.suspects(TOPIC, 0, 5) == (10, 19, 1)
    assert counted.suspects(TOPIC, 0, 15) == (15, 19, 1)
    assert counted.suspects(TOPIC, 0, 20) is None
    assert counted.suspects(TOPIC, 1, 10) is None
    counted.begin(TOPIC, 0, 10, 10)
    counted.end(TOPIC, 0)
    assert counted.suspects(TOPIC, 0, 11) == (11, 19, 1)


def test_a_record_that_kills_alone_is_given_up_and_the_rest_go_on_alone(counted: Deaths, processes: Processes) -> None:
    """Once in company, twice alone: the third death is its last."""
    counted.begin(TOPIC, 0, 10, 19)
    processes.die()
    for own in range(ALONE_MAX):
        assert counted.suspects(TOPIC, 0, 10) == ((10, 10, own) if own else (10, 19, 1))
        assert given_up(own) is None
        counted.begin(TOPIC, 0, 10, 10)
        processes.die()
    assert counted.suspects(TOPIC, 0, 10) == (10, 10, ALONE_MAX)
    error = given_up(ALONE_MAX)
    assert error is not None
    assert error.reason is Reason.KILLS_ITS_PROCESS
    counted.begin(TOPIC, 0, 10, 10)
    counted.end(TOPIC, 0)
    assert counted.suspects(TOPIC, 0, 11) == (11, 19, 1)
    assert counted.suspects(TOPIC, 0, 10) == (10, 10, ALONE_MAX)  # if it comes again, for its commit was lost


def test_a_process_that_only_lost_its_partition_has_not_died(counted: Deaths, processes: Processes) -> None:
    """A stopped or revoked one leaves its mark and no suspicion; its late end does not touch the new owner's mark."""
    counted.begin(TOPIC, 0, 10, 19)
    processes.alive = {"1"}
    processes.current = 2
    assert counted.suspects(TOPIC, 0, 10) is None
    counted.begin(TOPIC, 0, 10, 12)
    processes.current = 1
    counted.end(TOPIC, 0)
    processes.current = 3
    assert counted.suspects(TOPIC, 0, 10) == (10, 12, 1)


def test_a_record_that_survives_is_cleared(counted: Deaths, processes: Processes) -> None:
    """Somebody else killed the process that time."""
    counted.begin(TOPIC, 0, 10, 10)
    processes.die()
    assert counted.suspects(TOPIC, 0, 10) == (10, 10, 1)
    counted.begin(TOPIC, 0, 10, 10)
    counted.end(TOPIC, 0)
    assert counted.suspects(TOPIC, 0, 10) is None


def test_a_torn_file_is_an_empty_one(counted: Deaths, processes: Processes) -> None:
    """After a loss of power the count begins anew; no stage refuses to start."""
    counted.begin(TOPIC, 0, 10, 10)
    (file,) = Path(counted._folder).iterdir()
    file.write_bytes(file.read_bytes()[:20])
    processes.die()
    assert counted.suspects(TOPIC, 0, 10) is None


def test_where_no_mark_can_be_written_nothing_is_counted_and_nothing_ends(
    counted: Deaths, processes: Processes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk: records go on as if nobody had died, and it is said once; with room again deaths are counted."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    alone = Alone(counted)
    with monkeypatch.context() as patch:
        for call in ("open", "pwrite"):
            patch.setattr(os, call, full)
        for first in (0, 10):
            assert counted.suspects(TOPIC, 0, first) is None
            counted.begin(TOPIC, 0, first, first + 9)
            counted.end(TOPIC, 0)
        alone.begin("some")
        alone.end()
        alone.opened()
    assert [one.getMessage() for one in caplog.records if "No space left" in one.getMessage()] == [
        "deaths of admit are not counted: No space left on device"
    ]
    counted.begin(TOPIC, 0, 20, 20)
    processes.die()
    assert counted.suspects(TOPIC, 0, 20) == (20, 20, 1)


def test_a_file_is_understood_once_however_many_records_go(
    counted: Deaths, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is looked up, begun and ended by who wrote all of it; who comes next understands it once."""
    understood = mock.Mock(wraps=deaths._parse)
    monkeypatch.setattr(deaths, "_parse", understood)
    for offset in range(50):
        assert counted.suspicious(TOPIC, 0, [offset]) == {}
        counted.begin(TOPIC, 0, offset, offset)
        counted.end(TOPIC, 0)
    assert understood.call_count == 0
    counted.begin(TOPIC, 0, 50, 50)
    processes.die()
    following = Deaths(counted._folder.parents[2], "admit")
    assert [following.suspects(TOPIC, 0, 50) for _ in range(3)] == [(50, 50, 1)] * 3
    assert understood.call_count == 1
    following.close()


def test_what_another_process_wrote_meanwhile_is_seen_and_stays(counted: Deaths, processes: Processes) -> None:
    """A partition that went to another one and comes back: the late end of the first clears nothing of the second."""
    counted.begin(TOPIC, 0, 7, 7)
    processes.alive = {"1", "2"}
    processes.current = 2
    other = Deaths(counted._folder.parents[2], "admit")
    other.begin(TOPIC, 0, 9, 9)
    processes.current = 1
    counted.end(TOPIC, 0)
    processes.alive = {"1"}
    assert counted.suspicious(TOPIC, 0, [7, 8, 9]) == {9: 1}
    other.close()


def test_a_file_stays_small(counted: Deaths, processes: Processes) -> None:
    """Whatever happened, and with the largest offsets there are."""
    high = (1 << 63) - 100
    for offset in range(high, high - 60, -1):
        counted.begin(TOPIC, 0, offset, offset)
        processes.die()
        counted.begin(TOPIC, 0, offset, offset + 90)
        processes.die()
    assert counted.suspects(TOPIC, 0, high - 60) is not None
    (file,) = Path(counted._folder).iterdir()
    assert file.stat().st_size == deaths.FILE_BYTES


class Stage:
    """A stage over one partition: takes batches, dies of killers and of its operator, commits late."""

    def __init__(self, counted: Deaths, killers: set[int], end: int) -> None:
        self.counted = counted
        self.killers = killers
        self.end = end
        self.committed = 0
        self.dead_letters: list[int] = []
        self.caused: Counter[int] = Counter()
        self.alone: Counter[int] = Counter()

    def run(self, batches: Iterator[int], operator: Iterator[bool], lags: Iterator[int]) -> bool:
        """One process, from the committed offset. True: it reached the end."""
        position = self.committed
        while position < self.end:
            last = min(position + next(batches), self.end) - 1
            suspects = self.counted.suspects(TOPIC, 0, position)
            upto = last if suspects is None or suspects[0] > last else position
            self.counted.begin(TOPIC, 0, position, upto)
            if suspects is not None and suspects[0] == suspects[1] == position and given_up(suspects[2]):
                if position not in self.dead_letters:
                    self.dead_letters.append(position)
            elif self._dies(position, upto) or next(operator):
                self.alone[position] += position == upto
                return False
            if next(operator):  # settled, and neither committed nor ended
                self.alone[position] += position == upto
                return False
            position = upto + 1
            self.committed = max(self.committed, position - next(lags))
            self.counted.end(TOPIC, 0)
        return True

    def _dies(self, first: int, last: int) -> bool:
        killer = next((one for one in range(first, last + 1) if one in self.killers), None)
        if killer is not None:
            self.caused[killer] += 1
        return killer is not None


def cycle(values: list[int]) -> Iterator[int]:
    while True:
        yield from values


@settings(deadline=None, max_examples=80)
@given(
    killers=st.sets(st.integers(0, 39), max_size=6),
    batches=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    lags=st.lists(st.integers(0, 5), min_size=1, max_size=9),
)
def test_every_killer_is_given_up_at_its_third_death_and_nobody_else_is(
    killers: set[int], batches: list[int], lags: list[int]
) -> None:
    """Whatever the batches, and however far the commits lag behind."""
    with simulated() as processes, tempfile.TemporaryDirectory() as home:
        counted = Deaths(Path(home), "admit")
        stage = Stage(counted, killers, 40)
        sizes, behind = cycle(batches), cycle(lags)
        for _ in range(3 * len(killers) + 1):
            if stage.run(sizes, iter(lambda: False, None), behind):
                break
            processes.die()
        counted.close()
    assert sorted(stage.dead_letters) == sorted(killers)
    assert all(deaths <= ALONE_MAX + 1 for deaths in stage.caused.values())


@settings(deadline=None, max_examples=80)
@given(
    killers=st.sets(st.integers(0, 29), max_size=3),
    batches=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    lags=st.lists(st.integers(0, 5), min_size=1, max_size=9),
    operator=st.lists(st.booleans(), min_size=8, max_size=40),
)
def test_an_operator_who_kills_processes_gives_nobody_up_who_was_not_alone_twice(
    killers: set[int], batches: list[int], lags: list[int], operator: list[bool]
) -> None:
    """And once the operator stops, everything is settled."""
    with simulated() as processes, tempfile.TemporaryDirectory() as home:
        counted = Deaths(Path(home), "admit")
        stage = Stage(counted, killers, 30)
        sizes, behind = cycle(batches), cycle(lags)
        kills = iter([*operator, *([False] * 100_000)])
        for _ in range(len(operator) + 3 * len(killers) + 10):
            if stage.run(sizes, kills, behind):
                break
            processes.die()
        else:
            pytest.fail("never reached the end")
        counted.close()
    assert killers <= set(stage.dead_letters)
    assert all(stage.alone[one] >= ALONE_MAX for one in stage.dead_letters)


def test_a_real_process_that_is_killed_leaves_its_mark(tmp_path: Path) -> None:
    """Also before anybody has reaped it."""
    program = (
        "import os, pathlib, signal; from aios.dlq.deaths import Deaths;"
        f"Deaths(pathlib.Path({str(tmp_path)!r}), 'plan').begin({TOPIC!r}, 3, 7, 7);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.Popen([sys.executable, "-c", program])
    counted = Deaths(tmp_path, "plan")
    try:
        assert child.wait(30) == -signal.SIGKILL
        assert counted.suspects(TOPIC, 3, 7) == (7, 7, 1)
        counted.begin(TOPIC, 3, 7, 7)
        assert counted.suspects(TOPIC, 3, 7) == (7, 7, 1)  # we are alive
    finally:
        counted.close()


def test_single_records_in_any_order_are_given_up_at_the_second_death(tmp_path: Path, processes: Processes) -> None:
    """Only those in hand when a process died; one that is stopped between two has killed nobody."""
    for name, survives in (("b", True), ("a", False), ("b", True), ("a", False)):
        alone = Alone(Deaths(tmp_path, "replay"))
        alone.opened()
        assert not alone.is_given_up("a")
        alone.begin(name)
        if survives:
            alone.end()
        processes.die()
    alone = Alone(Deaths(tmp_path, "replay"))
    alone.opened()
    alone.opened()
    assert (alone.is_given_up("a"), alone.is_given_up("b")) == (True, False)


def test_what_another_living_process_has_in_hand_has_killed_nobody(tmp_path: Path, processes: Processes) -> None:
    """A zombie that is only slow leaves no death."""
    for _ in range(3):
        alone = Alone(Deaths(tmp_path, "replay"))
        alone.opened()
        alone.begin("a")
        processes.alive.add(str(processes.current))
        processes.current += 1
    last = Alone(Deaths(tmp_path, "replay"))
    last.opened()
    assert not last.is_given_up("a")


def test_who_was_given_up_is_remembered_for_as_long_as_it_may_return(counted: Deaths, processes: Processes) -> None:
    """Its commit may be lost once more; far behind it nothing of it comes again."""
    for _ in range(ALONE_MAX):
        counted.begin(TOPIC, 0, 10, 10)
        processes.die()
    near, far = 10 + RETURNS_MAX, 11 + RETURNS_MAX
    counted.begin(TOPIC, 0, near, near)
    counted.end(TOPIC, 0, below=near)
    assert counted.suspicious(TOPIC, 0, [10]) == {10: ALONE_MAX}
    counted.begin(TOPIC, 0, far, far)
    counted.end(TOPIC, 0, below=far)
    assert counted.suspicious(TOPIC, 0, [10]) == {}


def test_a_process_that_nobody_has_taken_note_of_yet_has_died(tmp_path: Path) -> None:
    """Who started it may be slow to ask for its status; its successor counts the death all the same."""
    code = (
        "import sys, pathlib; from aios.dlq.deaths import Deaths\n"
        f"Deaths(pathlib.Path(sys.argv[1]), 'admit').begin('{TOPIC}', 0, 10, 10); import os; os._exit(1)"
    )
    died = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    os.waitid(os.P_PID, died.pid, os.WEXITED | os.WNOWAIT)
    one = Deaths(tmp_path, "admit")
    assert one.suspicious(TOPIC, 0, [10]) == {10: 1}
    one.close()
    assert died.wait() == 1
