"""`aios prove soak`: many cases through a system of its own, and what they leave in memory and on disk.

Enters: how many cases. Leaves: the verifier's table, and of every process its memory before, at most and after, its CPU
for each case; of every part of the home its bytes for each case; of both, seen at each tenth of the cases, what they
grow by a case behind the first half (growth.py); what `aios audit verify` says, and which records the chain lacks.
Guaranteed: the system is stopped and its home removed (--keep leaves it), whatever happens; exit code 1 on any
violation, where anything grows beyond its bound, and for an audit chain that is not whole. The engine is `echo`, which
is no model: what is measured is everything around it, and the report says so.
At most OPEN_MAX cases are open at once: a backlog is Kafka's to hold, and would say nothing about the stages' memory.
A few in a thousand fail at first, and come back through a retry tier.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import psutil
from redis import Redis
from redis.exceptions import RedisError

from aios.inference_workers.engines.echo import VERSION
from aios.infra import ending, output
from aios.infra.bench import machine
from aios.infra.local import control
from aios.infra.local.home import Home
from aios.infra.prove import growth, kept, load, verify
from aios.infra.prove.commands import LINE_S, Lines, show, summary, told
from aios.infra.prove.findings import Findings
from aios.infra.prove.growth import Bound, Growth, Look
from aios.infra.prove.journal import Kind
from aios.infra.prove.load import FAILPOINTS, MIX, WORKFLOW, Sent
from aios.infra.prove.reading import Addresses, of_running
from aios.infra.running import load_settings
from aios.schemas.errors import AiosError
from aios.streams.outcome_layout import list_key, list_name
from aios.streams.outcome_views import DECIDED

AIOS = (sys.executable, "-m", "aios.infra")
OPEN_MAX = 10_000
RATE_PER_S = 5_000.0  # more than two cores decide: OPEN_MAX holds it up
HTTP_SHARE = 0.05
USUAL: Mapping[Kind, float] = {**MIX, Kind.FLAKY: 0.3}
SEGFAULTS = 2.0  # expected, in the whole soak
SETTLE_S_MAX = 1_800.0
CASES_PER_S = 140  # expected on two cores
DISK_KIB = 29  # expected of a case
MEMORY_MIB, MEMORY_KIB = 3_200, 7.3  # expected of the whole system: at first, and more with each case (Valkey)
SAMPLE_S = 2.0
TENTHS = 10
RESULTS = Path(__file__).parent / "results"
PARTS = ("kafka", "valkey", "lake", "audit", "logs", "traces")


@dataclass(slots=True)
class Process:
    """One process of the system. Memory in MiB, resident; cpu: seconds, of all its lives together."""

    before: float = 0.0
    most: float = 0.0
    after: float = 0.0
    cpu: float = 0.0
    lives: dict[int, float] = field(default_factory=dict)  # pid → CPU seconds seen


class Watch:
    """Looks at the system's processes and at how many cases are decided, at most every SAMPLE_S.

    cases: how many there will be; at each tenth of them it notes memory and disk. weigh: bytes on disk, by part.
    """

    def __init__(self, addresses: Addresses, lines: Lines, cases: int, weigh: Callable[[], Mapping[str, int]]) -> None:
        self._store: Redis = Redis.from_url(addresses.valkey, decode_responses=True)
        self._decided_key = list_key(list_name(addresses.tenant, WORKFLOW, DECIDED))
        self._lines = lines
        self._next = 0.0
        self._pids: dict[str, int] = {}
        self._looked = 0.0
        self._cases = cases
        self._weigh = weigh
        self._tenth = 0
        self.memory: list[Look] = []
        self.disk: list[Look] = []
        self.decided = 0
        self.began = time.monotonic()
        self.processes: dict[str, Process] = {}

    def hold(self, sent: Sent) -> bool:
        """For load.run: wait while OPEN_MAX cases are open."""
        self.look(f"sent {sent.total}")
        return sent.cases - self.decided > OPEN_MAX

    def look(self, what: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SAMPLE_S
        self.sample()
        tenth = min(self.decided * TENTHS // self._cases, TENTHS - 1)
        if tenth > self._tenth:
            self._tenth = tenth
            self.note()
        total = sum(process.after for process in self.processes.values())
        rate = self.decided / max(0.001, now - self.began)
        self._lines.say(f"{what}, decided {self.decided} ({rate:.0f}/s), {total:.0f} MiB in all processes")

    def sample(self) -> None:
        """Memory and CPU now."""
        try:
            self.decided = int(self._store.zcard(self._decided_key))
        except RedisError:
            return
        if time.monotonic() - self._looked > LINE_S:
            self._looked = time.monotonic()
            self._pids = _pids()
        for name, pid in self._pids.items():
            try:
                process = psutil.Process(pid)
                memory, times = process.memory_info().rss / (1 << 20), process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            mine = self.processes.setdefault(name, Process(before=memory))
            mine.most, mine.after = max(mine.most, memory), memory
            mine.lives[pid] = times.user + times.system

    def note(self) -> None:
        """Memory and disk as they are, with how many cases are decided."""
        memory = {name: round(process.after * growth.MIB) for name, process in self.processes.items()}
        self.memory.append(Look(self.decided, memory))
        self.disk.append(Look(self.decided, self._weigh()))

    def rows(self, cases: int) -> list[dict[str, Any]]:
        """A row a process."""
        grown = growth.growths(self.memory, growth.MEMORY)
        return [
            {
                "process": name,
                "before MiB": round(one.before),
                "most MiB": round(one.most),
                "after MiB": round(one.after),
                "CPU ms a case": round(1000 * sum(one.lives.values()) / max(1, cases), 2),
                "lives": len(one.lives),
                **_late(grown.get(name)),
            }
            for name, one in self.processes.items()
        ]


@click.command()
@click.option("--cases", type=click.IntRange(100, 5_000_000), default=100_000, show_default=True)
@click.option(
    "--within", type=click.Path(file_okay=False, path_type=Path), help="Folder for the system; default: /tmp."
)
@click.option("--keep", is_flag=True, help="Leave the system's home and the journal.")
@click.option("--report", is_flag=True, help="Keep the figures in infra/prove/results.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def soak(*, cases: int, within: Path | None, keep: bool, report: bool, as_json: bool) -> None:
    """Send many cases through a system of its own, with an engine that only echoes, and judge what became of them.

    Exit code 1 on any violation, and where memory or disk grows by more than its bound a case behind the first half.
    """
    _announce(cases, within or Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix="aios-soak-", dir=within))
    try:
        with ending.in_order(), _system(folder / "home"):
            figures, findings, beyond = _soak(cases, folder)
            chain = subprocess.run([*AIOS, "audit", "verify"], check=False, capture_output=True, text=True)
            missing = kept.missing(folder / "home", of_running())
            figures["audit chain"] = "; ".join(filter(None, ((chain.stdout + chain.stderr).strip(), missing)))
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if report:
        machine.keep_in(RESULTS, "soak", f"aios prove soak --cases {cases}", {**figures, **summary(findings)})
    if not as_json:
        _show(figures)
    show(findings, None, as_json=as_json, more=figures)
    if chain.returncode or missing:
        output.fail(f"the audit chain is broken: {figures['audit chain']}")
    if beyond:
        output.fail("\n".join(beyond))


def _announce(cases: int, within: Path) -> None:
    """What it will take, before it takes it."""
    disk, free = cases * DISK_KIB >> 10, shutil.disk_usage(within).free >> 20
    memory = MEMORY_MIB + cases * MEMORY_KIB / 1024
    click.echo(
        f"{cases} cases: about {cases / CASES_PER_S / 60 + 1:.0f} min on two cores, {disk / 1024:.1f} GiB of disk in "
        f"{within} ({free / 1024:.1f} free), {memory / 1000:.0f} GB of memory",
        err=True,
    )
    kills = f"{SEGFAULTS:.0f} events will kill their process three times each"
    click.echo(f"every answer comes from: {VERSION}; {kills}", err=True)
    if free < 1.5 * disk:
        output.fail(f"{free} MiB are free in {within}, {1.5 * disk:.0f} are wanted: choose a folder with --within")


@contextmanager
def _system(home: Path) -> Iterator[None]:
    os.environ |= {
        "AIOS_HOME": str(home),
        "AIOS_INFERENCE__ENGINE": "echo",
        "AIOS_FAILPOINTS": FAILPOINTS,
        "AIOS_TRACING__SAMPLE_RATIO": "0.01",
    }
    try:
        if subprocess.run([*AIOS, "up", "--detach"], check=False, stdout=sys.stderr).returncode:
            output.fail("the system did not start")
        yield
    finally:
        subprocess.run([*AIOS, "down"], check=False, stdout=sys.stderr)


def _soak(cases: int, folder: Path) -> tuple[dict[str, Any], Findings, Sequence[str]]:
    addresses = of_running()
    watch = Watch(addresses, Lines(), cases, partial(_disk, folder / "home"))
    watch.sample()
    watch.note()
    count = load.events_for(cases, USUAL)
    mix = {**USUAL, Kind.SEGFAULT: SEGFAULTS / count * sum(USUAL.values())}
    watch.began = time.monotonic()
    sent = load.run(
        addresses, folder, rate_per_s=RATE_PER_S, count=count, mix=mix, http_share=HTTP_SHARE, hold=watch.hold
    )
    if not verify.settle(addresses, SETTLE_S_MAX, lambda left: watch.look(f"{left.total()} records left")):
        output.fail(f"the system did not come to rest within {SETTLE_S_MAX:.0f} s")
    watch.sample()
    watch.note()
    findings = verify.check(addresses, folder, drained=True)
    processes = watch.rows(findings.part.cases)
    disk = _per_case(watch.disk, findings.part.cases)
    beyond = [*_beyond("memory", watch.memory, growth.MEMORY), *_beyond("disk", watch.disk, growth.DISK)]
    seconds = (max(findings.part.pace("plan").told, default=sent.began_ms) - sent.began_ms) / 1000
    return (
        {
            **told(sent),
            "cases/s": round(findings.part.decided / max(0.001, seconds), 1),
            "engine": VERSION,
            "processes": processes,
            "disk": disk,
            "growth": _growth(watch.decided, beyond),
        },
        findings,
        beyond,
    )


def _show(figures: Mapping[str, Any]) -> None:
    tables = ("processes", "disk")
    for name in tables:
        click.echo()
        output.rows(figures[name], tuple(figures[name][0]), as_json=False, none="")
    click.echo()
    output.one({name: value for name, value in figures.items() if name not in tables}, as_json=False)
    click.echo()


def _pids() -> dict[str, int]:
    """Of the running system's processes, by stage; empty while it does not answer."""
    try:
        said = control.ask(Home(load_settings().home), {"do": "status"})
    except AiosError:
        return {}
    return {each["stage"]: each["pid"] for each in said.get("processes", ()) if each["pid"]}


