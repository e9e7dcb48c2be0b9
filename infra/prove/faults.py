"""What can go wrong, one small class each: how it is done to a running system, and how it ends.

Enters: a Stand under load. Leaves: the damage (inject), and the damage repaired (heal); what must hold meanwhile and
afterwards is for the verifier to say. Guaranteed: heal is called whatever inject did, and leaves the system whole; a
fault that could not be done says so (Unreached) and counts as not proven.

hold_s: how long the damage lasts between the two. bound_s: from its end until the stage goes on. goes_on: whether it
shall at all.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from confluent_kafka import Producer

from aios.dlq.deaths import ALONE_MAX
from aios.infra.demo.texts import KILLER
from aios.infra.local.system import ALONE
from aios.infra.prove.load import Bodies
from aios.infra.prove.operator import Asking
from aios.infra.prove.reading import Registry
from aios.infra.prove.stand import Missed, Stand, stages_of
from aios.streams import failpoints, topology
from aios.streams.topics import DOCUMENT_RECEIVED
from aios.streams.topology import GATEWAY, LETTERS, Kind

KILL_BOUND_S = 8.0  # after kill -9 no record waits longer, with 10,000 open cases
REACH_S_MAX = 60.0  # for an armed point to be visited; the rarest work, of retry, comes every four seconds on average
STOPPED_S = 14.0  # past a session timeout of 10 s
CLOCK_S = 3_600
PREPARED_S = 20.0
TWICE = ("computed", "taken")  # in the middle of its work, and once more as it begins again
UNFINISHED = "unfinished"  # a step of letters alone: a file of its archive is written, and has no name yet
DOCUMENT = b"a document that is handed in while no disk takes it"


class Unreached(Missed):
    """The fault could not be done: nothing was proven."""


class Fault(Protocol):
    """stage: the process it is done to, "all" for what they stand on."""

    @property
    def name(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def hold_s(self) -> float: ...
    @property
    def bound_s(self) -> float: ...
    @property
    def goes_on(self) -> bool: ...
    def inject(self, stand: Stand) -> None: ...
    def heal(self, stand: Stand) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    stage: str = "all"
    hold_s: float = 0.0
    bound_s: float = 30.0
    goes_on: bool = True

    def heal(self, stand: Stand) -> None:
        stand.until_ready()


# ── processes ──


@dataclass(frozen=True, slots=True, kw_only=True)
class KillAt(Base):
    """kill -9 of itself at a step, deaths times in a row: the next lives die at the steps that follow."""

    steps: tuple[str, ...]
    bound_s: float = KILL_BOUND_S

    @property
    def name(self) -> str:
        return f"kill -9 {'twice: ' if len(self.steps) > 1 else ''}{', '.join(self.steps)}"

    def inject(self, stand: Stand) -> None:
        before = stand.life(self.stage)
        stand.arm(self.stage, *(f"{self.stage}.{step}=kill@1" for step in self.steps))
        if self.steps == ("revoking",):
            with contextlib.suppress(Missed):
                _revoke(stand, self.stage)
        if self.steps[0] in ("produced", "delivered") or self.stage == LETTERS.process:
            give_garbage(stand, self.stage)
        if self.steps == (UNFINISHED,):
            _give_up_a_letter(stand)
        if not stand.until_died(before, len(self.steps), REACH_S_MAX * len(self.steps)):
            stand.disarm(self.stage)
            raise Unreached(f"{self.stage} never came to {self.steps[-1]}")

    def heal(self, stand: Stand) -> None:
        stand.until_ready(self.stage)
        if self.steps == ("revoking",) and self.stage not in ALONE:
            stand.scale(self.stage, 1)


def give_garbage(stand: Stand, process: str) -> None:
    """A sink produces nothing but dead letters: have a record returned to it that it cannot read.

    The one of dead letters has work of any kind only where something failed, which may be a while ago.
    """
    producer = Producer({"bootstrap.servers": stand.cluster.direct, "log_level": 0})
    for stage in stages_of(process):
        if stage.kind is Kind.SINK:
            producer.produce(stage.retries.name, b"\xffnothing of ours", b"garbage", partition=0)
    producer.flush(PREPARED_S)


def _give_up_a_letter(stand: Stand) -> None:
    """Have one archived; this does not wait for the operator's turn. Raises Unreached where there is none."""
    asking = Asking(stand.home.folder, stand.operations)

    def gave() -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError):  # somebody else's, or what it needs is away
            for letter in asking.letters():
                asking.discard(letter)
                return True
        return False

    try:
        stand.until(gave, "a dead letter is given up", REACH_S_MAX)
    except Missed as error:
        raise Unreached(str(error)) from error


