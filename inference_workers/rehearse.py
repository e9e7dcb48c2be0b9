"""Requests answered outside of the pipeline: for evaluations of prompts and models, and for cases that are run again.

    python -m aios.inference_workers.rehearse PROCESS < requests > answers

Enters: the process whose engine and tasks are meant (`classify`, `generate`), the settings of the environment, and a
request a line: JSON of id, task, model, prompt, input, options. Leaves: first a line with the engine's version, then an
answer a line, in order of finishing: id, status, reason, output, contract, tokens, milliseconds. Guaranteed: the same
engine, tasks, prompts and guards as in a worker, and no other model than the process serves; nothing is read from Kafka
or written to it; the answer cache is neither asked nor filled; RUNNING_MAX at once; a server elsewhere that is away or
busy is asked again, for AWAY_S_MAX.
Rejected: rehearsing through the pools (their topics are for cases, and their budgets and metrics would count it).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TextIO

from aios.inference_workers import worker
from aios.inference_workers.engines.engine import RequestRefused
from aios.inference_workers.tasks import Answer, Task, refusal
from aios.schemas.models import InferenceRequested
from aios.streams import config
from aios.streams.errors import AiosError, ConfigError, Unavailable

RUNNING_MAX = 32
AWAY_S_MAX = 60.0  # of one request: then it is given up, and everything with it
AGAIN_S = 1.0  # before the second question; doubled before each further one
REQUESTS_MAX = 100_000
FAILED = 1


def request_of(line: str) -> tuple[str, InferenceRequested]:
    """Id and request. Raises ValueError, KeyError or TypeError for a line that is none."""
    said: dict[str, Any] = json.loads(line)
    return said["id"], InferenceRequested(
        request_id=said["id"],
        case_id=said["id"],
        tenant="",
        workflow="",
        step="",
        attempt=1,
        task=said["task"],
        model=said["model"],
        prompt=said.get("prompt", ""),
        input=said["input"],
        options=said.get("options", "{}"),
        lane="bulk",
        deadline_at=0,
        requested_at=0,
    )


async def answered(task: Task, name: str, request: InferenceRequested) -> dict[str, Any]:
    """One answer as it is written. Raises EngineDead, ConfigError, Unavailable."""
    started = time.monotonic()
    told: dict[str, Any] = {"id": name, "status": "ok", "reason": "", "output": {}, "contract": ""}
    try:
        if reason := refusal(task, request):
            raise RequestRefused(reason)
        answer = await _patiently(task, request)
    except RequestRefused as error:
        told |= {"status": "failed", "reason": str(error), "prompt_tokens": 0, "output_tokens": 0}
    else:
        told |= {
            "status": "failed" if answer.failure else "ok",
            "reason": answer.failure,
            "output": dict(answer.output),
            "contract": answer.contract,
            "prompt_tokens": answer.prompt_tokens,
            "output_tokens": answer.output_tokens,
        }
    return told | {"compute_ms": round((time.monotonic() - started) * 1000)}


async def _patiently(task: Task, request: InferenceRequested) -> Answer:
    """As task.answer(); raises Unavailable only after AWAY_S_MAX."""
    deadline, wait_s = time.monotonic() + AWAY_S_MAX, AGAIN_S
    while True:
        try:
            return await task.answer(request, 0)
        except Unavailable:
            if time.monotonic() + wait_s > deadline:
                raise
        await asyncio.sleep(wait_s)
        wait_s *= 2


async def rehearse(task: Task, lines: TextIO, tell: Callable[[Mapping[str, Any]], None]) -> None:
    """Answer every line. Raises what stops it all: a dead engine, wrong settings, a line that is no request."""
    room = asyncio.Semaphore(RUNNING_MAX)

    async def one(name: str, request: InferenceRequested) -> None:
        async with room:
            tell(await answered(task, name, request))

    asked = [request_of(line) for line in lines if line.strip()]
    if len(asked) > REQUESTS_MAX:
        raise ConfigError(f"{len(asked)} requests at once; {REQUESTS_MAX} at most")
    async with asyncio.TaskGroup() as group:
        for name, request in asked:
            group.create_task(one(name, request))


async def run(process: str, lines: TextIO, out: TextIO) -> None:
    """With the engine of a process, as it is set. Raises as rehearse()."""
    served = worker.SERVED[process]
    engine = served.engine(config.load())

    def tell(said: Mapping[str, Any]) -> None:
        print(json.dumps(said, ensure_ascii=False), file=out, flush=True)

    await engine.start()
    try:
        tell({"engine": engine.version})
        await _unless_dead(engine.watch(), rehearse(served.task(engine), lines, tell))
    finally:
        await engine.close()


async def _unless_dead(watch: Awaitable[Any], work: Awaitable[None]) -> None:
    """The work, or what the watch raises."""
    watching, working = asyncio.ensure_future(watch), asyncio.ensure_future(work)
    done, _ = await asyncio.wait((watching, working), return_when=asyncio.FIRST_COMPLETED)
    for each in (watching, working):
        if each not in done:
            each.cancel()
    for each in done:
        each.result()


def main() -> int:
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print: answers stand alone
    try:
        asyncio.run(run(sys.argv[1], sys.stdin, out))
    except AiosError as error:
        print(error, file=sys.stderr)
        return FAILED
    except BaseExceptionGroup as group:
        print(group.exceptions[0], file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
