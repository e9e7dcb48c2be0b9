"""One process of a stage: `python -m aios.infra.stage PROCESS --slot N`, as the supervisor or a container starts it.

Enters: the name of a process (aios topology), a slot, and settings from file and environment. Leaves: an exit status.
0: it was asked to stop and has handed back what it had in hand. 1: it failed; the last line of its log says why.
70: another process has its place, its state does not fit, or a transaction failed: it starts again from its position;
what does not fit says so in the log each time, with the command to run.
Guaranteed: SIGTERM and SIGINT ask it to stop; SIGUSR1 has it read its next line of home/run/failpoints (for drills,
streams/failpoints.py); --ready-fd gets a line when it serves, and not before; its metrics port stands in
home/run/metrics/<process>.<slot>.json, in the form that Prometheus's file_sd reads; home/run/serving/<process>.<slot>
is there while it serves, for start-up probes of containers. `--spare PROCESS …` waits, with all that these import, to
be told on standard input which of them to be (infra/local/spare.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from aios.infra.local.home import Home
from aios.infra.local.spare import WAITS
from aios.streams import collector, config, failpoints, logs, metrics, topology, tracing
from aios.streams.config import Settings
from aios.streams.errors import AiosError, Fenced, StateBroken, Verdict
from aios.streams.topology import Kind

log = logging.getLogger("aios.infra.stage")  # as a program its __name__ is another

FAILED, LEFT = 1, 70
FOLDERS = {Kind.FAUST: "processors", Kind.SINK: "sinks", Kind.DLQ: "dlq"}  # where a process's module has its name
SERVERS = {"gateway": "streams.gateway", "operations": "dlq.operations"}  # which have a room of their own


class Run(Protocol):
    """What a stage's module has: serves until stop is set, calls ready once when it does serve."""

    def __call__(
        self, settings: Settings, *, slot: int, stop: asyncio.Event, ready: Callable[[], None]
    ) -> Awaitable[None]: ...


class Ended(AiosError):
    """A stage returned although nobody asked it to: a mistake of ours, and nothing serves any more."""

    verdict = Verdict.STOP


def main() -> None:
    parser = argparse.ArgumentParser(prog="aios.infra.stage", description="One process of a stage.")
    parser.add_argument("process", choices=topology.PROCESSES, nargs="?")
    parser.add_argument("--slot", type=int, default=0, help="its number among its like")
    parser.add_argument("--ready-fd", type=int, help="an open file that gets a line when it serves")
    parser.add_argument("--spare", nargs="+", choices=topology.PROCESSES, help="wait to be told which of these to be")
    asked = parser.parse_args()
    if asked.spare:
        asked = parser.parse_args(_told(asked.spare, asked.ready_fd))
    if asked.process is None:
        parser.error(f"say which process: {', '.join(topology.PROCESSES)}")
    logs.start(asked.process, asked.slot)
    with contextlib.suppress(OSError):  # for top and ps: the command of one that was a spare does not say what it is
        Path("/proc/self/comm").write_text(f"{asked.process}.{asked.slot}", encoding="ascii")
    status = _status(asked.process, asked.slot, asked.ready_fd)
    if status:
        logging.shutdown()
        os._exit(status)  # a client that still asks a Kafka which was gone may never end, and the next life waits
    sys.exit()


def _status(process: str, slot: int, ready_fd: int | None) -> int:
    """Run it; the exit status. What one of ours raises says what is wrong: a traceback would say no more."""
    targets: Path | None = None
    serving: Path | None = None
    try:
        settings = config.load()
        serving = Home(settings.home).run / "serving" / f"{process}.{slot}"
        serving.unlink(missing_ok=True)  # of one that was killed
        arm = functools.partial(failpoints.arm_for_one_life, settings.failpoints, _lives(settings.home, process, slot))
        arm()
        port = metrics.serve(settings.metrics.host, settings.metrics.port)
        targets = _announce(Home(settings.home), process, slot, port)
        tracing.start(settings, process, slot)
        ready = functools.partial(_ready, ready_fd, serving)
        asyncio.run(_serve(process, settings, slot, ready, arm))
    except (Fenced, StateBroken) as error:
        log.error("%s", error)  # noqa: TRY400 - it says what is wrong by itself
        return LEFT
    except AiosError as error:
        log.error("%s", error)  # noqa: TRY400 - it says what is wrong by itself
        return FAILED
    except Exception:
        log.exception("the process failed")
        return FAILED
    finally:
        for told in (targets, serving):
            if told is not None:
                told.unlink(missing_ok=True)
    return 0


async def _serve(
    process: str, settings: Settings, slot: int, ready: Callable[[], None], arm: Callable[[], None]
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, arm)
    run = _run_of(process)
    log.info("starts")
    await run(settings, slot=slot, stop=stop, ready=ready)
    if not stop.is_set():
        raise Ended(f"{process} ended without being asked to")
    log.info("stopped")


def _run_of(process: str) -> Run:
    """Imported when it is known which: a sink does not load Faust."""
    kind = next(stage.kind for stage in topology.STAGES if stage.process == process)
    if kind is Kind.POOL:
        worker: Callable[..., Awaitable[None]] = importlib.import_module("aios.inference_workers.worker").run
        return functools.partial(worker, process=process)
    if kind is Kind.CONNECTOR:
        serve: Run = importlib.import_module("aios.processors.connectors.serving").run
        return serve
    module = f"{SERVERS[process]}.server" if process in SERVERS else f"{FOLDERS[kind]}.{process}"
    run: Run = importlib.import_module(f"aios.{module}").run
    return run


def _told(kin: Sequence[str], ready_fd: int) -> list[str]:
    """Import what these need and read what ships, then wait for the word; where none comes, whoever had it is gone."""
    for process in kin:
        _run_of(process)
    if topology.PLAN.process in kin:
        importlib.import_module("aios.processors.language.workflow_files").shipped()
    os.write(ready_fd, WAITS)
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    said = json.loads(line)
    log_file = os.open(said["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, own in ((0, nothing), (1, log_file), (2, log_file)):
        os.dup2(own, number)
    os.close(log_file)
    os.close(nothing)
    return [*said["arguments"], "--ready-fd", str(ready_fd)]


def _ready(ready_fd: int | None, serving: Path) -> None:
    log.info("ready")
    collector.rest()
    serving.parent.mkdir(parents=True, exist_ok=True)
    serving.touch()
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)


def _lives(home: Path, process: str, slot: int) -> Path:
    return Home(home).run / "failpoints" / f"{process}.{slot}"


def _announce(home: Home, process: str, slot: int, port: int) -> Path:
    home.metrics.mkdir(parents=True, exist_ok=True)
    file = home.metrics / f"{process}.{slot}.json"
    labels = {"process": process, "slot": str(slot)}
    file.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": labels}]) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    main()
