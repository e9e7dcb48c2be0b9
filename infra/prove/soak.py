"""`aios prove soak`: many cases through a system of its own, and what they leave in memory and on disk.

Enters: how many cases. Leaves: the verifier's table, and of every process its memory before, at most and after, its CPU
for each case; of every part of the home its bytes for each case; what `aios audit verify` says. Guaranteed: the system
is stopped and its home removed (--keep leaves it), whatever happens; exit code 1 on any violation, and for an audit
chain that is not whole. The engine is `echo`, which is no model: what is measured is everything around it, and the
report says so.
At most OPEN_MAX cases are open at once: a backlog is Kafka's to hold, and would say nothing about the stages' memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psutil
from redis import Redis
from redis.exceptions import RedisError

from aios.inference_workers.echo import VERSION
from aios.infra import output
from aios.infra.bench import machine
from aios.infra.local import control
from aios.infra.local.home import Home
from aios.infra.prove import load, verify
from aios.infra.prove.commands import LINE_S, Lines, show, summary, told
from aios.infra.prove.findings import Findings
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
SEGFAULTS = 2.0  # expected, in the whole soak
SETTLE_S_MAX = 1_800.0
CASES_PER_S = 120  # expected on two cores
DISK_KIB = 20  # expected of a case
MEMORY_MIB = 4_000  # expected of the whole system
SAMPLE_S = 2.0
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
    """Looks at the system's processes and at how many cases are decided, at most every SAMPLE_S."""

    def __init__(self, addresses: Addresses, lines: Lines) -> None:
        self._store: Redis = Redis.from_url(addresses.valkey, decode_responses=True)
        self._decided_key = list_key(list_name(addresses.tenant, WORKFLOW, DECIDED))
        self._lines = lines
        self._next = 0.0
        self._pids: dict[str, int] = {}
        self._looked = 0.0
        self.decided = 0
        self.began = time.monotonic()
        self.processes: dict[str, Process] = {}

    def hold(self, sent: Sent) -> bool:
        """For load.run: wait while OPEN_MAX cases are open."""
        self.look(f"sent {sent.total}")
        cases = sent.sent[Kind.GOOD] + sent.sent[Kind.SLOW] + sent.sent[Kind.CONCURRENT] // 2
        return cases - self.decided > OPEN_MAX

    def look(self, what: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SAMPLE_S
        self.sample()
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

    def rows(self, cases: int) -> list[dict[str, Any]]:
        """A row a process."""
        return [
            {
                "process": name,
                "before MiB": round(one.before),
                "most MiB": round(one.most),
                "after MiB": round(one.after),
                "CPU ms a case": round(1000 * sum(one.lives.values()) / max(1, cases), 2),
                "lives": len(one.lives),
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
def soak(cases: int, within: Path | None, keep: bool, report: bool) -> None:
    """Send many cases through a system of its own, with an engine that only echoes, and judge what became of them."""
    _announce(cases, within or Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix="aios-soak-", dir=within))
    try:
        with _system(folder / "home"):
            figures, findings = _soak(cases, folder)
            chain = subprocess.run([*AIOS, "audit", "verify"], check=False, capture_output=True, text=True)
            figures["audit chain"] = (chain.stdout + chain.stderr).strip()
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if report:
        machine.keep_in(RESULTS, "soak", f"aios prove soak --cases {cases}", figures)
    click.echo(figures["audit chain"])
    show(findings, None, as_json=False)
    if chain.returncode:
        output.fail("the audit chain is broken")


def _announce(cases: int, within: Path) -> None:
    """What it will take, before it takes it."""
    disk, free = cases * DISK_KIB >> 10, shutil.disk_usage(within).free >> 20
    click.echo(
        f"{cases} cases: about {cases / CASES_PER_S / 60 + 1:.0f} min on two cores, {disk / 1024:.1f} GiB of disk in "
        f"{within} ({free / 1024:.1f} free), {MEMORY_MIB / 1000:.0f} GB of memory"
    )
    click.echo(f"every answer comes from: {VERSION}; {SEGFAULTS:.0f} events will kill their process three times each")
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
        if subprocess.run([*AIOS, "up", "--detach"], check=False).returncode:
            output.fail("the system did not start")
        yield
    finally:
        subprocess.run([*AIOS, "down"], check=False)


def _soak(cases: int, folder: Path) -> tuple[dict[str, Any], Findings]:
    addresses = of_running()
    watch = Watch(addresses, Lines())
    watch.sample()
    disk_before = _disk(folder / "home")
    count = load.events_for(cases)
    mix = {**MIX, Kind.SEGFAULT: SEGFAULTS / count * sum(MIX.values())}
    watch.began = time.monotonic()
    sent = load.run(
        addresses, folder, rate_per_s=RATE_PER_S, count=count, mix=mix, http_share=HTTP_SHARE, hold=watch.hold
    )
    if not verify.settle(addresses, SETTLE_S_MAX, lambda left: watch.look(f"{left.total()} records left")):
        output.fail(f"the system did not come to rest within {SETTLE_S_MAX:.0f} s")
    watch.sample()
    findings = verify.check(addresses, folder, drained=True)
    processes = watch.rows(findings.part.cases)
    disk = _per_case(disk_before, _disk(folder / "home"), findings.part.cases)
    seconds = (max(findings.part.pace("plan").told, default=sent.began_ms) - sent.began_ms) / 1000
    click.echo()
    output.rows(processes, tuple(processes[0]), as_json=False, none="")
    click.echo()
    output.rows(disk, tuple(disk[0]), as_json=False, none="")
    click.echo()
    said = told(sent) | {"cases/s": round(findings.part.decided / max(0.001, seconds), 1), "engine": VERSION}
    output.one(said, as_json=False)
    click.echo()
    return {**said, **summary(findings), "processes": processes, "disk": disk}, findings


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


def _per_case(before: Mapping[str, int], after: Mapping[str, int], cases: int) -> list[dict[str, Any]]:
    parts = {part: (before[part], after[part]) for part in PARTS}
    parts["all"] = (sum(before.values()), sum(after.values()))
    return [
        {
            "disk": part,
            "before MiB": round(old / (1 << 20), 1),
            "after MiB": round(new / (1 << 20), 1),
            "KiB a case": round((new - old) / 1024 / max(1, cases), 2),
        }
        for part, (old, new) in parts.items()
    ]