def _revoke(stand: Stand, process: str) -> None:
    """Have partitions taken from its first slot: another comes, or, where there is one alone, it leaves."""
    if process in ALONE:
        stand.signal(process, signal.SIGTERM)
    else:
        stand.scale(process, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison(Base):
    """An event that ends whoever decodes it by SIGSEGV, until it is given up: at the second death alone in hand."""

    name: str = "a record that ends its process, SIGSEGV"
    stage: str = "admit"
    bound_s: float = KILL_BOUND_S

    def inject(self, stand: Stand) -> None:
        before = stand.life(self.stage)
        producer = Producer({"bootstrap.servers": stand.cluster.direct, "log_level": 0})
        value = Bodies(Registry(stand.addresses.registry)).encode(f"{KILLER} and nothing else")
        producer.produce(DOCUMENT_RECEIVED.name, key=f"poison-{time.time_ns()}".encode(), value=value)
        producer.flush(PREPARED_S)
        if not stand.until_died(before, ALONE_MAX, REACH_S_MAX * ALONE_MAX):
            raise Unreached(f"{self.stage} did not die {ALONE_MAX} times")


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingRestart(Base):
    """SIGTERM to every process of the system, one after the other, under load."""

    name: str = "SIGTERM, rolling"

    def inject(self, stand: Stand) -> None:
        for process in topology.PROCESSES:
            before = stand.life(process)
            stand.signal(process, signal.SIGTERM)
            if not stand.until_died(before, 1, 40.0):
                raise Missed(f"{process} did not end on SIGTERM")
            stand.until_ready(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Base):
    """SIGSTOP past the session timeout: it comes back as a zombie."""

    name: str = "SIGSTOP past the session"
    hold_s: float = STOPPED_S

    def inject(self, stand: Stand) -> None:
        stand.signal(self.stage, signal.SIGSTOP)

    def heal(self, stand: Stand) -> None:
        with contextlib.suppress(ProcessLookupError):
            stand.signal(self.stage, signal.SIGCONT)
        time.sleep(1.0)  # it may be about to leave: fenced
        stand.until_ready(self.stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalanceStorm(Base):
    """1 → 4 → 2 → 1 processes."""

    name: str = "rebalances 1→4→2→1"

    def inject(self, stand: Stand) -> None:
        for count in (4, 2):
            stand.scale(self.stage, count)

    def heal(self, stand: Stand) -> None:
        stand.scale(self.stage, 1)
        stand.until_ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMoved(Base):
    """The wall clock of one process, an hour ahead or behind."""

    seconds: int
    hold_s: float = 6.0

    @property
    def name(self) -> str:
        return f"clock {'+' if self.seconds > 0 else '−'}1 h"

    def inject(self, stand: Stand) -> None:
        if stand.clock is None:
            raise Unreached("no C compiler (cc) is here to build infra/prove/clock.c")
        stand.move_clock(self.stage, self.seconds)

    def heal(self, stand: Stand) -> None:
        if stand.clock is not None:
            stand.move_clock(self.stage, 0)
        stand.until_ready(self.stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull(Base):
    """No file of the process may grow (RLIMIT_FSIZE): every write to disk fails."""

    name: str = "disk full"
    hold_s: float = 8.0

    def inject(self, stand: Stand) -> None:
        limit_files(stand.pid(self.stage), 1)

    def heal(self, stand: Stand) -> None:
        limit_files(stand.pid(self.stage), resource.RLIM_INFINITY)
        stand.until_ready()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFull(DiskFull):
    """And a letter is given up meanwhile, which the archive must take once there is room."""

    stage: str = LETTERS.process
    hold_s: float = 4.0

    def inject(self, stand: Stand) -> None:
        DiskFull.inject(self, stand)
        _give_up_a_letter(stand)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsFull(DiskFull):
    """And a document is handed in meanwhile: it is refused until there is room, and kept whole then."""

    stage: str = GATEWAY.process
    hold_s: float = 3.0

    def inject(self, stand: Stand) -> None:
        DiskFull.inject(self, stand)
        _hand_in(stand, expected=503)

    def heal(self, stand: Stand) -> None:
        DiskFull.heal(self, stand)
        _hand_in(stand, expected=201)
        kept = [path.read_bytes() for path in stand.home.folder.glob(f"documents/*/*/{sha256(DOCUMENT).hexdigest()}")]
        if kept != [DOCUMENT]:
            raise Missed(f"a document was taken, and there are {len(kept)} of it")


def _hand_in(stand: Stand, expected: int) -> None:
    """Raises Missed where it is answered otherwise."""
    request = urllib.request.Request(  # noqa: S310 - of the system under test
        f"{stand.addresses.gateway}/v1/documents",
        data=DOCUMENT,
        headers={"Authorization": f"Bearer {stand.addresses.key}", "Content-Type": "application/octet-stream"},
    )
    try:
        with urllib.request.urlopen(request, timeout=PREPARED_S) as answer:  # noqa: S310 - same
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    if status != expected:
        raise Missed(f"a document is answered {status}, not {expected}")


def limit_files(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def kills(step: str, processes: Sequence[str]) -> list[Fault]:
    """SIGKILL at a step, to each of these that has it."""
    return [KillAt(stage=one, steps=(step,)) for one in processes if f"{one}.{step}" in failpoints.names(one)]
