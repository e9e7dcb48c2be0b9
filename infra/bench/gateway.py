"""`aios bench gateway`: posts that the gateway acknowledges a second, and how long each takes.

Enters: a running system on this machine. Leaves: a table and infra/bench/results/gateway.json. The posts are BODIES
different ones, again and again: each is checked, encoded and acknowledged by the broker like any other, but only the
first of each becomes a case, so that the models behind are not what is measured. Client and gateway share the machine,
and the client is Python too: the figure is a lower bound.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import click
from aiohttp import ClientSession, TCPConnector

from aios.infra import output
from aios.infra.bench import machine
from aios.infra.output import FAILED, NOT_RUNNING, USAGE, fail
from aios.infra.running import running
from aios.streams import tenants

BODIES = 60
POSTS_MAX = 200_000
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PATH = "/v1/workflows/document.triage/cases"


@dataclass(slots=True)
class Measured:
    """took_ms: of each post that was acknowledged. refused: the others, by status."""

    took_ms: list[float] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


@click.command()
@click.option("--connections", type=click.IntRange(1, 512), default=32, show_default=True, help="Posts at once.")
@click.option("--seconds", type=click.IntRange(1, 60), default=10, show_default=True)
@click.option("--keep", is_flag=True, help="Keep the figures in infra/bench/results.")
def gateway(connections: int, seconds: int, keep: bool) -> None:
    """Posts acknowledged a second, and P50, P95 and P99, of the running gateway."""
    found = running()
    if not found.gateway:
        fail("the gateway does not run here: start a system with `aios up`", NOT_RUNNING)
    if urlsplit(found.gateway).hostname not in LOOPBACK:
        fail(f"{found.gateway} is not on this machine; what is measured is", USAGE)
    key = tenants.kept_key(found.settings.home, found.settings.default_tenant)
    measured = asyncio.run(measure(found.gateway, key, connections=connections, seconds=seconds))
    if not measured.took_ms:
        fail(f"nothing was acknowledged; refused by status: {dict(measured.refused)}", FAILED)
    figures: dict[str, Any] = {
        "connections": connections,
        "acknowledged": len(measured.took_ms),
        "posts_per_s": round(len(measured.took_ms) / measured.seconds),
        "milliseconds": machine.percentiles(measured.took_ms),
        "refused": dict(measured.refused),
    }
    output.one(figures, as_json=False)
    if keep:
        machine.keep("gateway", f"aios bench gateway --connections {connections} --seconds {seconds}", figures)


async def measure(url: str, key: str, *, connections: int, seconds: float) -> Measured:
    """Post for so long, at most POSTS_MAX times, over so many connections at once."""
    bodies = [json.dumps({"text": f"When does my new card arrive? This is letter {n}."}) for n in range(BODIES)]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    measured = Measured()
    began = time.perf_counter()

    async def post_on(client: ClientSession) -> None:
        for number in range(POSTS_MAX // connections):
            started = time.perf_counter()
            if started - began > seconds:
                return
            async with client.post(url + PATH, data=bodies[number % BODIES]) as response:
                await response.read()
            if response.status == 202:
                measured.took_ms.append((time.perf_counter() - started) * 1000)
            else:
                measured.refused[response.status] += 1

    async with ClientSession(headers=headers, connector=TCPConnector(limit=connections)) as client:
        await asyncio.gather(*(post_on(client) for _ in range(connections)))
    measured.seconds = time.perf_counter() - began
    return measured
