"""Where `aios bench workflow --only path` measures: an outside system, a workflow that asks it, a system for both.

Enters: how long the outside system takes for a call. Leaves: an environment to run commands in, the workflow's files,
and what the machine did. The system is known by its file in a folder of its own (streams/extensions.py). Guaranteed:
the outside system answers each call after its delay, never sooner, and says how long the call was there; it runs in
this process, beside nothing else, while the measuring one feeds and follows. All that was started ends, and the folder
goes.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import psutil
from aiohttp import web

from aios.infra.local import control
from aios.infra.local.home import Home
from aios.infra.local.ports import LOOPBACK
from aios.infra.output import FAILED, fail
from aios.streams import system_files

NAME, CONTRACT, SYSTEM, POOL_LANE = "bench.path", "bench.path.asked.v1", "outside", "classify.bulk"
OUTCOME = "approved"
START_S_MAX = 10.0

SYSTEM_FILE = """
system: outside
does: answers after a delay that is known, for a benchmark
connector: http
operations:
  look_up:
    method: GET
    path: /facts/{about}
    request: {about: text}
    response: {about: text, score: whole, there_ms: number}
  book:
    path: /bookings
    request: {about: text, score: whole}
    response: {about: text, score: whole, there_ms: number}
    effects: [reconciled]
    done: /bookings/{idempotency_key}
limits: {calls_max: 64, rate_per_s: 2000, call_s_max: 10, waiting_max: 1024}
objective: {p95_ms: 500}
"""
WORKFLOW = """
workflow: bench.path
version: 1
owner: bench
cost_centre: bench
signed_off: {by: aios bench, on: 2026-11-28}
about: Six steps outside, one after the other.
input: bench.path.asked.v1
objectives: {interactive_p95_s: 15, bulk_p95_s: 600, without_person_min: 0.5}
policy: {score_max: 50, confidence_min: 0.5}
labels:
  topics:
    [bank_account, card, credit_reporting, debt_collection, money_transfer, mortgage, personal_loan, student_loan,
     vehicle_loan]
samples: [{about: one, text: My card has not arrived yet.}]
start: classify
steps:
  classify:
    infer:
      status: classifying
      task: classify
      pool: classify
      model: triage-encoder
      input: input.text
      input_chars_max: 1000
      options: {head: "'letters'"}
      labels: labels.topics
      deadline_s: {interactive: 60, bulk: 600}
      attempts_max: 2
      then: sure
      on_error: {reason: failed, then: refuse}
  sure:
    rule:
      first_of: [{when: answers.classify.confidence < policy.confidence_min, reason: unsure, then: refuse}]
      otherwise: {reason: confident, then: register}
  register:
    connect: &connect
      status: looking_up
      system: outside
      operation: look_up
      request: {about: input.about}
      deadline_s: {interactive: 60, bulk: 600}
      attempts_max: 2
      then: bank
      on_error: {reason: failed, then: refuse}
  bank: {connect: {<<: *connect, then: history}}
  history: {connect: {<<: *connect, then: weigh}}
  weigh:
    rule:
      first_of:
        - {when: answers.register.score + answers.bank.score > policy.score_max, reason: risk, then: refuse}
      otherwise: {then: book}
  book:
    connect:
      <<: *connect
      status: booking
      operation: book
      effect: reconciled
      request: {about: input.about, score: answers.history.score}
      then: booked
  booked: {connect: {<<: *connect, request: {about: answers.book.about}, then: approve}}
  approve:
    emit:
      status: decided
      outcome: approved
      decided_by: "'policy'"
      label: answers.classify.label
      confidence: answers.classify.confidence
      output: {score: answers.booked.score}
  refuse: {emit: {status: decided, outcome: refused, decided_by: "'policy'"}}
"""
FACT = "{about: one, score: 7, there_ms: 20.0}"
CASES = f"""
cases:
  - name: every step answers
    input: {{about: one, text: My card has not arrived yet.}}
    given:
      classify: {{label: card, confidence: 0.9, out_of_scope: 0.1}}
      register: {FACT}
      bank: {FACT}
      history: {FACT}
      book: {FACT}
      booked: {FACT}
    expect: {{outcome: {OUTCOME}, decided_by: policy, output: {{score: 7}}}}
