"""Payloads made to keep a reader busy or to fill its memory, tried on the codec in a process of its own with limits.

Out: JSON {bomb: [error, seconds, MiB at the peak]}. A bomb that works exceeds the limits and kills the process.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

from aios.schemas import contracts
from aios.schemas.codec import Codec
from aios.schemas.models import CaseDecided, Event, PositionRemembered, TimerFired
from tests.fakes.registry import FakeRegistry

CPU_S_MAX = 10
MEMORY_MAX = 1 << 30
HUGE = 1 << 40

ITEMS: dict[str, Any] = {
    "boolean": "boolean",
    "int": "int",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
    "fixed": {"type": "fixed", "name": "F", "size": 4},
    "large fixed": {"type": "fixed", "name": "G", "size": 1 << 40},
    "enum": {"type": "enum", "name": "E", "symbols": ["A"]},
    "union": ["null", "boolean"],
    "record": {"type": "record", "name": "N", "fields": [{"name": "b", "type": "boolean"}]},
    "array": {"type": "array", "items": "boolean"},
}


def number(value: int) -> bytes:
    """Avro's variable-length zigzag."""
    rest = ((value << 1) ^ (value >> 63)) & ((1 << 64) - 1)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


ENDLESS = {
    "count": number(HUGE),
    "count and size": number(-HUGE) + number(HUGE),
    "count and a size behind us": number(-HUGE) + number(-20),
    "the largest count": number((1 << 63) - 1),
    "the smallest count": number(-(1 << 63)) + number(1),
}


def bombs() -> Iterator[tuple[str, type[Event], dict[str, Any] | None, bytes]]:
    """Name, contract read, schema written (None: the contract's own), and what follows the framing."""
    for name, start in ENDLESS.items():
        strings = b"".join([number(0)] * 9)  # the fields of case.decided before its first array
        yield f"strings announced by {name}", CaseDecided, None, strings + start
        yield f"map entries announced by {name}", PositionRemembered, None, start
        for kind, item in ITEMS.items():
            yield f"passed over: {kind} by {name}", TimerFired, _with({"type": "array", "items": item}), start
        yield f"passed over: map by {name}", TimerFired, _with({"type": "map", "values": "boolean"}), start
    yield "a string longer than memory", TimerFired, None, number(HUGE)
    yield "a string of negative length", TimerFired, None, number(-HUGE)
    yield "a number without an end", TimerFired, None, b"\xff" * (1 << 20)
    yield "a fixed larger than memory", TimerFired, _with(ITEMS["large fixed"]), b""
    yield "a recursive schema", TimerFired, _with(["null", "TimerFired"]), number(1) * (1 << 20)
    yield "an array of nulls", TimerFired, _with({"type": "array", "items": "null"}), number(HUGE)


def _with(kind: Any) -> dict[str, Any]:
    """The timer's contract, and before its own fields one that its readers do not have."""
    raw = json.loads(contracts.working("timer.fired.v1").text)
    return {**raw, "fields": [{"name": "more", "type": kind}, *raw["fields"]]}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    tracemalloc.start()
    registry = FakeRegistry()
    codec = Codec(registry)
    took = {}
    for name, expected, schema, payload in bombs():
        text = json.dumps(schema) if schema else contracts.working(expected.contract).text
        value = b"\0" + registry.add(text).to_bytes(4, "big") + payload
        tracemalloc.reset_peak()
        started = time.process_time()
        try:
            codec.decode(value, expected)
            said = "an event"
        except Exception as error:  # noqa: BLE001 - its name is the finding
            said = type(error).__name__
        peak = tracemalloc.get_traced_memory()[1] - tracemalloc.get_traced_memory()[0]
        took[name] = (said, round(time.process_time() - started, 3), peak >> 20)
    json.dump(took, sys.stdout)


if __name__ == "__main__":
    main()
