"""Keeps processes running: starts them, knows when each is ready, restarts what dies, stops all in order.

Enters: specifications of parts. Leaves: running processes, and a line for people at each change. Guaranteed: a
process that ends unasked is started again in the same slot, at once the first AT_ONCE times (a member of a consumer
group keeps its partitions that way) and after doubling waits when it keeps dying; asked to stop, it has stop_s_max
before SIGKILL; none outlives this process (child.py); a log file is bounded. A process that is ready gives way to those
that start (priority.py), and a spare takes the place of one that died, where one waits (spare.py).
A part is ready when its probe says so, or, without one, when it writes a line to the pipe it got as --ready-fd.
Everything runs in the event loop of the main thread.
Rejected: supervisord, circus, honcho: none knows when a process is ready, or ends its children when it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from aios.infra.local import logfiles, priority, spare
from aios.infra.local.spare import Spare, Started
from aios.schemas.errors import AiosError, Verdict

STOP_S_MAX = 35.0  # a stage has promised 30
AT_ONCE = 3  # deaths in a row that cost no wait: one record may kill so often before it is given up (dlq/deaths.py)
BACKOFF_S = 0.5  # before the first restart that waits
BACKOFF_S_MAX = 30.0
STEADY_S = 10.0  # ready for that long, a process has not died "again"
DEATHS_MAX = 3  # before it was ready for the first time: then the start as a whole has failed
PROCESSES_MAX = 16  # of one part
PROBE_S = 0.1
LOGS_S = 10.0  # between looks at the sizes of log files
LOGS_SAID_S = 600.0  # between two words that one cannot be kept bounded
TAIL_LINES = 12  # shown of the log of a process that does not start


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    STOPPING = "stopping"


class NotReady(AiosError):
    """A part did not become ready; the message has the end of its log."""

    verdict = Verdict.STOP


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What runs in one or more slots. log: its file, by slot. probe: None when the process itself tells."""

    stage: str
    command: Sequence[str]
    log: Callable[[int], Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    probe: Callable[[], Awaitable[bool]] | None = None


def delay_s(deaths: int) -> float:
    """Wait before the restart after so many deaths in a row, ≥ 1: none, then doubling up to BACKOFF_S_MAX."""
    again = deaths - AT_ONCE
    return 0.0 if again <= 0 else min(BACKOFF_S_MAX, BACKOFF_S * 2.0 ** min(again - 1, 16))


class Process:
    """One slot of a part, through all its restarts. pid, state, restarts and last_exit are for reading."""

    def __init__(
        self,
        part: Part,
        slot: int,
        changed: Callable[[Process, str], None],
        spare_of: Callable[[str], Spare | None],
    ) -> None:
        self.part = part
        self.slot = slot
        self.pid: int | None = None
        self.state = State.STARTING
        self.restarts = 0
        self.last_exit: str | None = None
        self.deaths = 0  # in a row
        self.was_ready = False
        self._changed = changed
        self._spare_of = spare_of
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name=self.name)

    @property
    def name(self) -> str:
        return f"{self.part.stage}.{self.slot}"

    async def stop(self, s_max: float = STOP_S_MAX) -> None:
        """SIGTERM, then SIGKILL after s_max; returns when it has ended. May be called twice at a time."""
        self._stop.set()
        self.state = State.STOPPING
        self._signal(signal.SIGTERM)
        _, running = await asyncio.wait((self._task,), timeout=s_max)
        if running:
            self._changed(self, f"did not stop within {s_max:.0f} s: killed")
            self.kill()
        await self._task

    def kill(self) -> None:
        """End it and whatever it has started, at once."""
        self._stop.set()
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # its own session, so its own group

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _keep(self) -> None:
        while True:
            ready_s = await self._once()
            self.pid = None
            if self._stop.is_set():
                return
            self.restarts += 1
            self.deaths = 1 if ready_s >= STEADY_S else self.deaths + 1
            wait_s = delay_s(self.deaths)
            self.state = State.BACKOFF
            again = f"starts again after {wait_s:.1f} s" if wait_s else "starts again at once"
            self._changed(self, f"ended: {self.last_exit}; {again}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait_s)
            if self._stop.is_set():
                return

    async def _once(self) -> float:
        """One life. Returns the seconds it was ready."""
        self.state = State.STARTING
        ready_at: list[float] = []
        try:
            life = await self._spawn()
        except OSError as error:
            self.last_exit = f"cannot be started: {error.strerror}"
            return 0.0
        self.pid = life.process.pid
        if self._stop.is_set():  # asked while it was being started
            self._signal(signal.SIGTERM)
        watch = asyncio.create_task(self._watch(life.read_end, ready_at))
        try:
            self.last_exit = _how(await life.process.wait())
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            os.close(life.read_end)
        return time.monotonic() - ready_at[0] if ready_at else 0.0

    async def _spawn(self) -> Started:
        """The spare that waits for such a place, or a new process. Raises OSError."""
        part, log = self.part, self.part.log(self.slot)
        if part.probe is not None:
            return await spare.started(part.command, part.environment, log, tells=False)
        own = ["--slot", str(self.slot)]
        waiting = self._spare_of(part.stage)
        taken = waiting.take([part.stage, *own], log) if waiting is not None else None
        return taken or await spare.started([*part.command, *own], part.environment, log)

    async def _watch(self, read_end: int, ready_at: list[float]) -> None:
        """Until it is ready; a process that never is ends, or is given up by whoever waits for it."""
        started = time.monotonic()
        if self.part.probe is None:
            if not await _told(read_end):
                return
        else:
            while not await self.part.probe():  # noqa: ASYNC110 - another process's state: nothing to wait on
                await asyncio.sleep(PROBE_S)
        if self._stop.is_set():
            return
        ready_at.append(time.monotonic())
        self.state = State.READY
        self.was_ready = True
        if self.part.probe is None and self.pid is not None:
            priority.of_threads(self.pid, priority.SERVING)
            priority.of_session(self.pid, priority.SERVING)
        self._changed(self, f"ready after {ready_at[0] - started:.1f} s")


class Supervisor:
    """All processes, by part and slot. say: one line for people; raises nothing. Used from one event loop.

    logs: files that are no slot's, bounded too.
    """

    def __init__(self, say: Callable[[str, str], None], logs: Sequence[Path] = ()) -> None:
        self._say = say
        self._logs = logs
        self._parts: dict[str, Part] = {}
        self._slots: dict[str, list[Process]] = {}
        self._spares: Sequence[Spare] = ()
        self._keeping: asyncio.Task[None] | None = None
        self._change = asyncio.Event()
        self._scaling = asyncio.Lock()
        self._unbounded_said = -math.inf  # when, on the monotonic clock
        self._bounding = asyncio.create_task(self._bound_logs(), name="logs")

    def add(self, part: Part, count: int = 1) -> None:
        """Start a part; until_ready() waits for it."""
        self._parts[part.stage] = part
        self._slots[part.stage] = [self._start(part, slot) for slot in range(count)]

    def keep(self, spares: Sequence[Spare]) -> None:
        """Have these wait from now on; another one whenever all are ready again."""
        self._spares = spares
        self._refill()

    def processes(self) -> list[Process]:
        return [process for slots in self._slots.values() for process in slots]

    @property
    def ready(self) -> bool:
        return all(process.state is State.READY for process in self.processes())

    async def until_ready(self, stages: Sequence[str], s_max: float) -> None:
        """Wait for these parts. Raises NotReady after s_max, or when one of them keeps dying before it ever was."""
        try:
            async with asyncio.timeout(s_max):
                while waiting := self._unready(stages):
                    for process in waiting:
                        if not process.was_ready and process.deaths >= DEATHS_MAX:
                            raise NotReady(self._why(process, f"ended {DEATHS_MAX} times ({process.last_exit})"))
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError as error:
            raise NotReady(self.late()) from error

    def late(self) -> str:
        """Who is not ready now, each with the end of its log."""
        late = [self._why(each, "is not ready in time") for each in self._unready(list(self._slots))]
        busy = f"the machine's load is {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
        return "\n".join([*late, f"{busy}; AIOS_INFERENCE__LOAD_S_MAX (seconds) gives a start longer"])

    async def scale(self, stage: str, count: int, s_max: float) -> None:
        """Have `count` processes of a part: returns when the new ones are ready and those too many have ended.

        The highest slots go first. Raises NotReady.
        """
        async with self._scaling:
            slots = self._slots[stage]
            leaving = slots[count:]
            for slot in range(len(slots), count):
                slots.append(self._start(self._parts[stage], slot))
            await asyncio.gather(*(process.stop() for process in leaving))
            del slots[count:]
            await self.until_ready([stage], s_max)

    async def stop(self, stages: Sequence[str]) -> None:
        """Stop these parts together, and keep no spares any more; those not started count as stopped."""
        spares, self._spares = self._spares, ()
        if self._keeping is not None:
            await asyncio.wait((self._keeping,))
        await asyncio.gather(*(one.end() for one in spares))
        await asyncio.gather(*(process.stop() for stage in stages for process in self._slots.get(stage, ())))
        for stage in stages:
            self._slots.pop(stage, None)

    def kill(self) -> None:
        """End everything at once."""
        for process in self.processes():
            process.kill()

    def close(self) -> None:
        """No more is started or watched; whatever still runs is killed."""
        self._bounding.cancel()
        self.kill()

    def _start(self, part: Part, slot: int) -> Process:
        self._bound_log(f"{part.stage}.{slot}", part.log(slot))
        return Process(part, slot, self._changed, self._spare_of)

    def _spare_of(self, stage: str) -> Spare | None:
        return next((one for one in self._spares if stage in one.kin), None)

    def _changed(self, process: Process, what: str) -> None:
        self._change.set()
        self._say(process.name, what)
        self._refill()

    def _refill(self) -> None:
        """Not while something starts: that needs the machine more."""
        if self._spares and self.ready and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep_spares(), name="spares")

    async def _keep_spares(self) -> None:
        for one in self._spares:
            try:
                await one.keep()
            except OSError as error:
                self._say("spare", f"cannot be started: {error.strerror}")

    def _unready(self, stages: Sequence[str]) -> list[Process]:
        return [each for stage in stages for each in self._slots[stage] if each.state is not State.READY]

    def _why(self, process: Process, what: str) -> str:
        file = process.part.log(process.slot)
        lines = "\n".join(f"  {logfiles.readable(line)}" for line in logfiles.last_lines(file, TAIL_LINES))
        return f"{process.name} {what}; the end of {file}:\n{lines}"

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOGS_S)
            for process in self.processes():
                self._bound_log(process.name, process.part.log(process.slot))
            for file in self._logs:
                self._bound_log(file.stem, file)

    def _bound_log(self, name: str, file: Path) -> None:
        """A full disk is no reason to stop looking: this is what makes room on it. Said for all files together."""
        try:
            logfiles.keep_bounded(file)
        except OSError as error:
            now = time.monotonic()
            if now - self._unbounded_said >= LOGS_SAID_S:
                self._unbounded_said = now
                self._say(name, f"its log grows, it cannot be kept bounded: {error.strerror} ({file})")


async def _told(read_end: int) -> bool:
    """Whether the process said it is ready; False when it closed the pipe without a word."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(read_end, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(read_end)
    return bool(os.read(read_end, 1))


def _how(status: int) -> str:
    """An exit status as people say it."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