def _disk(home: Path) -> dict[str, int]:
    """Bytes on disk of each part of a home."""
    return {part: sum(_bytes(path) for path in (home / part).rglob("*")) for part in PARTS}


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def _per_case(looks: Sequence[Look], cases: int) -> list[dict[str, Any]]:
    before, after = looks[0].sizes, looks[-1].sizes
    grown = growth.growths(looks, growth.DISK)
    parts = {part: (before[part], after[part]) for part in PARTS}
    parts["all"] = (sum(before.values()), sum(after.values()))
    return [
        {
            "disk": part,
            "before MiB": round(old / growth.MIB, 1),
            "after MiB": round(new / growth.MIB, 1),
            "KiB a case": round((new - old) / 1024 / max(1, cases), 2),
            **_late(grown.get(part)),
        }
        for part, (old, new) in parts.items()
    ]


def _late(grown: Growth | None) -> dict[str, Any]:
    """Two columns: bytes a case behind the first half, and how many they may be."""
    if grown is None:
        return {"B a case, late": None, "at most": None}
    return {"B a case, late": round(grown.a_case), "at most": round(grown.most)}


def _beyond(what: str, looks: Sequence[Look], bounds: Mapping[str, Bound]) -> list[str]:
    """A sentence for each that grows by more than it may."""
    return [
        f"{what} of {one.name} grows by {one.a_case:.0f} bytes a case behind the first half, at most {one.most:.0f}"
        for one in growth.growths(looks, bounds).values()
        if one.is_beyond
    ]


def _growth(cases: int, beyond: Sequence[str]) -> str:
    if cases < growth.CASES_MIN:
        return f"growth is not judged in fewer than {growth.CASES_MIN} cases"
    return "; ".join(beyond) or "nothing grows beyond its bound"
