"""`aios bench idle`: what a system costs that has nothing to do.

Enters: a running system that nobody uses. Leaves: the CPU share of each of its processes and their sum, in per cent
of one core, and memory. Guaranteed: counted from the processes' own CPU times; none that the supervisor has started is
left out, nor is the supervisor.
"""

from __future__ import annotations

import time
from typing import Any

import click
import psutil

from aios.infra import output
from aios.infra.bench import machine
from aios.infra.local import control
from aios.infra.local.home import Home
from aios.infra.output import NOT_RUNNING, fail
from aios.infra.running import load_settings
from aios.streams.errors import Unavailable

MIB = 1 << 20
SUPERVISOR = "supervisor"


@click.command()
@click.option("--seconds", type=click.FloatRange(1, 600), default=30, show_default=True)
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def idle(seconds: float, keep: bool) -> None:
    """CPU of a system at rest: each process, and all together, in per cent of one core."""
    processes = _processes(Home(load_settings().home))
    started, before = time.monotonic(), {name: _cpu_s(process) for name, process in processes.items()}
    time.sleep(seconds)
    passed = time.monotonic() - started
    rows: list[dict[str, Any]] = [
        {
            "process": name,
            "cpu_percent": round(100 * (_cpu_s(process) - before[name]) / passed, 2),
            "memory_mib": round(process.memory_info().rss / MIB),
        }
        for name, process in processes.items()
    ]
    total: dict[str, Any] = {
        "process": "all",
        "cpu_percent": round(sum(row["cpu_percent"] for row in rows), 1),
        "memory_mib": sum(row["memory_mib"] for row in rows),
    }
    output.rows([*rows, total], ("process", "cpu_percent", "memory_mib"), as_json=False, none="nothing runs")
    if keep:
        machine.keep("idle", f"aios bench idle --seconds {seconds:g}", {"all": total, "processes": rows})


def _processes(home: Home) -> dict[str, psutil.Process]:
    try:
        said = control.ask(home, {"do": "status"})
        supervisor = psutil.Process(control.owner(home))
        started = supervisor.children(recursive=True)
    except Unavailable as error:
        fail(str(error), NOT_RUNNING)
    stages = {each["pid"]: f"{each['stage']}.{each['slot']}" for each in said["processes"]}
    named = {stages.get(process.pid) or f"spare or child {process.pid}": process for process in started}
    return {**dict(sorted(named.items())), SUPERVISOR: supervisor}


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        fail(f"process {process.pid} ended while it was measured; see `aios status`")
    return float(times.user + times.system)