"""
ASKED = {
    "type": "record",
    "name": "PathAsked",
    "namespace": "bench.path",
    "doc": "A case of the benchmark.",
    "fields": [
        {"name": "about", "type": "string", "doc": "Its number.", "aios:max": 100},
        {"name": "text", "type": "string", "doc": "What the model reads.", "aios:max": 1000},
    ],
}


# ── the outside system ──


def outside(delay_ms: float) -> web.Application:
    """Answers facts and bookings after the delay; a booking is there afterwards."""
    booked: dict[str, dict[str, Any]] = {}

    async def answered(about: str) -> dict[str, Any]:
        began = time.perf_counter()
        await asyncio.sleep(delay_ms / 1000)
        while time.perf_counter() - began < delay_ms / 1000:  # noqa: ASYNC110 - a coarse clock may have woken it early
            await asyncio.sleep(0)
        return {"about": about, "score": 7, "there_ms": round((time.perf_counter() - began) * 1000, 3)}

    async def look_up(request: web.Request) -> web.Response:
        return web.json_response(await answered(request.match_info["about"]))

    async def book(request: web.Request) -> web.Response:
        said = await answered((await request.json())["about"])
        return web.json_response(booked.setdefault(request.headers["Idempotency-Key"], said))

    async def done(request: web.Request) -> web.Response:
        found = booked.get(request.match_info["key"])
        return web.json_response(found, status=404 if found is None else 200)

    app = web.Application()
    app.router.add_get("/facts/{about}", look_up)
    app.router.add_post("/bookings", book)
    app.router.add_get("/bookings/{key}", done)
    return app


@contextmanager
def _serving(app: web.Application) -> Iterator[str]:
    """Its URL; in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="outside", daemon=True)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        return f"http://{LOOPBACK}:{runner.addresses[0][1]}"

    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(START_S_MAX)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(START_S_MAX)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S_MAX)
        loop.close()


# ── what knows it ──


@contextmanager
def stand(delay_ms: float) -> Iterator[tuple[Mapping[str, str], Path]]:
    """The outside system runs. The environment to be in, and the folder with the workflow's files."""
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as name, _serving(outside(delay_ms)) as url:
        folder = Path(name)
        own = {
            "AIOS_HOME": str(folder / "home"),
            "AIOS_INFERENCE__ENGINE": "echo",
            "AIOS_TRACING__SAMPLE_RATIO": "0.01",
            "AIOS_CONNECTORS__OPTIONS": json.dumps({SYSTEM: {"url": url}}),
            "AIOS_EXTENSIONS__FOLDER": str(extended(folder / "own")),
            "PYTHONSAFEPATH": "1",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIOS_")}
        yield kept | own, written(folder / "workflow")


def extended(folder: Path) -> Path:
    """The folder, with the system's file."""
    systems = folder / system_files.FOLDER.name
    systems.mkdir(parents=True)
    (systems / f"{SYSTEM}.yaml").write_text(SYSTEM_FILE, encoding="utf-8")
    return folder


def written(folder: Path) -> Path:
    """The workflow with its recorded case and its input contract."""
    folder.mkdir()
    file_in(folder).write_text(WORKFLOW, encoding="utf-8")
    (folder / f"{NAME}.cases.yaml").write_text(CASES, encoding="utf-8")
    (folder / f"{CONTRACT}.avsc").write_text(json.dumps(ASKED), encoding="utf-8")
    return folder


def file_in(folder: str | Path) -> Path:
    return Path(folder, f"{NAME}.yaml")


def inside(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """What the command says, in JSON; its messages go on. Exits when it fails."""
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        fail("the measurement failed", FAILED)
    said: dict[str, Any] = json.loads(ran.stdout)
    return said


# ── the machine ──


class Loaded(TypedDict):
    """In cores. cores_used: the system, the benchmark with its outside system, all others. processes: the system's."""

    cores: int
    load_average: list[float]
    seconds: float
    cores_used: dict[str, float]
    processes: dict[str, float]


class Load:
    """What used the machine between begin() and end()."""

    def __init__(self, home: Path) -> None:
        self._home = Home(home)
        self._began = 0.0
        self._before: dict[str, float] = {}

    def begin(self) -> None:
        """Raises Unavailable when the system does not answer."""
        said = control.ask(self._home, {"do": "status"})
        self._pids = {f"{each['stage']}.{each['slot']}": each["pid"] for each in said["processes"] if each["pid"]}
        self._pids["supervisor"] = control.owner(self._home)
        self._began, self._before = time.monotonic(), self._spent()

    def end(self) -> Loaded:
        """Raises NoSuchProcess when a process has ended meanwhile: the figures would not be of one system."""
        passed, after = time.monotonic() - self._began, self._spent()
        used = {name: (after[name] - before) / passed for name, before in self._before.items()}
        whole, bench = used.pop("whole"), used.pop("bench")
        system = sum(used.values())
        busiest = sorted(used.items(), key=lambda each: -each[1])
        return {
            "cores": psutil.cpu_count() or 1,
            "load_average": [round(each, 1) for each in psutil.getloadavg()],
            "seconds": round(passed, 1),
            "cores_used": {
                "system": round(system, 2),
                "bench and outside system": round(bench, 2),
                "others": round(max(0.0, whole - system - bench), 2),
            },
            "processes": {name: round(cores, 2) for name, cores in busiest},
        }

    def _spent(self) -> dict[str, float]:
        """CPU seconds: of each process of the system, of the benchmark's two, of the whole machine."""
        all_of_it = psutil.cpu_times()
        idle = all_of_it.idle + getattr(all_of_it, "iowait", 0.0)
        guest = getattr(all_of_it, "guest", 0.0) + getattr(all_of_it, "guest_nice", 0.0)  # counted in user already
        return {
            **{name: _cpu_s(pid) for name, pid in self._pids.items()},
            "bench": _cpu_s(os.getpid()) + _cpu_s(os.getppid()),
            "whole": sum(all_of_it) - idle - guest,  # what a host took from this machine is others'
        }


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
