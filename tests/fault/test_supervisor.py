"""The supervisor with small processes of a few lines: what dies comes back, what is stopped is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from aios.infra.local import child, priority, supervisor
from aios.infra.local.spare import Spare
from aios.infra.local.supervisor import (
    AT_ONCE,
    BACKOFF_S,
    BACKOFF_S_MAX,
    NotReady,
    Part,
    State,
    Supervisor,
    delay_s,
)

S_MAX = 15.0
SERVES = """
import os, signal, sys
slot, fd = sys.argv[2], int(sys.argv[4])
def leave(*_):
    print("left", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
os.write(fd, b"ready\\n")
while True:
    signal.pause()
"""
DIES_READY = "import os, sys; os.write(int(sys.argv[4]), b'ready\\n'); sys.exit(3)"
DIES_EARLY = "import sys; print('the reason', flush=True); sys.exit(1)"
NEVER_READY = "import signal; print('thinking', flush=True); signal.pause()"
DEAF = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
own = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"])
print(own.pid, flush=True)
os.write(int(sys.argv[4]), b"ready\\n")
while True:
    signal.pause()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


@pytest.fixture
def part(tmp_path: Path) -> Callable[[str, str], Part]:
    """A part called `stage` whose processes run this code."""

    def make(stage: str, code: str) -> Part:
        return Part(stage=stage, command=python(code), log=lambda slot: tmp_path / f"{stage}.{slot}.log")

    return make


def supervised(use: Callable[[Supervisor, list[str]], Awaitable[None]]) -> None:
    """Run `use` with a supervisor and what it says; nothing it started is left."""

    async def run() -> None:
        said: list[str] = []
        kept = Supervisor(lambda name, what: said.append(f"{name} {what}"))
        try:
            await use(kept, said)
        finally:
            pids = [each.pid for each in kept.processes() if each.pid]
            kept.close()
            await kept.stop([each.part.stage for each in kept.processes()])
        assert not alive(*pids)

    asyncio.run(run())


def alive(*pids: int | None) -> list[int]:
    """Those that run; what has ended and waits to be collected does not."""
    running = []
    for pid in pids:
        try:
            if pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                running.append(pid)
        except psutil.NoSuchProcess:
            continue
    return running


async def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + S_MAX
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        await asyncio.sleep(0.01)


def test_a_killed_process_is_back_at_once_in_its_slot(part: Callable[[str, str], Part]) -> None:
    """kill -9: the same slot runs again without a wait, and says what ended it."""

    async def use(kept: Supervisor, said: list[str]) -> None:
        kept.add(part("one", SERVES), 2)
        await kept.until_ready(["one"], S_MAX)
        _, second = kept.processes()
        before = second.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await until(lambda: second.restarts == 1 and second.state is State.READY)
        assert second.slot == 1
        assert second.pid not in (None, before)
        assert second.last_exit == "SIGKILL"
        assert "one.1 ended: SIGKILL; starts again at once" in said

    supervised(use)


def test_a_process_that_keeps_dying_waits_longer_each_time(
    part: Callable[[str, str], Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, then doubling; its last exit stays to be seen."""
    monkeypatch.setattr(supervisor, "BACKOFF_S", 0.1)

    async def use(kept: Supervisor, said: list[str]) -> None:
        kept.add(part("one", DIES_READY))
        (process,) = kept.processes()
        await until(lambda: process.restarts == AT_ONCE + 3)
        ends = [line.rpartition("; ")[2] for line in said if "ended" in line]
        again = "starts again"
        waits = [f"{again} after 0.1 s", f"{again} after 0.2 s", f"{again} after 0.4 s"]
        assert ends == [f"{again} at once"] * AT_ONCE + waits
        assert process.last_exit == "exit 3"

    supervised(use)


def test_waits_have_a_bound() -> None:
    """None for the deaths that one record may cost, then doubling, never over the bound however long it goes on."""
    waits = [delay_s(deaths) for deaths in range(1, 2000)]
    assert waits[: AT_ONCE + 2] == [0.0] * AT_ONCE + [BACKOFF_S, 2 * BACKOFF_S]
    assert waits == sorted(waits)
    assert waits[-1] == BACKOFF_S_MAX


def test_a_death_after_steady_service_is_the_first_again(
    part: Callable[[str, str], Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait grows only for one that keeps dying, not for one that has served well since."""
    monkeypatch.setattr(supervisor, "STEADY_S", 0.0)

    async def use(kept: Supervisor, said: list[str]) -> None:
        kept.add(part("one", DIES_READY))
        (process,) = kept.processes()
        await until(lambda: process.restarts >= 3)
        assert {line.rpartition("; ")[2] for line in said if "ended" in line} == {"starts again at once"}

    supervised(use)


def test_a_start_that_cannot_succeed_fails_with_the_reason(part: Callable[[str, str], Part]) -> None:
    """A process that dies before it was ever ready: the start fails at the third time, with the end of its log."""

    async def use(kept: Supervisor, said: list[str]) -> None:
        kept.add(part("one", DIES_EARLY))
        with pytest.raises(NotReady, match=r"one\.0 ended 3 times \(exit 1\).*\n(  the reason\n)+"):
            await kept.until_ready(["one"], S_MAX)

    supervised(use)


def test_a_process_that_is_never_ready_is_named(part: Callable[[str, str], Part]) -> None:
    """Running is not ready: the wait ends at its bound and names who was not."""

    async def use(kept: Supervisor, said: list[str]) -> None:
        kept.add(part("quick", SERVES))
        kept.add(part("slow", NEVER_READY))
        with pytest.raises(NotReady, match=r"slow\.0 is not ready") as failed:
            await kept.until_ready(["quick", "slow"], 0.5)
        assert "quick" not in str(failed.value)
        assert "AIOS_INFERENCE__LOAD_S_MAX" in str(failed.value)
        assert not kept.ready

    supervised(use)


def test_scaling_adds_ready_processes_and_takes_away_the_highest(
    part: Callable[[str, str], Part], tmp_path: Path
) -> None:
    """1 → 3 → 1: new ones are ready when it returns, leaving ones were asked and are gone, the first is untouched."""

    async def use(kept: Supervisor, said: list[str]) -> None:
        kept.add(part("one", SERVES))
        await kept.until_ready(["one"], S_MAX)
        first = kept.processes()[0].pid
        await kept.scale("one", 3, S_MAX)
        assert [each.slot for each in kept.processes()] == [0, 1, 2]
        assert kept.ready
        leaving = [each.pid for each in kept.processes()[1:]]
        await kept.scale("one", 1, S_MAX)
        assert [each.pid for each in kept.processes()] == [first]
        assert not alive(*leaving)
        assert all((tmp_path / f"one.{slot}.log").read_text() == "left\n" for slot in (1, 2))

    supervised(use)


def test_one_that_does_not_stop_is_killed_with_what_it_started(
    part: Callable[[str, str], Part], tmp_path: Path
) -> None:
    """SIGTERM, the bound, SIGKILL for its whole group."""

    async def use(kept: Supervisor, said: list[str]) -> None:
        kept.add(part("deaf", DEAF))
        await kept.until_ready(["deaf"], S_MAX)
        (process,) = kept.processes()
        own, theirs = process.pid, int((tmp_path / "deaf.0.log").read_text())
        assert len(alive(own, theirs)) == 2
        await process.stop(0.3)
        await until(lambda: not alive(own, theirs))

    supervised(use)


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of the parent: the kernel ends its children."""
    code = (
        "import asyncio, sys, time\n"
        "from pathlib import Path\n"
        "from aios.infra.local.supervisor import Part, Supervisor\n"
        "async def main():\n"
        "    kept = Supervisor(lambda name, what: None)\n"
        "    kept.add(Part(stage='one', command=[sys.executable, '-I', '-S', '-c', sys.argv[1]],\n"
        "                  log=lambda slot: Path(sys.argv[2]) / f'{slot}.log'), 3)\n"
        "    await kept.until_ready(['one'], 15)\n"
        "    print(*(each.pid for each in kept.processes()), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", code, SERVES, str(tmp_path)], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(alive(*pids)) == 3
        parent.kill()
    asyncio.run(until(lambda: not alive(*pids)))


def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    """The parent may die before the child has asked to die with it."""
    script = child.__file__
    done = subprocess.run(
        [sys.executable, "-I", "-S", script, "0", "/bin/echo", "runs"], capture_output=True, timeout=S_MAX, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")


SPARE = """
import json, os, signal, sys
first, last = sys.argv.index("--spare"), sys.argv.index("--ready-fd")
kin, fd = sys.argv[first + 1:last], int(sys.argv[last + 1])
os.write(fd, b"waiting\\n")
print("waits", flush=True)
told = json.loads(sys.stdin.readline() or sys.exit(0))
stage, _, slot = told["arguments"]
assert stage in kin
with open(told["log"], "a") as log:
    log.write(f"{stage}.{slot} was a spare\\n")
os.write(fd, b"ready\\n")
while True:
    signal.pause()
"""


def test_a_spare_takes_the_place_of_what_dies_and_another_waits(
    part: Callable[[str, str], Part], tmp_path: Path
) -> None:
    """Its pid becomes the slot's, it writes to the slot's log, and once all are ready again there is a new one."""

    async def use(kept: Supervisor, _: list[str]) -> None:
        kept.add(part("one", SERVES), 2)
        await kept.until_ready(["one"], S_MAX)
        kept.keep([Spare(python(SPARE), ["one"], {}, tmp_path / "spare.log")])
        first = await waiting(kept)
        await until(lambda: "waits" in (tmp_path / "spare.log").read_text())
        _, second = kept.processes()
        assert second.pid
        os.kill(second.pid, signal.SIGKILL)
        await until(lambda: second.restarts == 1 and second.state is State.READY)
        assert second.pid == first
        assert "one.1 was a spare" in (tmp_path / "one.1.log").read_text()
        another = await waiting(kept)
        assert another != first
        await kept.stop(["one"])
        assert not alive(first, another)

    supervised(use)


@pytest.mark.parametrize("whom", ["another kind", "one that has died", "one that imports"])
def test_nobody_waits_for_a_spare(part: Callable[[str, str], Part], tmp_path: Path, whom: str) -> None:
    """What dies is started as ever where the spare is of another kind, has died itself, or is not ready to be one."""

    async def use(kept: Supervisor, _: list[str]) -> None:
        kept.add(part("one", SERVES))
        await kept.until_ready(["one"], S_MAX)
        code = NEVER_READY if whom == "one that imports" else SPARE
        kept.keep([Spare(python(code), ["two" if whom == "another kind" else "one"], {}, tmp_path / "spare.log")])
        spare = await waiting(kept)
        if whom != "one that imports":
            await until(lambda: "waits" in (tmp_path / "spare.log").read_text())
        if whom == "one that has died":
            os.kill(spare, signal.SIGKILL)
            await until(lambda: not psutil.pid_exists(spare))  # not even to be collected: its parent knows
        (one,) = kept.processes()
        assert one.pid
        os.kill(one.pid, signal.SIGKILL)
        await until(lambda: one.restarts == 1 and one.state is State.READY)
        assert one.pid != spare

    supervised(use)


async def waiting(kept: Supervisor) -> int:
    """The pid of the spare that waits, once it does."""
    slots = {each.pid for each in kept.processes()}
    found: list[int] = []

    def see() -> bool:
        found[:] = [
            each.pid
            for each in psutil.Process().children()
            if each.pid not in slots and each.status() != psutil.STATUS_ZOMBIE and "--spare" in each.cmdline()
        ]
        return bool(found)

    await until(see)
    return found[0]


def test_a_process_that_serves_gives_way_to_one_that_starts(part: Callable[[str, str], Part]) -> None:
    """All its threads are nicer from when it is ready; not before."""

    async def use(kept: Supervisor, _: list[str]) -> None:
        kept.add(part("one", SERVES))
        kept.add(part("two", NEVER_READY))
        await kept.until_ready(["one"], S_MAX)
        one, two = kept.processes()
        assert one.pid
        assert two.pid
        assert os.getpriority(os.PRIO_PROCESS, one.pid) == priority.SERVING
        assert os.getpriority(os.PRIO_PROCESS, two.pid) == os.getpriority(os.PRIO_PROCESS, 0)

    supervised(use)
