"""`aios bench scale`: each stage with one and with two processes, for one tenant, changed while cases are on their way.

Enters: a running system with one process a stage. Leaves: cases/s and CPU of the stage's processes for 1 and 2, and
the cases lost during the change. Guaranteed: the number of processes is set back to one. On a machine with as many
busy stages as cores a second process adds no throughput; what this shows there is that nothing is lost.
"""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

import click
import psutil

from aios.infra import output
from aios.infra.bench import machine, pipeline
from aios.infra.bench.system import AIOS
from aios.infra.running import running
from aios.streams.config import Settings

STAGES = ("admit", "plan", "classify", "generate")
CHANGE_AFTER_S = 2.0  # into the load


@click.command()
@click.option("--cases", type=click.IntRange(10, 20_000), default=100, show_default=True)
@click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), help="Default: each in turn.")
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def scale(cases: int, stages: tuple[str, ...], keep: bool) -> None:
    """Each stage with one and two processes: cases/s, CPU per process, cases lost during the change."""
    settings = running().settings
    found = [row for stage in stages or STAGES for row in _compare(settings, stage, cases)]
    output.rows(found, ("stage", "processes", "cases_per_s", "cpu_s", "lost"), as_json=False, none="nothing measured")
    if keep:
        machine.keep("scale", f"aios bench scale --cases {cases}", {"stages": found})
    if lost := sum(row["lost"] for row in found):
        output.fail(f"{lost} cases did not come to rest")


def _compare(settings: Settings, stage: str, cases: int) -> list[dict[str, Any]]:
    before = _row(settings, stage, 1, cases)
    change = threading.Timer(CHANGE_AFTER_S, _scale, (stage, 2))
    change.start()
    try:
        during = _row(settings, stage, 2, cases)
        after = _row(settings, stage, 2, cases)
    finally:
        change.join()
        _scale(stage, 1)
    return [before, {**during, "processes": "1 → 2"}, after]


def _row(settings: Settings, stage: str, processes: int, cases: int) -> dict[str, Any]:
    started = _cpu_s(stage)
    figures = pipeline.measure(settings, cases, None)
    used = {pid: round(spent - started.get(pid, 0.0), 1) for pid, spent in _cpu_s(stage).items()}
    return {
        "stage": stage,
        "processes": str(processes),
        "cases_per_s": figures["cases_per_s"],
        "cpu_s": list(used.values()),
        "lost": cases - figures["settled"],
    }


def _cpu_s(stage: str) -> dict[int, float]:
    """CPU seconds of each process of the stage so far."""
    said = json.loads(subprocess.run([*AIOS, "status", "--json"], capture_output=True, text=True, check=True).stdout)
    pids = [each["pid"] for each in said["processes"] if each["stage"] == stage and each["pid"]]
    spent = {}
    for pid in pids:
        times = psutil.Process(pid).cpu_times()
        spent[pid] = times.user + times.system
    return spent


def _scale(stage: str, processes: int) -> None:
    subprocess.run([*AIOS, "scale", f"{stage}={processes}"], check=True, stdout=subprocess.DEVNULL)
